//! Commands that run in containers and pods: health checks, and hooks by choice.

use conductor_machine::image::{self, IMAGE};
use conductor_machine::machine::Machine;

use super::shop;
use crate::scenario::scenarios;

scenarios!("inside":
    commands_run_in_containers,
    commands_run_in_pods,
);

/// `LINE` is what hooks and checks write into a volume, with what only the image and the container have.
const COMMANDS: &str = r#"
[health]
exec = ["/bin/sh", "-c", "LINE", "check"]
timeout = "5s"
[deploy]
health_timeout = "5s"
drain_timeout = "5s"
[hooks]
inside = ["post_start", "pre_stop", "drain"]
post_start = ["/bin/busybox", "sh", "-c", "LINE", "post_start"]
pre_stop = { command = ["/bin/sh", "-c", "LINE", "pre_stop"], timeout = "9s" }
drain = ["/bin/sh", "-c", "LINE", "drain"]
[[route]]
host = ["shop.localhost"]
tls = "off"
"#;
const LINE: &str = "echo $0 $(cat /etc/mark) $CONDUCTOR_INSTANCE ${PORT} $WHERE >>/srv/lines";

fn write(m: &Machine, service: &str, commands: &str) {
    m.run("mkdir -p /srv/shop; chmod 777 /srv/shop");
    if !m.try_run(&format!("podman image exists {IMAGE}")).success() {
        image::make(m, IMAGE, "7");
    }
    m.write(&format!("{}/service.toml", shop::DIR), &format!("{service}{}", COMMANDS.replace("LINE", commands)));
}

/// What the commands have written, each line once.
fn lines(m: &Machine) -> Vec<String> {
    let lines = m.run("sort -u /srv/shop/lines; rm /srv/shop/lines");
    lines.lines().map(str::to_owned).collect()
}

/// Declares a service whose commands run inside, updates it, and stops it; then versions whose check fails.
fn run_inside(m: &Machine, service: &str, expected: &str) {
    let line = |hook: &str| format!("{hook} {expected}");
    write(m, service, LINE);
    m.run(&shop::command("1"));
    assert_eq!(lines(m), [line("check"), line("post_start")]);
    m.run(&shop::command("2"));
    assert_eq!(lines(m), ["check", "drain", "post_start", "pre_stop"].map(line));
    let generation = shop::generation(m);
    for (command, told) in [
        ("echo not yet >&2; exit 3", "exited with status 3: not yet"),
        ("exec sleep 60", "no answer within 5s"),
        ("exec /bin/none", "exited with status 127"),
    ] {
        write(m, service, command);
        let output = m.try_run(&shop::command("3"));
        assert!(!output.success() && output.stderr.contains(told), "{told}: {output}");
        assert!(output.stderr.contains("health check (/bin/sh -c"), "{output}");
        assert_eq!(shop::generation(m), generation);
    }
    m.run("systemctl stop shop; rm --force /srv/shop/lines");
    assert_eq!(m.run("podman ps --all --quiet"), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
    // The program of a check is the image's, and need not be on the host.
    write(m, service, LINE);
    m.run(&format!("sed -i '/^inside/s/drain/pre_start/' {}/service.toml", shop::DIR));
    let output = m.try_run(&format!("conductor check {} VERSION=1", shop::DIR));
    assert!(!output.success() && output.stderr.contains("no container runs at the time of \"pre_start\""), "{output}");
    m.run("conductor service rm shop");
}

fn commands_run_in_containers(m: &mut Machine) {
    let service = format!(
        r#"[container]
image = "{IMAGE}"
port = 8080
exec = ["/bin/app", "--stop-delay", "0s", "--address", "0.0.0.0", "--tcp", "${{PORT}}"]
environment = {{ VERSION = "{{{{ VERSION }}}}", WHERE = "inside" }}
volume = ["/srv/shop:/srv"]
user = "1000:1000"
"#
    );
    run_inside(m, &service, "7 1 8080 inside");
}

/// Its commands run in the container that the annotation names.
const POD: &str = r#"apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations: {kubectl.kubernetes.io/default-container: beside}
spec:
  containers:
  - name: web
    image: IMAGE
    command: [/bin/app, --stop-delay, 0s, --address, 0.0.0.0, --tcp, "8080"]
  - name: beside
    image: IMAGE
    command: [/bin/sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    env: [{name: WHERE, value: beside}]
    volumeMounts: [{name: lines, mountPath: /srv}]
  volumes:
  - name: lines
    hostPath: {path: /srv/shop, type: Directory}
"#;

fn commands_run_in_pods(m: &mut Machine) {
    m.write(&format!("{}/pod.yaml", shop::DIR), &POD.replace("IMAGE", IMAGE));
    let environment = r#"environment = { VERSION = "{{ VERSION }}", WHERE = "nowhere" }"#;
    let service = format!("[pod]\ntemplate = \"pod.yaml\"\nport = 8080\n{environment}\n");
    run_inside(m, &service, "7 1 8080 beside");
}
