//! What src/key/ says of keys is what the types and the compiler say: which keys there are, what they take, what holds without
//! them, and what a change of them asks for. docs/ has their tables by `make docs`.

mod common {
    pub(crate) mod keys;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use camino::Utf8Path;
use common::keys::{Place, compile_service, enter, least, places, section_path, write_files};
use conductor::compile::functions::load_function;
use conductor::compile::host::Compiled;
use conductor::declaration::Declaration;
use conductor::declaration::function::Manifest;
use conductor::declaration::host::Settings;
use conductor::deployment::health::HEALTHY;
use conductor::diagnostic::Source;
use conductor::document::{Node, Problem};
use conductor::function::store;
use conductor::key::{Default, Digest, File, Key, Kind, Parts, Section};
use conductor::layout::Layout;
use conductor::model::ListenKind;
use conductor::resolve::VARIABLES;
use conductor::service::change;
use conductor::target::systemd::Units;
use toml::{Table, Value};

const MANUAL: &str = include_str!("../docs/service-toml.md");

fn section(title: &str) -> &'static str {
    let (_, rest) = MANUAL.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
    rest.split("\n## ").next().expect("a section")
}

/// Everything between backticks.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Sections of all files, but for parts: those are read before anything has a type.
fn sections() -> impl Iterator<Item = (File, Section)> {
    let all = File::ALL.into_iter().flat_map(|file| file.sections().iter().map(move |section| (file, *section)));
    all.filter(|(_, section)| section.path != "part")
}

fn parse(file: File, table: &Table) -> Node {
    Node::parse(&Arc::new(Source { path: file.name().into(), text: table.to_string() })).expect("TOML")
}

/// Why a file with such a value in a section is not read.
fn problem(file: File, section: &Section, key: &str) -> Problem {
    let mut table = if file == File::Host { Table::new() } else { least(file, section) };
    enter(&mut table, file, &section_path(section)).insert(key.to_owned(), Value::String("unheard-of".to_owned()));
    let document = parse(file, &table);
    let problem = match file {
        File::Service => document.read::<Declaration>().err(),
        File::Function => document.read::<Manifest>().err(),
        File::Host => document.read::<Settings>().err(),
    };
    problem.unwrap_or_else(|| panic!("{}: {key} of {} takes anything", file.name(), section.path)).problem
}

#[test]
fn described_keys_are_accepted_keys() {
    for (file, section) in sections() {
        let Problem::UnknownKey { expected, .. } = problem(file, &section, "unheard-of") else {
            panic!("[{}] takes any key", section.path);
        };
        let described = section.keys.iter().map(|key| key.name).filter(|name| *name != "part");
        assert_eq!(described.collect::<Vec<_>>(), expected, "{}: [{}]", file.name(), section.path);
    }
}

#[test]
fn described_words_are_accepted_words() {
    let mut count = 0;
    for (file, section) in sections() {
        for key in section.keys {
            let Kind::Words(words) = key.kind else { continue };
            let Problem::UnknownWord { expected, .. } = problem(file, &section, key.name) else {
                panic!("{} takes any word", key.name);
            };
            assert_eq!(words.iter().map(|(word, _)| *word).collect::<Vec<_>>(), expected, "{}", key.name);
            count += 1;
        }
    }
    assert!(count >= 12, "{count}");
}

/// A value that is neither the example nor the default.
fn another(key: &Key) -> String {
    let mut value = common::keys::parse(key.example);
    if let (Kind::Words(words), Some(example)) = (key.kind, value.as_str()) {
        let other = words.iter().map(|(word, _)| *word).find(|word| *word != example).expect("another word");
        return Value::from(other).to_string();
    }
    change(&mut value);
    value.to_string()
}

/// Makes another value of the same type, by its last string or number.
fn change(value: &mut Value) {
    match value {
        Value::String(text) => text.push('2'),
        Value::Integer(number) => *number += 1,
        Value::Boolean(truth) => *truth = !*truth,
        Value::Array(values) => change(values.last_mut().expect("something in it")),
        Value::Table(table) => change(table.iter_mut().last().expect("something in it").1),
        value => panic!("{value}"),
    }
}

