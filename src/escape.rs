//! Escaping, as types: a template prints these and nothing else that somebody typed.
//!
//! Sources: systemd.syntax(7) for quoting, systemd.unit(5) for specifiers and unit names,
//! systemd.service(5) for command lines. Hosts and paths of routes need none: models restrict them.

use std::fmt::{self, Display, Formatter, Write};

use crate::expansion::for_systemd;

/// A plain value: `Description=`, paths. Specifiers are made inert.
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        // systemd joins lines that end in a backslash: nothing that is a plain value may carry one
        // in that place, and models refuse control characters.
        for (index, part) in self.0.split('%').enumerate() {
            out.write_str(if index == 0 { "" } else { "%%" })?;
            out.write_str(part)?;
        }
        Ok(())
    }
}

/// A word in double quotes with C escapes, as `extract_first_word()` of systemd undoes them, and `percent` for a percent
/// sign.
fn quoted(out: &mut Formatter<'_>, word: &str, percent: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in word.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\t' => out.write_str("\\t")?,
            '%' => out.write_str(percent)?,
            c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

/// A word that needs no quotes in any list of words.
fn is_bare(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,${}".contains(c);
    !word.is_empty() && word.chars().all(plain)
}

/// One word of a list: a command's argument, an environment assignment.
pub(crate) struct Word<'a>(pub(crate) &'a str);

impl Display for Word<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if is_bare(self.0) { out.write_str(self.0) } else { quoted(out, self.0, "%%") }
    }
}

/// One word of a list with systemd's specifiers, in which a percent sign is doubled already.
pub(crate) struct Specified<'a>(pub(crate) &'a str);

impl Display for Specified<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if is_bare(self.0) { out.write_str(self.0) } else { quoted(out, self.0, "%") }
    }
}

/// A word of a declared command after its program.
pub(crate) struct DeclaredWord<'a>(pub(crate) &'a str);

impl Display for DeclaredWord<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        Word(&for_systemd(self.0)).fmt(out)
    }
}

/// A command line: `${NAME}` is expanded from the process's environment, `$$` is a dollar, and every other character is
/// itself.
pub(crate) struct CommandLine<'a> {
    /// Absolute, or a bare name that systemd finds in its search path.
    pub(crate) program: &'a str,
    pub(crate) arguments: &'a [String],
}

impl Display for CommandLine<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        Word(self.program).fmt(out)?;
        self.arguments.iter().try_for_each(|argument| write!(out, " {}", DeclaredWord(argument)))
    }
}

/// `NAME=value` of `Environment=`. Nothing is expanded there but specifiers.
pub(crate) struct Assignment<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
}

impl Display for Assignment<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        Word(&format!("{}={}", self.name, self.value)).fmt(out)
    }
}

/// A directive's value in systemd's own syntax, written by somebody who means it so. Models refuse
/// control characters and a trailing backslash: it cannot become a second line.
pub(crate) struct Raw<'a>(pub(crate) &'a str);

impl Display for Raw<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

/// A part of a unit's name, as systemd-escape(1) does it: `-` separates slices, so it is escaped too.
pub(crate) struct UnitNamePart<'a>(pub(crate) &'a str);

impl Display for UnitNamePart<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.bytes().enumerate() {
            match byte {
                b'/' => out.write_char('-')?,
                b'.' if index == 0 => out.write_str("\\x2e")?,
                b if b.is_ascii_alphanumeric() || b":_.".contains(&b) => out.write_char(char::from(b))?,
                b => write!(out, "\\x{b:02x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expansion::expand;
    use proptest::prelude::*;

    /// Undoes what systemd undoes: specifiers first, then words with quotes and C escapes.
    pub(crate) fn words(line: &str) -> Vec<String> {
        let line = line.replace("%%", "\u{0}PERCENT");
        let mut words = Vec::new();
        let mut chars = line.chars().peekable();
        while let Some(first) = chars.next() {
            if first == ' ' {
                continue;
            }
            let mut word = String::new();
            let is_quoted = first == '"';
            if !is_quoted {
                word.push(first);
            }
            while let Some(c) = chars.next() {
                match c {
                    '"' if is_quoted => break,
                    ' ' if !is_quoted => break,
                    '\\' => match chars.next().expect("an escape is complete") {
                        'n' => word.push('\n'),
                        't' => word.push('\t'),
                        'x' => {
                            let hex: String = chars.by_ref().take(2).collect();
                            word.push(char::from(u8::from_str_radix(&hex, 16).expect("two hex digits")));
                        }
                        c => word.push(c),
                    },
                    c => word.push(c),
                }
            }
            words.push(word.replace("\u{0}PERCENT", "%"));
        }
        words
    }

    proptest! {
        #[test]
        fn command_lines_arrive_unchanged(arguments in proptest::collection::vec("[^\u{0}]{0,24}", 0..5)) {
            let line = CommandLine { program: "/bin/x", arguments: &arguments }.to_string();
            prop_assert!(!line.chars().any(|c| c.is_ascii_control()), "one line: {line:?}");
            let arrived: Vec<_> = words(&line)[1..].iter().map(|word| expand(word, |_| None)).collect();
            prop_assert_eq!(arrived, arguments.iter().map(|word| expand(word, |_| None)).collect::<Vec<_>>());
        }

        #[test]
        fn assignments_arrive_unchanged(value in "[^\u{0}]{0,40}") {
            let text = Assignment { name: "KEY", value: &value }.to_string();
            prop_assert!(!text.chars().any(|c| c.is_ascii_control()));
            prop_assert_eq!(words(&text), vec![format!("KEY={value}")]);
        }

        #[test]
        fn plain_values_hold_no_specifier(value in "[^\u{0}-\u{1f}]{0,40}") {
            let text = Text(&value).to_string();
            prop_assert_eq!(text.replace("%%", ""), value.replace('%', ""));
            prop_assert_eq!(text.matches('%').count(), 2 * value.matches('%').count());
        }
    }

    #[test]
    fn unit_name_parts_are_escaped_as_systemd_escape_does() {
        assert_eq!(UnitNamePart("web-shop.eu").to_string(), "web\\x2dshop.eu");
        assert_eq!(UnitNamePart(".a_b").to_string(), "\\x2ea_b");
    }
}
