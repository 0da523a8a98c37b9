//! Functions: what manifests compile to, what is wrong with them, and what their digests depend on.

mod common;

use conductor::compile::functions::load_function;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use camino::{Utf8Path, Utf8PathBuf};
use conductor::compile;
use conductor::diagnostic::Diagnostics;
use conductor::directive;
use conductor::function::store;
use conductor::layout::Layout;
use conductor::model::function::Compiled;
use conductor::names::FunctionId;
use conductor::target::Target;
use conductor::target::systemd::Units;
use conductor::verify;
use proptest::prelude::*;

fn snapshot(name: &str, text: &str) {
    common::settings().bind(|| insta::assert_snapshot!(name, text));
}

/// A directory with a manifest, a program `act` and other files beside it.
struct Written(tempfile::TempDir);

impl Written {
    fn new(manifest: &str) -> Self {
        let written = Self(tempfile::tempdir().expect("a scratch directory"));
        fs::write(written.dir().join("function.toml"), manifest).expect("a manifest");
        written.file("act", "#!/bin/sh\n", 0o755);
        written
    }

    fn dir(&self) -> &Utf8Path {
        Utf8Path::from_path(self.0.path()).expect("a UTF-8 path")
    }

    fn file(&self, name: &str, text: &str, mode: u32) {
        let path = self.dir().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
    }

    /// As `conductor cgi identify` does it.
    fn compile(&self) -> Result<Compiled, Diagnostics> {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let to = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path");
        store::gather(&self.dir().join("function.toml"), &BTreeMap::new(), to)?;
        load_function(&Layout::system("/".into()), to, self.dir(), Some(252))
    }

    fn id(&self) -> FunctionId {
        self.compile().unwrap_or_else(|errors| panic!("{errors}")).id
    }

    fn error(&self) -> String {
        let errors = self.compile().err().map_or_else(|| "it compiles".to_owned(), |errors| errors.to_string());
        errors.replace(self.dir().as_str(), "DIR")
    }
}

const PLAIN: &str = "name = 'x'\n[exec]\ncommand = ['./act']\n";

#[test]
fn errors() {
    let dir = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/functions");
    let mut cases: Vec<Utf8PathBuf> =
        dir.read_dir_utf8().expect("cases").map(|it| it.expect("a case").into_path()).collect();
    cases.sort();
    assert!(cases.len() >= 25, "{}", cases.len());
    let told = cases.iter().map(|case| {
        let error = Written::new(&fs::read_to_string(case).expect("a case")).error();
        assert!(error.contains("help: "), "{case}: {error}");
        format!("## {}\n{error}\n", case.file_stem().expect("a name"))
    });
    snapshot("functions-errors", &told.collect::<Vec<_>>().join("\n"));
}

/// What travels is beside the manifest, and nothing else is taken.
#[test]
fn files_that_do_not_travel() {
    let with = |files: &str| Written::new(&format!("name = 'x'\nfiles = [{files}]\n[exec]\ncommand = ['./act']\n"));
    let mut told = Vec::new();
    for files in ["'../act'", "'/etc/passwd'", "'lib/../../act'", "''", "'nothing'", "'function.toml'", "'.'"] {
        told.push(format!("## {files}\n{}\n", with(files).error()));
    }
    let leaves = with("'out'");
    symlink("../passwd", leaves.dir().join("out")).expect("a link");
    told.push(format!("## a link that leaves\n{}\n", leaves.error()));
    let through = with("'out/passwd'");
    symlink("/etc", through.dir().join("out")).expect("a link");
    told.push(format!("## through a link\n{}\n", through.error()));
    let big = with("'big'");
    fs::File::create(big.dir().join("big")).and_then(|file| file.set_len(33 << 20)).expect("a file");
    told.push(format!("## too large\n{}\n", big.error()));
    let missing = Written::new("name = 'x'\n[exec]\ncommand = ['/bin/sh', './script']\n");
    told.push(format!("## a word of the command\n{}\n", missing.error()));
    snapshot("functions-files", &told.join("\n"));
}

