//! Documented keys are accepted keys, and documented defaults are what they resolve to:
//! docs/service-toml.md against src/declaration.rs and src/resolve.rs.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use camino::Utf8Path;
use conductor::compile;
use conductor::declaration::Declaration;
use conductor::declaration::LATER;
use conductor::deployment::health::HEALTHY;
use conductor::diagnostic::Source;
use conductor::document::Node;
use conductor::document::Problem;
use conductor::layout::Layout;
use conductor::model::Check;
use conductor::model::Container;
use conductor::model::Dependency;
use conductor::model::Deploy;
use conductor::model::Engine;
use conductor::model::Health;
use conductor::model::Hook;
use conductor::model::Hooks;
use conductor::model::Listen;
use conductor::model::ListenKind;
use conductor::model::Passthrough;
use conductor::model::Pod;
use conductor::model::Process;
use conductor::model::Route;
use conductor::model::RunCommand;
use conductor::model::Service;
use conductor::model::User;
use conductor::resolve::VARIABLES;
use conductor::timespan;
use serde::Serialize;

const MANUAL: &str = include_str!("../docs/service-toml.md");

/// Sections of the manual, and a key below each.
const LEVELS: &[(&str, &str)] = &[
    ("Top level", "KEY"),
    ("`[exec]`", "exec = { command = [], KEY"),
    ("`[container]`", "container = { image = '', KEY"),
    ("`[pod]`", "pod = { template = '', KEY"),
    ("`[listen]`", "listen = { KEY"),
    ("`[health]`", "health = { KEY"),
    ("`[[route]]`", "route = [{ KEY"),
    ("`[[port]]`", "port = [{ listen = '', KEY"),
    ("`[deploy]`", "deploy = { KEY"),
    ("`[hooks]`", "hooks = { KEY"),
    ("`[commands.NAME]`", "commands = { x = { exec = [], KEY"),
    ("`[[service]]`", "service = [{ dir = '', KEY"),
    ("`[install]`", "install = { KEY"),
    ("`[systemd]`", "systemd = { KEY"),
];

/// Words that are the only values of a key.
const WORDS: &[(&str, &str, &str)] = &[
    ("`[exec]`", "sandbox", "exec = { command = [], sandbox"),
    ("`[container]`", "pull", "container = { image = '', pull"),
    ("`[listen]`", "type", "listen = { type"),
    ("`[[route]]`", "tls", "route = [{ tls"),
    ("`[deploy]`", "strategy", "deploy = { strategy"),
    ("`[commands.NAME]`", "scope", "commands = { x = { exec = [], scope"),
];

fn section(title: &str) -> &'static str {
    let (_, rest) = MANUAL.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
    rest.split("\n## ").next().expect("a section")
}

/// Everything between backticks.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Keys in the first column, and the whole row.
fn rows(title: &str) -> Vec<(&'static str, &'static str)> {
    let rows = section(title).lines().filter_map(|line| Some((line.strip_prefix("| `")?.split('`').next()?, line)));
    rows.collect()
}

/// Why a declaration of one key is not read; open brackets are closed.
fn problem(text: &str) -> Problem {
    let mut text = format!("{text} = 'unheard-of'");
    for (open, close) in [('{', '}'), ('[', ']')] {
        let count = |c| text.matches(c).count();
        text.push_str(&close.to_string().repeat(count(open) - count(close)));
    }
    parse(&text).read::<Declaration>().expect_err("nothing of that kind is accepted").problem
}

fn parse(text: &str) -> Node {
    Node::parse(&Arc::new(Source { path: "service.toml".into(), text: text.to_owned() })).expect("TOML")
}

/// What a declaration resolves to, if it does.
fn resolved(text: &str) -> Option<Service> {
    resolved_with(text, &[])
}

fn resolved_with(text: &str, files: &[&str]) -> Option<Service> {
    let root = tempfile::tempdir().expect("a scratch directory");
    let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
    let dir = root.join("etc/conductor/services/web");
    fs::create_dir_all(&dir).expect("a directory");
    fs::write(dir.join("service.toml"), text).expect("a declaration");
    for file in files {
        fs::write(dir.join(file), "").expect("a file");
    }
    compile::compile(&Layout::system(root), None).services.into_values().next().map(|compiled| compiled.service)
}

fn required(without: &str) -> String {
    if resolved(without).is_none() { "required".to_owned() } else { String::new() }
}

fn none(nothing: bool) -> String {
    if nothing { "none".to_owned() } else { "something".to_owned() }
}

/// As the manual shows a value.
fn shown(value: &impl Serialize) -> String {
    format!("`{}`", serde_json::to_string(value).expect("JSON"))
}

