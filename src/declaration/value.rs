//! Values that may be written in more than one form.

use serde::Deserialize;
use serde::de::{self, Visitor};

/// A command, empty for none, or a table that has it with a time limit of its own.
#[derive(Debug, Default)]
pub struct Hook {
    pub(crate) command: Vec<String>,
    pub(crate) timeout: Option<TimeSpan>,
}

/// The value of a directive, or the values of one that is repeated.
#[derive(Debug)]
pub enum OneOrMany {
    One(Scalar),
    Many(Vec<Scalar>),
}

/// A string, number or boolean, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar(pub String);

/// A string, or an array of strings.
#[derive(Debug, Default)]
pub(crate) struct Texts(pub(crate) Vec<String>);

/// A time span as systemd.time(7) writes it (`"1min 30s"`); a bare number counts seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeSpan(pub(crate) String);

struct ScalarVisitor(&'static str);

impl Visitor<'_> for ScalarVisitor {
    type Value = String;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.0)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor("a string, a number, true or false")).map(Self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Span;
        impl Visitor<'_> for Span {
            type Value = TimeSpan;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a time span like \"30s\"")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<TimeSpan, E> {
                Ok(TimeSpan(value.to_string()))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<TimeSpan, E> {
                Ok(TimeSpan(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Span)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Texts;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a string, or an array of strings")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Texts, E> {
                Ok(Texts(vec![value.to_owned()]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<Texts, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(items)).map(Texts)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a string, a number, true, false, or an array of them")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<OneOrMany, E> {
                ScalarVisitor("").visit_bool(value).map(|text| OneOrMany::One(Scalar(text)))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<OneOrMany, E> {
                ScalarVisitor("").visit_i64(value).map(|text| OneOrMany::One(Scalar(text)))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<OneOrMany, E> {
                ScalarVisitor("").visit_f64(value).map(|text| OneOrMany::One(Scalar(text)))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(Scalar(value.to_owned())))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = items.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany::Many(values))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Hook {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Timed {
            command: Vec<String>,
            timeout: Option<TimeSpan>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Hook;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an array")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, words: A) -> Result<Hook, A::Error> {
                let command = Vec::deserialize(de::value::SeqAccessDeserializer::new(words))?;
                Ok(Hook { command, timeout: None })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, keys: A) -> Result<Hook, A::Error> {
                let Timed { command, timeout } = Timed::deserialize(de::value::MapAccessDeserializer::new(keys))?;
                Ok(Hook { command, timeout })
            }
        }
        deserializer.deserialize_any(Either)
    }
}
