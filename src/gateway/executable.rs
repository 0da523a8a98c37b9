//! The files of this program, and how it starts another process of itself, on the host and in containers.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::Path;

/// Where a container has the dynamic loader, the libraries and the file of this program.
const LOADER: &str = "/run/conductor/ld.so";
const LIBRARIES: &str = "/run/conductor/lib";
const PROGRAM: &str = "/run/conductor/conductor";
const LOADED_COMMAND: [&str; 4] = [LOADER, "--library-path", LIBRARIES, PROGRAM];

/// Returns the words that start this program again.
///
/// # Errors
/// If /proc/self/exe cannot be read.
pub(crate) fn this_program() -> io::Result<Vec<OsString>> {
    let own = std::env::current_exe()?;
    // In a container, /proc/self/exe is the loader.
    if own == Path::new(LOADER) { Ok(LOADED_COMMAND.map(Into::into).to_vec()) } else { Ok(vec![own.into()]) }
}

/// The files that this program needs in a container, whose image need have none of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bundle {
    /// The path of each file on the host, and in the container.
    pub(crate) files: Vec<(String, String)>,
    has_loader: bool,
}

impl Bundle {
    /// Lists the file of this program and the libraries that it has mapped. `maps` is the text of /proc/self/maps,
    /// proc_pid_maps(5).
    pub(crate) fn new(program: &Path, maps: &str) -> Self {
        let paths: BTreeSet<&Path> =
            maps.lines().filter_map(|line| Some(Path::new(&line[line.find('/')?..]))).collect();
        let mut bundle = Self { files: vec![(text(program), PROGRAM.to_owned())], has_loader: false };
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.contains(".so") {
                continue;
            }
            let is_loader = name.starts_with("ld");
            let to = if is_loader { LOADER.to_owned() } else { format!("{LIBRARIES}/{name}") };
            bundle.files.push((text(path), to));
            bundle.has_loader |= is_loader;
        }
        bundle
    }

    /// Returns the words that start this program in the container. A statically linked one needs no loader.
    pub(crate) fn command(&self) -> &'static [&'static str] {
        if self.has_loader { &LOADED_COMMAND } else { &[PROGRAM] }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "55d0-55d1 r--p 00000000 fe:00 1 /usr/bin/conductor\n\
                        7f00-7f01 r--p 00000000 fe:00 2 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                        7f01-7f02 r-xp 00000000 fe:00 2 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                        7f02-7f03 rw-p 00000000 00:00 0 \n\
                        7f03-7f04 r--p 00000000 fe:00 3 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2\n\
                        7ffc-7ffd rw-p 00000000 00:00 0 [stack]\n";

    #[test]
    fn a_bundle_has_the_loader_and_the_libraries() {
        let bundle = Bundle::new(Path::new("/usr/bin/conductor"), MAPS);
        let files: Vec<_> = bundle.files.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        assert_eq!(
            files,
            [
                ("/usr/bin/conductor", "/run/conductor/conductor"),
                ("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "/run/conductor/ld.so"),
                ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/run/conductor/lib/libc.so.6"),
            ]
        );
        assert_eq!(bundle.command()[0], LOADER);
        let alone = Bundle::new(Path::new("/usr/bin/conductor"), "1-2 r--p 0 fe:00 1 /usr/bin/conductor\n");
        assert_eq!((alone.files.len(), alone.command()), (1, [PROGRAM].as_slice()));
    }
}