#[test]
fn a_digest_is_of_what_counts() {
    let id = Written::new(PLAIN).id();
    assert_eq!(id.as_str().len(), 64);
    for same in [
        "# a comment\n[exec]\ncommand = [\"./act\"]",
        "name = 'x'\n\n\naliases = []\ntimeout = '30s'\n[exec]\ncommand = ['./act']\n",
        "name = 'x'\nfiles = ['act']\ntimeout = 30\n[exec]\ncommand = ['./act']\n",
    ] {
        let same = if same.contains("name") { same.to_owned() } else { format!("name = 'x'\n{same}") };
        assert_eq!(Written::new(&same).id(), id, "{same}");
    }
    let other = |text: &str| assert_ne!(Written::new(text).id(), id, "{text}");
    other(&PLAIN.replace("'x'", "'y'"));
    other(&format!("timeout = '31s'\n{PLAIN}"));
    other(&format!("mode = 'isolated'\n{PLAIN}"));
    other(&format!("{PLAIN}environment = {{ A = '1' }}\n"));
    let changed = Written::new(PLAIN);
    changed.file("act", "#!/bin/sh\n#\n", 0o755);
    assert_ne!(changed.id(), id);
    let beside = Written::new(PLAIN);
    beside.file("README", "not part of it", 0o644);
    assert_eq!(beside.id(), id);
    let travels = Written::new(&PLAIN.replace("\n[exec]", "\nfiles = ['lib']\n[exec]"));
    travels.file("lib/one", "1", 0o644);
    let with_one = travels.id();
    travels.file("lib/two", "2", 0o644);
    assert_ne!(travels.id(), with_one);
}

/// Addresses of functions are for good: what was declared by an older conductor keeps its digest.
#[test]
fn digests_stay_what_they_are() {
    assert_eq!(Written::new(PLAIN).id().as_str(), "c9f1d635c52ae1a7879037cd67a1b763169223dc5e33a2ab8c9eed35a3466171");
}

/// What is stored is what it is called, or it is not served.
#[test]
fn a_stored_function_is_its_name() {
    let written = Written::new(&format!("aliases = ['/x']\n{PLAIN}"));
    let root = tempfile::tempdir().expect("a scratch directory");
    let layout = Layout::system(Utf8Path::from_path(root.path()).expect("a UTF-8 path"));
    let staged = store::staging(&layout).expect("a directory");
    let dir = Utf8Path::from_path(staged.path()).expect("a UTF-8 path").to_owned();
    store::gather(&written.dir().join("function.toml"), &BTreeMap::new(), &dir)
        .unwrap_or_else(|errors| panic!("{errors}"));
    let compiled = load_function(&layout, &dir, written.dir(), None).unwrap_or_else(|errors| panic!("{errors}"));
    store::put(&layout, staged, &compiled).expect("it is stored");
    store::give(&layout, &compiled.function.aliases[0], &compiled).expect("a link");
    let host = compile::compile(&layout, &Units(Some(252)));
    assert!(host.errors.is_empty() && host.functions.contains_key(&compiled.id), "{:?}", host.errors);
    let caddy = host.proxy.text("conductor/proxy/caddy/sites.caddy".into()).expect("routes");
    assert!(caddy.contains("unix//etc/conductor/aliases/+x"), "{caddy}");
    let stored = layout.at(&store::base(&layout)).join(compiled.id.as_str());
    fs::write(stored.join("act"), "#!/bin/sh\necho changed\n").expect("a file");
    let host = compile::compile(&layout, &Units(Some(252)));
    assert!(host.functions.is_empty());
    assert!(host.errors[&None].to_string().contains("was changed after it was declared"));
}

/// A host's functions: their units and routes, and what systemd says of them.
#[test]
#[ignore = "needs systemd-analyze(1)"]
fn systemd_has_nothing_to_say_of_functions() {
    let systemd = directive::systemd_version("/".as_ref());
    for manifest in [
        format!("resources = {{ memory_max = '64M' }}\n{PLAIN}"),
        format!("network = true\n{PLAIN}credentials = {{ key = '/etc/key' }}\n"),
        format!("mode = 'isolated'\n{PLAIN}"),
        "name = '100 % \"x\"'\nmode = 'isolated'\ninterface = 'http'\n[exec]\ncommand = ['./act', '$HOME', '100 %']\n"
            .to_owned(),
        "name = 'x'\nmode = 'isolated'\n[container]\nimage = 'localhost/x:1'\n".to_owned(),
        "name = 'x'\n[container]\nimage = 'localhost/x:1'\n".to_owned(),
        format!(
            "state = 'x'\ncache = 'x'\nlogs = 'x'\nread_write = ['/srv']\ngroups = ['daemon']\n{PLAIN}[systemd.service]\nUMask = '0022'\n"
        ),
        "name = 'x'\ndirectory = '/usr/bin'\ninterpreter = { sh = ['sh'] }\n[exec]\n".to_owned(),
        "name = 'x'\ninterface = 'http'\npreload = 2\n[exec]\ncommand = ['./act']\nuser = 'daemon'\nsandbox = 'none'\n"
            .to_owned(),
    ] {
        let written = Written::new(&manifest);
        let compiled = written.compile().unwrap_or_else(|errors| panic!("{errors}"));
        let said = verify::verify_function(&Layout::system("/".into()), &compiled, written.dir(), &Units(systemd));
        assert_eq!(said.expect("systemd-analyze runs"), Vec::<String>::new(), "{manifest}");
    }
}

