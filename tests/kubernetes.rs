//! What services become on Kubernetes: golden files, errors, and that no key is dropped in silence.

mod common;
#[allow(dead_code, reason = "tests/keys.rs uses the rest")]
#[path = "common/keys.rs"]
mod keys;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use conductor::compile::export::{Exported, export_all};
use conductor::key::{Default, File, Kind};
use conductor::layout::Layout;
use conductor::target::Export;
use conductor::target::disposition::Disposition;
use conductor::target::kubernetes::keys::{KEYS, acceptable};
use conductor::target::kubernetes::{Helper, Kubernetes, RouteApi, Version};
use conductor::tree::{Entry, Tree};
use keys::{Place, all_places, enter, parse, write_files};
use toml::Table;

/// Schemas are of the current version, whose objects most cases are; Kubernetes 1.20 has none.
const OLD: &str = "--kubernetes 1.20";

fn cases() -> Vec<Utf8PathBuf> {
    let dir = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/kubernetes");
    let mut cases: Vec<_> =
        dir.read_dir_utf8().expect("the cases are there").map(|entry| entry.expect("a case").into_path()).collect();
    cases.sort();
    assert!(cases.len() >= 15, "there are {} cases", cases.len());
    cases
}

/// Returns the options in the first line of a case.
fn options(case: &Utf8Path) -> String {
    let text = fs::read_to_string(case.join("service.toml")).expect("a declaration");
    let line = text.lines().next().and_then(|line| line.strip_prefix("# render"));
    line.unwrap_or_else(|| panic!("{case} does not begin with # render")).trim().to_owned()
}

/// Runs a command of conductor's on a directory, with a helper program of seven bytes.
fn conductor(dir: &Utf8Path, verb: &str, name: &str, options: &str) -> Output {
    let helper = tempfile::NamedTempFile::new().expect("a scratch file");
    fs::write(helper.path(), "helper\n").expect("a helper");
    let mut command = Command::new(env!("CARGO_BIN_EXE_conductor"));
    command.current_dir(dir).args([verb, "--target", "kubernetes", name]).args(options.split_whitespace());
    command.arg("--helper").arg(helper.path()).stdin(Stdio::null()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn rendered(case: &Utf8Path) -> Output {
    conductor(case.parent().expect("a directory"), "render", case.file_name().expect("a name"), &options(case))
}

#[test]
fn cases_become_objects_or_errors() {
    for case in cases() {
        let output = rendered(&case);
        let name = case.file_name().expect("a name");
        let is_refused = name.starts_with("refused");
        assert_eq!(output.status.code(), Some(if is_refused { 3 } else { 0 }), "{name}: {}", text(&output.stderr));
        assert_eq!(is_refused, !output.stderr.is_empty(), "{name}");
        let shown = if is_refused { text(&output.stderr) } else { text(&output.stdout) };
        common::settings().bind(|| insta::assert_snapshot!(format!("kubernetes-{name}"), shown));
    }
}

#[test]
#[ignore = "needs kubernetes-validate, which tests/kubernetes-validate installs"]
fn objects_have_the_shape_that_kubernetes_asks_for() {
    let installed = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubernetes-validate")).output();
    let installed = installed.expect("the script runs");
    assert!(installed.status.success(), "{}", text(&installed.stderr));
    let program = text(&installed.stdout).trim().to_owned();
    let mut validated = 0;
    for case in cases().into_iter().filter(|case| !options(case).contains(OLD)) {
        let output = rendered(&case);
        if !output.status.success() {
            continue;
        }
        // Schemas of Gateway API are not those of Kubernetes.
        let objects = text(&output.stdout);
        let objects: Vec<_> = objects.split("---\n").filter(|object| !object.contains("kind: HTTPRoute")).collect();
        let dir = tempfile::tempdir().expect("a scratch directory");
        let file = dir.path().join("objects.yaml");
        fs::write(&file, objects.join("---\n")).expect("a file");
        let judged =
            Command::new(&program).args(["--strict", "--quiet"]).arg(&file).output().expect("kubernetes-validate runs");
        assert!(judged.status.success(), "{case}: {}{}", text(&judged.stdout), text(&judged.stderr));
        validated += 1;
    }
    assert!(validated >= 8, "only {validated} cases were validated");
}

fn kubernetes(accepts: bool, routes: RouteApi) -> Kubernetes {
    let accepted = acceptable().filter(|_| accepts).map(str::to_owned).collect();
    Kubernetes {
        image: Some("docker.io/library/debian:13".to_owned()),
        repository: None,
        namespace: None,
        routes,
        version: Version::CURRENT,
        accepted,
        helper: Helper::new("pod".into(), Ok(b"helper".to_vec())),
        storage: "1Gi".to_owned(),
    }
}

/// Returns the targets for a key: of routes both APIs, since each says what the other cannot.
fn targets(place: &Place, accepts: bool) -> Vec<Kubernetes> {
    let gateway = (place.section.path == "route").then(|| RouteApi::Gateway("public".to_owned()));
    [Some(RouteApi::Ingress), gateway].into_iter().flatten().map(|routes| kubernetes(accepts, routes)).collect()
}

/// Renders a service that is called `web`.
fn render(declaration: &Table, target: &Kubernetes) -> Result<Exported, String> {
    let root = tempfile::tempdir().expect("a scratch directory");
    let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
    let dir = root.join("etc/conductor/services/web");
    fs::create_dir_all(&dir).expect("a directory");
    fs::write(dir.join("service.toml"), declaration.to_string()).expect("a declaration");
    write_files(&dir, &toml::Value::Table(declaration.clone()));
    for file in ["pod.yaml", "config.yaml"].map(|file| dir.join(file)).into_iter().filter(|file| file.exists()) {
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: web}]}\n";
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {}\n";
        fs::write(&file, if file.ends_with("pod.yaml") { pod } else { map }).expect("a file");
    }
    let (mut services, errors) = export_all(&Layout::system(root), target);
    match errors.0.is_empty() {
        true => Ok(services.pop().expect("a service")),
        false => Err(errors.to_string()),
    }
}

