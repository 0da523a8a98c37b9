//! What is said of a configuration: that the proxy refuses it, or that it keeps routes from being served.

/// Why a configuration is refused, for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The proxy's own words without its log lines.
    pub(crate) words: String,
    /// The remedy, if it is known.
    pub(crate) help: Option<String>,
}

/// A finding of `conductor doctor` about the administrator's own configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) finding: String,
    pub(crate) remedy: &'static str,
}
