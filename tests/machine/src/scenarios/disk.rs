//! No space is left where conductor writes.

use conductor_machine::command::Output;
use conductor_machine::load::{Load, Running};
use conductor_machine::machine::Machine;

use super::shop::{self, DECLARED, Shop};
use super::watch::Watch;
use crate::scenario::scenarios;

const REFUSED: &str = "the error names the file and says that no space is left, the running generation and its \
     declaration are untouched, no request fails; with space again it succeeds";

scenarios!("disk":
    root_while_declaring(|m| declaring(m, Disk::Root)): "/ is full when a version is declared" => REFUSED,
    run_while_declaring(|m| declaring(m, Disk::Run)): "/run is full when a version is declared" => REFUSED,
    root_while_rolling(|m| rolling(m, Disk::Root)): "/ is full when an edited declaration is rolled" => REFUSED,
    run_while_rolling(|m| rolling(m, Disk::Run)): "/run is full when an edited declaration is rolled" => REFUSED,
    run_amid_a_rollout: "/run fills up in the middle of a rollout"
        => "there is always a live slot and no request fails, also of what stops; with space again \
            `conductor daemon-reload` converges",
    run_while_stopping: "/run is full when a service is stopped"
        => "its deployments drain and stop as ever, and nothing is left",
    run_while_a_process_dies: "/run is full when a deployment's process is killed"
        => "only requests in flight on it fail, and with space again it is back",
);

#[derive(Clone, Copy)]
enum Disk {
    Root,
    Run,
}

impl Disk {
    fn fill(self, m: &Machine) {
        let filler = "dd if=/dev/zero bs=4k status=none 2>/dev/null of";
        match self {
            // A file system of a few MiB over where conductor writes, for the machine's own root has no limit.
            Self::Root => m.run(&format!(
                "for dir in /etc/conductor /var/lib/conductor; do
                    cp -a $dir /root/copy; mount -t tmpfs -o size=12m,mode=755 tmpfs $dir
                    cp -a /root/copy/. $dir; rm -r /root/copy
                    {filler}=$dir/filler || true
                done"
            )),
            Self::Run => m.run(&format!("mount -o remount,size=32m /run; {filler}=/run/filler || true")),
        };
    }

    fn free(self, m: &Machine) {
        match self {
            Self::Root => m.run("rm /etc/conductor/filler /var/lib/conductor/filler"),
            Self::Run => m.run("rm /run/filler; mount -o remount,size=10% /run"),
        };
    }
}

fn load(m: &Machine) -> Running {
    m.load(Load { clients: 8, pause_ms: 5, ..shop::load() })
}

/// What runs is what ran, and the error says why nothing else does.
#[track_caller]
fn assert_refused(m: &Machine, output: &Output, generation: &str) {
    assert!([1, 3].contains(&output.status), "{output}");
    let words = ["No space left on device", "not enough space available on /run/systemd"];
    assert!(words.iter().any(|words| output.stderr.contains(words)), "{output}");
    assert!(
        output.stderr.contains("/etc/conductor")
            || output.stderr.contains("/var/lib/conductor")
            || output.stderr.contains("/run/"),
        "which file: {output}"
    );
    assert_eq!(shop::deployments(m), shop::active(generation, 1..=2));
    assert!(shop::get(m).starts_with("1 "));
}

fn declaring(m: &Machine, disk: Disk) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    let (generation, declared) = (shop::generation(m), m.read(&format!("{DECLARED}/service.toml")));
    shop.write(m);
    disk.fill(m);
    let (watch, load) = (Watch::begin(m), load(m));
    let output = m.try_run(&shop::command("2"));
    assert_refused(m, &output, &generation);
    assert_eq!(m.read(&format!("{DECLARED}/service.toml")), declared);
    disk.free(m);
    m.run("conductor daemon-reload");
    shop::assert_serves(m, "1", 2);
    m.run(&shop::command("2"));
    shop::assert_serves(m, "2", 2);
    let seen = load.stop();
    watch.end();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(output.stderr.lines().next().unwrap_or_default());
}

fn rolling(m: &Machine, disk: Disk) {
    Shop::new(2).declare(m, "1");
    let generation = shop::generation(m);
    shop::edit(m, "2");
    disk.fill(m);
    let (watch, load) = (Watch::begin(m), load(m));
    let output = m.try_run("conductor service reload shop");
    assert_refused(m, &output, &generation);
    disk.free(m);
    m.run("conductor daemon-reload");
    shop::assert_serves(m, "2", 2);
    let seen = load.stop();
    watch.end();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(output.stderr.lines().next().unwrap_or_default());
}

fn run_amid_a_rollout(m: &mut Machine) {
    let shop = Shop::new(2).flags("--start-delay 700ms");
    shop.declare(m, "1");
    shop.write(m);
    let (watch, load) = (Watch::begin(m), load(m));
    let declare = m.spawn(&shop::command("2"));
    m.until("version 2 starts", std::time::Duration::from_secs(5), || m.run("pgrep --exact app | wc -l").trim() == "3");
    Disk::Run.fill(m);
    let output = declare.wait();
    Disk::Run.free(m);
    m.run("conductor daemon-reload");
    let seen = load.stop();
    watch.end();
    assert_eq!(seen.failed, 0, "{seen}");
    let version = if output.success() { "2" } else { "1" };
    shop::assert_serves(m, version, 2);
    m.note(format!("declare exited {}: {}", output.status, output.stderr.lines().next().unwrap_or_default()));
}

fn run_while_stopping(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let generation = shop::generation(m);
    Disk::Run.fill(m);
    let request = m.spawn(&format!("curl --silent --fail 'http://{}/slow?ms=1000'", shop::HOST));
    m.until("the request is on its way", std::time::Duration::from_secs(1), || {
        m.try_run("ss -x state established | grep -q /shop-").success()
    });
    let stop = m.try_run("systemctl stop shop");
    assert!(request.finish().starts_with("1 "), "a request in flight is answered");
    Disk::Run.free(m);
    assert_eq!(shop::deployments(m), Vec::<String>::new(), "{stop}");
    assert_eq!(shop::traces(m, &generation), "");
    m.run("systemctl reset-failed shop || true; systemctl start shop");
    shop::assert_serves(m, "1", 2);
}

fn run_while_a_process_dies(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let unit = format!("shop-{}@1.service", shop::generation(m));
    let (watch, load) = (Watch::begin(m), load(m));
    Disk::Run.fill(m);
    m.run(&format!("systemctl kill --signal=KILL {unit}"));
    std::thread::sleep(std::time::Duration::from_secs(1));
    Disk::Run.free(m);
    m.until("it is back", std::time::Duration::from_secs(40), || m.prop(&unit, "ActiveState") == "active");
    let seen = load.stop();
    watch.end();
    assert!(seen.failed <= 8, "{seen}");
    shop::assert_serves(m, "1", 2);
}
