//! What becomes of the keys of service.toml on a target beyond this host. Tables in docs/ and refusals come from it.

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The key becomes this.
    Mapped(&'static str),
    /// The key becomes `becomes`, and `lost` is not kept, if the key is accepted.
    Approximated { becomes: &'static str, lost: &'static str },
    /// The key becomes `becomes`; for some values `lost` is not kept, if the key is accepted.
    Partly { becomes: &'static str, lost: &'static str },
    /// The target has nothing of this kind: why, and what to write instead.
    Refused { why: &'static str, remedy: &'static str },
    /// The key changes nothing there, for this reason.
    Unneeded(&'static str),
}

use Disposition::{Approximated, Mapped, Partly, Refused, Unneeded};

impl Disposition {
    /// Returns the kind of disposition in a word or two, in Markdown.
    pub fn kind(self) -> &'static str {
        match self {
            Mapped(_) => "mapped",
            Approximated { .. } => "`--accept`",
            Partly { .. } => "some values `--accept`",
            Refused { .. } => "refused",
            Unneeded(_) => "no effect",
        }
    }

    /// Returns what becomes of the key in words, in Markdown.
    pub fn words(self) -> String {
        match self {
            Mapped(becomes) => becomes.to_owned(),
            Approximated { becomes, lost } => format!("{becomes}: {lost}"),
            Partly { becomes, lost } => format!("{becomes}; not kept: {lost}"),
            Refused { why, remedy } => format!("{why}: {remedy}"),
            Unneeded(why) => why.to_owned(),
        }
    }
}