/// The units of each kind, with the digest's place held.
#[test]
fn units() {
    let mut shown = String::new();
    for manifest in [
        "name = 'thumbnail'\naliases = ['/t', 'img.example.com/t']\nresources = { memory_max = '64M' }\n[exec]\ncommand = ['./act', '100 %']\nenvironment = { LANG = 'C.UTF-8' }\n",
        "name = 'isolated'\nmode = 'isolated'\n[exec]\ncommand = ['./act']\n",
        "name = 'http'\nmode = 'isolated'\ninterface = 'http'\n[exec]\ncommand = ['./act', '$HOME']\n",
        "name = 'container'\n[container]\nimage = 'localhost/x:1'\nenvironment = { LANG = 'C.UTF-8' }\n",
        "name = 'isolated container'\nmode = 'isolated'\n[container]\nimage = 'localhost/x:1'\n",
        "name = 'writes'\nstate = 'awstats'\ncache = 'a/b'\nlogs = 'x'\nread_write = ['/srv/a b']\ngroups = ['www-data']\nmode = 'isolated'\naddress = false\n[exec]\ncommand = ['./act']\n[systemd.service]\nUMask = '0022'\n",
        "name = 'tree'\naliases = ['/tree']\ndirectory = './programs'\ninterpreter = { php = ['php-cgi', '-q'] }\nindex = ['index.php']\nstatic = { '/tree/css' = '/usr/share/css' }\nremote_user = 'required'\n",
        "name = 'network'\nnetwork = true\n[exec]\ncommand = ['./act']\nsandbox = 'none'\n",
    ] {
        let written = Written::new(manifest);
        written.file("programs/act", "#!/bin/sh\n", 0o755);
        let compiled = written.compile().unwrap_or_else(|errors| panic!("{errors}"));
        let layout = Layout::system("/".into());
        let dir = store::base(&layout).join(compiled.id.as_str());
        let tree = Units(Some(257)).function(&layout, &Compiled { dir, ..compiled.clone() });
        for (path, entry) in tree.iter() {
            let text = match entry {
                conductor::tree::Entry::File { content, .. } => String::from_utf8_lossy(content).into_owned(),
                conductor::tree::Entry::Symlink { target } => format!("-> {target}\n"),
            };
            let text = format!("## {path}\n{text}\n").replace(compiled.id.as_str(), "ID");
            shown.push_str(
                &text.replace(&compiled.id.as_str()[..16], "ID16").replace(&compiled.id.as_str()[..12], "ID12"),
            );
        }
    }
    snapshot("functions-units", &shown);
}

