//! Many services, declared for conductor and for Quadlet.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use conductor_machine::machine::Machine;

use crate::build::{Host, files};

/// Declares services for both generators below `root`.
pub(crate) fn declare(root: &Path, count: usize) -> io::Result<()> {
    let quadlet = root.join("quadlet");
    fs::create_dir_all(&quadlet)?;
    for number in 0..count {
        let name = format!("service-{number:04}");
        let dir = root.join("etc/conductor/services").join(&name);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("service.toml"), service_toml(&name, number))?;
        fs::write(dir.join("server"), format!("#!/bin/sh\n# {name}\n{}", "exec true\n".repeat(60)))?;
        fs::set_permissions(dir.join("server"), fs::Permissions::from_mode(0o755))?;
        fs::write(dir.join("settings.json"), format!("{{ \"number\": {number} }}\n").repeat(20))?;
        fs::write(quadlet.join(format!("{name}.container")), container(&name, number))?;
    }
    Ok(())
}

/// Boots a machine on which so many small services run.
pub(crate) fn running(host: &Host, count: usize) -> io::Result<Machine> {
    let machine = host.boot()?;
    declare_small(&files(&machine), count)?;
    machine.copy_app("/usr/local/bin/app");
    machine.run("conductor daemon-reload");
    Ok(machine)
}

/// Declares services of the machine's /usr/local/bin/app, so small that the processes of a thousand fit on a machine.
fn declare_small(root: &Path, count: usize) -> io::Result<()> {
    declare(root, count)?;
    for number in 0..count {
        let name = format!("service-{number:04}");
        let text = service_toml(&name, number).replace("concurrency = 3", "concurrency = 1");
        let (head, rest) = text.split_once("command = ").expect("a command");
        let (_, rest) = rest.split_once('\n').expect("a line");
        let text = format!("{head}command = [\"/usr/local/bin/app\"]\nsandbox = \"none\"\n{rest}");
        fs::write(root.join("etc/conductor/services").join(name).join("service.toml"), text)?;
    }
    Ok(())
}

fn service_toml(name: &str, number: usize) -> String {
    format!(
        r#"description = "Service number {number}"
concurrency = 3

[config]
LOG_LEVEL = "info"
GREETING = "good day"

[exec]
command = ["./server", "--workers", "2", "--name", "{name}"]
environment = {{ NUMBER = "{number}", DATABASE = "postgres:///{name}" }}

[health]
http = "/healthz"

[[route]]
host = ["{name}.example.com"]

[deploy]
drain_timeout = "20s"

[resources]
memory_max = "512M"
cpu_weight = 100
"#
    )
}

fn container(name: &str, number: usize) -> String {
    format!(
        r#"[Unit]
Description=Service number {number}

[Container]
Image=localhost/{name}:1
Exec=./server --workers 2 --name {name}
Environment=LOG_LEVEL=info "GREETING=good day"
Environment=NUMBER={number} DATABASE=postgres:///{name}
HealthCmd=curl --fail http://localhost/healthz
Volume=/srv/{name}:/data

[Service]
MemoryMax=512M
CPUWeight=100
Restart=always

[Install]
WantedBy=multi-user.target
"#
    )
}
