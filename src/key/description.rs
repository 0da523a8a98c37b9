//! The description of one key.

/// One key of a section.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// A value other than the default, in TOML.
    pub example: &'static str,
    /// What the example needs beside the file's required keys: lines of TOML from the file's root.
    pub needs: &'static str,
    /// One sentence in Markdown.
    pub meaning: &'static str,
    /// The directives or the manual page of systemd that the key stands for.
    pub systemd: &'static str,
    /// The digest of a service that the key is part of. None for sections, whose keys have their own; for a key that
    /// changes nothing that runs; and for keys of functions, which are all part of the function's ID.
    pub digest: Option<Digest>,
    /// The path that `conductor plan` names when the key changes, `*` for any name; empty for the key's own.
    pub reported_as: &'static str,
    /// Where the key may stand in a declaration with `[[part]]`; among keys of sections, only those of `[systemd]` set
    /// it.
    pub parts: Parts,
}

/// An empty description: tables start from it and set the fields that differ.
pub(crate) const KEY: Key = Key {
    name: "",
    kind: Kind::Text(""),
    default: Default::None,
    example: "",
    needs: "",
    meaning: "",
    systemd: "",
    digest: None,
    reported_as: "",
    parts: Parts::Inherited,
};

/// A key whose change rolls the deployments.
pub(super) const ROLLS: Key = Key { digest: Some(Digest::Generation), ..KEY };

/// A key whose change is in force after a reload of systemd alone.
pub(super) const SETTING: Key = Key { digest: Some(Digest::Settings), ..KEY };

/// The type of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string; what is in it, if not any text.
    Text(&'static str),
    /// A whole number within these limits.
    Number(u32, u32),
    Boolean,
    /// `true` and nothing else.
    True,
    /// One of these words, each with its meaning.
    Words(&'static [(&'static str, &'static str)]),
    TimeSpan,
    Command,
    /// A command, or a table of one and its time limit.
    Hook,
    /// An array of these.
    List(&'static str),
    /// A table whose keys are the reader's.
    Table(Entries),
    /// A section whose keys are systemd's directives.
    Directives(Entries),
    /// `[NAME]`
    Section,
    /// `[[NAME]]`
    Sections,
    /// `[KEY.NAME]`
    NamedSections,
}

/// What the entries of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entries {
    Scalars,
    Strings,
    Paths,
    Commands,
    /// Scalars, or arrays of scalars for a directive that is repeated.
    Lines,
}

/// The default of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    Required,
    None,
    /// This value, in TOML.
    Value(&'static str),
    /// This value, in TOML; and where another one holds, in words.
    Varies(&'static str, &'static str),
    /// No value that could be written, in words.
    Words(&'static str),
}

/// The digests of a service, as `crate::generation` keeps them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    Generation,
    Routes,
    Scale,
    Settings,
}

/// Where a key may stand in a declaration with `[[part]]`, and for what it holds there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// Outside for all parts, and inside for one part, which overrides it.
    Inherited,
    /// Outside for all parts and their group, and inside for one part, which overrides it. A section's keys set which
    /// of them hold for the group.
    Shared,
    /// Outside for the group, and inside for one part; neither overrides the other.
    Separate,
    /// Outside only, for the group.
    OnlyOutside,
    /// Inside only, for one part.
    OnlyInside,
}

impl Parts {
    /// Returns whether a key outside of `[[part]]` holds for each part.
    pub(crate) fn holds_for_parts(self) -> bool {
        matches!(self, Self::Inherited | Self::Shared)
    }

    /// Returns whether a key outside of `[[part]]` holds for the group.
    pub(crate) fn holds_for_group(self) -> bool {
        matches!(self, Self::Shared | Self::Separate | Self::OnlyOutside)
    }
}

impl Kind {
    /// The type in words, in Markdown.
    pub fn words(self) -> String {
        match self {
            Self::Text("") => "string".to_owned(),
            Self::Text(what) => format!("string, {what}"),
            Self::Number(least, u32::MAX) => format!("number, {least} or more"),
            Self::Number(least, most) => format!("number, {least} to {most}"),
            Self::Boolean => "`true`, `false`".to_owned(),
            Self::True => "`true`".to_owned(),
            Self::Words(words) => words.iter().map(|(word, _)| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
            Self::TimeSpan => "time span".to_owned(),
            Self::Command => "command".to_owned(),
            Self::Hook => "hook".to_owned(),
            Self::List(of) => format!("list of {of}"),
            Self::Table(Entries::Paths) => "table, name = absolute path".to_owned(),
            Self::Table(entries) => format!("table of {}", entries.words()),
            Self::Directives(entries) => format!("section of {}", entries.words()),
            Self::Section => "section".to_owned(),
            Self::Sections => "sections in double brackets".to_owned(),
            Self::NamedSections => "sections".to_owned(),
        }
    }
}

impl Entries {
    fn words(self) -> &'static str {
        match self {
            Self::Scalars => "scalars",
            Self::Strings => "strings",
            Self::Paths => "paths",
            Self::Commands => "commands",
            Self::Lines => "scalars and lists",
        }
    }
}

impl Default {
    /// The default in words, in Markdown.
    pub fn words(self) -> String {
        match self {
            Self::Required => "required".to_owned(),
            Self::None => "none".to_owned(),
            Self::Value(value) => format!("`{value}`"),
            Self::Varies(value, otherwise) => format!("`{value}`, {otherwise}"),
            Self::Words(words) => words.to_owned(),
        }
    }
}
