//! Programs that run below a root of Debian, where a generator finds its inputs.

use std::fs;
use std::io;
use std::os::unix::fs::chroot;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use nix::mount::{MsFlags, mount};
use nix::sys::resource::{UsageWho, getrusage};

/// A root whose /run is a tmpfs, where everything is written.
pub(crate) struct Chroot<'a>(&'a Path);

/// One run of a program.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) ms: f64,
    /// Peak memory in MiB.
    pub(crate) mib: f64,
}

impl<'a> Chroot<'a> {
    pub(crate) fn new(root: &'a Path) -> io::Result<Self> {
        mount(Some("tmpfs"), &root.join("run"), Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
        Ok(Self(root))
    }

    /// The place on this side of a path in the chroot.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// Runs a program in the chroot, alone below a process of its own, so that its peak memory is known.
    pub(crate) fn run(&self, words: &[&str], environment: &[(&str, &str)]) -> io::Result<Run> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--measure").arg(self.0).args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin").envs(environment.iter().copied());
        let output = command.stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut numbers = text.split_whitespace().map_while(|word| word.parse::<f64>().ok());
        match (output.status.success(), numbers.next(), numbers.next()) {
            (true, Some(micros), Some(kib)) => Ok(Run { ms: micros / 1e3, mib: kib / 1024.0 }),
            _ => Err(io::Error::other(format!("{words:?} failed: {text}"))),
        }
    }

    /// Makes a directory that is empty.
    pub(crate) fn fresh(&self, path: &str) -> io::Result<()> {
        let _ = fs::remove_dir_all(self.at(path));
        fs::create_dir_all(self.at(path))
    }
}

/// The process that `Chroot::run` starts.
pub(crate) fn measured(root: &str, program: &str, arguments: &[String]) -> ExitCode {
    let run = || {
        chroot(root)?;
        std::env::set_current_dir("/")?;
        let start = Instant::now();
        let status = Command::new(program).args(arguments).stdout(Stdio::null()).status()?;
        let elapsed = start.elapsed();
        let peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
        println!("{} {peak}", elapsed.as_micros());
        io::Result::Ok(status.success())
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}
