//! What holds for every text in every place of a declaration: it arrives unchanged, it adds nothing,
//! or there is an error. And nothing panics.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;

use camino::Utf8Path;
use conductor::compile;
use conductor::compile::host::Compiled;
use conductor::compile::host::Host;
use conductor::layout::Layout;
use conductor::names::ServiceName;
use conductor::tree::Entry;
use proptest::prelude::*;
use proptest::sample::Index;

/// Everything that takes a text, each with a word of its own to be replaced by another.
const DECLARATION: &str = r#"
description = "<description>"
config = { CONFIG = "<config>" }

[exec]
command = ["./server", "<argument>", "<argument>"]
environment = { VARIABLE = "<variable>" }
user = "<user>"
credentials = { db = "/<credential>" }
credentials_encrypted = { key = "/<encrypted>" }

[health]
http = "/<health>"
headers = { X-Probe = "<header>" }
body = "<body>"
interval = "5<interval>"

[[route]]
host = ["<host>"]
path = "/<path>"

[deploy]
drain_timeout = "5<drain>"

[hooks]
pre_start = ["./server", "<pre_start>"]
post_start = ["/<program>", "<post_start>"]
pre_stop = ["<word>", "<pre_stop>"]
drain = ["./<declared>", "<drained>"]
post_stop = ["./server", "<post_stop>"]

[commands.migrate]
description = "<told>"
exec = ["./server", "<run>"]

[[service]]
dir = "../<brought>"
vars = { SIZE = "<var>" }

[condition]
host = "<on>"
path = ["!/<there>"]

[resources]
memory_max = "<memory>"

[install]
wanted_by = ["<wanted>"]

[systemd.unit]
After = ["<after>"]
[systemd.service]
SyslogIdentifier = "<identifier>"
ReadWritePaths = ["<writable>"]
[systemd.socket]
FileDescriptorName = "<descriptor>"
[systemd.slice]
MemoryHigh = "<high>"
"#;

/// What stands there when it is harmless.
const PLACES: &[(&str, &str)] = &[
    ("description", "x"),
    ("config", "x"),
    ("argument", "x"),
    ("variable", "x"),
    ("user", "x"),
    ("credential", "x"),
    ("encrypted", "x"),
    ("health", "x"),
    ("header", "x"),
    ("body", "x"),
    ("told", "x"),
    ("run", "x"),
    ("brought", "x"),
    ("var", "x"),
    ("on", "x"),
    ("there", "x"),
    ("interval", "s"),
    ("host", "x"),
    ("path", "x"),
    ("drain", "s"),
    ("pre_start", "x"),
    ("program", "x"),
    ("post_start", "x"),
    ("word", "x"),
    ("pre_stop", "x"),
    ("declared", "server"),
    ("drained", "x"),
    ("post_stop", "x"),
    ("memory", "1G"),
    ("wanted", "x.target"),
    ("after", "x.target"),
    ("identifier", "x"),
    ("writable", "/x"),
    ("descriptor", "x"),
    ("high", "1G"),
];

/// The declaration with a text in one place and harmless ones in all others.
fn declaration(place: &str, text: &str) -> String {
    PLACES.iter().fold(DECLARATION.to_owned(), |declaration, (name, harmless)| {
        let text = if *name == place { text } else { harmless };
        declaration.replace(&format!("<{name}>"), &in_quotes(text))
    })
}

