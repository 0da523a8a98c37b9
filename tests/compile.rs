//! What cases compile to: complete trees, and each error with its place and remedy.

mod common;

use std::fmt::Write;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use conductor::compile;
use conductor::compile::host::Host;
use conductor::directive;
use conductor::layout::Layout;
use conductor::live::Target;
use conductor::names::GenerationId;
use conductor::names::ServiceName;
use conductor::service::store;
use conductor::target::systemd::Units;
use conductor::tree::Entry;
use conductor::tree::Tree;

/// The systemd that cases are rendered for, unless they are about versions.
const SYSTEMD: u16 = 252;

fn cases(kind: &str) -> Vec<Utf8PathBuf> {
    let dir = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(kind);
    let mut cases: Vec<_> =
        dir.read_dir_utf8().expect("the cases are there").map(|entry| entry.expect("a case").into_path()).collect();
    cases.sort();
    cases
}

fn snapshot(name: &str, text: &str) {
    common::settings().bind(|| insta::assert_snapshot!(name, text));
}

/// A compiled host with its tree.
struct Whole {
    host: Host,
    tree: Tree,
}

impl Deref for Whole {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

/// Compiles everything under a root, for a systemd.
fn compile_whole(layout: &Layout, systemd: u16) -> Whole {
    let target = Units(Some(systemd));
    let mut host = compile::compile(layout, &target);
    let tree = host.tree(layout, &target);
    Whole { host, tree }
}

fn show(host: &Whole) -> String {
    let mut text = String::new();
    for (service, errors) in &host.errors {
        let name = service.as_ref().map_or("(no service)", |name| name.as_str());
        let _ = writeln!(text, "!! {name}\n{errors}\n");
    }
    for (path, entry) in host.tree.iter() {
        let _ = match entry {
            Entry::File { content, mode } => {
                writeln!(text, "## {path} {mode:o}\n{}", String::from_utf8_lossy(content))
            }
            Entry::Symlink { target } => writeln!(text, "## {path} -> {target}\n"),
        };
    }
    text
}

/// A root to declare services under; they have an executable file `server` and a plain one `data`.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a scratch directory"))
    }

    fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.0.path()).expect("a UTF-8 path")
    }

    fn layout(&self) -> Layout {
        Layout::system(self.root())
    }

    fn declare(&self, name: &str, text: &str) {
        let dir = self.root().join("etc/conductor/services").join(name);
        fs::create_dir_all(&dir).expect("a directory");
        fs::write(dir.join("service.toml"), text).expect("a declaration");
        for (name, mode) in [("server", 0o755), ("data", 0o644)] {
            fs::write(dir.join(name), "#!/bin/sh\n").expect("a file");
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).expect("its mode");
        }
    }

    fn compile(&self) -> Whole {
        compile_whole(&self.layout(), SYSTEMD)
    }

    /// Makes what is declared live, as its start would.
    fn start(&self, name: &str) -> Started {
        let (layout, name) = (self.layout(), ServiceName::new(name).expect("a name"));
        let host = self.compile();
        let compiled = host.services.get(&name).unwrap_or_else(|| panic!("{}", show(&host)));
        let units = Units(Some(SYSTEMD));
        store::store(&layout, &units, compiled, &layout.at(&layout.declaration(&name))).expect("a stored generation");
        let target = Target::new(&compiled.service, &compiled.digests, Default::default());
        let target = serde_json::to_vec(&target).expect("a target as JSON");
        fs::write(layout.at(&layout.target(&name)), target).expect("a target");
        Started { id: compiled.id.clone(), units: compiled.units(&layout, &units) }
    }
}

/// A generation that is live.
struct Started {
    id: GenerationId,
    units: Tree,
}

impl Started {
    /// The units of its deployments.
    fn deployment_units(&self) -> Vec<(&Utf8Path, &Entry)> {
        self.units.iter().filter(|(path, _)| path.as_str().contains(self.id.as_str())).collect()
    }
}

