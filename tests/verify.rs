//! What systemd itself says of rendered units. Needs systemd-analyze(1).

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use conductor::compile;
use conductor::compile::functions::load_function;
use conductor::compile::host::Compiled;
use conductor::directive;
use conductor::layout::Layout;
use conductor::model::Engine;
use conductor::names::ServiceName;
use conductor::source::search;
use conductor::target::Target;
use conductor::target::systemd::Units;
use conductor::template;
use conductor::verify;

/// The systemd that judges; units are rendered for it.
fn systemd() -> u16 {
    directive::systemd_version("/".as_ref()).expect("systemd is installed")
}

fn here() -> &'static Utf8Path {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn directories(below: &str) -> Vec<Utf8PathBuf> {
    let entries = here().join(below).read_dir_utf8().expect("a directory");
    let mut all: Vec<_> =
        entries.map(|entry| entry.expect("an entry").into_path()).filter(|path| path.is_dir()).collect();
    all.sort();
    all
}

#[track_caller]
fn assert_silent(layout: &Layout, compiled: &Compiled, dir: &Utf8Path) {
    let said = verify::verify(layout, compiled, dir, &Units(Some(systemd()))).expect("systemd-analyze runs");
    assert!(said.is_empty(), "{}: {said:#?}", compiled.service.name);
}

#[test]
#[ignore = "needs systemd-analyze(1)"]
fn systemd_has_nothing_to_say_of_the_cases() {
    let mut verified = 0;
    for case in directories("tests/cases/hosts") {
        let layout = Layout::system(&case);
        // What needs a newer systemd than this is an error here, and not verified.
        for compiled in compile::compile(&layout, &Units(Some(systemd()))).services.values() {
            let dir = layout.at(compiled.service.source.parent().expect("a directory"));
            assert_silent(&layout, compiled, &dir);
            verified += 1;
        }
    }
    assert!(verified >= 15, "only {verified} services were verified");
}

/// An example as `service declare DIR VARIABLE=1` stores it.
fn example(dir: &Utf8Path, work: impl FnOnce(&Layout, &Compiled, &Utf8Path)) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let root = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path");
    let text = fs::read_to_string(dir.join("service.toml")).expect("a declaration");
    let is_used = |name: &&str| text.contains(&format!("{{{{ {name}"));
    let used = ["VERSION", "PG"].into_iter().filter(is_used).map(|name| (name.to_owned(), "1".to_owned()));
    let variables: BTreeMap<_, _> = used.collect();
    let rendered = root.join("rendered");
    fs::create_dir(&rendered).expect("a directory");
    template::render_dir(dir, &rendered, &variables).unwrap_or_else(|errors| panic!("{errors}"));
    let layout = Layout::system(root);
    let name = ServiceName::new(dir.file_name().expect("a name")).expect("a service's name");
    let location = search::new_location(&layout, &name).unwrap_or_else(|errors| panic!("{errors}"));
    let compiled = compile::compile_at(&layout, &location, &rendered, dir, &Units(Some(systemd())));
    work(&layout, &compiled.unwrap_or_else(|errors| panic!("{errors}")), &rendered);
}

#[test]
#[ignore = "needs systemd-analyze(1)"]
fn systemd_has_nothing_to_say_of_the_examples() {
    let mut examples = directories("examples");
    // Services with parts are compiled as several.
    let is_one = |text: &str| !text.contains("[[part]]");
    examples.retain(|dir| fs::read_to_string(dir.join(conductor::source::DECLARATION)).is_ok_and(|text| is_one(&text)));
    assert!(examples.len() >= 3, "{examples:?}");
    for dir in examples {
        example(&dir, |layout, compiled, rendered| {
            let Engine::Exec { command } = &compiled.service.process.engine else { return };
            let program = &command.0[0];
            let mut said =
                verify::verify(layout, compiled, rendered, &Units(Some(systemd()))).expect("systemd-analyze runs");
            // Servers from Debian's packages need not be installed here.
            let is_packaged = !program.contains('/') || program.starts_with("/usr/");
            said.retain(|line| !is_packaged || !line.contains(&format!("Command {program} is not executable")));
            assert!(said.is_empty(), "{dir}: {said:#?}");
        });
    }
}

/// systemd notices what is wrong: the silence above means something.
#[test]
#[ignore = "needs systemd-analyze(1)"]
fn systemd_would_say_something() {
    example(&here().join("examples/hello"), |layout, compiled, rendered| {
        let mut wrong = compiled.clone();
        let line =
            |name: &str, value: &str| conductor::model::Directive { name: name.to_owned(), value: value.to_owned() };
        wrong.systemd.service = vec![line("LimitNOFILES", "1"), line("ProtectHome", "perhaps")];
        let said = verify::verify(layout, &wrong, rendered, &Units(Some(systemd()))).expect("systemd-analyze runs");
        assert_eq!(said.len(), 2, "{said:#?}");
    });
}

/// What `systemd-analyze security` thinks of a unit's exposure, 0.0 to 10.0.
fn exposure(unit: &str) -> f64 {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("web@1.service");
    fs::write(&path, unit).expect("a unit");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&path)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("systemd-analyze runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let line =
        text.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("{output:?}"));
    let number = line.split_whitespace().find_map(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("no number in {line:?}"))
}

#[test]
#[ignore = "needs systemd-analyze(1)"]
fn the_default_sandbox_exposes_little() {
    example(&here().join("examples/hello"), |layout, compiled, _| {
        let path = format!("{}-{}@.service", compiled.service.name, compiled.id);
        let units = compiled.units(layout, &Units(Some(systemd())));
        let unit = units.text(path.as_str().into()).expect("the deployments' template");
        let strict = exposure(unit);
        println!("exposure of a deployment in the default sandbox: {strict}");
        assert!(strict <= 1.4, "{strict}");
        assert!(exposure("[Service]\nExecStart=/bin/true\n") > 9.0, "the judge judges");
    });
}

#[test]
#[ignore = "needs systemd-analyze(1)"]
fn publication_exposes_little() {
    let unit = fs::read_to_string(here().join("units/conductor-proxy.service.in")).expect("the unit");
    let exposure = exposure(&unit.replace("@BINDIR@", "/usr/bin"));
    println!("exposure of conductor-proxy.service: {exposure}");
    assert!(exposure <= 2.0, "{exposure}");
}

#[test]
#[ignore = "needs systemd-analyze(1)"]
fn the_sandbox_of_functions_exposes_less() {
    for (mode, unit, most) in [("pooled", "", 0.4), ("isolated", "-request@", 0.8)] {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let dir = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path");
        let manifest = format!("name = 'x'\nmode = '{mode}'\n[exec]\ncommand = ['/bin/true']\n");
        fs::write(dir.join("function.toml"), manifest).expect("a manifest");
        let layout = Layout::system("/".into());
        let compiled = load_function(&layout, dir, dir, Some(systemd())).unwrap_or_else(|errors| panic!("{errors}"));
        let tree = Units(Some(systemd())).function(&layout, &compiled);
        let path = format!("conductor-cgi-{}{unit}.service", compiled.id);
        let exposure = exposure(tree.text(path.as_str().into()).expect("the unit of its processes"));
        println!("exposure of a {mode} function: {exposure}");
        assert!(exposure <= most, "{mode}: {exposure}");
    }
}