/// The inside of a basic string of TOML.
fn in_quotes(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

fn declare(root: &Utf8Path, text: &[u8]) {
    declare_in(&root.join("etc/conductor/services/web"), text);
}

fn declare_in(dir: &Utf8Path, text: &[u8]) {
    fs::create_dir_all(dir).expect("a directory");
    fs::write(dir.join("service.toml"), text).expect("a declaration");
    fs::write(dir.join("server"), "").expect("a program");
    fs::set_permissions(dir.join("server"), fs::Permissions::from_mode(0o755)).expect("its mode");
}

fn compile(text: &[u8]) -> Host {
    let root = tempfile::tempdir().expect("a scratch directory");
    let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
    declare(root, text);
    let host = compile::compile(&Layout::system(root), Some(252));
    for error in host.errors.values() {
        // The compiler says this of itself when it panicked.
        assert!(!error.to_string().contains("this is a bug"), "{error}");
    }
    host
}

fn web(host: &Host) -> Option<&Compiled> {
    host.services.get(&ServiceName::new("web").expect("a name"))
}

/// A line of a unit as systemd reads it: section, key, value.
type Line = (String, String, String);

/// Reads a unit as systemd.syntax(7) has it: comments, continued lines, sections. Anything else than
/// an assignment is a mistake.
fn lines(unit: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut section = String::new();
    let mut continued = String::new();
    for line in unit.split(['\n', '\r', '\0']) {
        let line = line.trim_matches([' ', '\t']);
        if line.starts_with(['#', ';']) || line.is_empty() && continued.is_empty() {
            continue;
        }
        // Backslashes are escaped in pairs by nobody here: one at the end joins the next line.
        if let Some(begin) = line.strip_suffix('\\') {
            continued.push_str(begin);
            continued.push(' ');
            continue;
        }
        let group = std::mem::take(&mut continued) + line;
        if let Some(name) = group.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let (key, value) = group.split_once('=').unwrap_or_else(|| panic!("no assignment: {group:?}"));
        lines.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
    }
    assert!(continued.is_empty(), "the last line is continued: {unit}");
    lines
}

/// Which directives are where, how often, without what they say; generations' names left out.
fn directives(compiled: &Compiled) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for (path, entry) in compiled.units.iter() {
        let path = path.as_str().replace(compiled.id.as_str(), "GENERATION");
        match entry {
            Entry::File { content, .. } => {
                let text = std::str::from_utf8(content).expect("a unit is UTF-8");
                all.extend(lines(text).into_iter().map(|(section, key, _)| (path.clone(), section, key)));
            }
            Entry::Symlink { .. } => all.push(("a link".to_owned(), String::new(), String::new())),
        }
    }
    all
}

/// Values of a key in the template of the deployments.
fn values(compiled: &Compiled, key: &str) -> Vec<String> {
    values_in(compiled, &format!("web-{}@.service", compiled.id), key)
}

fn values_in(compiled: &Compiled, unit: &str, key: &str) -> Vec<String> {
    let text = compile::text(&compiled.units, unit.into()).unwrap_or_else(|| panic!("no {unit}"));
    lines(text).into_iter().filter(|(_, here, _)| here == key).map(|(_, _, value)| value).collect()
}

/// `%%` is a percent sign; any other specifier is not the declaration's.
fn unspecified(text: &str) -> String {
    assert!(!text.replace("%%", "").contains('%'), "a specifier in {text:?}");
    text.replace("%%", "%")
}

/// Splits a list of words as systemd does: quotes, C escapes.
fn words(list: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = list.trim_start_matches(' ').chars().peekable();
    while rest.peek().is_some() {
        let (mut word, mut quote) = (Vec::new(), None);
        while let Some(c) = rest.next() {
            match (c, quote) {
                ('\\', _) => escaped(&mut rest, &mut word),
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (' ', None) => break,
                (c, _) => word.extend(c.to_string().bytes()),
            }
        }
        assert_eq!(quote, None, "an open quote in {list:?}");
        words.push(String::from_utf8(word).expect("a word is UTF-8"));
        while rest.next_if_eq(&' ').is_some() {}
    }
    words
}

fn escaped(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut Vec<u8>) {
    match rest.next().expect("an escape goes on") {
        'n' => word.push(b'\n'),
        't' => word.push(b'\t'),
        c @ ('"' | '\\') => word.push(c as u8),
        'x' => {
            let hex: String = rest.take(2).collect();
            word.push(u8::from_str_radix(&hex, 16).expect("two hex digits"));
        }
        c => panic!("systemd knows no \\{c}"),
    }
}

/// Arguments of the command that starts as given, behind `skip` words.
fn arguments(compiled: &Compiled, key: &str, which: usize, skip: usize) -> Vec<String> {
    let all = values(compiled, key);
    let line = all.get(which).unwrap_or_else(|| panic!("{key} number {which} in {all:?}"));
    words(&unspecified(line)).split_off(skip)
}

fn variable(compiled: &Compiled, name: &str) -> Option<String> {
    let all = values(compiled, "Environment").into_iter().filter(|value| !value.contains("CONDUCTOR_"));
    let assignments: Vec<String> = all.flat_map(|value| words(&unspecified(&value))).collect();
    assignments.iter().find_map(|one| one.strip_prefix(&format!("{name}=")).map(str::to_owned))
}

/// Words of timeout(1) before a hook's own.
const LIMIT: usize = 4;

