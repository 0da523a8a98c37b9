//! The program of a function, with what does not depend on the request.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::expansion::expand;
use crate::model::function::Compiled;
use crate::model::{Command, Engine, program_path};

/// Variables of the gateway that programs inherit. All others come from the manifest and the request.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TZ",
    "TMPDIR",
    "CREDENTIALS_DIRECTORY",
    "STATE_DIRECTORY",
    "CACHE_DIRECTORY",
    "LOGS_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "INVOCATION_ID",
];
/// Variables that a container's programs do not inherit: they are the gateway's, sd_listen_fds(3), sd_notify(3)
/// and sd_watchdog_enabled(3).
const NOT_INHERITED: &[&str] =
    &["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];
/// The search path of programs where the environment has none.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The directory to which PATH_INFO is appended for PATH_TRANSLATED.
const DOCUMENT_ROOT: &str = "DOCUMENT_ROOT";

/// A program and its arguments, working directory and environment.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) dir: PathBuf,
    pub(crate) environment: Arc<BTreeMap<OsString, OsString>>,
    /// Whether it writes a complete HTTP response, RFC 3875 section 5.
    pub(crate) is_nph: bool,
}

impl Program {
    /// Returns the program of an `[exec]` section.
    ///
    /// # Errors
    /// If the function has a container, or the search path has no such program.
    pub(crate) fn on_host(compiled: &Compiled) -> Result<Self, String> {
        let Engine::Exec { command: Command(command) } = &compiled.function.process.engine else {
            return Err("the function's program is in its container".to_owned());
        };
        Self::of_command(compiled, command)
    }

    /// Returns the program of a command that runs on the host.
    ///
    /// # Errors
    /// If the search path has no such program.
    pub(crate) fn of_command(compiled: &Compiled, command: &[String]) -> Result<Self, String> {
        let (name, arguments) = command.split_first().ok_or("the command is empty")?;
        let path = find(program_path(&compiled.dir, name).as_str(), SEARCH_PATH.as_ref())?;
        Ok(Self::new(compiled, path, arguments, environment_on_host(compiled), (&compiled.dir).into()))
    }

    /// Returns the program of a container that this process runs in, with the container's environment and directory.
    ///
    /// # Errors
    /// If the search path has no such program, or the working directory is gone.
    pub(crate) fn in_container(compiled: &Compiled, command: &[String]) -> Result<Self, String> {
        let (name, arguments) = command.split_first().ok_or("the command is empty")?;
        let search_path = env::var_os("PATH").unwrap_or_else(|| SEARCH_PATH.into());
        let path = find(name, &search_path)?;
        let is_inherited = |name: &OsStr| !NOT_INHERITED.iter().any(|it| name == *it);
        let environment = env::vars_os().filter(|(name, _)| is_inherited(name)).collect();
        let dir = env::current_dir().map_err(|error| format!("could not find the working directory: {error}"))?;
        Ok(Self::new(compiled, path, arguments, environment, dir))
    }

    /// Returns what all programs of a function on the host share: variables, and no path.
    pub(crate) fn without_path(compiled: &Compiled) -> Self {
        Self::new(compiled, PathBuf::new(), &[], environment_on_host(compiled), (&compiled.dir).into())
    }

    fn new(
        compiled: &Compiled,
        path: PathBuf,
        arguments: &[String],
        mut environment: BTreeMap<OsString, OsString>,
        dir: PathBuf,
    ) -> Self {
        environment.insert("CONDUCTOR_FUNCTION".into(), compiled.id.as_str().into());
        // RFC 3875 does not define them, but php-cgi(1) and others need them. What the manifest says counts.
        environment.entry("SCRIPT_FILENAME".into()).or_insert_with(|| path.clone().into());
        let root = compiled.function.programs.as_ref().map(|programs| programs.path(&compiled.dir));
        let root = root.unwrap_or_else(|| compiled.dir.clone());
        environment.entry(DOCUMENT_ROOT.into()).or_insert_with(|| root.as_str().into());
        let value = |name: &str| environment.get(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned());
        let arguments = arguments.iter().map(|word| expand(word, value).into()).collect();
        let is_nph = is_nph(&path);
        Self { path, arguments, dir, environment: Arc::new(environment), is_nph }
    }

    /// Returns the directory to which paths of requests belong: DOCUMENT_ROOT.
    pub(crate) fn root(&self) -> &OsStr {
        self.environment.get(OsStr::new(DOCUMENT_ROOT)).map_or(OsStr::new(""), OsString::as_os_str)
    }
}

/// Returns what a program on the host inherits, and its declared variables.
fn environment_on_host(compiled: &Compiled) -> BTreeMap<OsString, OsString> {
    let inherited = INHERITED.iter().filter_map(|name| Some((OsString::from(name), env::var_os(name)?)));
    let mut environment: BTreeMap<_, _> = inherited.collect();
    environment.entry("PATH".into()).or_insert_with(|| SEARCH_PATH.into());
    let declared = &compiled.function.process.environment;
    environment.extend(declared.iter().map(|(name, value)| (name.into(), value.into())));
    environment
}

/// Returns whether a program writes a complete HTTP response, RFC 3875 section 5.
pub(crate) fn is_nph(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.as_bytes().starts_with(b"nph-"))
}

/// Returns the path of a program. A name without a slash is searched for.
fn find(program: &str, search_path: &OsStr) -> Result<PathBuf, String> {
    if program.contains('/') {
        return Ok(program.into());
    }
    let path = env::split_paths(search_path).map(|dir| dir.join(program)).find(|path| path.is_file());
    path.ok_or_else(|| format!("no program {program} in {}", search_path.display()))
}
