//! What is in a declaration's directory and is none of its files: what version control, editors and package managers
//! leave there, and what `.conductorignore` names.

use camino::Utf8Path;
use gix_glob::Pattern;
use gix_glob::pattern::Case;
use gix_glob::wildmatch::Mode;

/// The file that names what else does not belong to a declaration, in the syntax of gitignore(5).
pub(crate) const IGNORE: &str = ".conductorignore";

/// Names of directories, and files in their place, that version control keeps.
const VERSION_CONTROL: &[&str] = &[".git", ".hg", ".svn", ".jj", ".bzr"];

/// Suffixes of what package managers keep beside a file, as systemd ignores them in `hidden_or_backup_file()`.
const KEPT_BY_PACKAGES: &[&str] = &[
    ".dpkg-old",
    ".dpkg-new",
    ".dpkg-dist",
    ".dpkg-tmp",
    ".dpkg-bak",
    ".dpkg-backup",
    ".dpkg-remove",
    ".rpmnew",
    ".rpmsave",
    ".rpmorig",
    ".ucf-old",
    ".ucf-new",
    ".ucf-dist",
];

/// Suffixes of hidden files that editors keep while a file is open: Vim's swap files .swp to .saa, Kate's.
const KEPT_BY_EDITORS: &[&str] = &[".swp", ".swo", ".swn", ".swx", ".kate-swp"];

/// What does not belong to a declaration.
#[derive(Default)]
pub(crate) struct Ignored(Vec<Pattern>);

impl Ignored {
    /// Reads the text of a `.conductorignore`, of which a later line wins over earlier ones and over what is ignored
    /// everywhere.
    pub(crate) fn parse(text: &str) -> Self {
        Self(gix_ignore::parse(text.as_bytes(), false).map(|(pattern, _, _)| pattern).collect())
    }

    /// Returns whether an entry is none of the declaration's files. `path` is relative to the declaration's directory;
    /// the directories above it are not ignored.
    pub(crate) fn has(&self, path: &Utf8Path, is_dir: bool) -> bool {
        let name = path.file_name().unwrap_or_default();
        let basename = path.as_str().len() - name.len();
        let matches = |pattern: &&Pattern| {
            let basename = (basename > 0).then_some(basename);
            let mode = Mode::NO_MATCH_SLASH_LITERAL;
            pattern.matches_repo_relative_path(path.as_str().into(), basename, Some(is_dir), Case::Sensitive, mode)
        };
        let last = self.0.iter().rfind(matches);
        last.map_or_else(|| path == IGNORE || is_left_behind(name), |pattern| !pattern.is_negative())
    }
}

/// Returns whether a name is one that version control, an editor, a package manager or a file system uses for itself.
pub(crate) fn is_left_behind(name: &str) -> bool {
    let is_of_editor = match name.as_bytes() {
        [b'#', .., b'#'] | [b'.', b'#', ..] | [.., b'~'] => true,
        [b'.', ..] => {
            KEPT_BY_EDITORS.iter().any(|suffix| name.ends_with(suffix)) || name.starts_with(".goutputstream-")
        }
        _ => false,
    };
    // An NFS client keeps a removed file that is open as .nfs and 24 hex digits.
    let is_of_file_system = matches!(name, ".DS_Store" | "lost+found") || name.starts_with(".nfs0");
    is_of_editor
        || is_of_file_system
        || VERSION_CONTROL.contains(&name)
        || KEPT_BY_PACKAGES.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_leave_is_ignored() {
        let none = Ignored::default();
        for path in [
            ".git",
            ".hg",
            "lib/.svn",
            ".server.py.swp",
            ".app.swo",
            "server.py~",
            "#server.py#",
            ".#server.py",
            "lib/app.conf.dpkg-old",
            "app.conf.rpmnew",
            ".nfs000000000023c0ab00000001",
            ".conductorignore",
            ".DS_Store",
        ] {
            assert!(none.has(path.into(), false), "{path}");
        }
        for path in [".gitignore", "a.swp", "~a", "#a", "a#", ".env", "old.bak", ".swp/a", "lib/.conductorignore", "x"]
        {
            assert!(!none.has(path.into(), false), "{path}");
        }
    }

    #[test]
    fn patterns_are_those_of_git() {
        let text =
            "# tests\n*.log\n!keep.log\n/build\nnode_modules/\ndocs/*.txt\nsrc/**/cache\n\\#odd\ntrailing  \n!.git\n";
        let ignored = Ignored::parse(text);
        for (path, is_dir) in [
            ("a.log", false),
            ("x/a.log", false),
            ("build", true),
            ("node_modules", true),
            ("x/node_modules", true),
            ("docs/a.txt", false),
            ("src/a/b/cache", true),
            ("src/cache", false),
            ("#odd", false),
            ("trailing", false),
            ("a~", false),
        ] {
            assert!(ignored.has(path.into(), is_dir), "{path}");
        }
        for (path, is_dir) in [
            ("keep.log", false),
            ("x/keep.log", false),
            ("x/build", true),
            ("node_modules", false),
            ("docs/x/a.txt", false),
            ("x/docs/a.txt", false),
            ("# tests", false),
            (".git", true),
        ] {
            assert!(!ignored.has(path.into(), is_dir), "{path}");
        }
    }
}