/// The words behind `--`.
fn after_dashes(line: &str) -> Vec<String> {
    let all = words(line);
    let dashes = all.iter().position(|word| word == "--").expect("two dashes");
    all[dashes + 1..].to_vec()
}

fn unspecified_all(values: Vec<String>) -> Vec<String> {
    values.iter().map(|value| unspecified(value)).collect()
}

/// The text as it arrives, for those places where it must arrive unchanged.
fn arrived(place: &str, compiled: &Compiled) -> Option<Vec<String>> {
    Some(match place {
        "argument" => arguments(compiled, "ExecStart", 0, 1),
        "pre_start" => arguments(compiled, "ExecStartPre", 0, LIMIT + 1),
        "post_start" => arguments(compiled, "ExecStartPost", 1, LIMIT + 1),
        "program" => vec![arguments(compiled, "ExecStartPost", 1, LIMIT).swap_remove(0).split_off(1)],
        "word" => vec![arguments(compiled, "ExecStop", 0, LIMIT).swap_remove(0)],
        "pre_stop" => arguments(compiled, "ExecStop", 0, LIMIT + 1),
        "drained" => after_dashes(&expanded(&values(compiled, "ExecStop")[2])).split_off(1),
        "post_stop" => arguments(compiled, "ExecStopPost", 0, LIMIT + 1),
        "on" => unspecified_all(values_in(compiled, "web.service", "ConditionHost")),
        "there" => values_in(compiled, "web.service", "ConditionPathExists")
            .into_iter()
            .map(|value| unspecified(&value).split_off("!/".len()))
            .collect(),
        "config" => vec![variable(compiled, "CONFIG")?],
        "variable" => vec![variable(compiled, "VARIABLE")?],
        "user" => values(compiled, "User"),
        "credential" => vec![unspecified(&values(compiled, "LoadCredential")[0]).split_off("db:/".len())],
        "encrypted" => vec![unspecified(&values(compiled, "LoadCredentialEncrypted")[0]).split_off("key:/".len())],
        "description" => {
            let unit = compile::text(&compiled.units, "web.service".into())?;
            let value = lines(unit).into_iter().find(|(_, key, _)| key == "Description").map(|(_, _, value)| value);
            vec![unspecified(&value?)]
        }
        // In systemd's own syntax, and handed on as they are; white space around them has no meaning.
        "identifier" => values(compiled, "SyslogIdentifier"),
        "writable" => values(compiled, "ReadWritePaths"),
        _ => return None,
    })
}

/// Texts that are likely to break something, and any others.
fn text() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "\\",
        "\"",
        "'",
        "%",
        "%%",
        "%n",
        "$",
        "$$",
        "${A}",
        ";",
        "#",
        "\n",
        "\r",
        "\r\n",
        "\0",
        "\t",
        " ",
        "=",
        "[",
        "]",
        "\n[Service]\nExecStart=/bin/sh",
        "\\\n",
        "!\n",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{fdd0}",
        "\u{ffff}",
        "\u{feff}",
        "é",
        "{",
        "}",
        "{env.HOME}",
        "/",
        "..",
        ".",
        ":",
        ",",
        "-",
        "+",
        "!",
        "@",
        "|",
        "~",
        "*",
        "a",
        "Z",
        "0",
        "1G",
        "s",
    ]);
    prop_oneof![
        4 => prop::collection::vec(nasty, 0..6).prop_map(|parts| parts.concat()),
        2 => "\\PC{0,16}",
        2 => any::<String>(),
        2 => "[a-zA-Z0-9./%$\"'\\\\ _-]{1,12}",
        1 => "[a-z0-9.-]{1,12}",
    ]
}

/// What all others are compared with.
static HARMLESS: LazyLock<Compiled> = LazyLock::new(|| {
    let host = compile(declaration("", "").as_bytes());
    web(&host).unwrap_or_else(|| panic!("{:?}", host.errors)).clone()
});

