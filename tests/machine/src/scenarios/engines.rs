//! Whatever runs the application and however it listens: the same generations, slots, drains and health gates.

use std::time::Duration;

use conductor_machine::image::{self, IMAGE};
use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use super::shop::{self, Engine, Listen, Shop};
use crate::scenario::scenarios;

scenarios!("engines":
    unix(|m| rolls(m, Engine::Exec(Listen::Unix))),
    tcp(|m| rolls(m, Engine::Exec(Listen::Tcp))),
    container_activation(|m| rolls(m, Engine::Container(Listen::Activation))),
    container_tcp(|m| rolls(m, Engine::Container(Listen::Tcp))),
    container_unix(|m| rolls(m, Engine::Container(Listen::Unix))),
    pod_tcp(|m| rolls(m, Engine::Pod(Listen::Tcp))),
    pod_unix(|m| rolls(m, Engine::Pod(Listen::Unix))),
    queue_of_a_unix_process_is_drained(|m| queued(m, Engine::Exec(Listen::Unix))):
        "nearly all callers wait in the queue of a process that has bound its own socket" => "no request fails",
    queue_of_a_pod_is_drained(|m| queued(m, Engine::Pod(Listen::Unix))):
        "they wait in a pod, in whose network alone the queue shows" => "no request fails",
    container_is_its_units,
    pod_is_its_units,
    pod_keeps_its_volumes,
    credentials_reach_containers,
    newer_images_roll,
    image_is_missing: "podman cannot pull the image of a new version" => "the old generation serves; the error quotes podman",
    pod_is_no_yaml: "a pod's file is not YAML, or no pod" => "nothing changes; the error names the file and the fault",
    container_exits(|m| fails(m, Engine::Container(Listen::Tcp), "--exit-at-start 3", "told to exit with 3")):
        "the container of a new version exits at once" => "the old generation serves; the error quotes the log lines",
    pods_container_exits(|m| fails(m, Engine::Pod(Listen::Tcp), "--exit-at-start 3", "connection refused")):
        "a container of a new pod exits again and again" => "the old generation serves; the error quotes the last answer",
    port_never_opens(|m| fails(m, Engine::Pod(Listen::Tcp), "--start-delay 1min", "connection refused")):
        "a new pod never listens on its port" => "the old generation serves; the error quotes the last answer",
    kills_of_a_tcp_process(|m| kills(m, Engine::Exec(Listen::Tcp))):
        "the process behind a bridge is killed, five times, under load"
        => "callers wait for the next; what fails was connected to it, or called before systemd had noticed",
    kills_of_a_container(|m| kills(m, Engine::Container(Listen::Tcp))):
        "a container is killed, five times, under load" => "the same",
    kills_of_a_pod(|m| kills(m, Engine::Pod(Listen::Tcp))): "a pod is killed, five times, under load" => "the same",
    example_container,
    example_pod,
    reboot(reboots): "a machine with containers and pods is rebooted, and then loses its power"
        => "the same generation serves again",
);

