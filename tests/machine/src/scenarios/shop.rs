//! The service that most scenarios deploy: `bin/app.rs`, which takes its socket from systemd and misbehaves
//! as it is told, behind Caddy at shop.localhost.

use conductor_machine::command::Output;
use conductor_machine::image::{self, IMAGE};
use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

/// Where its declaration is written, to be declared from.
pub(super) const DIR: &str = "/root/shop";
pub(super) const HOST: &str = "shop.localhost";
/// Its stored declaration.
pub(super) const DECLARED: &str = "/etc/conductor/services/shop";

/// What runs the application, and how it gets its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Exec(Listen),
    Container(Listen),
    Pod(Listen),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listen {
    Activation,
    Unix,
    Tcp,
}

impl Listen {
    fn word(self) -> &'static str {
        match self {
            Self::Activation => "activation",
            Self::Unix => "unix",
            Self::Tcp => "tcp",
        }
    }

    /// The application's arguments for it.
    fn flags(self) -> &'static str {
        match self {
            Self::Activation => "",
            Self::Unix => "--unix ${CONDUCTOR_SOCKET}",
            Self::Tcp => "--tcp ${PORT}",
        }
    }
}

/// As the first process of a container it has no default action for SIGTERM; on every address of its own network.
const CONTAINED: &str = "--stop-delay 0s --address 0.0.0.0";

/// What differs between scenarios.
#[derive(Clone, Debug)]
pub(super) struct Shop {
    pub engine: Engine,
    pub concurrency: u32,
    /// Arguments of the application.
    pub flags: String,
    /// More of the service.toml.
    pub extra: String,
}

impl Default for Shop {
    fn default() -> Self {
        Self { engine: Engine::Exec(Listen::Activation), concurrency: 3, flags: String::new(), extra: String::new() }
    }
}

impl Shop {
    pub(super) fn new(concurrency: u32) -> Self {
        Self { concurrency, ..Self::default() }
    }

