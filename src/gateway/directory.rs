//! A directory of programs, as Apache's ScriptAlias has it: the file system tells which part of a path is the program's.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hyper::StatusCode;

use crate::gateway::fault::Fault;
use crate::gateway::mount::ScriptPath;
use crate::gateway::process::Variables;
use crate::gateway::program::{Program, is_nph};
use crate::model::Command;
use crate::model::function::Compiled;
use crate::model::programs::Programs;

/// A directory of programs.
pub(crate) struct Directory {
    root: PathBuf,
    /// The programs that run files, by the suffixes of those.
    interpreters: Vec<(String, Program)>,
    /// The names of files that answer for a directory.
    index: Vec<String>,
    /// What all programs share.
    program: Program,
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found {
    /// The program to run, the parts of the path, and variables of the file.
    Program(Box<Program>, ScriptPath, Variables),
    /// A directory with an index, whose path lacks the slash at its end.
    Directory,
}

impl Directory {
    /// # Errors
    /// If the search path has no such interpreter.
    pub(crate) fn new(compiled: &Compiled, programs: &Programs) -> Result<Self, String> {
        let interpreter =
            |(suffix, Command(words)): (&String, &Command)| Ok((suffix.clone(), Program::of_command(compiled, words)?));
        Ok(Self {
            root: programs.path(&compiled.dir).into(),
            interpreters: programs.interpreters.iter().map(interpreter).collect::<Result<_, String>>()?,
            index: programs.index.clone(),
            program: Program::without_path(compiled),
        })
    }

    /// Finds the file of a path, whose file system may let the caller wait.
    ///
    /// # Errors
    /// 404 if there is none, it is hidden or outside of the directory; 403 if it cannot be run.
    pub(crate) fn find(&self, path: &ScriptPath) -> Result<Found, Fault> {
        let info = &path.path_info;
        let (mut file, mut end) = (self.root.clone(), 0);
        while let Some(segment) = segment(info, end) {
            let next = end + 1 + segment.len();
            if segment.starts_with(b".") {
                return Err(not_found("a hidden file"));
            }
            if !segment.is_empty() {
                file.push(OsStr::from_bytes(segment));
                if !look(&file)?.is_dir() {
                    return self.program(file, path, next);
                }
            }
            end = next;
        }
        let mut indices = self.index.iter().map(|name| file.join(name)).filter(|index| index.is_file());
        let index = indices.next().ok_or_else(|| not_found("a directory without an index"))?;
        if !info.ends_with(b"/") {
            return Ok(Found::Directory);
        }
        let name = index.file_name().unwrap_or_default().as_bytes().to_vec();
        let script_name = [&path.script_name[..], info, &name].concat();
        self.program(index, &ScriptPath { script_name, path_info: Vec::new() }, 0)
    }

    /// Returns the program that answers for a file; `end` is where its part of the path ends.
    fn program(&self, file: PathBuf, path: &ScriptPath, end: usize) -> Result<Found, Fault> {
        let (own, rest) = path.path_info.split_at(end);
        let is_inside = || Ok::<_, io::Error>(fs::canonicalize(&file)?.starts_with(fs::canonicalize(&self.root)?));
        if !is_inside().map_err(|error| unreachable(&file, &error))? {
            return Err(not_found("a link that leaves the directory"));
        }
        let file_is = look(&file)?;
        if !file_is.is_file() {
            return Err(not_found("no regular file"));
        }
        let suffix = file.extension().and_then(OsStr::to_str);
        let interpreter = self.interpreters.iter().find(|(of, _)| Some(of.as_str()) == suffix);
        let (path_of_it, mut arguments) = match interpreter {
            Some((_, Program { path, arguments, .. })) => (path.clone(), arguments.clone()),
            None if file_is.permissions().mode() & 0o111 == 0 => {
                let reason = format!("{} is not executable, and its suffix has no interpreter", file.display());
                return Err(Fault::new(StatusCode::FORBIDDEN, reason));
            }
            None => (file.clone(), Vec::new()),
        };
        if interpreter.is_some() {
            arguments.push(file.clone().into_os_string());
        }
        let script_path = ScriptPath { script_name: [&path.script_name[..], own].concat(), path_info: rest.to_vec() };
        let program = Program {
            path: path_of_it,
            arguments,
            is_nph: is_nph(&file),
            dir: file.parent().unwrap_or(&self.root).to_owned(),
            ..self.program.clone()
        };
        let mut variables = vec![("SCRIPT_FILENAME".into(), file.into_os_string())];
        if interpreter.is_some() {
            // php-cgi(1) runs no file without it: `cgi.force_redirect`.
            variables.push(("REDIRECT_STATUS".into(), "200".into()));
        }
        Ok(Found::Program(Box::new(program), script_path, variables))
    }
}

/// Returns the part of a path between the slash at `start` and the next one.
fn segment(path: &[u8], start: usize) -> Option<&[u8]> {
    let rest = path.get(start..)?.strip_prefix(b"/")?;
    Some(rest.split(|byte| *byte == b'/').next().unwrap_or_default())
}

fn look(file: &Path) -> Result<Metadata, Fault> {
    fs::metadata(file).map_err(|error| unreachable(file, &error))
}

fn unreachable(file: &Path, error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let reason = format!("{}: {error}; the function's user must read the directory", file.display());
        return Fault::new(StatusCode::FORBIDDEN, reason);
    }
    not_found(&error.to_string())
}