/// The properties below would hold if nothing compiled or nothing were found.
#[test]
fn every_harmless_text_arrives() {
    for (place, text) in PLACES {
        let found = arrived(place, &HARMLESS).unwrap_or_default();
        assert!(found.iter().all(|found| found == text), "{place}: {found:?}");
    }
    let places = PLACES.iter().filter(|(place, _)| arrived(place, &HARMLESS).is_some());
    assert_eq!(places.count(), 18);
    let host = compile(declaration("argument", "50% of \"$5\"\n;").as_bytes());
    assert_eq!(arrived("argument", web(&host).expect("it compiles")).expect("arguments")[0], "50% of \"$5\"\n;");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// A text in a declaration is refused, or it arrives and the units have no other directives than
    /// with a harmless one.
    #[test]
    fn a_text_adds_no_directive_and_arrives(index in any::<Index>(), text in text()) {
        let (place, _) = PLACES[index.index(PLACES.len())];
        let host = compile(declaration(place, &text).as_bytes());
        let Some(compiled) = web(&host) else {
            prop_assert!(!host.errors.is_empty());
            return Ok(());
        };
        prop_assert_eq!(directives(compiled), directives(&HARMLESS), "{} is {:?}", place, text);
        let trimmed = matches!(place, "description" | "identifier" | "writable" | "on");
        let expected = match place {
            "there" => text.trim_end(),
            _ if trimmed => text.trim(),
            _ => &text,
        };
        for value in arrived(place, compiled).into_iter().flatten() {
            prop_assert_eq!(&value, expected, "in {}", place);
        }
    }

    /// The proxy's configuration has the same lines but for the host and the path.
    #[test]
    fn a_route_adds_nothing_to_the_proxy(host in text(), path in text()) {
        let text = |host: &str, path: &str| {
            format!("slots = 1\n[exec]\ncommand = ['/x']\n[[route]]\nhost = [\"{}\"]\npath = \"/{}\"\n", in_quotes(host), in_quotes(path))
        };
        let caddy = |text: String| {
            let host = compile(text.as_bytes());
            web(&host).map(|_| compile::text(&host.tree, "conductor/proxy/caddy/sites.caddy".into()).expect("a file").to_owned())
        };
        let Some(given) = caddy(text(&host, &path)) else { return Ok(()) };
        let harmless = caddy(text("x", if path.trim_matches('/').is_empty() { "" } else { "x" })).expect("it compiles");
        prop_assert_eq!(given.lines().count(), harmless.lines().count());
        for (one, other) in given.lines().zip(harmless.lines()).filter(|(one, other)| one != other) {
            prop_assert_eq!(one.split_whitespace().count(), other.split_whitespace().count(), "{} {}", one, other);
            prop_assert!(!one.contains(['"', '\\', '`', '#']), "{}", one);
            prop_assert_eq!(one.matches(['{', '}']).count(), other.matches(['{', '}']).count(), "{}", one);
        }
    }

    /// Any file at all is a service or an error.
    #[test]
    fn any_file_compiles_or_is_an_error(text in prop_oneof![any::<Vec<u8>>(), any::<String>().prop_map(String::into_bytes)]) {
        let host = compile(&text);
        prop_assert_eq!(web(&host).is_none(), !host.errors.is_empty());
    }

    /// A declaration cut off anywhere, or with another character in it, is a service or an error.
    #[test]
    fn a_damaged_declaration_compiles_or_is_an_error(at in any::<Index>(), other in proptest::option::of(any::<char>())) {
        let group = declaration("", "");
        let at = at.index(group.len());
        let text = match other {
            Some(other) => format!("{}{other}{}", &group[..at], &group[at + 1..]),
            None => group[..at].to_owned(),
        };
        let host = compile(text.as_bytes());
        prop_assert_eq!(web(&host).is_none(), !host.errors.is_empty());
    }
}

/// What `%i` is in the units of an instance.
const INSTANCE: &str = "7";

/// A value with its specifiers expanded for that instance.
fn expanded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut group = parts.next().expect("a first part").to_owned();
    while let Some(part) = parts.next() {
        match part.strip_prefix('i') {
            Some(rest) => group.extend([INSTANCE, rest]),
            None if part.is_empty() => group.extend(["%", parts.next().expect("a specifier")]),
            None => panic!("a specifier in {text:?}"),
        }
    }
    group
}

/// The last word of a command line as its process gets it: `$$` is a dollar, and nothing is a variable.
fn last_argument(line: &str) -> String {
    let word = words(&expanded(line)).pop().expect("a word");
    assert!(!word.replace("$$", "").contains('$'), "a variable in {word:?}");
    word.replace("$$", "$")
}

