//! `conductor new`

use fs_err as fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use camino::Utf8PathBuf;
use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;
use crate::names::ServiceName;
use crate::proxy::chosen::Chosen;
use crate::source::DECLARATION;
use crate::source::functions::MANIFEST;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Name of the service or function, and of the directory that is created
    #[arg(value_name = "NAME")]
    new: String,
    /// Create a service that runs a program, a small web server in Python [default]
    #[arg(long, group = "engine")]
    exec: bool,
    /// Create a service that runs a container with podman
    #[arg(long, group = "engine")]
    container: bool,
    /// Create a service that runs a Kubernetes pod with podman
    #[arg(long, group = "engine")]
    pod: bool,
    /// Create a CGI function, which runs a program for each request
    #[arg(long, group = "engine")]
    cgi: bool,
    /// Create a service that runs a Python application with gunicorn
    #[arg(long, group = "engine")]
    python: bool,
    /// Create a service that runs a server in Node.js
    #[arg(long, group = "engine")]
    node: bool,
    /// Create a service that runs PHP with lighttpd
    #[arg(long, group = "engine")]
    php: bool,
    /// Create a site of files that the reverse proxy serves
    #[arg(long = "static", group = "engine")]
    site: bool,
    /// Create a worker, to which nobody connects
    #[arg(long, group = "engine")]
    worker: bool,
    /// Create a job, which systemd starts by the clock
    #[arg(long, group = "engine")]
    job: bool,
    /// Create the directory below DIR [default: the current directory]
    #[arg(long, value_name = "DIR", default_value = "", hide_default_value = true)]
    directory: Utf8PathBuf,
}

/// A file of a declaration, in which `NAME` stands for the service's name.
struct File {
    path: &'static str,
    text: &'static str,
    executable: bool,
}

const fn file(path: &'static str, text: &'static str) -> File {
    File { path, text, executable: false }
}

const fn executable(path: &'static str, text: &'static str) -> File {
    File { path, text, executable: true }
}

/// The files of a starter declaration, and the command that tries it.
struct Starter {
    files: &'static [File],
    declare: &'static str,
    attempt: &'static str,
}

const CURL: &str = "curl http://NAME.localhost/";

const fn starter(files: &'static [File]) -> Starter {
    Starter { files, declare: "conductor service declare", attempt: CURL }
}

const EXEC: Starter = starter(&[
    file(DECLARATION, include_str!("../../templates/new/exec.toml")),
    executable("server.py", include_str!("../../examples/hello/server.py")),
]);
const CONTAINER: Starter = starter(&[
    file(DECLARATION, include_str!("../../templates/new/container.toml")),
    file("public/index.html", include_str!("../../templates/new/index.html")),
]);
const POD: Starter = starter(&[
    file(DECLARATION, include_str!("../../templates/new/pod.toml")),
    file("pod.yaml", include_str!("../../templates/new/pod.yaml")),
    file("public/index.html", include_str!("../../templates/new/index.html")),
]);
const CGI: Starter = Starter {
    declare: "conductor cgi declare",
    attempt: "curl http://localhost/NAME",
    ..starter(&[
        file(MANIFEST, include_str!("../../templates/new/function.toml")),
        executable("NAME.sh", include_str!("../../templates/new/function.sh")),
    ])
};
const PYTHON: Starter = starter(&[
    file(DECLARATION, include_str!("../../templates/new/python.toml")),
    file("app.py", include_str!("../../examples/gunicorn/app.py")),
]);
const NODE: Starter = starter(&[
    file(DECLARATION, include_str!("../../templates/new/node.toml")),
    file("server.js", include_str!("../../examples/node/server.js")),
]);
const PHP: Starter = starter(&[
    file(DECLARATION, include_str!("../../templates/new/php.toml")),
    file("lighttpd.conf", include_str!("../../examples/php/lighttpd.conf")),
    file("public/index.php", include_str!("../../examples/php/public/index.php")),
]);
const STATIC: Starter = starter(&[
    file(DECLARATION, include_str!("../../templates/new/static.toml")),
    file("public/index.html", include_str!("../../templates/new/index.html")),
]);
const WORKER: Starter = Starter {
    attempt: "conductor service logs NAME",
    ..starter(&[
        file(DECLARATION, include_str!("../../templates/new/worker.toml")),
        executable("work.sh", include_str!("../../templates/new/work.sh")),
    ])
};
const JOB: Starter = Starter {
    attempt: "conductor run NAME report",
    ..starter(&[
        file(DECLARATION, include_str!("../../templates/new/job.toml")),
        executable("report.sh", include_str!("../../templates/new/report.sh")),
    ])
};

impl Arguments {
    fn starter(&self) -> Starter {
        let given = [
            (self.container, CONTAINER),
            (self.pod, POD),
            (self.cgi, CGI),
            (self.python, PYTHON),
            (self.node, NODE),
            (self.php, PHP),
            (self.site, STATIC),
            (self.worker, WORKER),
            (self.job, JOB),
        ];
        given.into_iter().find(|(is_given, _)| *is_given).map_or(EXEC, |(_, starter)| starter)
    }
}

/// What stands in a service's declaration instead of its route on a host without a reverse proxy.
const PORT: &str = "\
[[port]]                             # where callers connect: this host has no reverse proxy
listen = \"127.0.0.1:8080\"
";
/// The address of a service with `PORT`.
const ADDRESS: &str = "127.0.0.1:8080";

/// Returns a declaration's text for a host without a reverse proxy.
fn without_route(text: &str) -> String {
    let text = text.replace("NAME.localhost/", &format!("{ADDRESS}/"));
    match text.split_once("[[route]]") {
        None => text,
        Some((before, rest)) => {
            let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
            format!("{before}{PORT}\n{after}")
        }
    }
}

/// Creates a declaration that works as it is, with comments on what to change.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let name = ServiceName::new(&arguments.new).map_err(Failure::Usage)?;
    let dir = arguments.directory.join(name.as_str());
    let Starter { files, declare, attempt } = arguments.starter();
    let Chosen { driver, .. } = Chosen::of_host(&context.layout);
    let has_proxy = driver.is_some_and(|driver| driver.is_installed(&context.layout));
    // An existing directory must be empty: no file of its owner is overwritten.
    if dir.read_dir_utf8().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::Failed(format!("{dir} already exists and is not empty; choose another name")));
    }
    for File { path, text, executable } in files {
        let path = dir.join(path.replace("NAME", name.as_str()));
        fs::create_dir_all(path.parent().unwrap_or(&dir))?;
        // Another user may have put a link there meanwhile.
        // Nothing but a reverse proxy serves a site.
        let text = if has_proxy || arguments.site { (*text).to_owned() } else { without_route(text) };
        fs::File::create_new(&path)?.write_all(text.replace("NAME", name.as_str()).as_bytes())?;
        if *executable {
            fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        outln!("{path}");
    }
    let attempt = attempt.replace("NAME", name.as_str());
    let attempt = if has_proxy { attempt } else { attempt.replace(&format!("{name}.localhost"), ADDRESS) };
    outln!("\n{declare} {dir}\n{attempt}");
    Ok(())
}