fn not_found(reason: &str) -> Fault {
    Fault::new(StatusCode::NOT_FOUND, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::sync::Arc;

    use proptest::prelude::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().expect("a directory"));
            for (file, mode) in [
                ("cgi/act", 0o755),
                ("cgi/nph-raw", 0o755),
                ("cgi/page.php", 0o644),
                ("cgi/text.css", 0o644),
                ("cgi/.hidden", 0o755),
                ("cgi/.git/hook", 0o755),
                ("cgi/sub/index.php", 0o644),
                ("cgi/bare/other", 0o755),
                ("outside", 0o755),
            ] {
                let path = tree.0.path().join(file);
                fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
                fs::write(&path, "").expect("a file");
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            }
            let link = |to: &str, name: &str| symlink(to, tree.0.path().join("cgi").join(name)).expect("a link");
            link("act", "alias");
            link("../outside", "leaves");
            link("..", "up");
            link("/etc", "etc");
            link("loop", "loop");
            tree
        }

        fn directory(&self) -> Directory {
            let program = Program {
                path: PathBuf::new(),
                arguments: Vec::new(),
                dir: PathBuf::new(),
                environment: Arc::default(),
                is_nph: false,
            };
            let php = Program { path: "/bin/php".into(), arguments: vec!["-q".into()], ..program.clone() };
            let (interpreters, index) =
                (vec![("php".to_owned(), php)], vec!["none".to_owned(), "index.php".to_owned()]);
            Directory { root: self.0.path().join("cgi"), interpreters, index, program }
        }

        /// The program and its last argument, SCRIPT_NAME and PATH_INFO, or the status.
        fn find(&self, path: &str) -> Result<[String; 4], u16> {
            let path = ScriptPath { script_name: b"/t".to_vec(), path_info: path.as_bytes().to_vec() };
            let short = |path: &Path| path.strip_prefix(self.0.path()).unwrap_or(path).display().to_string();
            match self.directory().find(&path) {
                Ok(Found::Program(program, ScriptPath { script_name, path_info }, _)) => {
                    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
                    let last = program.arguments.last().map_or_else(String::new, |last| short(Path::new(last)));
                    Ok([short(&program.path), last, text(script_name), text(path_info)])
                }
                Ok(Found::Directory) => Err(301),
                Err(fault) => Err(fault.status.as_u16()),
            }
        }
    }

    #[test]
    fn the_file_system_tells_which_path_is_the_programs() {
        let tree = Tree::new();
        let found = |path: &str| tree.find(path).unwrap_or_else(|status| panic!("{path}: {status}"));
        assert_eq!(found("/act"), ["cgi/act", "", "/t/act", ""]);
        assert_eq!(found("/act/x/../y"), ["cgi/act", "", "/t/act", "/x/../y"]);
        assert_eq!(found("/alias/"), ["cgi/alias", "", "/t/alias", "/"]);
        assert_eq!(found("/page.php/x"), ["/bin/php", "cgi/page.php", "/t/page.php", "/x"]);
        assert_eq!(found("/sub/"), ["/bin/php", "cgi/sub/index.php", "/t/sub/index.php", ""]);
        assert_eq!(tree.find("/sub"), Err(301));
        for (path, status) in [
            ("", 404),
            ("/", 404),
            ("/bare/", 404),
            ("/bare", 404),
            ("/none", 404),
            ("/.hidden", 404),
            ("/.git/hook", 404),
            ("/sub/../act", 404),
            ("/./act", 404),
            ("/../outside", 404),
            ("/leaves", 404),
            ("/up/outside", 404),
            ("/etc/passwd", 404),
            ("/loop", 404),
            ("/text.css", 403),
        ] {
            assert_eq!(tree.find(path), Err(status), "{path}");
        }
        let long = format!("/{}", "a".repeat(300));
        assert_eq!(tree.find(&long), Err(404));
        let path = ScriptPath { script_name: Vec::new(), path_info: b"/nph-raw".to_vec() };
        assert!(matches!(tree.directory().find(&path), Ok(Found::Program(program, ..)) if program.is_nph));
    }

    proptest! {
        #[test]
        fn no_path_leads_out_of_the_directory(path in "(/(act|alias|leaves|up|etc|outside|sub|bare|other|\\.\\.?|[a-z]?)){0,5}/?") {
            let tree = Tree::new();
            if let Ok([program, last, script_name, path_info]) = tree.find(&path) {
                prop_assert!(program.starts_with("cgi/") || last.starts_with("cgi/"), "{} {}", program, last);
                let joined = format!("{script_name}{path_info}");
                let whole = format!("/t{path}");
                prop_assert!(joined.starts_with(&whole), "{} {}", joined, whole);
            }
        }
    }
}