/// Whether a tree has all of these.
fn has(tree: &Tree, entries: &[(&Utf8Path, &Entry)]) -> bool {
    assert!(!entries.is_empty());
    entries.iter().all(|(path, entry)| tree.get(path) == Some(entry))
}

fn caddy(host: &Whole) -> &str {
    host.tree.text("conductor/proxy/caddy/sites.caddy".into()).expect("the proxy's configuration")
}

const WEB: &str = "slots = 2\n[exec]\ncommand = ['./server']\n[[route]]\nhost = ['www.example.com']\n";
const BROKEN: &str = "slots = \n";

/// A host's files under a root: the tree that its generator writes. The systemd of a case is the one
/// whose library it has.
#[test]
fn hosts() {
    for case in cases("hosts") {
        let systemd = directive::systemd_version(case.as_std_path()).unwrap_or(SYSTEMD);
        let host = compile_whole(&Layout::system(&case), systemd);
        snapshot(&format!("host-{}", case.file_name().expect("a name")), &show(&host));
    }
}

/// One broken `service.toml` each. Its first comment may say `# systemd 257`.
#[test]
fn errors() {
    let all = cases("errors");
    assert!(all.len() >= 50, "there are {} error cases", all.len());
    let mut wrong = Vec::new();
    for case in all {
        let text = fs::read_to_string(&case).expect("a case");
        let version = text.lines().next().and_then(|line| line.strip_prefix("# systemd "));
        let systemd = version.map_or(SYSTEMD, |version| version.trim().parse().expect("a version"));
        let scratch = Scratch::new();
        scratch.declare("web", &text);
        let host = compile::compile(&scratch.layout(), &Units(Some(systemd)));
        let name = case.file_stem().expect("a name");
        if !host.services.is_empty() {
            wrong.push(format!("{name} compiles"));
            continue;
        }
        let errors: Vec<_> = host.errors.values().map(ToString::to_string).collect();
        if host.errors.values().flat_map(|errors| &errors.0).any(|error| error.remedy().is_empty()) {
            wrong.push(format!("{name} has an error without a remedy"));
        }
        snapshot(&format!("error-{name}"), &errors.join("\n\n"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The same input gives the same bytes, and comments, order and white space give the same generation.
#[test]
fn compilation_is_deterministic() {
    let parse = |text: &str| {
        let scratch = Scratch::new();
        scratch.declare("web", text);
        let host = scratch.compile();
        assert!(host.errors.is_empty(), "{}", show(&host));
        host
    };
    let plain =
        "description = 'x'\nconfig = { A = '1', B = '2' }\n[exec]\ncommand = ['/bin/true']\n[health]\ntcp = true\n";
    let other = "# hello\nconfig = { B = '2',   A = '1' }\ndescription = \"x\"\n[health]\ntcp = true\n\n[exec]\ncommand = [\"/bin/true\"]\n";
    let (one, two) = (parse(plain), parse(other));
    assert_eq!(one.tree, two.tree);
    assert_eq!(parse(plain).tree, one.tree);
    let changed = parse(&plain.replace("'2'", "'3'"));
    let id = |host: &Whole| host.services.values().next().expect("a service").id.clone();
    assert_eq!(id(&one), id(&two));
    assert_ne!(id(&one), id(&changed));
}

/// A typing error never touches what is running: its units and routes stay, to the byte.
#[test]
fn a_broken_declaration_keeps_what_is_live() {
    let scratch = Scratch::new();
    scratch.declare("web", WEB);
    let before = scratch.compile();
    let old = scratch.start("web");
    scratch.declare("web", BROKEN);
    let host = scratch.compile();
    assert_eq!(host.errors.len(), 1);
    assert_eq!(host.tree, before.tree);
    assert!(has(&host.tree, &old.units.iter().collect::<Vec<_>>()));
}

/// While another generation is declared, the old one's deployments keep their units, and nothing else.
#[test]
fn another_generation_is_compiled_beside_the_live_one() {
    let scratch = Scratch::new();
    scratch.declare("web", WEB);
    let old = scratch.start("web");
    scratch.declare("web", &WEB.replace("'./server'", "'./server', '--new'").replace("www", "new"));
    let host = scratch.compile();
    assert!(host.errors.is_empty(), "{}", show(&host));
    let new = host.services.values().next().expect("a service");
    assert_ne!(new.id, old.id);
    assert!(has(&host.tree, &old.deployment_units()));
    assert!(has(&host.tree, &new.units(&scratch.layout(), &Units(Some(SYSTEMD))).iter().collect::<Vec<_>>()));
    assert!(caddy(&host).contains("new.example.com") && !caddy(&host).contains("www.example.com"));
}

/// A live generation's own units come from its snapshot also when it is the declared one with other
/// settings: what is running was started with them.
#[test]
fn settings_change_without_a_new_generation() {
    let scratch = Scratch::new();
    scratch.declare("web", WEB);
    let old = scratch.start("web");
    scratch.declare("web", &format!("{WEB}[resources]\nmemory_max = '1G'\n"));
    let host = scratch.compile();
    let new = host.services.values().next().expect("a service");
    assert_eq!(new.id, old.id);
    let slice = host.tree.text("conductor-web.slice".into()).expect("the slice");
    assert!(slice.contains("MemoryMax=1G"), "{slice}");
}

/// Until its deployments are stopped, a service whose declaration is gone is what it was.
#[test]
fn a_deleted_declaration_keeps_what_is_live() {
    let scratch = Scratch::new();
    scratch.declare("web", WEB);
    let before = scratch.compile();
    scratch.start("web");
    fs::remove_dir_all(scratch.root().join("etc/conductor/services/web")).expect("the declaration goes");
    let host = scratch.compile();
    assert!(host.errors.is_empty(), "{}", show(&host));
    assert_eq!(host.tree, before.tree);
}

/// The target speaks for a service, whatever the names of its generations.
#[test]
fn the_target_speaks_for_a_broken_service() {
    for last in ["one", "two"] {
        let scratch = Scratch::new();
        for version in ["one", "two", last] {
            scratch.declare(
                "web",
                &format!("{WEB}[systemd.service]\nSyslogIdentifier = '{version}'\n").replace("www", version),
            );
            scratch.start("web");
        }
        scratch.declare("web", BROKEN);
        let host = scratch.compile();
        assert!(caddy(&host).contains(&format!("{last}.example.com")), "{}", caddy(&host));
        let templates = host.tree.iter().filter(|(path, _)| path.as_str().ends_with("@.service"));
        assert_eq!(templates.count(), 2, "deployments of both generations have their units");
    }
}

/// A snapshot that cannot be read is an error of its service alone.
#[test]
fn a_damaged_snapshot_is_an_error_of_its_service() {
    let scratch = Scratch::new();
    for name in ["mail", "web"] {
        scratch.declare(name, &WEB.replace("www", name));
        scratch.start(name);
    }
    let web = ServiceName::new("web").expect("a name");
    let id = scratch.start("web").id;
    let snapshot = scratch.layout().at(&scratch.layout().snapshot(&web, &id));
    fs::write(snapshot.join("model.json"), "{").expect("a damaged model");
    scratch.declare("web", BROKEN);
    let host = scratch.compile();
    let errors = host.errors.get(&Some(web)).expect("errors of web").to_string();
    assert!(errors.contains("the snapshot cannot be read"), "{errors}");
    assert!(caddy(&host).contains("mail.example.com") && host.services.len() == 1);
}

/// Two services of which `alpha` lost the route that both claim.
fn assert_web_keeps_its_route(host: &Whole) {
    let alpha = ServiceName::new("alpha").expect("a name");
    let errors = host.errors.get(&Some(alpha.clone())).map(ToString::to_string).unwrap_or_default();
    let place = "alpha/service.toml:4:1: route[0]";
    let error = format!("{place}: www.example.com, path /, is already routed to the service web");
    assert!(errors.contains(&error), "{}", show(host));
    assert!(!host.services.contains_key(&alpha));
    assert!(caddy(host).contains("import conductor-web") && !caddy(host).contains("conductor-alpha"));
}

/// A newcomer does not take a route from a service that has it, although it comes first by name.
#[test]
fn a_live_route_stays_with_its_owner() {
    let scratch = Scratch::new();
    scratch.declare("web", WEB);
    scratch.start("web");
    scratch.declare("alpha", WEB);
    assert_web_keeps_its_route(&scratch.compile());
    scratch.declare("web", &WEB.replace("www", "other"));
    let host = scratch.compile();
    assert!(host.errors.is_empty(), "a route that is given up is free: {}", show(&host));
    assert!(caddy(&host).contains("import conductor-alpha"));
}

/// Nor does it while the owner's declaration is broken.
#[test]
fn a_live_route_stays_with_an_owner_that_is_broken() {
    let scratch = Scratch::new();
    scratch.declare("web", WEB);
    scratch.start("web");
    scratch.declare("web", BROKEN);
    scratch.declare("alpha", WEB);
    assert_web_keeps_its_route(&scratch.compile());
}

/// The proxy is the system's: it has no access to a user's sockets.
#[test]
fn a_users_service_has_no_routes() {
    let scratch = Scratch::new();
    let dir = scratch.root().join("home/ann/.config/conductor/services/web");
    fs::create_dir_all(&dir).expect("a directory");
    fs::write(dir.join("service.toml"), WEB.replace("./server", "/usr/bin/true")).expect("a declaration");
    let environment = |name: &str| match name {
        "HOME" => Some("/home/ann".to_owned()),
        "XDG_RUNTIME_DIR" => Some("/run/user/1000".to_owned()),
        _ => None,
    };
    let layout = Layout::user(scratch.root(), environment).expect("a user's layout");
    let host = compile::compile(&layout, &Units(Some(SYSTEMD)));
    let errors: Vec<_> = host.errors.values().map(ToString::to_string).collect();
    assert!(errors.len() == 1 && errors[0].contains("route: the system's proxy"), "{errors:?}");
    assert!(host.services.is_empty());
}

/// Every snapshot is of a case that there is.
#[test]
fn no_snapshot_is_left_over() {
    let dir = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    for entry in dir.read_dir_utf8().expect("the snapshots") {
        let entry = entry.expect("a snapshot");
        let case = match entry.path().file_stem().and_then(|stem| stem.split_once('-')) {
            Some(("error", name)) => format!("errors/{name}.toml"),
            Some(("host", name)) => format!("hosts/{name}"),
            Some(("functions", _)) => "functions".to_owned(),
            Some(("import", "errors")) => "import".to_owned(),
            Some(("import", name)) => format!("import/{}", name.replacen('-', "/", 1)),
            Some(("kubernetes", name)) => format!("kubernetes/{name}"),
            Some(("proxy", name)) => format!("proxies/{}.toml", name.rsplit_once('-').map_or(name, |(case, _)| case)),
            _ => panic!("{} is of no test", entry.path()),
        };
        assert!(dir.join("../cases").join(&case).exists(), "{} is left over", entry.path());
    }
}

/// What cannot be looked at is not gone: it keeps what it has, and says why.
#[test]
fn what_cannot_be_read_is_not_undeclared() {
    use std::os::unix::fs::symlink;
    type Break = fn(&Utf8Path, &Utf8Path);
    let breaks: [(&str, &str, Break); 6] = [
        ("service.toml is a link to nothing", "web/service.toml: cannot be read", |_, web| {
            fs::remove_file(web.join("service.toml")).expect("a file");
            symlink("/nowhere/service.toml", web.join("service.toml")).expect("a link");
        }),
        ("the declaration is a link to nothing", "web/service.toml: cannot be read", |_, web| {
            fs::remove_dir_all(web).expect("a directory");
            symlink("/nowhere/web", web).expect("a link");
        }),
        ("the declaration is a loop", "web/service.toml: cannot be read", |_, web| {
            fs::remove_dir_all(web).expect("a directory");
            symlink("web", web).expect("a link");
        }),
        ("drop-ins are a link to nothing", "web.d: cannot be read", |services, _| {
            symlink("/nowhere/web.d", services.join("web.d")).expect("a link");
        }),
        ("all declarations are a link to nothing", "services: cannot be read", |services, _| {
            fs::remove_dir_all(services).expect("a directory");
            symlink("/nowhere/services", services).expect("a link");
        }),
        ("all of /etc/conductor is a loop", "services: cannot be read", |services, _| {
            let etc = services.parent().expect("a parent");
            fs::remove_dir_all(etc).expect("a directory");
            symlink("conductor", etc).expect("a link");
        }),
    ];
    for (what, error, break_it) in breaks {
        let scratch = Scratch::new();
        scratch.declare("web", WEB);
        let before = scratch.compile();
        scratch.start("web");
        let services = scratch.root().join("etc/conductor/services");
        break_it(&services, &services.join("web"));
        let host = scratch.compile();
        let errors: String = host.errors.values().map(ToString::to_string).collect();
        assert!(errors.contains(error), "{what}: {errors}");
        assert!(host.services.is_empty(), "{what}");
        assert_eq!(host.tree, before.tree, "{what}");
        let of_it = host.errors.contains_key(&Some(ServiceName::new("web").expect("a name")));
        assert!(of_it || !host.is_complete, "{what}: nobody knows that it is declared");
    }
}

/// A service that loses one of its routes loses all that it had won, and what it runs with stays its own.
#[test]
fn every_conflict_counts() {
    let routes = |hosts: &str| format!("slots = 2\n[exec]\ncommand = ['./server']\n[[route]]\nhost = [{hosts}]\n");
    let scratch = Scratch::new();
    for (name, hosts) in [("beta", "'two.example'"), ("web", "'one.example'")] {
        scratch.declare(name, &routes(hosts));
        scratch.start(name);
    }
    scratch.declare("alpha", &routes("'one.example'"));
    scratch.declare("web", &routes("'one.example', 'two.example'"));
    let host = scratch.compile();
    let names: Vec<_> = host.services.keys().map(ServiceName::as_str).collect();
    assert_eq!(names, ["beta"], "{}", show(&host));
    let errors = |name: &str| host.errors[&Some(ServiceName::new(name).expect("a name"))].to_string();
    assert!(errors("web").contains("two.example, path /, is already routed to the service beta"), "{}", errors("web"));
    assert!(
        errors("alpha").contains("one.example, path /, is already routed to the service web"),
        "{}",
        errors("alpha")
    );
    assert!(
        caddy(&host).contains("one.example {\n") && !caddy(&host).contains("(conductor-alpha)"),
        "{}",
        caddy(&host)
    );
}

/// Of two services on one port, be it under another address, the one that runs keeps it.
#[test]
fn a_port_is_one_service_s() {
    let port = |listen: &str| format!("[exec]\ncommand = ['./server']\n[[port]]\nlisten = '{listen}'\n");
    let scratch = Scratch::new();
    scratch.declare("web", &port("127.0.0.1:5432"));
    scratch.start("web");
    scratch.declare("db", &port("5432"));
    let host = scratch.compile();
    let db = Some(ServiceName::new("db").expect("a name"));
    assert!(host.errors[&db].to_string().contains("the service web already listens on 127.0.0.1:5432"));
    // Also while its declaration is broken.
    scratch.declare("web", BROKEN);
    let host = scratch.compile();
    assert!(host.errors[&db].to_string().contains("the service web already listens on 127.0.0.1:5432"));
}
