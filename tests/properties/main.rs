//! What holds for every text in every place of a declaration: it arrives unchanged, it adds nothing,
//! or there is an error. And nothing panics.

mod arrival;
mod declaration;
#[path = "../common/keys.rs"]
mod described;
mod keys;
mod order;
mod text;
mod unit;
mod users;

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

use arrival::arrived;
use declaration::{PLACES, Seen, compile, declaration, in_quotes, web};
use text::text;
use unit::directives;

/// What all others are compared with.
static HARMLESS: LazyLock<Seen> = LazyLock::new(|| {
    let host = compile(declaration("", "").as_bytes());
    web(&host).unwrap_or_else(|| panic!("{:?}", host.errors))
});

/// Where a text is a word of a command, in which `$$` is a dollar sign.
const COMMANDS: &[&str] =
    &["argument", "pre_start", "post_start", "program", "word", "pre_stop", "drained", "post_stop"];

/// The properties below would hold if nothing compiled or nothing were found.
#[test]
fn every_harmless_text_arrives() {
    for (place, text) in PLACES {
        let found = arrived(place, &HARMLESS).unwrap_or_default();
        assert!(found.iter().all(|found| found == text), "{place}: {found:?}");
    }
    assert!(PLACES.iter().all(|(place, _)| arrived(place, &HARMLESS).is_some()));
    let host = compile(declaration("argument", "50% of \"$5\"\n;").as_bytes());
    assert_eq!(arrived("argument", &web(&host).expect("it compiles")).expect("arguments")[0], "50% of \"$5\"\n;");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// A text in a declaration is refused, or it arrives and the units have no other directives than
    /// with a harmless one.
    #[test]
    fn a_text_adds_no_directive_and_arrives(index in any::<Index>(), text in text()) {
        let (place, _) = PLACES[index.index(PLACES.len())];
        let host = compile(declaration(place, &text).as_bytes());
        let Some(compiled) = &web(&host) else {
            prop_assert!(!host.errors.is_empty());
            return Ok(());
        };
        prop_assert_eq!(directives(compiled), directives(&HARMLESS), "{} is {:?}", place, text);
        let trimmed = matches!(place, "description" | "identifier" | "writable" | "on");
        let expected = match place {
            "there" => text.trim_end().to_owned(),
            _ if trimmed => text.trim().to_owned(),
            _ if COMMANDS.contains(&place) => text.replace("$$", "$"),
            _ => text,
        };
        for value in arrived(place, compiled).into_iter().flatten() {
            prop_assert_eq!(&value, &expected, "in {}", place);
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
            web(&host).map(|_| host.proxy.text("conductor/proxy/caddy/sites.caddy".into()).expect("a file").to_owned())
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
}
