//! The name of a further listener, `[listen.NAME]`, and what is named after it.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// Names of further listeners that mean that of `[listen]`: its socket in `$LISTEN_FDNAMES`, and the file that a process binds.
const RESERVED: [&str; 2] = ["listen", "socket"];

/// The name of a further listener: at most 12 characters of a-z, 0-9 and `-`, so that the paths of its sockets fit the 107
/// bytes of unix(7).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ListenerName(String);

impl ListenerName {
    /// Longest name, in characters.
    const MAX: usize = 12;

    /// Reads a listener's name.
    ///
    /// # Errors
    /// Why the name cannot be a listener's.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > Self::MAX {
            return Err(format!("a listener's name has 1 to {} characters", Self::MAX));
        }
        if !name.chars().all(allowed) || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.ends_with('-') {
            return Err("a listener's name has a-z, 0-9 and '-', and begins with a letter".to_owned());
        }
        if RESERVED.contains(&name) {
            return Err(format!("the name {name} is that of [listen] itself"));
        }
        Ok(Self(name.to_owned()))
    }

    /// Returns the name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the variable of a listener: `PORT`, and `PORT_METRICS` of a further one.
pub(crate) fn variable(of_main: &str, listener: Option<&ListenerName>) -> String {
    match listener {
        None => of_main.to_owned(),
        Some(name) => format!("{of_main}_{}", name.0.to_ascii_uppercase().replace('-', "_")),
    }
}

/// Returns the name that a number has for a listener, of a slot, an instance or a queue: `3`, and `3-metrics` for a further
/// one.
pub(crate) fn numbered(number: impl Display, listener: Option<&ListenerName>) -> String {
    match listener {
        None => number.to_string(),
        Some(name) => format!("{number}-{name}"),
    }
}

/// Reads what [`numbered`] wrote; None if it did not.
pub(crate) fn from_numbered(text: &str) -> Option<(u32, Option<ListenerName>)> {
    match text.split_once('-') {
        None => Some((text.parse().ok()?, None)),
        Some((number, name)) => Some((number.parse().ok()?, Some(ListenerName::new(name).ok()?))),
    }
}

impl Display for ListenerName {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl TryFrom<String> for ListenerName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::new(&name)
    }
}

impl From<ListenerName> for String {
    fn from(name: ListenerName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_the_listener() {
        let name = ListenerName::new("my-metrics").expect("a name");
        assert_eq!(variable("PORT", Some(&name)), "PORT_MY_METRICS");
        assert_eq!(from_numbered(&numbered(3, Some(&name))), Some((3, Some(name))));
        assert_eq!(from_numbered(&numbered(3, None)), Some((3, None)));
        for other in ["", "x", "3.d", "3.bound", "3-", "3-Metrics", "3-socket", ".3-metrics.tmp"] {
            assert_eq!(from_numbered(other), None, "{other}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["", "listen", "socket", "Metrics", "9p", "a_b", "a-", "a-name-too-long"] {
            assert!(ListenerName::new(name).is_err(), "{name}");
        }
    }
}
