//! A function.toml: refused with a place and a remedy, or compiled to units of which no line is broken.
#![no_main]

use std::collections::BTreeMap;

use camino::Utf8Path;
use conductor::model::function::Compiled;
use conductor::source::functions;
use conductor::target::Target;
use conductor::target::systemd::Units;
use conductor::compile;
use conductor::layout::Layout;
use conductor::model::File;
use conductor::model::FileKind;
use conductor::names::ServiceName;
use conductor::resolve::function;
use conductor::source::search::Declared;
use libfuzzer_sys::fuzz_target;

fn is_line(line: &str) -> bool {
    let is_assignment = |(key, _): (&str, &str)| key.chars().all(|c| c.is_ascii_alphanumeric());
    line.is_empty() || line.starts_with(['[', '#']) || line.split_once('=').is_some_and(is_assignment)
}

fuzz_target!(|text: &str| {
    let layout = Layout::system(Utf8Path::new("/"));
    let Ok(document) = functions::parse(text, "function.toml".into()) else { return };
    let program = FileKind::Regular { executable: true, size: 0, sha256: "0".repeat(64) };
    let declared = Declared {
        name: ServiceName::new("function").expect("a name"),
        scope: layout.scope,
        dir: "/f".into(),
        source: "/f/function.toml".into(),
        document,
        group: None,
        drop_ins: Vec::new(),
        files: vec![File { path: "act".into(), kind: program }],
        variables: BTreeMap::new(),
    };
    match function::resolve(&declared, Some(252)) {
        Err(errors) => {
            assert!(!errors.0.is_empty());
            assert!(errors.0.iter().all(|error| !error.remedy().is_empty()), "{errors}");
        }
        Ok(function) => {
            let compiled = Compiled { id: function.id(), function, dir: "/f".into() };
            let tree = Units(Some(252)).function(&layout, &compiled);
            for (path, _) in tree.iter() {
                let text = compile::text(&tree, path).unwrap_or_default();
                assert!(text.lines().all(is_line), "{text}");
            }
        }
    }
});