/// Compiles a function.
fn compile_function(manifest: &Table) -> Result<conductor::model::function::Compiled, String> {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let scratch = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path");
    let (dir, to) = (scratch.join("from"), scratch.join("to"));
    fs::create_dir(&dir).and_then(|()| fs::create_dir(&to)).expect("directories");
    fs::write(dir.join("function.toml"), manifest.to_string()).expect("a manifest");
    write_files(&dir, &Value::Table(manifest.clone()));
    let compile = || {
        store::gather(&dir.join("function.toml"), &BTreeMap::new(), &to)?;
        load_function(&Layout::system("/".into()), &to, &dir, Some(257))
    };
    compile().map_err(|errors: conductor::diagnostic::Diagnostics| errors.to_string())
}

/// What a declaration compiles to, in a form that can be compared.
fn compiled(place: &Place, declaration: &Table) -> Result<String, String> {
    match place.file {
        File::Service => compile_service(declaration, &Table::new()).map(|it| format!("{:?}", it.service)),
        File::Function => compile_function(declaration).map(|it| it.id.to_string()),
        File::Host => unreachable!("keys of conductor.toml are those of services"),
    }
}

#[test]
fn described_defaults_hold_without_the_key() {
    for place in places() {
        let without = compiled(&place, &place.without());
        let Key { name, default, .. } = place.key;
        match default {
            Default::Value(value) | Default::Varies(value, _) => {
                assert!(without.is_ok(), "{}: {without:?}", place.path());
                assert_eq!(without, compiled(&place, &place.with(value)), "{}", place.path());
            }
            Default::Required => {
                let error = without.expect_err("the key is required");
                assert!(error.contains(&format!("`{name}` is required")), "{}: {error}", place.path());
            }
            Default::None | Default::Words(_) => {}
        }
    }
}

/// Defaults in words.
#[test]
fn described_words_of_defaults_hold() {
    let default = |path: &[&str]| File::Service.key(path).expect("a key").default;
    let healthy = format!("{} to {}", HEALTHY.start, HEALTHY.end - 1);
    assert_eq!(default(&["health", "status"]).words(), healthy);
    let service = |section: &str| {
        let section = File::Service.sections().iter().find(|it| it.path == section).expect("a section");
        compile_service(&least(File::Service, section), &Table::new()).unwrap().service
    };
    assert_eq!(service("exec").description, "web");
    assert_eq!(service("container").listen.kind, ListenKind::Tcp);
    assert_eq!(service("pod").listen.kind, ListenKind::Tcp);
    assert_eq!(service("service").dependencies[0].name.as_str(), "redis");
    let isolated = |section: &str| {
        let section = File::Function.sections().iter().find(|it| it.path == section).expect("a section");
        let mut table = least(File::Function, section);
        table.insert("mode".to_owned(), "isolated".into());
        compile_function(&table).unwrap().function
    };
    let (program, container) = (isolated("exec"), isolated("container"));
    let default = |key| File::Function.key(&[key]).expect("a key").default;
    let preload = format!("isolated {}, an isolated container {}", program.preload, container.preload);
    assert!(matches!(default("preload"), Default::Varies(_, words) if words == preload));
    let concurrency = format!("an isolated container {}", container.max_concurrency);
    assert!(matches!(default("max_concurrency"), Default::Varies(_, words) if words == concurrency));
}

#[test]
fn described_limits_are_those_of_the_compiler() {
    for place in places() {
        let Kind::Number(least, most) = place.key.kind else { continue };
        let takes = |number: u64| compiled(&place, &place.with(&number.to_string()));
        for number in [least, most] {
            takes(number.into()).unwrap_or_else(|error| panic!("{} = {number}: {error}", place.path()));
        }
        assert!(least == 0 || takes(u64::from(least) - 1).is_err(), "{} = {}", place.path(), least - 1);
        assert!(takes(u64::from(most) + 1).is_err(), "{} = {most} + 1", place.path());
    }
}

/// The digests in which two services differ.
fn differing(one: &Compiled, other: &Compiled) -> Vec<Digest> {
    let (one, other) = (&one.digests, &other.digests);
    let all = [
        (Digest::Generation, one.generation != other.generation),
        (Digest::Routes, one.routes != other.routes),
        (Digest::Scale, one.scale != other.scale),
        (Digest::Settings, one.settings != other.settings),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(digest, _)| digest).collect()
}