/// Rolling updates under load; after each, nothing of the one before is left, in podman's books either.
fn rolls(m: &mut Machine, engine: Engine) {
    let (concurrency, updates) = if matches!(engine, Engine::Exec(_)) { (3, 5) } else { (2, 3) };
    let shop = Shop::new(concurrency).engine(engine);
    shop.declare(m, "0");
    let load = m.load(shop::load());
    for version in 1..=updates {
        let old = shop::generation(m);
        shop.declare(m, &version.to_string());
        assert_eq!(shop::traces(m, &old), "", "of the generation before");
        if engine != Engine::Exec(Listen::Unix) && engine != Engine::Exec(Listen::Tcp) {
            assert_eq!(m.run(&format!("podman ps --all --format '{{{{.Names}}}}' | grep {old} || true")), "");
        }
    }
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert_eq!(seen.versions.len() as u32, updates + 1, "{:?}", seen.versions);
    shop::assert_serves(m, &updates.to_string(), concurrency);
    // Scaled down, then stopped: the same for those that go without another coming.
    Shop { concurrency: 1, ..shop }.declare(m, &updates.to_string());
    shop::assert_serves(m, &updates.to_string(), 1);
    let generation = shop::generation(m);
    m.run("systemctl stop shop");
    assert_eq!(shop::traces(m, &generation), "");
    assert_eq!(m.run("pgrep --exact app || true"), "");
    assert_eq!(m.run("podman ps --all --quiet"), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
    m.note(format!("{updates} updates of {concurrency} deployments, {seen}"));
}

/// One connection at a time and a rest in between: whatever stops too early loses what waits.
fn queued(m: &Machine, engine: Engine) {
    let shop = Shop::new(1).engine(engine).flags("--single --accept-delay 3ms");
    shop.declare(m, "0");
    let load = m.load(shop::saturating_load());
    let updates = if engine == Engine::Exec(Listen::Unix) { 10 } else { 4 };
    for version in 1..=updates {
        shop.declare(m, &version.to_string());
    }
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(format!("{updates} updates, {seen}"));
}

/// The only deployment's unit.
fn unit(m: &Machine) -> String {
    format!("shop-{}@1.service", shop::generation(m))
}

/// The control group, the journal and the main process are those of the deployment's unit.
fn assert_is_its_units(m: &Machine, engine: Engine) {
    Shop::new(1).engine(engine).extra("[resources]\nmemory_max = \"256M\"").declare(m, "1");
    let unit = unit(m);
    let group = m.prop(&unit, "ControlGroup");
    assert!(group.starts_with("/conductor.slice/conductor-shop.slice/"), "{group}");
    let app = m.run("grep ^0:: /proc/$(pgrep --exact app)/cgroup");
    assert!(app.starts_with(&format!("0::{group}/libpod-payload-")), "{app} is below {group}");
    let main = m.prop(&unit, "MainPID");
    assert_eq!(m.read(&format!("/proc/{main}/comm")), "conmon\n");
    assert_eq!(m.prop("conductor-shop.slice", "MemoryMax"), (256 << 20).to_string());
    let status = m.run("systemctl status conductor-shop.slice");
    assert!(status.contains("/bin/app"), "{status}");
    // It says that it is out of order.
    let loud = Shop::new(1).engine(engine).flags("--unhealthy").extra("[deploy]\nhealth_timeout = \"2s\"");
    assert!(!loud.try_declare(m, "2").success());
    let said = m.run("journalctl --sync; journalctl --output=cat CONDUCTOR_SERVICE=shop --grep='out of order'");
    assert!(said.contains("app 2: out of order"), "{said}");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn container_is_its_units(m: &mut Machine) {
    assert_is_its_units(m, Engine::Container(Listen::Tcp));
    let name = format!("shop-{}-1", shop::generation(m));
    let env = m.run(&format!("podman exec {name} /bin/busybox env"));
    for line in ["CONDUCTOR_SERVICE=shop", "CONDUCTOR_INSTANCE=1", "PORT=8080", "VERSION=1"] {
        assert!(env.lines().any(|there| there == line), "{line} in {env}");
    }
    assert!(env.contains(&format!("CONDUCTOR_DEPLOYMENT={name}\n")), "{env}");
}

fn pod_is_its_units(m: &mut Machine) {
    assert_is_its_units(m, Engine::Pod(Listen::Tcp));
    let name = format!("shop-{}-1", shop::generation(m));
    assert_eq!(m.run("podman pod ps --format '{{.Name}}'").trim(), name);
    let env = m.run(&format!("conductor deployment env {name}; podman exec {name}-web /bin/busybox env"));
    assert!(env.contains(&format!("POD_NAME={name}\n")) && env.contains("POD_IP_ADDRESS=10."), "{env}");
}

/// Two containers, a ConfigMap, a claim, a directory of the host, and a template that says who it is.
const VOLUMES: &str = r#"apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: shop-data
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: localhost/app:1
        command: [/bin/app, --stop-delay, 0s, --address, 0.0.0.0, --tcp, "{{ PORT }}"]
        envFrom:
        - configMapRef: {name: settings}
      - name: beside
        image: localhost/app:1
        command: [/bin/sh, -c, "trap 'exit 0' TERM; echo $MOOD {{ CONDUCTOR_INSTANCE }} $VERSION | /bin/busybox tee -a /data/lines >>/host/lines; while :; do sleep 0.1; done"]
        envFrom:
        - configMapRef: {name: settings}
        volumeMounts:
        - {name: data, mountPath: /data}
        - {name: host, mountPath: /host}
      volumes:
      - name: data
        persistentVolumeClaim: {claimName: shop-data}
      - name: host
        hostPath: {path: /srv/shop, type: Directory}
"#;

fn pod_keeps_its_volumes(m: &mut Machine) {
    // A hook before the start finds what podman will, as the service's user.
    let hook = "test $$(id -u) != 0 -a -e $$CONDUCTOR_DEPLOYMENT_DIR/pod.yaml";
    let hook = format!("[hooks]\npre_start = [\"/bin/sh\", \"-c\", {hook:?}]\n");
    let shop = Shop::new(1).engine(Engine::Pod(Listen::Tcp)).extra(&hook);
    shop.write(m);
    m.run("mkdir -p /srv/shop");
    m.write(&format!("{}/pod.yaml", shop::DIR), VOLUMES);
    m.write(
        &format!("{}/config.yaml", shop::DIR),
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  MOOD: good-{{ VERSION }}\n",
    );
    m.run(&format!("sed -i '/^template/a config_map = \"config.yaml\"' {}/service.toml", shop::DIR));
    for version in ["1", "2"] {
        m.run(&shop::command(version));
        assert_eq!(shop::get(m).split(' ').next(), Some(version));
    }
    m.until("both have written", Duration::from_secs(5), || m.read("/srv/shop/lines").lines().count() == 2);
    assert_eq!(m.read("/srv/shop/lines"), "good-1 1 1\ngood-2 1 2\n");
    m.run("conductor service rm shop");
    let volume = m.run("podman volume inspect shop-data --format '{{.Mountpoint}}'");
    assert_eq!(m.read(&format!("{}/lines", volume.trim())), "good-1 1 1\ngood-2 1 2\n");
    assert_eq!(m.run("podman ps --all --quiet"), "");
}

/// One from a file, one that only this machine can read; to a process that is not root, in a container and a pod.
fn credentials_reach_containers(m: &mut Machine) {
    m.write("/etc/credstore/db", "secret-1");
    m.run("mkdir -p /etc/credstore.encrypted; printf secret-2 | systemd-creds encrypt --with-key=host --name=key - /etc/credstore.encrypted/key");
    let credentials = "credentials = { db = \"/etc/credstore/db\" }\ncredentials_encrypted = { key = \"/etc/credstore.encrypted/key\" }\n";
    for engine in [Engine::Container(Listen::Tcp), Engine::Pod(Listen::Tcp)] {
        let shop = Shop::new(1).engine(engine);
        shop.write(m);
        let user = if engine == Engine::Container(Listen::Tcp) { "user = \"1000:1000\"\n" } else { "" };
        m.write(
            &format!("{}/service.toml", shop::DIR),
            &shop.service_toml().replace("environment =", &format!("{user}{credentials}environment =")),
        );
        m.run(&shop::command("1"));
        let name = format!("shop-{}-1", shop::generation(m));
        let container = if engine == Engine::Container(Listen::Tcp) { name.clone() } else { format!("{name}-web") };
        let read = r#"cat "$CREDENTIALS_DIRECTORY/db" "$CREDENTIALS_DIRECTORY/key""#;
        assert_eq!(m.run(&format!("podman exec --user 1000 {container} /bin/sh -c '{read}'")), "secret-1secret-2");
        // On the host only root may read it.
        let on_host = format!("/run/conductor/deployments/{name}/credentials/files/db");
        assert!(!m.try_run(&format!("setpriv --reuid=nobody --clear-groups cat {on_host}")).success());
    }
}

/// A tag moves: with `pull = "newer"` a declaration finds it, the digest is part of the generation, and back again.
fn newer_images_roll(m: &mut Machine) {
    let shop = Shop::new(1).engine(Engine::Container(Listen::Tcp));
    shop.write(m);
    m.run(&format!("sed -i '/^image/a pull = \"newer\"' {}/service.toml", shop::DIR));
    let mark = || {
        let name = format!("shop-{}-1", shop::generation(m));
        m.run(&format!("podman exec {name} /bin/cat /etc/mark")).trim().to_owned()
    };
    m.run(&shop::command("1"));
    let first = shop::generation(m);
    assert_eq!(mark(), "1");
    // Nothing new; and what is new for nobody who did not ask.
    m.run("conductor service reload shop");
    assert_eq!(shop::generation(m), first);
    image::make(m, IMAGE, "2");
    m.run("conductor daemon-reload; systemctl reload shop");
    assert_eq!((shop::generation(m), mark()), (first.clone(), "1".to_owned()));
    let told = m.run("conductor service reload shop");
    assert!(told.contains("shop: pinned the image to sha256:"), "{told}");
    assert_eq!(mark(), "2");
    let second = shop::generation(m);
    assert_ne!(second, first);
    m.run("conductor service rollback shop");
    assert_eq!((shop::generation(m), mark()), (first, "1".to_owned()));
    m.run(&shop::command("1"));
    assert_eq!((shop::generation(m), mark()), (second, "2".to_owned()));
}

fn image_is_missing(m: &mut Machine) {
    let shop = Shop::new(1).engine(Engine::Container(Listen::Tcp)).extra("[deploy]\nstrategy = \"recreate\"");
    shop.declare(m, "1");
    let load = m.load(shop::load());
    m.run(&format!("sed -i 's|localhost/app:1|localhost/other:7|' {}/service.toml", shop::DIR));
    let output = m.try_run(&shop::command("2"));
    assert!(!output.success(), "{output}");
    assert!(output.stderr.contains("could not pull image localhost/other:7: podman pull: "), "{output}");
    let pod = Shop::new(1).engine(Engine::Pod(Listen::Tcp));
    pod.write(m);
    m.run(&format!("sed -i 's|localhost/app:1|localhost/other:8|' {}/pod.yaml", shop::DIR));
    let output = m.try_run(&shop::command("3"));
    assert!(!output.success() && output.stderr.contains("could not pull image localhost/other:8"), "{output}");
    let seen = load.stop();
    assert_eq!((seen.failed, seen.versions.len()), (0, 1), "{seen}");
    shop::assert_serves(m, "1", 1);
    m.note(seen);
}

fn pod_is_no_yaml(m: &mut Machine) {
    let shop = Shop::new(1).engine(Engine::Pod(Listen::Tcp));
    shop.declare(m, "1");
    for (text, told) in [
        ("kind: Pod\n  spec: [\n", "not YAML: "),
        ("kind: ConfigMap\n", "pod.yaml: the file contains no pod"),
        ("kind: Pod\nspec: {}\n", "pod.yaml:2:7: spec.containers: the pod has no containers"),
        ("kind: Pod\nspec: {containers: [{name: a}]}\n", "spec.containers[0].image: the container has no image"),
        ("kind: Deployment\nspec: {replicas: 3}\n", "write concurrency = … in service.toml instead"),
        ("kind: Pod\nspec: {hostNetwork: true, containers: [{name: a, image: b}]}\n", "take hostNetwork out"),
        ("kind: Pod\nmetadata: {name: '{{ NOBODY }}'}\n", "the variable NOBODY is not given"),
    ] {
        m.write(&format!("{}/pod.yaml", shop::DIR), text);
        for command in [shop::command("2"), format!("conductor check {} VERSION=2", shop::DIR)] {
            let output = m.try_run(&command);
            assert_eq!(output.status, 3, "{output}");
            assert!(output.stderr.contains(told), "{told}: {output}");
            assert!(output.stderr.contains(&format!("{}/pod.yaml", shop::DIR)), "{output}");
        }
        shop::assert_serves(m, "1", 1);
    }
}

/// A new version does not become healthy.
fn fails(m: &Machine, engine: Engine, flags: &str, told: &str) {
    let shop = Shop::new(2).engine(engine).extra("[deploy]\nhealth_timeout = \"3s\"");
    shop.declare(m, "1");
    let load = m.load(shop::load());
    let output = shop.flags(flags).try_declare(m, "2");
    assert!(!output.success() && output.stderr.contains(told), "{output}");
    assert!(output.stderr.contains("still serves"), "{output}");
    let seen = load.stop();
    assert_eq!((seen.failed, seen.versions.len()), (0, 1), "{seen}");
    shop::assert_serves(m, "1", 2);
    assert_eq!(
        m.run("podman ps --all --format '{{.Names}}' | grep shop | grep -v service | grep -v infra | wc -l").trim(),
        "2"
    );
    m.note(seen);
}

/// The process is killed; clients wait until the next one is ready.
fn kills(m: &Machine, engine: Engine) {
    Shop::new(1).engine(engine).declare(m, "1");
    let load = m.load(shop::load());
    for _ in 0..5 {
        let before = m.run("pgrep --exact app").trim().to_owned();
        match engine {
            // Of a pod, everything: podman itself restarts a single container.
            Engine::Pod(_) => {
                let group = m.prop(&unit(m), "ControlGroup");
                m.run(&format!("kill -KILL $(cat /sys/fs/cgroup{group}/libpod-*/cgroup.procs /sys/fs/cgroup{group}/runtime/cgroup.procs) || true"))
            }
            Engine::Exec(_) | Engine::Container(_) => m.run(&format!("kill -KILL {before}")),
        };
        m.until("another process serves", Duration::from_secs(20), || {
            let now = m.try_run("pgrep --exact app").stdout;
            !now.trim().is_empty() && now.trim() != before && m.prop(&unit(m), "ActiveState") == "active"
        });
    }
    let seen = load.stop();
    // Each kill takes what its process was answering, and the bridge refuses callers until podman and systemd have
    // noticed; then they wait.
    let rounds = if matches!(engine, Engine::Exec(_)) { 4 } else { 12 };
    assert!(seen.failed <= 5 * 16 * rounds, "{seen}");
    assert!(seen.kinds.keys().all(|kind| kind == "status 502"), "{seen}");
    shop::assert_serves(m, "1", 1);
    m.note(seen);
}

fn example_container(m: &mut Machine) {
    example(m, "container", "VERSION", "/version.txt");
}

fn example_pod(m: &mut Machine) {
    example(m, "pod", "GREETING", "/");
}

/// As it is installed, but with an image of this machine, and updated under a light load.
fn example(m: &Machine, name: &str, variable: &str, path: &str) {
    image::make(m, IMAGE, "1");
    let dir = format!("/usr/share/doc/conductor/examples/{name}");
    let declare = |value| m.run(&format!("conductor service declare {dir} IMAGE={IMAGE} {variable}={value}"));
    let get = || m.run(&format!("curl --silent --show-error --fail http://{name}.localhost{path}"));
    declare("seven");
    assert!(get().contains("seven"), "{}", get());
    let host = format!("{name}.localhost");
    let load = m.load(Load { host, path: path.into(), post: false, clients: 4, pause_ms: 10, ..Load::default() });
    declare("eight");
    let seen = load.stop();
    assert!(get().contains("eight"), "{}", get());
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(seen);
}

fn reboots(m: &mut Machine) {
    for engine in [Engine::Container(Listen::Tcp), Engine::Pod(Listen::Tcp)] {
        Shop::new(2).engine(engine).declare(m, "1");
        let generation = shop::generation(m);
        let off = m.poweroff(Duration::from_secs(20));
        m.power_on();
        shop::assert_serves(m, "1", 2);
        m.kill_power();
        m.power_on();
        shop::assert_serves(m, "1", 2);
        assert_eq!(shop::generation(m), generation);
        m.note(format!("{engine:?} off in {:.1} s", off.as_secs_f64()));
    }
}
