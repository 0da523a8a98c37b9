//! A service.toml and a drop-in, divided by a line of `----`: together they are refused with a remedy, or compile to what
//! one file compiles to that another reader of TOML has merged.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use camino::{Utf8Path, Utf8PathBuf};
use conductor::compile;
use conductor::compile::host::{Compiled, Host};
use conductor::layout::Layout;
use conductor::model::Model;
use conductor::target::systemd::Units;
use libfuzzer_sys::fuzz_target;
use toml::{Table, Value};

static ROOT: LazyLock<Utf8PathBuf> = LazyLock::new(|| {
    let root = Utf8PathBuf::from_path_buf(tempfile::tempdir().expect("a scratch directory").keep()).expect("UTF-8");
    fs::create_dir_all(root.join("etc/conductor/services/web")).expect("a directory");
    fs::create_dir_all(root.join("etc/conductor/services/web.d")).expect("a directory");
    root
});

fn compile(base: &str, over: Option<&str>) -> Host {
    let dir = ROOT.join("etc/conductor/services");
    fs::write(dir.join("web/service.toml"), base).expect("a declaration");
    let drop_in = dir.join("web.d/50-over.toml");
    match over {
        Some(over) => fs::write(drop_in, over).expect("a drop-in"),
        None => drop(fs::remove_file(drop_in)),
    }
    let host = compile::compile(&Layout::system(Utf8Path::new(&*ROOT)), &Units(Some(252)));
    for error in host.errors.values() {
        // The compiler reports its own panics with this text.
        assert!(!error.to_string().contains("this is a bug"), "{error}");
        assert!(error.0.iter().all(|error| !error.remedy().is_empty()), "{error}");
    }
    host
}

/// Tables are merged, everything else is replaced.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}

fn models(host: &Host) -> Vec<Model> {
    host.services.values().map(Compiled::model).collect()
}

fuzz_target!(|text: &str| {
    let (base, over) = text.split_once("----\n").unwrap_or((text, ""));
    let layered = compile(base, Some(over));
    let (Ok(mut merged), Ok(over)) = (base.parse::<Table>(), over.parse::<Table>()) else {
        assert!(layered.services.is_empty(), "it compiles, and is not TOML");
        return;
    };
    merge(&mut merged, over);
    let alone = compile(&toml::to_string(&merged).expect("a table"), None);
    assert_eq!(models(&layered), models(&alone));
});