/// What `plan` names is what is described: a key, an entry of it, or, in place of `*`, any name.
fn is_named(name: &str, place: &Place) -> bool {
    let described = if place.key.reported_as.is_empty() { place.path() } else { place.key.reported_as.to_owned() };
    let (described, name): (Vec<_>, Vec<_>) = (described.split('.').collect(), name.split('.').collect());
    described.len() <= name.len() && described.iter().zip(&name).all(|(one, other)| *one == "*" || one == other)
}

#[test]
fn a_change_of_a_key_is_what_is_described() {
    let places: Vec<_> = places().into_iter().filter(|place| place.file == File::Service).collect();
    assert!(places.len() > 70, "{}", places.len());
    for place in places {
        let path = place.path();
        let with = |value: &str| compile_service(&place.with(value), &Table::new());
        let example = with(place.key.example).unwrap_or_else(|error| panic!("{path}: {error}"));
        // What is required, or has a default that is written like the example, changes from another value.
        let before = compile_service(&place.without(), &Table::new())
            .ok()
            .filter(|before| before.model() != example.model() || place.key.digest.is_none())
            .or_else(|| with(&another(place.key)).ok());
        let Some(before) = before else {
            assert_eq!(place.key.kind, Kind::True, "{path} has no other value");
            continue;
        };
        assert_eq!(differing(&before, &example), place.key.digest.into_iter().collect::<Vec<_>>(), "{path}");
        let document = parse(File::Service, &place.with(place.key.example));
        let changes: Vec<_> = change::between(&before.model(), &example.model(), Some(&document))
            .into_iter()
            .filter(|change| change.input == change::Kind::Key)
            .collect();
        assert_eq!(changes.is_empty(), place.key.digest.is_none(), "{path}: {changes:?}");
        for change in &changes {
            let gives_way = path.starts_with("health.") && change.name == "health.tcp";
            assert!(is_named(&change.name, &place) || gives_way, "{path}: {change:?}");
        }
    }
}

/// Keys of conductor.toml mean what they mean in a service's declaration.
#[test]
fn conductor_toml_has_keys_of_services() {
    let exec = File::Service.sections().iter().find(|section| section.path == "exec").expect("a section");
    let mut least = least(File::Service, exec);
    enter(&mut least, File::Service, "hooks").insert("drain".to_owned(), Value::Array(vec!["./drain".into()]));
    enter(&mut least, File::Service, "hooks").insert("pre_start".to_owned(), Value::Array(vec!["./prepare".into()]));
    let before = compile_service(&least, &Table::new()).unwrap();
    let is_array = |section: &&Section| {
        let path: Vec<_> = section.path.split('.').collect();
        File::Host.key(&path).is_some_and(|key| key.kind == Kind::Sections)
    };
    // The target of this host refuses to scale by the load.
    let is_of_host = |section: &&Section| section.path != "service.deploy.autoscale";
    for section in File::Host.sections().iter().filter(|section| !is_array(section)).filter(is_of_host) {
        for key in section.keys.iter().filter(|key| !key.example.is_empty()) {
            let text = format!("{}.{} = {}", section.path, key.name, key.example);
            let after = compile_service(&least, &text.parse().expect("TOML")).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(differing(&before, &after), key.digest.into_iter().collect::<Vec<_>>(), "{text}");
        }
    }
}

#[test]
fn every_key_of_a_function_is_part_of_its_id() {
    for place in places().into_iter().filter(|place| place.file == File::Function) {
        let example = compiled(&place, &place.with(place.key.example)).unwrap_or_else(|error| panic!("{error}"));
        let before = compiled(&place, &place.without()).or_else(|_| compiled(&place, &place.with(&another(place.key))));
        assert_ne!(before.unwrap(), example, "{}", place.path());
    }
}