/// The files without the generation, which each change changes.
fn lines(exported: &Exported) -> BTreeMap<Utf8PathBuf, String> {
    let generation = exported.id.as_str();
    let file = |(path, entry): (&Utf8Path, &Entry)| match entry {
        Entry::File { content, .. } => (path.to_owned(), text(content).replace(generation, "GENERATION")),
        Entry::Symlink { .. } => panic!("{path} is a link"),
    };
    exported.tree.iter().map(file).collect()
}

fn disposition(place: &Place) -> Disposition {
    let path = if place.section.path.is_empty() {
        place.key.name.to_owned()
    } else {
        format!("{}.{}", place.section.path, place.key.name)
    };
    KEYS.iter().find(|(key, _)| *key == path).unwrap_or_else(|| panic!("{path} has no disposition")).1
}

/// Keys that other cases show: hooks inside of containers, and other services, which the command line collects.
const ELSEWHERE: &[&str] = &["hooks.inside", "service.dir", "service.vars", "service.name"];

/// The values of a key to try: its example, and each of its words.
fn values(place: &Place) -> Vec<String> {
    let words: &[_] = match place.key.kind {
        Kind::Words(words) => words,
        _ => &[],
    };
    let example = match place.path().as_str() {
        // Kubernetes counts whole seconds.
        "health.interval" => "\"3s\"",
        _ => place.key.example,
    };
    let words = words.iter().map(|(word, _)| format!("{word:?}"));
    std::iter::once(example.to_owned()).chain(words).filter(|value| !is_default(place, value)).collect()
}

fn is_default(place: &Place, value: &str) -> bool {
    matches!(place.key.default, Default::Value(default) | Default::Varies(default, _) if default == value)
}

