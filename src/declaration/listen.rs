//! `[listen]`, whose tables are further listeners.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::route::AppProtocol;
use super::value::TimeSpan;

/// `[listen]`
#[derive(Debug, Default)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Listen {
    #[cfg_attr(feature = "cli", schemars(rename = "type"))]
    pub kind: Option<ListenKind>,
    pub(crate) idle_timeout: Option<TimeSpan>,
    pub(crate) protocol: Option<AppProtocol>,
    pub(crate) root: Option<String>,
    #[cfg_attr(feature = "cli", schemars(flatten))]
    pub(crate) further: BTreeMap<String, Listener>,
}

impl Listen {
    /// Returns the listener of a service that listens nowhere.
    pub(crate) fn none() -> Self {
        Self { kind: Some(ListenKind::None), ..Self::default() }
    }
}

/// `[listen.NAME]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    #[serde(rename = "type")]
    pub(crate) kind: FurtherKind,
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Option<AppProtocol>,
    pub(crate) root: Option<String>,
}

/// The way in which a process gets the socket of a further listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum FurtherKind {
    Activation,
    Unix,
    Tcp,
}

impl From<FurtherKind> for ListenKind {
    fn from(kind: FurtherKind) -> Self {
        match kind {
            FurtherKind::Activation => Self::Activation,
            FurtherKind::Unix => Self::Unix,
            FurtherKind::Tcp => Self::Tcp,
        }
    }
}

/// The way in which a process gets its listening socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ListenKind {
    #[default]
    Activation,
    Unix,
    Tcp,
    None,
}

/// The keys that are no listeners.
const KEYS: &[&str] = &["type", "idle_timeout", "protocol", "root"];

/// The value of any other key: a further listener, if it is a table.
struct Other(Option<Listener>);

struct ListenVisitor;

struct OtherVisitor;

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("Listen", KEYS, ListenVisitor)
    }
}

impl<'de> Visitor<'de> for ListenVisitor {
    type Value = Listen;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listen, A::Error> {
        let mut listen = Listen::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" => listen.kind = Some(map.next_value()?),
                "idle_timeout" => listen.idle_timeout = Some(map.next_value()?),
                "protocol" => listen.protocol = Some(map.next_value()?),
                "root" => listen.root = Some(map.next_value()?),
                _ => {
                    let Other(listener) = map.next_value()?;
                    let listener = listener.ok_or_else(|| A::Error::unknown_field(&key, KEYS))?;
                    listen.further.insert(key, listener);
                }
            }
        }
        Ok(listen)
    }
}

impl<'de> Deserialize<'de> for Other {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OtherVisitor)
    }
}

impl<'de> Visitor<'de> for OtherVisitor {
    type Value = Other;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Other, A::Error> {
        Listener::deserialize(MapAccessDeserializer::new(map)).map(|listener| Other(Some(listener)))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Other, E> {
        Ok(Other(None))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Other, E> {
        Ok(Other(None))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Other, E> {
        Ok(Other(None))
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Other, E> {
        Ok(Other(None))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Other, A::Error> {
        while items.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(Other(None))
    }
}