#[test]
fn documented_variables_are_those_that_are_set() {
    let rows = section("Environment").lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<Vec<_>>(), VARIABLES);
    let exec = File::Service.sections().iter().find(|section| section.path == "exec").expect("a section");
    let compiled = compile_service(&least(File::Service, exec), &Table::new()).unwrap();
    let units = compiled.units(&Layout::system("/".into()), &Units(Some(257)));
    let templates = units.iter().filter(|(path, _)| path.as_str().ends_with("@.service"));
    let text: String = templates.filter_map(|(path, _)| units.text(path)).collect();
    let set = text.lines().filter_map(|line| line.strip_prefix("Environment=")?.split('=').next());
    // systemd has set that one, too.
    let set = set.filter(|name| *name != "HOME");
    // The others are in a file that a deployment writes when it starts.
    let known = VARIABLES.iter().copied().filter(|name| name.starts_with("CONDUCTOR_"));
    assert_eq!(set.collect::<Vec<_>>(), known.collect::<Vec<_>>());
}

/// The compiler and the table in docs/ take each key where its description says, outside and inside of `[[part]]`.
#[test]
fn described_places_of_keys_beside_parts_hold() {
    let compiles = |outside: &str, inside: &str| {
        let engine = if inside.starts_with("exec") { "" } else { "exec.command = ['/bin/true']\n" };
        let text = format!("{outside}\n[[part]]\nname = 'web'\n{engine}{inside}\n");
        compile_service(&text.parse().unwrap_or_else(|error| panic!("{text}: {error}")), &Table::new()).is_ok()
    };
    let value = |key: &Key| match (key.name, key.kind) {
        ("exec", _) => "exec.command = ['/bin/true']".to_owned(),
        ("service", _) => "service = [{ dir = '../redis' }]".to_owned(),
        ("port", _) => "port = [{ listen = '80' }]".to_owned(),
        ("display", _) => "display = []".to_owned(),
        (name, Kind::Sections) => format!("{name} = [{{}}]"),
        (name, Kind::Section | Kind::NamedSections) => format!("{name} = {{}}"),
        (name, _) => format!("{name} = {}", key.example),
    };
    for key in File::Service.sections()[0].keys.iter().filter(|key| key.name != "part") {
        assert_eq!(compiles(&value(key), ""), key.parts != Parts::OnlyInside, "{} outside", key.name);
        // A part with one engine takes no second one, wherever engines may stand.
        if !["container", "pod"].contains(&key.name) {
            assert_eq!(compiles("", &value(key)), key.parts != Parts::OnlyOutside, "{} in a part", key.name);
        }
    }
    for (title, place) in [
        ("only in a part", Parts::OnlyInside),
        ("only outside", Parts::OnlyOutside),
        ("each for itself", Parts::Separate),
    ] {
        let row = section("`[[part]]`").lines().find_map(|line| line.strip_prefix(&format!("| {title} |")));
        let described = sections().filter(|(file, it)| *file == File::Service && ["", "systemd"].contains(&it.path));
        let described = described.flat_map(|(_, section)| {
            let keys = section.keys.iter().filter(move |key| key.parts == place && key.name != "part");
            keys.map(move |key| format!("{}.{}", section.path, key.name).trim_start_matches('.').to_owned())
        });
        let described: BTreeSet<_> = described.collect();
        assert_eq!(quoted(row.expect("a row")), described.iter().map(String::as_str).collect(), "{title}");
    }
}

/// What stands outside of `[[part]]` holds for the parts, for their group, or for both.
#[test]
fn described_keys_outside_of_parts_hold_for_whom_they_say() {
    let with_part = |outside: &str| {
        let text = format!("{outside}\n[[part]]\nname = 'web'\nexec.command = ['/bin/true']\n");
        compile_service(&text.parse().expect("TOML"), &Table::new()).unwrap_or_else(|error| panic!("{text}: {error}"))
    };
    let service = |compiled: &Compiled| serde_json::to_value(&compiled.service).expect("JSON");
    let before = with_part("");
    for key in File::Service.sections()[0].keys.iter().filter(|key| !key.example.is_empty() && key.needs.is_empty()) {
        let after = with_part(&format!("{} = {}", key.name, key.example));
        let (mut one, mut other) = (service(&before), service(&after));
        let is_of_group = one["group"].take() != other["group"].take();
        assert_eq!(is_of_group, matches!(key.parts, Parts::Shared | Parts::Separate), "{}", key.name);
        assert_eq!(one != other, matches!(key.parts, Parts::Shared | Parts::Inherited), "{}", key.name);
    }
}