/// A directory that a user's base directories may be in.
fn base_directory() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        " ", "%", "%i", "%%", "$", "$$", "$HOME", "${HOME}", ";", "#", "=", "~", "{", "é", "a", "Z", "-", ":",
    ]);
    prop::collection::vec(parts, 0..5).prop_map(|parts| format!("/x{}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a user's base directories are called, their paths arrive in what conductor writes itself.
    #[test]
    fn a_users_directories_arrive(config in base_directory(), state in base_directory(), runtime in base_directory()) {
        let root = tempfile::tempdir().expect("a scratch directory");
        let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
        let variable = |name: &str| match name {
            "HOME" => Some("/home/ann"),
            "XDG_CONFIG_HOME" => Some(config.as_str()),
            "XDG_STATE_HOME" => Some(state.as_str()),
            "XDG_RUNTIME_DIR" => Some(runtime.as_str()),
            _ => None,
        };
        let layout = Layout::user(root, |name| variable(name).map(str::to_owned)).expect("a user's layout");
        let name = ServiceName::new("web").expect("a name");
        let declaration = layout.declaration(&name);
        declare_in(&layout.at(&declaration), b"[exec]\ncommand = ['./server']\n");
        let host = compile::compile(&layout, Some(252));
        let compiled = web(&host).unwrap_or_else(|| panic!("{:?}", host.errors));

        let files = layout.files(&name, &compiled.id);
        let deployment = layout.deployments().join(format!("web-{}-{INSTANCE}", compiled.id));
        let socket = layout.sockets(&name, &compiled.id).join(INSTANCE);
        let environment: Vec<String> =
            values(compiled, "Environment").iter().flat_map(|line| words(&expanded(line))).collect();
        for (variable, path) in [("SERVICE", &files), ("DEPLOYMENT", &deployment)] {
            let assignment = format!("CONDUCTOR_{variable}_DIR={path}");
            prop_assert!(environment.contains(&assignment), "{} in {:?}", assignment, environment);
        }
        prop_assert!(environment.contains(&format!("CONDUCTOR_SOCKET={socket}")), "{:?}", environment);
        prop_assert_eq!(environment.len(), 7);
        prop_assert_eq!(expanded(&values(compiled, "WorkingDirectory")[0]), files.as_str());
        prop_assert_eq!(words(&expanded(&values(compiled, "ExecStart")[0])), [files.join("server").into_string()]);
        let template = format!("web-{}@.socket", compiled.id);
        prop_assert_eq!(expanded(&values_in(compiled, &template, "ListenStream")[0]), socket.as_str());
        for key in ["ExecStartPost", "ExecStop", "ExecStopPost"] {
            prop_assert_eq!(last_argument(&values(compiled, key)[0]), deployment.as_str());
        }
        for key in ["ExecStart", "ExecReload", "ExecStop", "ExecStopPost"] {
            prop_assert_eq!(last_argument(&values_in(compiled, "web.service", key)[0]), declaration.as_str());
        }
        let source = declaration.join("service.toml");
        for unit in ["web.service", "conductor-web.slice", &template] {
            prop_assert_eq!(expanded(&values_in(compiled, unit, "SourcePath")[0]), source.as_str());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// What was created first makes no difference.
    #[test]
    fn the_order_of_creation_makes_no_difference(order in Just((0..12).collect::<Vec<_>>()).prop_shuffle()) {
        let files: Vec<(String, String)> = (0..12).map(|number| match number % 4 {
            0 => (format!("s{number}/service.toml"), format!("[exec]\ncommand = ['./f']\n[[route]]\nhost = ['h{}.test']\n", number % 8)),
            1 => (format!("s{}/f", number - 1), "program".to_owned()),
            2 => (format!("s{}.d/{number}.toml", number - 2), format!("concurrency = {number}\n")),
            _ => (format!("s{}.d/{number}.conf", number - 3), format!("[Service]\nNice={number}\n")),
        }).collect();
        let compiled = |order: &[usize]| {
            let root = tempfile::tempdir().expect("a scratch directory");
            let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
            for (path, content) in order.iter().map(|number| &files[*number]) {
                let path = root.join("etc/conductor/services").join(path);
                fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
                fs::write(&path, content).expect("a file");
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
            }
            let host = compile::compile(&Layout::system(root), Some(252));
            let errors: BTreeSet<String> = host.errors.values().map(ToString::to_string).collect();
            (host.tree, errors)
        };
        let sorted: Vec<usize> = (0..12).collect();
        prop_assert_eq!(compiled(&order), compiled(&sorted));
    }
}