/// A declaration that Kubernetes takes but for the key itself.
fn suited(place: &Place, mut table: Table) -> Table {
    if let Some(metrics) = table.get_mut("listen").and_then(|listen| listen.get_mut("metrics")) {
        let metrics = metrics.as_table_mut().expect("a table");
        if place.path() != "listen.metrics.type" && metrics.get("type").and_then(|kind| kind.as_str()) == Some("unix") {
            metrics.insert("type".to_owned(), "tcp".into());
            metrics.insert("port".to_owned(), 9000.into());
        }
    }
    if place.section.path == "listen.*" {
        enter(&mut table, File::Service, "container").insert("entrypoint".to_owned(), "/bin/server".into());
    }
    if place.path() == "commands.NAME.scope" {
        table.remove("container");
        enter(&mut table, File::Service, "exec").insert("command".to_owned(), parse("[\"/bin/server\"]"));
    } else if place.section.path == "commands.*" && place.key.name != "inside" {
        enter(&mut table, File::Service, "commands.NAME").insert("inside".to_owned(), true.into());
    }
    if place.section.path == "deploy.autoscale" {
        enter(&mut table, File::Service, "").insert("resources".to_owned(), parse("{ cpu_quota = \"50%\" }"));
    }
    table
}

#[test]
fn no_key_is_dropped_in_silence() {
    let mut wrong = Vec::new();
    for place in all_places().filter(|place| place.file == File::Service) {
        let path = place.path();
        if ELSEWHERE.contains(&path.as_str()) {
            continue;
        }
        let (disposition, values) = (disposition(&place), values(&place));
        let without = suited(&place, place.without());
        let (mut has_effect, mut tried, mut refused, mut refusals) = (false, 0, 0, String::new());
        for target in targets(&place, true) {
            let base = render(&without, &target).map(|base| lines(&base)).ok();
            for value in &values {
                tried += 1;
                match render(&suited(&place, place.with(value)), &target) {
                    // What is required cannot be left out.
                    Ok(rendered) => has_effect |= base != Some(lines(&rendered)),
                    Err(error) => {
                        refused += 1;
                        refusals += &error;
                    }
                }
            }
        }
        let is_lost = |value: &String| {
            let with = suited(&place, place.with(value));
            targets(&place, false).iter().all(|target| render(&with, target).is_err())
        };
        let holds = match disposition {
            Disposition::Mapped(_) | Disposition::Partly { .. } => has_effect && refused < tried || tried == 0,
            Disposition::Approximated { .. } => refused < tried && values.iter().all(is_lost),
            Disposition::Refused { .. } => refused == tried,
            Disposition::Unneeded(_) => refused == 0 && !has_effect,
        };
        if !holds {
            wrong.push(format!("{path}: effect {has_effect}, {refused} of {tried} refused: {refusals}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The template of the pods, of which a change rolls them.
fn template(declaration: &str) -> String {
    let exported =
        render(&declaration.parse().expect("TOML"), &kubernetes(true, RouteApi::Gateway("public".to_owned())))
            .expect("it renders");
    let tree: &Tree = &exported.tree;
    let deployment = tree.text("web/40-deployment.yaml".into()).expect("a Deployment").to_owned();
    deployment.split_once("\n  template:\n").expect("a template").1.to_owned()
}

#[test]
fn routes_and_scale_roll_no_pods() {
    let declaration = "concurrency = 2\n[exec]\ncommand = ['/bin/server']\n[[route]]\nhost = ['a.example.com']\n";
    let base = template(declaration);
    assert_eq!(base, template(&declaration.replace("= 2", "= 5")));
    assert_eq!(base, template(&declaration.replace("a.example", "b.example")));
    assert_eq!(base, template(&format!("{declaration}path = '/api'\nstrip_prefix = true\n")));
    assert_eq!(base, template(&format!("description = 'Web'\n{declaration}")));
    let limited = format!("{declaration}[resources]\ncpu_quota = '50%'\n");
    assert_eq!(template(&limited), template(&format!("{limited}[deploy.autoscale]\nmax = 9\ncpu = 50\n")));
    assert_ne!(base, template(&declaration.replace("server", "other")));
    assert_ne!(base, template(&format!("config.A = 'b'\n{declaration}")));
}

#[test]
fn large_files_become_an_image_to_build() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let dir = Utf8Path::from_path(dir.path()).expect("a UTF-8 path");
    fs::create_dir_all(dir.join("web/assets")).expect("a directory");
    fs::write(dir.join("web/service.toml"), "[exec]\ncommand = ['/bin/server']\n").expect("a declaration");
    fs::write(dir.join("web/assets/large"), vec![b'x'; (1 << 20) + 1]).expect("a file");
    let no_name = conductor(dir, "render", "web", "--image debian:13");
    assert_eq!(no_name.status.code(), Some(3));
    assert!(text(&no_name.stderr).contains("--repository"), "{}", text(&no_name.stderr));
    let options = "--image debian:13 --repository registry.example.com/apps";
    let no_dir = conductor(dir, "render", "web", options);
    assert_eq!(no_dir.status.code(), Some(2), "{}", text(&no_dir.stderr));
    let written = conductor(dir, "render", "web", &format!("{options} -o out"));
    assert!(written.status.success(), "{}", text(&written.stderr));
    let containerfile = fs::read_to_string(dir.join("out/web/image/Containerfile")).expect("a Containerfile");
    assert!(containerfile.contains("FROM debian:13\nCOPY files /srv/web\n"), "{containerfile}");
    assert_eq!(fs::metadata(dir.join("out/web/image/files/assets/large")).expect("the file").len(), (1 << 20) + 1);
    let deployment = fs::read_to_string(dir.join("out/web/40-deployment.yaml")).expect("a Deployment");
    assert!(deployment.contains("image: registry.example.com/apps/web:"), "{deployment}");
    assert!(!dir.join("out/web/15-config-map.yaml").exists());
}

#[test]
fn options_are_for_their_target() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let dir = Utf8Path::from_path(dir.path()).expect("a UTF-8 path");
    for (options, told) in [
        ("--accept exec.command", "there is nothing to accept of this key"),
        ("--accept exec.usr", "did you mean exec.user?"),
        ("--route-api gateway", "--gateway NAME"),
        ("--gateway public", "--route-api gateway"),
        ("--kubernetes 1.19", "from 1.20 on"),
    ] {
        let output = conductor(dir, "render", "web", options);
        assert_eq!(output.status.code(), Some(2), "{options}");
        assert!(text(&output.stderr).contains(told), "{options}: {}", text(&output.stderr));
    }
    let output = Command::new(env!("CARGO_BIN_EXE_conductor")).args(["render", "--image", "debian:13"]).output();
    let output = output.expect("it runs");
    assert!(text(&output.stderr).contains("--image is for --target kubernetes"), "{}", text(&output.stderr));
}

/// A directory with a service `web`, and the objects that a cluster has of it.
struct Cluster {
    dir: tempfile::TempDir,
}

impl Cluster {
    const DECLARATION: &str =
        "concurrency = 2\n[exec]\ncommand = ['/bin/server']\n[[route]]\nhost = ['a.example.com']\ntls = 'off'\n";

    fn new() -> Self {
        let cluster = Self { dir: tempfile::tempdir().expect("a scratch directory") };
        cluster.declare(Self::DECLARATION);
        let rendered = conductor(cluster.path(), "render", "web", "--image debian:13");
        fs::write(cluster.path().join("live.yaml"), rendered.stdout).expect("a file");
        cluster
    }

    fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).expect("a UTF-8 path")
    }

    fn declare(&self, declaration: &str) {
        fs::create_dir_all(self.path().join("web")).expect("a directory");
        fs::write(self.path().join("web/service.toml"), declaration).expect("a declaration");
    }

    /// Plans what is declared against the cluster, with exit code 4 for changes.
    fn plan(&self, options: &str) -> (Option<i32>, String) {
        let options = format!("--image debian:13 --exit-code --against live.yaml {options}");
        let output = conductor(self.path(), "plan", "web", &options);
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }
}

#[test]
fn plans_say_what_applying_does() {
    let cluster = Cluster::new();
    assert_eq!(cluster.plan(""), (Some(0), "no changes\n".to_owned()));
    cluster.declare(&Cluster::DECLARATION.replace("= 2", "= 5"));
    let scaled = "web: rescale\n  Deployment web: rescale\n    spec.replicas: 2 -> 5\n";
    assert_eq!(cluster.plan(""), (Some(4), scaled.to_owned()));
    cluster.declare(&Cluster::DECLARATION.replace("a.example", "b.example"));
    let (code, told) = cluster.plan("");
    assert!(code == Some(4) && told.starts_with("web: republish\n  Ingress web: republish\n"), "{told}");
    assert!(!told.contains("roll"), "{told}");
    cluster.declare(&Cluster::DECLARATION.replace("/bin/server", "/bin/other"));
    let (code, told) = cluster.plan("");
    assert!(code == Some(4) && told.starts_with("web: roll\n  Deployment web: roll\n"), "{told}");
    assert!(told.contains(".command[5]: /bin/server -> /bin/other"), "{told}");
    let (code, told) = cluster.plan("--json");
    assert!(code == Some(4) && told.contains("\"actions\""), "{told}");
    fs::write(cluster.path().join("live.yaml"), "a: [").expect("a file");
    let (code, told) = cluster.plan("");
    assert!(code == Some(1) && told.contains("the cluster's objects are not YAML"), "{told}");
    fs::write(cluster.path().join("live.yaml"), "").expect("a file");
    assert!(cluster.plan("").1.contains("\nweb: create\n"), "{:?}", cluster.plan(""));
}

#[test]
fn keys_are_explained_by_their_fields() {
    let cluster = Cluster::new();
    let output = conductor(cluster.path(), "explain", "web", "--image debian:13");
    let told = text(&output.stdout);
    for expected in [
        "concurrency = 2  (web/service.toml:1)\n    web/40-deployment.yaml\n        Deployment web: spec.replicas = 2\n",
        "Deployment web: spec.template.spec.containers[web].command[5] = /bin/server",
        "route[0].host = [\"a.example.com\"]  (web/service.toml:5)\n    web/60-ingress.yaml\n",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}{}", text(&output.stderr));
    }
}