    pub(super) fn engine(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    pub(super) fn flags(self, flags: &str) -> Self {
        Self { flags: flags.into(), ..self }
    }

    pub(super) fn extra(self, extra: &str) -> Self {
        Self { extra: extra.into(), ..self }
    }

    pub(super) fn service_toml(&self) -> String {
        let Self { engine, concurrency, flags, extra } = self;
        let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let engine = match *engine {
            Engine::Exec(Listen::Activation) => format!("[exec]\ncommand = {:?}", words(format!("./app {flags}"))),
            Engine::Exec(listen) => {
                let command = words(format!("./app {} {flags}", listen.flags()));
                format!("[listen]\ntype = {:?}\n[exec]\ncommand = {command:?}", listen.word())
            }
            Engine::Container(listen) => {
                let exec = words(format!("/bin/app {CONTAINED} {} {flags}", listen.flags()));
                let port = if listen == Listen::Tcp { "port = 8080\n" } else { "" };
                let listen = listen.word();
                format!("[listen]\ntype = {listen:?}\n[container]\nimage = {IMAGE:?}\n{port}exec = {exec:?}")
            }
            Engine::Pod(listen) => {
                let port = if listen == Listen::Tcp { "port = 8080\n" } else { "" };
                format!("[listen]\ntype = {:?}\n[pod]\ntemplate = \"pod.yaml\"\n{port}", listen.word())
            }
        };
        format!(
            r#"description = "Shop {{{{ VERSION }}}}"
concurrency = {concurrency}

{engine}
environment = {{ VERSION = "{{{{ VERSION }}}}" }}

[health]
http = "/healthz"

[[route]]
host = ["{HOST}"]
tls = "off"

{extra}
"#
        )
    }

    /// Writes the declaration's directory, with the application in it.
    pub(super) fn write(&self, m: &Machine) {
        m.write(&format!("{DIR}/service.toml"), &self.service_toml());
        if let Engine::Pod(listen) = self.engine {
            m.write(&format!("{DIR}/pod.yaml"), &self.pod_yaml(listen));
        }
        if !matches!(self.engine, Engine::Exec(_)) {
            if !m.try_run(&format!("podman image exists {IMAGE}")).success() {
                image::make(m, IMAGE, "1");
            }
            return;
        }
        if !m.try_run(&format!("test -e {DIR}/app")).success() {
            m.copy_app(&format!("{DIR}/app"));
        }
    }

    fn pod_yaml(&self, listen: Listen) -> String {
        let flags = listen.flags().replace("${", "{{ ").replace('}', " }}");
        let words = format!("/bin/app {CONTAINED} {} {}", flags.replace("{{ ", "{{").replace(" }}", "}}"), self.flags);
        let command: Vec<_> = words.split_whitespace().collect();
        format!(
            r#"apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {{app: web}}
spec:
  containers:
  - name: web
    image: {IMAGE}
    command: {command:?}
"#
        )
    }

    /// Declares this version, and panics with what conductor says when that fails.
    #[track_caller]
    pub(super) fn declare(&self, m: &Machine, version: &str) -> String {
        let output = self.try_declare(m, version);
        assert!(output.success(), "version {version}: {output}");
        output.stdout
    }

    pub(super) fn try_declare(&self, m: &Machine, version: &str) -> Output {
        self.write(m);
        m.try_run(&command(version))
    }
}

/// The command that declares what `write` has written.
pub(super) fn command(version: &str) -> String {
    format!("conductor service declare {DIR} VERSION={version}")
}

/// A load on it through Caddy: some thousand requests a second, and processors that are left for what is shown.
pub(super) fn load() -> Load {
    Load { pause_ms: 5, ..saturating_load() }
}

/// As many requests as the machine can answer.
pub(super) fn saturating_load() -> Load {
    Load { host: HOST.into(), ..Load::default() }
}

/// Its answer to one GET through Caddy: `VERSION PID`.
#[track_caller]
pub(super) fn get(m: &Machine) -> String {
    m.run(&format!("curl --silent --show-error --fail --max-time 5 http://{HOST}/")).trim().to_owned()
}

/// The generation of its target.
#[track_caller]
pub(super) fn generation(m: &Machine) -> String {
    let target = m.read("/run/conductor/generations/shop/target.json");
    let target: serde_json::Value = serde_json::from_str(&target).expect("JSON");
    target["generation"].as_str().expect("a generation").to_owned()
}

/// Its deployments that systemd has in memory, as `UNIT ACTIVESTATE`, in order.
pub(super) fn deployments(m: &Machine) -> Vec<String> {
    // Without the bridges: what is a deployment's own.
    let list = m.run("systemctl list-units --all --plain --no-legend --full 'shop-????????????@*.service'");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut units: Vec<_> = list.lines().map(words).map(|words| format!("{} {}", words[0], words[2])).collect();
    units.sort();
    units
}

/// What `deployments` says when exactly these instances of a generation run.
pub(super) fn active(generation: &str, instances: std::ops::RangeInclusive<u32>) -> Vec<String> {
    instances.map(|instance| format!("shop-{generation}@{instance}.service active")).collect()
}

/// The generation and instance that hold each slot, `GENERATION/INSTANCE`, the first slot first.
pub(super) fn slots(m: &Machine) -> Vec<String> {
    let links = m.run("cd /run/conductor/slots/shop; for slot in $(ls | sort -n); do readlink $slot; done");
    let holder = |link: &str| link.trim_start_matches("/run/conductor/sockets/shop-").to_owned();
    links.lines().map(holder).collect()
}

/// Paths below /run/conductor that name a generation, and units of it that systemd still knows: what a
/// generation that is gone must not have.
pub(super) fn traces(m: &Machine, generation: &str) -> String {
    m.run(&format!(
        "find /run/conductor /run/systemd/system -name '*{generation}*' -o -lname '*{generation}*'
        systemctl list-units --all --plain --no-legend --full '*{generation}*'"
    ))
}

/// Gives the stored declaration another version, as an editor would.
pub(super) fn edit(m: &Machine, version: &str) {
    m.run(&format!(
        r#"sed -i 's/^environment = .*/environment = {{ VERSION = "{version}" }}/' {DECLARED}/service.toml"#
    ));
}

/// All deployments of this version serve, and nothing else of the shop exists: no unit, directory, socket or slot of
/// another generation, nothing that failed, nothing half written.
#[track_caller]
pub(super) fn assert_serves(m: &Machine, version: &str, concurrency: u32) {
    let now = generation(m);
    assert_eq!(deployments(m), active(&now, 1..=concurrency));
    let holders: Vec<_> = (0..12).map(|slot| format!("{now}/{}", slot % concurrency + 1)).collect();
    assert_eq!(slots(m), holders);
    let answer = get(m);
    assert_eq!(answer.split(' ').next(), Some(version), "{answer}");
    assert_eq!(m.prop("shop.service", "ActiveState"), "active");
    assert_eq!(m.failed_units(), Vec::<String>::new());
    let runtime = m.run(
        "cd /run/conductor; ls deployments sockets generations/shop | grep '[0-9a-f]\\{12\\}' || true
        ls /run/systemd/system | grep 'shop-.*@' || true
        systemctl list-units --all --plain --no-legend --full 'shop-*' | cut -d ' ' -f 1",
    );
    let others: Vec<_> = runtime.lines().filter(|line| !line.contains(&now)).collect();
    assert_eq!(others, [""; 0], "of another generation than {now}");
    let processes = m.run("pgrep --exact app | wc -l");
    assert_eq!(processes.trim(), concurrency.to_string(), "processes");
    assert_eq!(half_written(m), "");
}

/// What a command that was killed left of its work.
pub(super) fn half_written(m: &Machine) -> String {
    m.run("find /run/conductor /var/lib/conductor /etc/conductor /run/systemd/system -name '.*' ! -name .declared.json -prune")
}
