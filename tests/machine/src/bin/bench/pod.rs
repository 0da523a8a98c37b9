//! A rolling update of a pod: it has a health check, a bridge and a drain, which podman alone has not.

use conductor_machine::figure::median;
use conductor_machine::image::{self, IMAGE};

use crate::Outcome;
use crate::build::Host;
use crate::clock::milliseconds;
use crate::plain::sides;
use crate::table::Table;

/// Updates, after a first one that does not count.
const UPDATES: usize = 12;

const SERVICE: &str = r#"[pod]
template = "pod.yaml"
port = 8080
environment = { VERSION = "{{ VERSION }}" }
[health]
http = "/healthz"
"#;

/// Updates a pod, against a start of another pod and a stop of the first.
pub(crate) fn measure(host: &Host, table: &mut Table) -> Outcome {
    let machine = host.boot()?;
    image::make(&machine, IMAGE, "1");
    machine.write("/root/pod/service.toml", SERVICE);
    machine.write("/root/pod/pod.yaml", &image::pod("web"));
    machine.write("/root/a.yaml", &image::pod("a"));
    machine.write("/root/b.yaml", &image::pod("b"));
    machine.run("conductor service declare /root/pod VERSION=0; podman kube play /root/a.yaml");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for version in 1..=UPDATES + 1 {
        machine.run(&format!("conductor service declare --no-start /root/pod VERSION={version}"));
        ours.push(milliseconds(&machine, "systemctl reload pod"));
        let (old, new) = sides(version);
        let calls = format!("{{ podman kube play /root/{new}.yaml; podman kube down /root/{old}.yaml; }} >/dev/null");
        theirs.push(milliseconds(&machine, &calls));
    }
    let figure = format!("rolling a pod of one container, {host}, against kube play + down");
    table.compare(&figure, median(&ours[1..]), median(&theirs[1..]), 1.3);
    Ok(())
}