#[test]
fn checks_tell_what_a_cluster_cannot_do() {
    let cluster = Cluster::new();
    let check = |options: &str| conductor(cluster.path(), "check", "web", options);
    let output = check("--image debian:13");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "1 service is in order\n".to_owned()));
    cluster.declare(&format!("{}compress = true\n", Cluster::DECLARATION));
    let output = check("--image debian:13");
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("web/service.toml:7:1: route[0].compress"), "{}", text(&output.stderr));
    assert!(check("--image debian:13 --accept route.compress").status.success());
}

/// A host refuses what is for clusters alone.
#[test]
fn a_host_does_not_scale_by_load() {
    let cluster = Cluster::new();
    cluster.declare(&format!("{}[deploy.autoscale]\nmax = 4\ncpu = 80\n", Cluster::DECLARATION));
    let output =
        Command::new(env!("CARGO_BIN_EXE_conductor")).current_dir(cluster.path()).args(["render", "web"]).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(3));
    let told = "deploy.autoscale: systemd starts as many deployments as are declared";
    assert!(text(&output.stderr).contains(told), "{}", text(&output.stderr));
}

/// Without a name, everything that a host declares is rendered: what others need comes first, and what is wrong is told.
#[test]
fn a_whole_host_is_rendered() {
    let root = tempfile::tempdir().expect("a scratch directory");
    let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
    let declare = |name: &str, declaration: &str| {
        let dir = root.join("etc/conductor/services").join(name);
        fs::create_dir_all(&dir).expect("a directory");
        fs::write(dir.join("service.toml"), declaration).expect("a declaration");
    };
    let worker = "[exec]\ncommand = ['/bin/true']\n[listen]\ntype = 'none'\n";
    declare("app", &format!("{worker}[[service]]\ndir = '../store'\n"));
    declare("store", worker);
    declare("wrong", &format!("{worker}[hooks]\npost_stop = ['/bin/true']\n"));
    let (services, errors) = export_all(&Layout::system(root), &kubernetes(false, RouteApi::Ingress));
    let names: Vec<_> = services.iter().map(|exported| exported.model.service.name.as_str()).collect();
    assert_eq!(names, ["store", "app"]);
    let told = errors.to_string();
    assert!(told.contains("wrong/service.toml:6:1: hooks.post_stop") && errors.0.len() == 1, "{told}");

    declare("wrong", worker);
    declare("a.b", worker);
    declare("a-b", worker);
    let target = kubernetes(false, RouteApi::Ingress);
    let (services, errors) = export_all(&Layout::system(root), &target);
    assert!(errors.0.is_empty(), "{errors}");
    let models: Vec<_> = services.iter().map(|exported| &exported.model).collect();
    let told = target.shared(&models).expect_err("names of objects").to_string();
    assert!(told.contains("would have objects of the same names"), "{told}");
}
