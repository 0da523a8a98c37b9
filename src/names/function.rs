//! The ID of a function, and what is named after it.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use super::hex::is_hex;

/// The prefix of functions' units, before their IDs.
pub(crate) const FUNCTION_UNITS: &str = "conductor-cgi-";

/// The SHA-256 of a function, 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionId(String);

impl FunctionId {
    /// Length in hex digits.
    pub(crate) const LENGTH: usize = 64;
    /// The digits that identify a function in names without room for all.
    const SHORT: usize = 16;

    /// Reads a function's ID, None if it is not 64 lower-case hex digits.
    pub(crate) fn new(text: &str) -> Option<Self> {
        (text.len() == Self::LENGTH && is_hex(text)).then(|| Self(text.to_owned()))
    }

    /// Takes a digest in lower-case hex.
    pub(crate) fn of_digest(digest: String) -> Self {
        Self(digest)
    }

    /// Reads the ID in the name of one of a function's units.
    pub(crate) fn from_unit(unit: &str) -> Option<Self> {
        Self::new(unit.strip_prefix(FUNCTION_UNITS)?.get(..Self::LENGTH)?)
    }

    /// Returns the ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first 12 digits, for listings and logs.
    pub(crate) fn short(&self) -> &str {
        &self.0[..12]
    }

    /// Returns the function's dynamic user, `User=`.
    pub(crate) fn user(&self) -> String {
        format!("{FUNCTION_UNITS}{}", &self.0[..Self::SHORT])
    }

    /// Returns the function's units without their suffixes, and its container: `conductor-cgi-ID`.
    pub(crate) fn unit(&self) -> String {
        format!("{FUNCTION_UNITS}{self}")
    }

    /// Returns the units of an isolated function's requests without their suffixes: `conductor-cgi-ID-request`.
    pub(crate) fn request_unit(&self) -> String {
        format!("conductor-cgi-{self}-request")
    }

    /// Returns the unit that answers the callers of a function that cannot start.
    pub(crate) fn refuser(&self) -> String {
        format!("conductor-refuse@{self}.service")
    }

    /// Returns the function's container; an isolated function has one for each connection, by the unit's instance.
    pub(crate) fn container(&self, instance: Option<&str>) -> String {
        instance.map_or_else(|| self.unit(), |instance| format!("{}-{instance}", self.request_unit()))
    }
}

impl Display for FunctionId {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl TryFrom<String> for FunctionId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).ok_or_else(|| format!("{text:?} is not the ID of a function"))
    }
}

impl From<FunctionId> for String {
    fn from(id: FunctionId) -> Self {
        id.0
    }
}
