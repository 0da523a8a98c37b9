//! Units as systemd reads them.

use conductor::tree::Entry;

use crate::declaration::Seen;

/// A line of a unit as systemd reads it: section, key, value.
type Line = (String, String, String);

/// Reads a unit as systemd.syntax(7) has it: comments, continued lines, sections. Anything else than
/// an assignment is a mistake.
pub(crate) fn lines(unit: &str) -> Vec<Line> {
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
        let whole = std::mem::take(&mut continued) + line;
        if let Some(name) = whole.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let (key, value) = whole.split_once('=').unwrap_or_else(|| panic!("no assignment: {whole:?}"));
        lines.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
    }
    assert!(continued.is_empty(), "the last line is continued: {unit}");
    lines
}

/// A unit's name without what a declaration may change of it: the generation, and the address of a port.
fn stable_name(compiled: &Seen, name: &str) -> String {
    let name = name.replace(compiled.id.as_str(), "GENERATION");
    match (name.split_once("-port@"), name.rsplit_once('.')) {
        (Some((service, _)), Some((_, suffix))) => format!("{service}-port@ADDRESS.{suffix}"),
        _ => name,
    }
}

/// Which directives are where, how often, without what they say.
pub(crate) fn directives(compiled: &Seen) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for (path, entry) in compiled.units.iter() {
        let path = stable_name(compiled, path.as_str());
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
pub(crate) fn values(compiled: &Seen, key: &str) -> Vec<String> {
    values_in(compiled, &format!("web-{}@.service", compiled.id), key)
}

pub(crate) fn values_in(compiled: &Seen, unit: &str, key: &str) -> Vec<String> {
    let text = compiled.units.text(unit.into()).unwrap_or_else(|| panic!("no {unit}"));
    lines(text).into_iter().filter(|(_, here, _)| here == key).map(|(_, _, value)| value).collect()
}

/// `%%` is a percent sign; any other specifier is not the declaration's.
pub(crate) fn unspecified(text: &str) -> String {
    assert!(!text.replace("%%", "").contains('%'), "a specifier in {text:?}");
    text.replace("%%", "%")
}

/// Splits a list of words as systemd does: quotes, C escapes.
pub(crate) fn words(list: &str) -> Vec<String> {
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

/// What `%i` is in the units of an instance.
pub(crate) const INSTANCE: &str = "7";

/// A value with its specifiers expanded for that instance.
pub(crate) fn expanded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut whole = parts.next().expect("a first part").to_owned();
    while let Some(part) = parts.next() {
        match part.strip_prefix('i') {
            Some(rest) => whole.extend([INSTANCE, rest]),
            None if part.is_empty() => whole.extend(["%", parts.next().expect("a specifier")]),
            None => panic!("a specifier in {text:?}"),
        }
    }
    whole
}

/// The last word of a command line as its process gets it: `$$` is a dollar, and nothing is a variable.
pub(crate) fn last_argument(line: &str) -> String {
    let word = words(&expanded(line)).pop().expect("a word");
    assert!(!word.replace("$$", "").contains('$'), "a variable in {word:?}");
    word.replace("$$", "$")
}
