//! Four digests of a service, kept apart so that a reload does only what a change needs.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{Deploy, DropIn, File, Health, Hooks, Listen, Passthrough, Process, Route, Service};

/// Raised when the meaning of rendered units changes, so that deployments roll onto the new form.
pub const FORMAT: u32 = 1;

/// A generation's name: the first 12 hex digits of its digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    pub const LENGTH: usize = 12;

    /// None if it is not 12 lower-case hex digits.
    pub fn new(text: &str) -> Option<Self> {
        (text.len() == Self::LENGTH && is_hex(text)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::str::FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).ok_or_else(|| format!("{text:?} is not the name of a generation"))
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

/// What changed, by what has to be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// A change rolls deployments.
    pub generation: String,
    /// A change republishes proxy configuration.
    pub routes: String,
    /// A change starts or stops instances of the same generation.
    pub scale: String,
    /// A change is in force after daemon-reload alone.
    pub settings: String,
}

impl Digests {
    /// Every field of the model is placed here; a new one does not compile until it is.
    pub fn of(service: &Service) -> Self {
        let Service {
            name,
            whole,
            description,
            concurrency,
            slots,
            process,
            listen,
            health,
            routes,
            ports,
            deploy,
            hooks,
            commands,
            brings,
            conditions,
            display,
            slice,
            wanted_by,
            passthrough,
            drop_ins,
            files,
            source,
        } = service;
        let Deploy { strategy, max_surge, drain_timeout, health_timeout, restarted_at } = deploy;
        let generation = GenerationInput {
            format: FORMAT,
            name: name.as_str(),
            process,
            listen,
            health,
            hooks,
            passthrough,
            drop_ins,
            files,
            restarted_at: restarted_at.as_deref(),
        };
        Self {
            generation: digest("generation", &generation),
            routes: digest("routes", &RoutesInput { routes, slots: *slots }),
            scale: digest("scale", concurrency),
            settings: digest(
                "settings",
                &(
                    (description, slice, wanted_by, source, ports),
                    (strategy, max_surge, drain_timeout, health_timeout),
                    (commands, brings, conditions, display, whole),
                ),
            ),
        }
    }

    /// The generation's name.
    pub fn id(&self) -> Id {
        Id(self.generation[..Id::LENGTH].to_owned())
    }
}

#[derive(Serialize)]
struct GenerationInput<'a> {
    format: u32,
    name: &'a str,
    process: &'a Process,
    listen: &'a Listen,
    health: &'a Health,
    hooks: &'a Hooks,
    passthrough: &'a Passthrough,
    drop_ins: &'a [DropIn],
    files: &'a [File],
    #[serde(skip_serializing_if = "Option::is_none")]
    restarted_at: Option<&'a str>,
}

#[derive(Serialize)]
struct RoutesInput<'a> {
    routes: &'a [Route],
    slots: u32,
}

/// SHA-256 of the canonical form: JSON with fields in the order of the types and sorted maps, after
/// a word that keeps the four apart.
fn digest(kind: &str, input: &impl Serialize) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!("conductor {kind}\n"));
    hasher.update(serde_json::to_vec(input).expect("a model serializes"));
    hex(&hasher.finalize())
}

/// Whether a text has only lower-case hex digits.
pub fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}