/// The proxy's routes of functions: a directory of programs with files beside it, and functions without an address.
#[test]
fn routes() {
    let shown = |settings: &str, manifests: &[&str]| {
        let root = tempfile::tempdir().expect("a scratch directory");
        let layout = Layout::system(Utf8Path::from_path(root.path()).expect("a UTF-8 path"));
        fs::create_dir_all(root.path().join("etc/conductor")).expect("a directory");
        fs::write(root.path().join("etc/conductor/conductor.toml"), settings).expect("settings");
        let mut ids = Vec::new();
        for manifest in manifests {
            let written = Written::new(manifest);
            let staged = store::staging(&layout).expect("a directory");
            let dir = Utf8Path::from_path(staged.path()).expect("a UTF-8 path").to_owned();
            store::gather(&written.dir().join("function.toml"), &BTreeMap::new(), &dir)
                .unwrap_or_else(|errors| panic!("{errors}"));
            let compiled =
                load_function(&layout, &dir, written.dir(), None).unwrap_or_else(|errors| panic!("{errors}"));
            store::put(&layout, staged, &compiled).expect("it is stored");
            for alias in compiled.function.claims() {
                store::give(&layout, alias, &compiled).expect("a link");
            }
            ids.push(compiled.id);
        }
        let host = compile::compile(&layout, &Units(Some(257)));
        let files = host.proxy.iter().filter(|(path, _)| path.starts_with("conductor/proxy"));
        let texts = files.filter_map(|(path, _)| host.proxy.text(path)).collect::<Vec<_>>();
        let text = texts.join("\n");
        (ids.iter().fold(text, |text, id| text.replace(id.as_str(), "ID")), host.errors.len())
    };
    let tree = "name = 'tree'\naliases = ['/tree']\ndirectory = '/srv/tree'\ninterpreter = { php = ['php-cgi'], py = ['python3'] }\n\
                static = { '/tree' = '/srv/tree', '/css' = '/srv/css', '/robots.txt' = '/srv/robots.txt' }\n[exec]\n";
    let private = "name = 'private'\naliases = ['private.example.com']\naddress = false\n[exec]\ncommand = ['./act']\n";
    let (plain, none) = (shown("", &[tree, private]), shown("[functions]\naddress = false\n", &[PLAIN, private]));
    assert_eq!((plain.1, none.1), (0, 0));
    // A mistake in the file opens no address that it withdraws.
    let broken = shown("[functions]\naddress = 'no'\n", &[PLAIN, private]);
    assert_eq!((broken.0 == none.0, broken.1), (true, 1));
    let private = format!("tls = 'off'\n{private}");
    let (nginx, haproxy) = ("[proxy]\ndriver = 'nginx'\n", "[proxy]\ndriver = 'haproxy'\n");
    let (nginx, haproxy) = (shown(nginx, &[tree, &private]), shown(haproxy, &[tree, PLAIN, &private]));
    assert_eq!((nginx.1, haproxy.1), (0, 1));
    snapshot("functions-routes-nginx", &nginx.0);
    snapshot("functions-routes-haproxy", &haproxy.0);
    snapshot("functions-routes", &format!("## by default\n{}\n## without addresses\n{}", plain.0, none.0));
}

/// All versions of a function share its directories, and so its user; others have their own.
#[test]
fn versions_with_directories_share_a_user() {
    let user = |manifest: &str| {
        let compiled = Written::new(manifest).compile().unwrap_or_else(|errors| panic!("{errors}"));
        let tree = Units(Some(257)).function(&Layout::system("/".into()), &compiled);
        let units = tree.text(format!("conductor-cgi-{}.service", compiled.id.as_str()).as_str().into());
        let line = units.expect("a unit").lines().find(|line| line.starts_with("User=")).expect("a user");
        line.to_owned()
    };
    let with = |more: &str| user(&format!("{more}\n{PLAIN}"));
    assert_eq!(with("state = 'x'"), with("state = 'x'\ntimeout = '1s'"));
    assert_ne!(with(""), with("timeout = '1s'"));
    assert_ne!(with("state = 'x'"), user(&format!("state = 'x'\n{}", PLAIN.replace("'x'", "'y'"))));
}

proptest! {
    /// Whatever is in a manifest, it is compiled or refused with a place and a remedy.
    #[test]
    fn any_manifest_is_taken_or_refused(text in "((name|mode|interface|aliases|files|preload|timeout|network|command|\\[exec\\]|x)( = |\\.)?('[ -~]{0,8}'|\\[[ -~]{0,8}\\]|[0-9]{1,12}|true)?\n){0,6}") {
        let written = Written::new(&text);
        if let Err(errors) = written.compile() {
            prop_assert!(!errors.0.is_empty() && errors.0.iter().all(|error| !error.remedy().is_empty()), "{errors}");
        }
    }

    /// Names and aliases that compile break no unit and no route.
    #[test]
    fn names_and_aliases_stay_on_their_line(name in "[ -~äß]{1,30}", alias in "[ -~]{1,20}") {
        let quoted = |text: &str| serde_json::to_string(text).expect("a string");
        let written = Written::new(&format!("name = {}\naliases = [{}]\n[exec]\ncommand = ['./act']\n", quoted(&name), quoted(&alias)));
        if let Ok(compiled) = written.compile() {
            let layout = Layout::system("/".into());
            let tree = Units(Some(252)).function(&layout, &compiled);
            for (path, _) in tree.iter() {
                let text = tree.text(path).unwrap_or_default();
                let fine = |line: &str| line.is_empty() || line.starts_with(['[', '#']) || line.split_once('=').is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_alphanumeric()));
                prop_assert!(text.lines().all(fine), "{text}");
            }
        }
    }
}
