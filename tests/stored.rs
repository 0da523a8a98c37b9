//! What an older conductor has stored must be read by this one: deployments outlive the package that started them.

use camino::Utf8Path;
use conductor::compile;
use conductor::layout::Layout;
use conductor::model::Model;
use conductor::target::systemd::Units;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/stored/model-1.json");

/// A new field of the model needs a default. `WRITE_STORED=1` writes the file anew, which only a new format may do.
#[test]
fn models_of_the_first_format_are_read() {
    if std::env::var_os("WRITE_STORED").is_some() {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/hosts/everything");
        let host = compile::compile(&Layout::system(&root), &Units(Some(252)));
        let model = host.services.values().next().expect("a service").model();
        std::fs::write(MODEL, serde_json::to_string_pretty(&model).expect("JSON")).expect("the file");
    }
    let stored = std::fs::read_to_string(MODEL).expect("a stored model");
    let Model { service, systemd } = serde_json::from_str(&stored).expect("an old model is a model");
    assert_eq!((service.name.as_str(), service.hooks.pre_start.is_some()), ("shop", true));
    assert!(!systemd.service.is_empty());
}
