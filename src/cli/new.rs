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

const EXEC: &[File] = &[
    file(DECLARATION, include_str!("../../templates/new/exec.toml")),
    File { path: "server.py", text: include_str!("../../examples/hello/server.py"), executable: true },
];
const CONTAINER: &[File] = &[
    file(DECLARATION, include_str!("../../templates/new/container.toml")),
    file("public/index.html", include_str!("../../templates/new/index.html")),
];
const POD: &[File] = &[
    file(DECLARATION, include_str!("../../templates/new/pod.toml")),
    file("pod.yaml", include_str!("../../templates/new/pod.yaml")),
    file("public/index.html", include_str!("../../templates/new/index.html")),
];

const CGI: &[File] = &[
    file(MANIFEST, include_str!("../../templates/new/function.toml")),
    File { path: "NAME.sh", text: include_str!("../../templates/new/function.sh"), executable: true },
];

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
    let files = match (arguments.container, arguments.pod, arguments.cgi) {
        (true, _, _) => CONTAINER,
        (_, true, _) => POD,
        (_, _, true) => CGI,
        _ => EXEC,
    };
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
        let text = if has_proxy { (*text).to_owned() } else { without_route(text) };
        fs::File::create_new(&path)?.write_all(text.replace("NAME", name.as_str()).as_bytes())?;
        if *executable {
            fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        outln!("{path}");
    }
    if arguments.cgi {
        outln!("\nconductor cgi declare {dir}\ncurl http://localhost/{name}");
    } else {
        let address = if has_proxy { format!("{name}.localhost") } else { ADDRESS.to_owned() };
        outln!("\nconductor service declare {dir}\ncurl http://{address}/");
    }
    Ok(())
}
