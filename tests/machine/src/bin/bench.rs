//! `make bench`: what the project promises, measured against what it is compared with in the same run.
//!
//! - The generator against Podman's Quadlet generator, and against `cp -r` of its output.
//! - A rolling update against the systemctl starts and stops of plain units, of one service and of many at once.
//! - A rolling update of a pod against `podman kube play` and `kube down` alone.
//! - `conductor --help` and `conductor service list` against `systemctl --version` and `systemctl list-units`.
//! - `conductor daemon-reload` with nothing to do against systemd's own of the same unit files.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chroot};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;
use conductor_machine::image::{self, IMAGE};
use conductor_machine::machine::{Machine, Suite, isolate};
use nix::mount::{MsFlags, mount};
use nix::sys::resource::{UsageWho, getrusage};

/// Runs of a kind, after a first one that does not count.
const RUNS: usize = 15;
const ROLLOUTS: usize = 12;
const SIZES: [usize; 3] = [1_000, 2_000, 5_000];

/// Measures what the project promises, and prints a table
#[derive(Parser)]
struct Options {
    /// A Debian root with podman in it: what tests/machine/build-root prints
    #[arg(long)]
    podman_root: PathBuf,
    /// What to measure; all when left out
    only: Option<Part>,
    /// Run one command below the root and print its microseconds and peak KiB (for this program itself)
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true)]
    measure: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Part {
    Generator,
    Rollout,
    Pod,
    Reload,
    Command,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some((program, arguments)) = options.measure.split_first() {
        return measured(&options.podman_root, program, arguments);
    }
    let mut table = Table::default();
    let outcome = isolate().and_then(|()| {
        let wanted = |part| options.only.is_none_or(|only| only == part);
        if wanted(Part::Generator) {
            generator(&options.podman_root, &mut table).map_err(|error| error.to_string())?;
        }
        for suite in ["bookworm", "trixie"] {
            if wanted(Part::Rollout) {
                rollout(suite, &mut table)?;
            }
            if wanted(Part::Pod) {
                pod(suite, &mut table)?;
            }
            if wanted(Part::Command) {
                commands(suite, &mut table)?;
            }
            if wanted(Part::Reload) {
                idle_reload(suite, &mut table)?;
                rolling_reload(suite, &mut table)?;
            }
        }
        Ok(())
    });
    table.print();
    if let Err(error) = outcome {
        eprintln!("not everything was measured: {error}");
    }
    ExitCode::SUCCESS
}

/// Rows of figure, ours, theirs, ratio, what is required, and whether that holds.
#[derive(Default)]
struct Table(Vec<[String; 6]>);

impl Table {
    /// Ours may be at most `limit` times theirs.
    fn compare(&mut self, figure: &str, ours: f64, theirs: f64, limit: f64) {
        let ratio = ours / theirs;
        let (ours, theirs) = (format!("{ours:.1} ms"), format!("{theirs:.1} ms"));
        let required = format!("at most {limit:.1}");
        self.row([figure.into(), ours, theirs, format!("{ratio:.2}"), required, verdict(ratio <= limit)]);
    }

    /// A figure of our own, with a limit if it has one.
    fn alone(&mut self, figure: &str, ours: f64, unit: &str, limit: Option<f64>) {
        let required = limit.map_or(String::new(), |limit| format!("at most {limit:.0} {unit}"));
        let holds = limit.map_or(String::new(), |limit| verdict(ours <= limit));
        self.row([figure.into(), format!("{ours:.1} {unit}"), String::new(), String::new(), required, holds]);
    }

    fn row(&mut self, row: [String; 6]) {
        self.0.push(row);
    }

    fn print(&self) {
        let line = |[figure, ours, theirs, ratio, required, verdict]: &[String; 6]| {
            println!("{figure:64} {ours:>10} {theirs:>10} {ratio:>6}  {required:16} {verdict}");
        };
        line(&["figure", "ours", "theirs", "ratio", "required", ""].map(str::to_owned));
        self.0.iter().for_each(line);
    }
}

fn verdict(holds: bool) -> String {
    if holds { "holds" } else { "MISSED" }.to_owned()
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

// ---- The generator

/// In a chroot whose /run is a tmpfs: inputs, outputs and our generator are all there.
struct Chroot<'a>(&'a Path);

/// One run of a program.
struct Run {
    ms: f64,
    /// Peak memory in MiB.
    mib: f64,
}

