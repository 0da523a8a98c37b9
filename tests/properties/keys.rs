//! Texts in every key, whatever it takes.

use conductor::key::File;
use conductor::layout::Layout;
use proptest::prelude::*;
use proptest::sample::Index;
use toml::{Table, Value};

use crate::declaration::Seen;
use crate::described::{Place, compile_service, parse, places};
use crate::text::text;
use crate::unit::directives;

/// The strings of a value, in the order of their writing.
fn strings(value: &mut Value) -> Vec<&mut String> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter_mut().flat_map(strings).collect(),
        Value::Table(table) => table.iter_mut().flat_map(|(_, value)| strings(value)).collect(),
        _ => Vec::new(),
    }
}

/// Keys of services whose example has a string.
fn keys() -> Vec<Place> {
    let of_services = places().into_iter().filter(|place| place.file == File::Service);
    of_services.filter(|place| !strings(&mut parse(place.key.example)).is_empty()).collect()
}

/// The example with a text in place of one of its strings, or behind it.
fn changed(place: &Place, which: Index, text: &str, is_behind: bool) -> Table {
    let mut value = parse(place.key.example);
    let mut all = strings(&mut value);
    let number = which.index(all.len());
    if !is_behind {
        all[number].clear();
    }
    all[number].push_str(text);
    place.with(&value.to_string())
}

#[test]
fn every_key_has_an_example_that_compiles() {
    let keys = keys();
    assert!(keys.len() > 50, "{}", keys.len());
    for place in keys {
        compile_service(&place.with(place.key.example), &Table::new())
            .unwrap_or_else(|error| panic!("{}: {error}", place.path()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    /// A text in any key is refused, or the units have no other directives than with its example.
    #[test]
    fn a_text_in_any_key_adds_no_directive(key in any::<Index>(), which in any::<Index>(), text in text(), is_behind in any::<bool>()) {
        let keys = keys();
        let place = &keys[key.index(keys.len())];
        match compile_service(&changed(place, which, &text, is_behind), &Table::new()) {
            Ok(compiled) => {
                let example = compile_service(&place.with(place.key.example), &Table::new()).expect("it compiles");
                let seen = |compiled| directives(&Seen::new(&Layout::system("/".into()), compiled));
                prop_assert_eq!(seen(&compiled), seen(&example), "{} with {:?}", place.path(), text);
            }
            // The compiler says this of itself when it panicked.
            Err(error) => prop_assert!(!error.contains("this is a bug"), "{error}"),
        }
    }

    /// A declaration of any key, cut off anywhere, or with another character in it, is a service or an error.
    #[test]
    fn a_damaged_declaration_compiles_or_is_an_error(key in any::<Index>(), at in any::<Index>(), other in proptest::option::of(any::<char>())) {
        let keys = keys();
        let place = &keys[key.index(keys.len())];
        let whole = place.with(place.key.example).to_string();
        let at = at.index(whole.len());
        prop_assume!(whole.is_char_boundary(at) && whole.is_char_boundary(at + 1));
        let text = match other {
            Some(other) => format!("{}{other}{}", &whole[..at], &whole[at + 1..]),
            None => whole[..at].to_owned(),
        };
        let host = crate::declaration::compile(text.as_bytes());
        prop_assert_eq!(crate::declaration::web(&host).is_none(), !host.errors.is_empty());
    }
}
