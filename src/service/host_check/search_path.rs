//! Programs by their names.

use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

/// The directories in which systemd looks for a program's name, systemd.exec(5).
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Finds a program by its name in the directories of `path` or of systemd, as execvp(3) does.
pub(crate) fn find_in_path(name: &str, path: Option<&str>) -> Option<Utf8PathBuf> {
    let is_program = |file: &Utf8PathBuf| {
        std::fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    path.unwrap_or(PATH).split(':').map(|dir| Utf8Path::new(dir).join(name)).find(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_their_names() {
        assert!(find_in_path("sh", None).is_some());
        assert_eq!(find_in_path("sh", Some("/nowhere")), None);
        assert_eq!(find_in_path("no-such-program", None), None);
    }
}