impl Chroot<'_> {
    /// The place on this side of a path in the chroot.
    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// Runs a program in the chroot, alone below a process of its own, so that its peak memory is known.
    fn run(&self, words: &[&str], environment: &[(&str, String)]) -> io::Result<Run> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--podman-root").arg(self.0).arg("--measure").args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin").envs(environment.iter().map(|(key, value)| (key, value)));
        let output = command.stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut numbers = text.split_whitespace().map_while(|word| word.parse::<f64>().ok());
        match (output.status.success(), numbers.next(), numbers.next()) {
            (true, Some(micros), Some(kib)) => Ok(Run { ms: micros / 1e3, mib: kib / 1024.0 }),
            _ => Err(io::Error::other(format!("{words:?} failed: {text}"))),
        }
    }

    /// An empty directory.
    fn fresh(&self, path: &str) -> io::Result<()> {
        let _ = fs::remove_dir_all(self.at(path));
        fs::create_dir_all(self.at(path))
    }

    fn ours(&self, input: &str) -> io::Result<Run> {
        self.fresh("/run/ours")?;
        let environment = [("CONDUCTOR_ROOT", input.to_owned()), ("SYSTEMD_SCOPE", "system".to_owned())];
        self.run(&["/run/conductor-generator", "/run/ours"], &environment)
    }

    fn quadlet(&self, input: &str) -> io::Result<Run> {
        self.fresh("/run/theirs")?;
        let environment = [("QUADLET_UNIT_DIRS", format!("{input}/quadlet"))];
        self.run(&["/usr/libexec/podman/quadlet", "/run/theirs"], &environment)
    }

    /// Copies what `ours` wrote last.
    fn copy(&self) -> io::Result<Run> {
        let _ = fs::remove_dir_all(self.at("/run/copy"));
        self.run(&["/usr/bin/cp", "-r", "/run/ours", "/run/copy"], &[])
    }
}

