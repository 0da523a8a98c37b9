//! The tags of a template, `{{ … }}` and `{% … %}`, before they are parsed.

use std::ops::Range;

/// The largest length of a tag, in bytes. The engine parses a chain of operators by recursion, up to one level for each
/// byte, and 4,000 levels fit on the stack of a thread.
pub(super) const LONGEST: usize = 4000;

/// Finds the first tag that is longer.
pub(super) fn too_long(text: &str) -> Option<Range<usize>> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find('{')?;
        let end = match text.as_bytes().get(start + 1) {
            Some(b'{') => end_of_tag(text.as_bytes(), start + 2, *b"}}"),
            Some(b'%') => end_of_tag(text.as_bytes(), start + 2, *b"%}"),
            _ => {
                from = start + 1;
                continue;
            }
        };
        if end - start > LONGEST {
            return Some(start..start + 2);
        }
        from = end;
    }
}

/// Returns where a tag ends: `close` in a string does not end it.
fn end_of_tag(text: &[u8], start: usize, close: [u8; 2]) -> usize {
    let (mut at, mut quote) = (start, None);
    while at < text.len() {
        match (quote, text[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if open == byte => quote = None,
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, _) if text[at..].starts_with(&close) => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tags_are_found() {
        let long = "-".repeat(LONGEST);
        for text in [
            format!("{{{{ {long}1 }}}}"),
            format!("a {{ b {{# {{% if {long}1 %}}"),
            format!("{{{{ \"}}}}\\\"}}}}\" ~ {long}1 }}}}"),
            format!("{{% set a = '%}}' ~ {long}1 %}}"),
            format!("{{{{ {long}"),
        ] {
            assert!(too_long(&text).is_some(), "{text}");
        }
        for text in ["", "{", "{{ a }}{{ b }}{", "{# {{ a }} #}", "{% if a %}é{% endif %}", "{{ 'é"] {
            assert_eq!(too_long(&format!("{text}{}", " x".repeat(LONGEST / 3))), None, "{text}");
        }
        assert_eq!(too_long(&format!("{long}{{{{ a }}}}${{#{long}}}")), None);
    }
}