type Defaults = Vec<(&'static str, String)>;

/// What each key of a section is when it is left out, in the manual's words. Everything resolved is
/// placed here: a new key does not compile until it is.
fn defaults() -> Vec<(&'static str, Defaults)> {
    let least = "[exec]\ncommand = ['/bin/true']\n";
    let Service {
        name,
        description,
        concurrency,
        slots,
        process,
        listen,
        health,
        routes,
        ports,
        deploy,
        hooks,
        commands,
        dependencies,
        conditions,
        display,
        slice,
        wanted_by,
        passthrough,
        drop_ins: _,
        files: _,
        source: _,
        group: _,
    } = resolved(least).expect("it compiles");
    let Listen { kind, idle_timeout } = listen;
    let Container {
        image: _,
        pull,
        digest,
        exec,
        entrypoint,
        user: container_user,
        working_dir,
        volume,
        tmpfs,
        secret,
        network,
        add_capability,
        drop_capability,
        read_only,
        podman_args,
        port,
    } = container();
    let Pod { template: _, config_map, variables: _, network: pod_network, podman_args: pod_args, port: _ } = pod();
    let images = |none: bool| if none { "the image's".to_owned() } else { "something".to_owned() };
    let podmans = |none: bool| if none { "podman's".to_owned() } else { "something".to_owned() };
    let Process { engine: _, environment, user, credentials, credentials_encrypted, sandbox } = process;
    let Health { check, interval, timeout, retries } = health;
    let Deploy { strategy, max_surge, drain_timeout, health_timeout, restarted_at } = deploy;
    let Hooks { pre_start, post_start, pre_stop, drain, post_stop } = hooks;
    let Passthrough { unit, service, socket } = passthrough;
    let Route { host, path, tls: _ } = route(&format!("{least}[[route]]\n"));
    let Route { tls, .. } = route(&format!("{least}[[route]]\nhost = ['www.example.com']\n"));

    let asked = resolved(&format!("{least}[health]\nhttp = '/'\n")).expect("it compiles").health.check;
    let Check::Http { path: _, status, headers, body } = asked else { panic!("an HTTP check") };
    assert!(status.is_empty());
    let hooked = resolved(&format!("{least}[hooks]\npre_start = ['x']\n")).expect("it compiles").hooks;
    let Hook { command: _, timeout: hook_timeout } = hooked.pre_start.expect("a hook");
    let mut run = resolved(&format!("{least}[commands.x]\nexec = ['x']\n")).expect("it compiles").commands;
    let RunCommand { description: run_description, exec: _, scope } = run.remove("x").expect("a command");
    let mut dependency =
        resolved(&format!("{least}[[service]]\ndir = '../redis/'\n")).expect("it compiles").dependencies;
    let Dependency { name: brought_name, dir: _, vars } = dependency.remove(0);
    assert_eq!(brought_name.as_str(), "redis");

    let fallback = match check {
        Check::Http { .. } => "http",
        Check::Tcp => "tcp",
        Check::Exec { .. } => "exec",
        Check::Notify => "notify",
    };
    assert!(section("`[health]`").contains(&format!("; `{fallback}` if there is none.")));
    let of_its_keys = String::new;
    vec![
        (
            "Top level",
            vec![
                ("description", if description == name.as_str() { "the service's name".into() } else { description }),
                ("concurrency", concurrency.to_string()),
                ("slots", slots.to_string()),
                ("config", none(environment.is_empty())),
                ("exec", "one of the three".to_owned()),
                ("container", "one of the three".to_owned()),
                ("pod", "one of the three".to_owned()),
                ("listen", of_its_keys()),
                ("health", of_its_keys()),
                ("route", none(routes.is_empty())),
                ("port", none(ports.is_empty())),
                ("deploy", of_its_keys()),
                ("hooks", of_its_keys()),
                ("resources", none(slice.is_empty())),
                ("commands", none(commands.is_empty())),
                ("service", none(dependencies.is_empty())),
                ("condition", none(conditions.is_empty())),
                ("display", none(display.is_empty())),
                ("install", of_its_keys()),
                ("systemd", none(unit.is_empty() && service.is_empty() && socket.is_empty() && slice.is_empty())),
            ],
        ),
        (
            "`[exec]`",
            vec![
                ("command", required("[exec]\n")),
                ("environment", none(environment.is_empty())),
                (
                    "user",
                    match user {
                        User::Dynamic(_) => "a dynamic user that all generations share".to_owned(),
                        User::Static(name) => name,
                    },
                ),
                ("credentials", none(credentials.is_empty())),
                ("credentials_encrypted", none(credentials_encrypted.is_empty())),
                ("sandbox", shown(&sandbox)),
            ],
        ),
        (
            "`[container]`",
            vec![
                ("image", required(PODMAN)),
                ("pull", shown(&pull)),
                ("digest", none(digest.is_none())),
                ("exec", images(exec.is_empty())),
                ("entrypoint", images(entrypoint.is_none())),
                ("environment", none(environment.is_empty())),
                ("user", images(container_user.is_none())),
                ("working_dir", images(working_dir.is_none())),
                ("volume", none(volume.is_empty())),
                ("tmpfs", none(tmpfs.is_empty())),
                ("secret", none(secret.is_empty())),
                ("network", podmans(network.is_empty())),
                ("add_capability", none(add_capability.is_empty())),
                ("drop_capability", none(drop_capability.is_empty())),
                ("read_only", shown(&read_only)),
                ("podman_args", none(podman_args.is_empty())),
                ("port", none(port.is_none())),
                ("credentials", none(credentials.is_empty())),
                ("credentials_encrypted", none(credentials_encrypted.is_empty())),
            ],
        ),
        (
            "`[pod]`",
            vec![
                ("template", required("[pod]\n")),
                ("config_map", none(config_map.is_none())),
                ("environment", none(environment.is_empty())),
                ("network", podmans(pod_network.is_empty())),
                ("podman_args", none(pod_args.is_empty())),
                ("port", none(port.is_none())),
                ("credentials", none(credentials.is_empty())),
                ("credentials_encrypted", none(credentials_encrypted.is_empty())),
            ],
        ),
        (
            "`[listen]`",
            vec![
                ("type", format!("{}, for containers and pods {}", shown(&kind), shown(&podman_kind()))),
                ("idle_timeout", idle_timeout.map_or_else(|| "never".to_owned(), timespan::format)),
            ],
        ),
        (
            "`[health]`",
            vec![
                ("http", String::new()),
                ("tcp", String::new()),
                ("exec", String::new()),
                ("notify", String::new()),
                ("status", format!("{} to {}", HEALTHY.start, HEALTHY.end - 1)),
                ("headers", none(headers.is_empty())),
                ("body", none(body.is_none())),
                ("interval", timespan::format(interval)),
                ("timeout", timespan::format(timeout)),
                ("retries", retries.map_or_else(|| "no limit".to_owned(), |most| most.to_string())),
            ],
        ),
        (
            "`[[route]]`",
            vec![
                ("host", host.unwrap_or_else(|| "every host".to_owned())),
                ("path", shown(&path)),
                ("tls", shown(&tls)),
            ],
        ),
        ("`[[port]]`", vec![("listen", required(&format!("{least}[[port]]\n")))]),
        (
            "`[deploy]`",
            vec![
                ("strategy", shown(&strategy)),
                ("max_surge", max_surge.to_string()),
                ("drain_timeout", timespan::format(drain_timeout)),
                ("health_timeout", timespan::format(health_timeout)),
                ("restarted_at", none(restarted_at.is_none())),
            ],
        ),
        (
            "`[hooks]`",
            vec![
                ("pre_start", none(pre_start.is_none())),
                ("post_start", none(post_start.is_none())),
                ("pre_stop", none(pre_stop.is_none())),
                ("drain", none(drain.is_none())),
                ("post_stop", none(post_stop.is_none())),
                ("timeout", timespan::format(hook_timeout)),
            ],
        ),
        (
            "`[commands.NAME]`",
            vec![
                ("description", none(run_description.is_none())),
                ("exec", required(&format!("{least}[commands.x]\n"))),
                ("scope", shown(&scope)),
            ],
        ),
        (
            "`[[service]]`",
            vec![
                ("dir", required(&format!("{least}[[service]]\n"))),
                ("vars", none(vars.is_empty())),
                ("name", "the last part of `dir`".to_owned()),
            ],
        ),
        ("`[install]`", vec![("wanted_by", shown(&wanted_by))]),
        (
            "`[systemd]`",
            vec![
                ("unit", none(unit.is_empty())),
                ("service", none(service.is_empty())),
                ("socket", none(socket.is_empty())),
                ("slice", none(slice.is_empty())),
            ],
        ),
    ]
}

const PODMAN: &str = "[container]\n";

fn container() -> Container {
    let least = "[container]\nimage = 'app'\n[listen]\ntype = 'activation'\n";
    match resolved(least).expect("it compiles").process.engine {
        Engine::Container(container) => container,
        engine => panic!("{engine:?}"),
    }
}

fn podman_kind() -> ListenKind {
    resolved("[container]\nimage = 'app'\nport = 80\n").expect("it compiles").listen.kind
}

fn pod() -> Pod {
    // Any file of the declaration will do.
    let least = "[pod]\ntemplate = 'pod.yaml'\n[listen]\ntype = 'unix'\n";
    match resolved_with(least, &["pod.yaml"]).expect("it compiles").process.engine {
        Engine::Pod(pod) => pod,
        engine => panic!("{engine:?}"),
    }
}

/// The only route of a declaration.
fn route(text: &str) -> Route {
    resolved(text).expect("it compiles").routes.remove(0)
}

#[test]
fn documented_keys_are_accepted_keys() {
    for (title, key) in LEVELS {
        let Problem::UnknownKey { expected, .. } = problem(&key.replace("KEY", "unheard-of")) else {
            panic!("{title} takes any key");
        };
        let documented: Vec<&str> = rows(title).into_iter().map(|(key, _)| key).collect();
        assert_eq!(documented, expected, "{title}");
    }
}

#[test]
fn documented_words_are_accepted_words() {
    for (title, key, text) in WORDS {
        let Problem::UnknownWord { expected, .. } = problem(text) else { panic!("{key} takes any word") };
        let (_, row) = rows(title).into_iter().find(|(name, _)| name == key).unwrap_or_else(|| panic!("{key}"));
        let words = quoted(row.split('|').nth(2).expect("a type"));
        assert_eq!(
            words,
            expected.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().iter().map(String::as_str).collect()
        );
    }
}

#[test]
fn documented_defaults_are_what_is_resolved() {
    let defaults = defaults();
    assert!(defaults.iter().map(|(title, _)| title).eq(LEVELS.iter().map(|(title, _)| title)));
    for (title, resolved) in defaults {
        let cell = |row: &'static str| row.split('|').nth(3).expect("a default").trim().to_owned();
        let documented: Defaults = rows(title).into_iter().map(|(key, row)| (key, cell(row))).collect();
        assert_eq!(documented, resolved, "{title}");
    }
}

#[test]
fn documented_variables_are_those_that_are_set() {
    let documented: Vec<&str> = rows("Environment").into_iter().map(|(name, _)| name).collect();
    assert_eq!(documented, VARIABLES);
    let root = tempfile::tempdir().expect("a scratch directory");
    let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
    let dir = root.join("etc/conductor/services/web");
    fs::create_dir_all(&dir).expect("a directory");
    fs::write(dir.join("service.toml"), "[exec]\ncommand = ['/bin/true']\n").expect("a declaration");
    let host = compile::compile(&Layout::system(root), None);
    let units = host.tree.iter().filter(|(path, _)| path.as_str().ends_with("@.service"));
    let text: String = units.filter_map(|(path, _)| compile::text(&host.tree, path)).collect();
    let set = text.lines().filter_map(|line| line.strip_prefix("Environment=")?.split('=').next());
    // The others are in a file that a deployment writes when it starts.
    let known = VARIABLES.iter().copied().filter(|name| name.starts_with("CONDUCTOR_"));
    assert_eq!(set.collect::<Vec<_>>(), known.collect::<Vec<_>>());
}

/// Where each key may stand in a declaration that has parts.
#[test]
fn documented_places_of_a_parts_keys_are_those_that_are_accepted() {
    let Problem::UnknownKey { expected: all, .. } = problem("unheard-of") else { panic!("any key is taken") };
    let compiles = |outside: &str, inside: &str| {
        let engine = if inside.starts_with("exec") { "" } else { "exec.command = ['/bin/true']\n" };
        resolved(&format!("{outside}\n[[part]]\nname = 'web'\n{engine}{inside}\n")).is_some()
    };
    let value = |key: &str| match key {
        "exec" => "exec = { command = ['/bin/true'] }".to_owned(),
        "container" => "container = { image = 'app', port = 80 }".to_owned(),
        "pod" => "pod = { template = 'pod.yaml' }".to_owned(),
        "service" => "service = [{ dir = '../redis' }]".to_owned(),
        "port" => "port = [{ listen = '80' }]".to_owned(),
        "description" => "description = 'x'".to_owned(),
        "concurrency" | "slots" => format!("{key} = 3"),
        "display" | "route" => format!("{key} = []"),
        _ => format!("{key} = {{}}"),
    };
    let places = |title: &str| {
        let row = section("`[[part]]`").lines().find_map(|line| line.strip_prefix(&format!("| {title} |")));
        quoted(row.expect("a row"))
    };
    let (inside, outside) = (places("only in a part"), places("only outside"));
    for key in all {
        assert_eq!(compiles(&value(key), ""), !inside.contains(key), "{key} outside");
        // A second engine is none in a part either.
        if !["container", "pod"].contains(key) {
            assert_eq!(compiles("", &value(key)), !outside.contains(key), "{key} in a part");
        }
    }
}

#[test]
fn what_comes_later_is_documented() {
    let documented = quoted(section("Not supported yet"));
    assert_eq!(documented, LATER.iter().copied().collect());
}