/// The process that `Chroot::run` starts.
fn measured(root: &Path, program: &str, arguments: &[String]) -> ExitCode {
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

fn generator(root: &Path, table: &mut Table) -> io::Result<()> {
    let chroot = Chroot(root);
    mount(Some("tmpfs"), &chroot.at("/run"), Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    let built = std::env::current_exe()?.with_file_name("conductor-generator");
    fs::copy(built, chroot.at("/run/conductor-generator"))?;
    for size in SIZES {
        declare_services(&chroot.at(&format!("/run/{size}")), size)?;
    }
    // Every round has everything, so that a busy moment of the machine falls on all.
    let mut sizes = SIZES.map(|size| Times { size, ..Times::default() });
    for round in 0..=RUNS {
        for times in &mut sizes {
            let input = format!("/run/{}", times.size);
            let (ours, copy, theirs) = (chroot.ours(&input)?, chroot.copy()?, chroot.quadlet(&input)?);
            if round > 0 {
                times.ours.push(ours.ms);
                times.copy.push(copy.ms);
                times.theirs.push(theirs.ms);
                times.peak = times.peak.max(ours.mib);
            }
        }
    }
    for times in &sizes {
        times.report(table);
    }
    // Linear: no service is dearer for being among more, but for noise.
    let [least, .., most] = &sizes;
    let of_thousand = |times: &Times| median(&times.ours) * 1e3 / times.size as f64;
    table.compare("generator, 1000 of 5000 services, against 1000", of_thousand(most), of_thousand(least), 1.2);
    with_live_snapshots(&chroot, table)
}

/// The runs with one number of services.
#[derive(Default)]
struct Times {
    size: usize,
    ours: Vec<f64>,
    copy: Vec<f64>,
    theirs: Vec<f64>,
    /// In MiB.
    peak: f64,
}

impl Times {
    fn report(&self, table: &mut Table) {
        let Self { size, ours, copy, theirs, peak } = self;
        table.compare(&format!("generator, {size} services, against Quadlet"), median(ours), median(theirs), 1.0);
        table.compare(&format!("generator, {size} services, against cp -r"), median(ours), median(copy), 2.0);
        table.alone(
            &format!("generator, {size} services, peak memory"),
            *peak,
            "MiB",
            (*size == 1_000).then_some(40.0),
        );
    }
}

/// Every service runs already: its units are written from its snapshot first.
fn with_live_snapshots(chroot: &Chroot, table: &mut Table) -> io::Result<()> {
    let input = "/run/1000";
    chroot.ours(input)?;
    make_live(&chroot.at(input), &chroot.at("/run/ours"))?;
    let runs = (0..=RUNS).map(|_| chroot.ours(input)).collect::<io::Result<Vec<_>>>()?;
    let times: Vec<_> = runs.iter().skip(1).map(|run| run.ms).collect();
    let peak = runs.iter().map(|run| run.mib).fold(0.0, f64::max);
    table.alone("generator, 1000 services, all live", median(&times), "ms", None);
    table.alone("generator, 1000 services, all live, peak memory", peak, "MiB", Some(40.0));
    Ok(())
}

/// Writes services for both generators below `root`.
fn declare_services(root: &Path, count: usize) -> io::Result<()> {
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

/// Makes what the generator wrote into `output` the live generations below `root`.
fn make_live(root: &Path, output: &Path) -> io::Result<()> {
    for entry in fs::read_dir(output)? {
        let unit = entry?.file_name().to_string_lossy().into_owned();
        let Some((name, generation)) = unit.strip_suffix("@.service").and_then(|stem| stem.rsplit_once('-')) else {
            continue;
        };
        let live = root.join("run/conductor/generations").join(name);
        let units = live.join(generation).join("units");
        fs::create_dir_all(units.join("multi-user.target.wants"))?;
        let slice = format!("conductor-{}.slice", name.replace('-', "\\x2d"));
        for unit in [format!("{name}.service"), unit.clone(), format!("{name}-{generation}@.socket"), slice] {
            fs::copy(output.join(&unit), units.join(&unit))?;
        }
        let link = format!("multi-user.target.wants/{name}.service");
        std::os::unix::fs::symlink(format!("../{name}.service"), units.join(link))?;
        fs::write(live.join(generation).join("model.json"), "{}")?; // read only where a declaration does not compile
        let digests = r#"{ "generation": "", "routes": "", "scale": "", "settings": "" }"#;
        let target = format!(
            r#"{{ "generation": "{generation}", "concurrency": 3, "slots": 12, "strategy": "rolling", "digests": {digests}, "format": 1, "variables": {{}} }}"#
        );
        fs::write(live.join("target.json"), target)?;
    }
    Ok(())
}

// ---- The rolling update

/// A service of three deployments that are ready at once.
const SERVICE: &str = r#"description = "Ready at once"
concurrency = 3

[exec]
command = ["./app"]
environment = { VERSION = "{{ VERSION }}" }

[health]
http = "/healthz"

[[route]]
host = ["ready.localhost"]
tls = "off"
"#;

/// Makes plain units of the service's: the same lines without conductor's hooks, twice, as two
/// generations. The app is copied, because conductor keeps a generation's files only for a while.
const PLAIN: &str = r#"
generated=/run/systemd/generator
id=$(ls $generated | sed -n 's/^ready-\(.*\)@\.socket$/\1/p')
cp -r /var/lib/conductor/generations/ready/$id/files /usr/local/lib/plain
for one in plain-a plain-b; do
    for kind in service socket; do
        sed -e '/^Exec.*conductor deployment/d' -e '/^PartOf=/d' -e "s|/run/conductor/sockets/ready-$id|/run/$one|" \
            -e "s|/var/lib/conductor/generations/ready/$id/files|/usr/local/lib/plain|" -e "s|ready-$id|$one|" \
            $generated/ready-$id@.$kind >/run/systemd/system/$one@.$kind
    done
done
systemctl daemon-reload
systemctl start plain-a@1 plain-a@2 plain-a@3
"#;

/// Prints the milliseconds that its commands take.
fn timed(commands: &str) -> String {
    format!("start=$(date +%s%N); {commands}; end=$(date +%s%N); echo $(((end - start) / 1000))")
}

fn rollout(suite: &str, table: &mut Table) -> Result<(), String> {
    let machine = Machine::boot(&Suite::prepare(suite, false, false)?);
    machine.write("/root/ready/service.toml", SERVICE);
    machine.copy_app("/root/ready/app");
    machine.run("conductor service declare /root/ready VERSION=0");
    machine.run(PLAIN);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for version in 1..=ROLLOUTS + 1 {
        machine.run(&format!("conductor service declare --no-start /root/ready VERSION={version}"));
        ours.push(milliseconds(&machine, "systemctl reload ready"));
        // What is measured above came after the daemon-reload of a declaration.
        machine.run("systemctl daemon-reload");
        let (old, new) = if version % 2 == 1 { ("plain-a", "plain-b") } else { ("plain-b", "plain-a") };
        let one = |i| format!("systemctl start {new}@{i}; systemctl stop {old}@{i}.service {old}@{i}.socket");
        theirs.push(milliseconds(&machine, &(1..=3).map(one).collect::<Vec<_>>().join("; ")));
    }
    let (ours, theirs) = (median(&ours[1..]), median(&theirs[1..]));
    table.compare(&format!("rolling 3 deployments, {suite}, against plain units"), ours, theirs, 1.5);
    Ok(())
}

// ---- A pod

const POD_SERVICE: &str = r#"[pod]
template = "pod.yaml"
port = 8080
environment = { VERSION = "{{ VERSION }}" }
[health]
http = "/healthz"
"#;

/// One pod after another: ours has a health check, a bridge and a drain in between.
fn pod(suite: &str, table: &mut Table) -> Result<(), String> {
    let machine = Machine::boot(&Suite::prepare(suite, false, false)?);
    image::make(&machine, IMAGE, "1");
    machine.write("/root/pod/service.toml", POD_SERVICE);
    machine.write("/root/pod/pod.yaml", &image::pod("web"));
    machine.write("/root/a.yaml", &image::pod("a"));
    machine.write("/root/b.yaml", &image::pod("b"));
    machine.run("conductor service declare /root/pod VERSION=0; podman kube play /root/b.yaml");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for version in 1..=ROLLOUTS + 1 {
        machine.run(&format!("conductor service declare --no-start /root/pod VERSION={version}"));
        ours.push(milliseconds(&machine, "systemctl reload pod"));
        let (old, new) = if version % 2 == 1 { ("b", "a") } else { ("a", "b") };
        theirs.push(milliseconds(
            &machine,
            &format!("{{ podman kube play /root/{new}.yaml; podman kube down /root/{old}.yaml; }} >/dev/null"),
        ));
    }
    let figure = format!("rolling a pod of one container, {suite}, against kube play + down");
    table.compare(&figure, median(&ours[1..]), median(&theirs[1..]), 1.3);
    Ok(())
}

// ---- conductor daemon-reload

/// Rounds of each kind, after a first one that does not count.
const RELOADS: usize = 9;
const DECLARED: usize = 1_000;
const GENERATOR: &str = "/usr/lib/systemd/system-generators/conductor-generator";

/// With nothing to do: every service runs, or its administrator has stopped it.
fn idle_reload(suite: &str, table: &mut Table) -> Result<(), String> {
    let suite = Suite::prepare(suite, false, false)?;
    let boot = |declare: &dyn Fn(&Path) -> io::Result<()>| {
        let machine = Machine::boot(&suite);
        declare(&PathBuf::from(format!("/proc/{}/root", machine.leader()))).map_err(|error| error.to_string())?;
        Ok::<_, String>(machine)
    };
    let running = boot(&|root| declare_running(root, DECLARED))?;
    running.copy_app("/usr/local/bin/app");
    running.run("conductor daemon-reload");
    against_systemctl(&running, &format!("daemon-reload, {DECLARED} services that run, {}", suite.name), table);
    drop(running);
    let stopped = boot(&|root| declare_services(root, DECLARED))?;
    stopped.run(
        "mkdir -p /run/conductor/stopped; cd /etc/conductor/services; touch $(printf '/run/conductor/stopped/%s ' *)",
    );
    against_systemctl(&stopped, &format!("daemon-reload, {DECLARED} stopped services, {}", suite.name), table);
    Ok(())
}

/// Small services, of whose processes a thousand fit on a machine.
fn declare_running(root: &Path, count: usize) -> io::Result<()> {
    declare_services(root, count)?;
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

/// systemd's own daemon-reload has the same unit files, and no generator of ours.
fn against_systemctl(machine: &Machine, figure: &str, table: &mut Table) {
    assert!(machine.run("conductor daemon-reload").contains("every service is as declared"));
    machine.run(
        "cp -a /run/systemd/generator /root/plain; rm -r /root/plain/conductor; cp -a /run/systemd/system /root/system",
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..=RELOADS {
        ours.push(milliseconds(machine, "conductor daemon-reload >/dev/null"));
        machine.run(&format!(
            "mv {GENERATOR} /root/; cp -a --remove-destination /root/plain/. /run/systemd/system; systemctl daemon-reload"
        ));
        theirs.push(milliseconds(machine, "systemctl daemon-reload"));
        machine.run(&format!(
            "mv /root/conductor-generator {GENERATOR}; rm -r /run/systemd/system; cp -a /root/system /run/systemd/system
            systemctl daemon-reload"
        ));
    }
    table.compare(&format!("{figure}, against systemctl"), median(&ours[1..]), median(&theirs[1..]), 1.2);
}

const ROLLED: usize = 100;

/// Plain units of all these deployments, as of one service's, to start and stop with a call each.
const PLAIN_MANY: &str = r#"
generated=/run/systemd/generator
id=$(ls $generated | sed -n 's/^many-0-\([0-9a-f]*\)@\.socket$/\1/p')
for one in plain-a plain-b; do
    for kind in service socket; do
        sed -e '/^Exec.*conductor deployment/d' -e '/^PartOf=/d' -e "s|/run/conductor/sockets/many-0-$id|/run/$one|" \
            -e "s|/var/lib/conductor/generations/many-0/$id/files|/tmp|" -e "s|many-0-$id|$one|" \
            $generated/many-0-$id@.$kind >/run/systemd/system/$one@.$kind
    done
done
systemctl daemon-reload
systemctl start $(printf 'plain-a@%s.service ' $(seq 200))
"#;

fn rolling_reload(suite: &str, table: &mut Table) -> Result<(), String> {
    let machine = Machine::boot(&Suite::prepare(suite, false, false)?);
    machine.copy_app("/usr/local/bin/app");
    let service = SERVICE.replace("concurrency = 3", "concurrency = 2").replace("./app", "/usr/local/bin/app");
    machine.write("/root/many.toml", &service);
    let edit = |version: usize| {
        let each = format!("for i in $(seq 0 {}); do d=/etc/conductor/services/many-$i; mkdir -p $d", ROLLED - 1);
        let text =
            format!("sed \"s/{{{{ VERSION }}}}/{version}/; s/ready.localhost/many-$i.localhost/\" /root/many.toml");
        machine.run(&format!("{each}; {text} >$d/service.toml; done"));
    };
    edit(0);
    machine.run("conductor daemon-reload");
    machine.run(PLAIN_MANY);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for version in 1..=4 {
        edit(version);
        ours.push(milliseconds(&machine, "conductor daemon-reload >/dev/null"));
        let (old, new) = if version % 2 == 1 { ("plain-a", "plain-b") } else { ("plain-b", "plain-a") };
        let units = |one: &str, kind: &str| format!("$(printf '{one}@%s.{kind} ' $(seq {}))", 2 * ROLLED);
        let calls = format!(
            "systemctl start {}; systemctl stop {} {}",
            units(new, "service"),
            units(old, "service"),
            units(old, "socket")
        );
        theirs.push(milliseconds(&machine, &calls));
    }
    let figure = format!("rolling {ROLLED} services x 2, {suite}, against plain units");
    table.compare(&figure, median(&ours[1..]), median(&theirs[1..]), 1.5);
    Ok(())
}

/// Calls of a command in a row: one is too short to be timed by a shell.
const CALLS: usize = 20;

/// What somebody who types waits for, with ten services.
fn commands(suite: &str, table: &mut Table) -> Result<(), String> {
    let machine = Machine::boot(&Suite::prepare(suite, false, false)?);
    declare_running(&PathBuf::from(format!("/proc/{}/root", machine.leader())), 10)
        .map_err(|error| error.to_string())?;
    machine.copy_app("/usr/local/bin/app");
    machine.run("conductor daemon-reload");
    for (ours, theirs) in
        [("conductor --help", "systemctl --version"), ("conductor service list", "systemctl list-units --no-pager")]
    {
        let call = |command: &str| {
            let calls = format!("for call in $(seq {CALLS}); do {command}; done >/dev/null");
            milliseconds(&machine, &calls) / CALLS as f64
        };
        let runs: Vec<_> = (0..=RUNS).map(|_| (call(ours), call(theirs))).skip(1).collect();
        let (mine, its): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
        table.compare(&format!("{ours}, {suite}, against {theirs}"), median(&mine), median(&its), 1.5);
    }
    Ok(())
}

fn milliseconds(machine: &Machine, commands: &str) -> f64 {
    machine.run(&timed(commands)).trim().parse::<f64>().expect("a number") / 1000.0
}
