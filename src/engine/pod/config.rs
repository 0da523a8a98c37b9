//! ConfigMaps and Secrets of a pod's files, which are the deployment's own: conductor puts their values into containers'
//! variables, and into files that containers mount.
//!
//! podman would keep them by name for all pods of the host: a second service with a ConfigMap of that name, or the next
//! version of this one, would change what a running pod serves. podman 4.3 does not run pods that mount Secrets at all.

use std::collections::BTreeMap;
use std::fmt;

use super::base64;
use super::manifest::{self, ConfigObject, Container, Reference, Variable};
use super::place::Place;
use super::yaml::Document;
use crate::diagnostic::Diagnostic;
use crate::directive::closest;
use crate::path;

/// The values of a ConfigMap or Secret, by key.
pub(crate) type Entries = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    /// Returns the kind of this name; None for objects of other kinds.
    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::ConfigMap, Self::Secret].into_iter().find(|kind| kind.to_string() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        })
    }
}

/// The ConfigMaps and Secrets of a pod's files, by kind and name.
#[derive(Debug, Default)]
pub(crate) struct Configs(BTreeMap<(Kind, String), Entries>);

impl Configs {
    /// Adds the ConfigMap or Secret of a document.
    ///
    /// # Errors
    /// A value that is wrong, and a name that is there twice.
    pub(crate) fn add(&mut self, kind: Kind, document: &Document) -> Result<(), Diagnostic> {
        let object: ConfigObject = manifest::read(document)?;
        let name = object.metadata.and_then(|metadata| metadata.name).filter(|name| !name.is_empty());
        let at = Place::new(document, path!["metadata", "name"]);
        let Some(name) = name else {
            return Err(at.error(format!("the {kind} has no name"), "write metadata: {name: settings}"));
        };
        let mut entries = Entries::new();
        let texts = |values: Option<BTreeMap<String, String>>| values.into_iter().flatten();
        let plain = |(key, text): (String, String)| (key, text.into_bytes());
        match kind {
            Kind::ConfigMap => {
                entries.extend(texts(object.data).map(plain));
                entries.extend(decoded(&Place::new(document, path!["binaryData"]), texts(object.binary_data))?);
            }
            Kind::Secret => {
                entries.extend(decoded(&Place::new(document, path!["data"]), texts(object.data))?);
                entries.extend(texts(object.string_data).map(plain));
            }
        }
        if let Some(key) = entries.keys().find(|key| !is_key(key)) {
            let place = ["data", "stringData", "binaryData"].map(|of| path![of, key.as_str()]);
            let place = place.into_iter().find(|path| document.get(path).is_some()).unwrap_or(path!["data"]);
            let message = format!("{key:?} is not a key of a {kind}");
            let remedy =
                "use letters, digits, '-', '_' and '.'; items: [{key: …, path: …}] gives its file another name";
            return Err(document.error(&place, message, remedy));
        }
        if self.0.insert((kind, name.clone()), entries).is_some() {
            return Err(at.error(format!("the {kind} {name} is there twice"), "give each a name of its own"));
        }
        Ok(())
    }

    /// Finds the object that a value at `at` refers to; None if it is missing and may be.
    ///
    /// # Errors
    /// If it is missing.
    pub(crate) fn find(
        &self,
        at: &Place,
        kind: Kind,
        name: Option<&str>,
        optional: Option<bool>,
    ) -> Result<Option<&Entries>, Diagnostic> {
        let name = name.unwrap_or_default();
        let found = self.0.get(&(kind, name.to_owned()));
        if found.is_some() || optional == Some(true) {
            return Ok(found);
        }
        let known = self.0.keys().filter(|(other, _)| *other == kind).map(|(_, name)| name.as_str());
        let remedy = match (closest(name, known), kind) {
            (Some(near), _) => format!("did you mean {near:?}?"),
            (None, Kind::ConfigMap) => {
                "add a document with kind: ConfigMap, name its file as config_map in [pod], or write optional: true"
                    .to_owned()
            }
            (None, Kind::Secret) => {
                "add a document with kind: Secret, or write credentials in [pod], which containers \
                                     read in $CREDENTIALS_DIRECTORY"
                    .to_owned()
            }
        };
        Err(at.error(format!("the pod's files have no {kind} {name:?}"), remedy))
    }

    /// Replaces references in the variables of a container at `at` by their values.
    ///
    /// # Errors
    /// A reference to what is missing, and a value that cannot be a variable's.
    pub(crate) fn resolve(&self, at: &Place, container: &mut Container) -> Result<(), Diagnostic> {
        let mut all = BTreeMap::new();
        for (index, from) in container.env_from.take().into_iter().flatten().enumerate() {
            let at = at.join("envFrom").join(index);
            let prefix = from.prefix.unwrap_or_default();
            let references =
                [(Kind::ConfigMap, "configMapRef", from.config_map_ref), (Kind::Secret, "secretRef", from.secret_ref)];
            if references.iter().all(|(.., reference)| reference.is_none()) {
                return Err(at.error("neither a ConfigMap nor a Secret", "write configMapRef: {name: settings}"));
            }
            for (kind, key, reference) in references {
                let Some(reference) = reference else { continue };
                let at = at.join(key);
                let entries = self.find(&at.join("name"), kind, reference.name.as_deref(), reference.optional)?;
                for (key, value) in entries.into_iter().flatten() {
                    match text(&at, kind, key, value) {
                        Ok(text) => drop(all.insert(format!("{prefix}{key}"), text)),
                        // Kubernetes takes no variables from binaryData either.
                        Err(_) if kind == Kind::ConfigMap => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        let mut variables = Vec::new();
        for (index, variable) in container.env.take().into_iter().flatten().enumerate() {
            variables.extend(self.resolved(&at.join("env").join(index), variable)?);
        }
        // A variable with a name of its own overrides one of a whole ConfigMap.
        all.retain(|name, _| variables.iter().all(|one| one.name.as_ref() != Some(name)));
        let all = all.into_iter().map(|(name, value)| Variable::new(name, value));
        container.env = Some(all.chain(variables).collect());
        Ok(())
    }

    /// Returns a variable with its value; None if the value is missing and may be.
    fn resolved(&self, at: &Place, mut variable: Variable) -> Result<Option<Variable>, Diagnostic> {
        let Some(from) = &mut variable.value_from else { return Ok(Some(variable)) };
        let config_map =
            from.config_map_key_ref.take().map(|reference| (Kind::ConfigMap, "configMapKeyRef", reference));
        let secret = from.secret_key_ref.take().map(|reference| (Kind::Secret, "secretKeyRef", reference));
        let Some((kind, key, reference)) = config_map.or(secret) else { return Ok(Some(variable)) };
        let at = at.join("valueFrom").join(key);
        let Reference { name, key, optional } = reference;
        let Some(entries) = self.find(&at.join("name"), kind, name.as_deref(), optional)? else { return Ok(None) };
        let key = key.unwrap_or_default();
        match entries.get(&key) {
            Some(value) => {
                let value = text(&at, kind, &key, value)?;
                Ok(Some(Variable::new(variable.name.unwrap_or_default(), value)))
            }
            None if optional == Some(true) => Ok(None),
            None => Err(no_key(&at.join("key"), kind, name.as_deref(), &key, entries)),
        }
    }
}

/// Returns the error of a key that a ConfigMap or Secret does not have.
pub(crate) fn no_key(at: &Place, kind: Kind, name: Option<&str>, key: &str, entries: &Entries) -> Diagnostic {
    let remedy = match closest(key, entries.keys().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None => "add it, or write optional: true".to_owned(),
    };
    at.error(format!("the {kind} {} has no key {key:?}", name.unwrap_or_default()), remedy)
}

fn text(at: &Place, kind: Kind, key: &str, value: &[u8]) -> Result<String, Diagnostic> {
    let text = std::str::from_utf8(value).ok().filter(|text| !text.contains('\0'));
    text.map(str::to_owned).ok_or_else(|| {
        let remedy = "mount it as a file in volumes";
        at.error(format!("the value of {key} in the {kind} is not text, and cannot be a variable"), remedy)
    })
}

fn decoded(at: &Place, values: impl Iterator<Item = (String, String)>) -> Result<Vec<(String, Vec<u8>)>, Diagnostic> {
    let decode = |(key, text): (String, String)| match base64::decode(&text) {
        Some(value) => Ok((key, value)),
        None => {
            let remedy = "write what `base64 -w0` prints, or in a Secret the text itself in stringData";
            Err(at.join(key.as_str()).error("the value is not base64", remedy))
        }
    };
    values.map(decode).collect()
}

/// Returns whether Kubernetes takes a key, which is also the name of a file.
fn is_key(key: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !key.is_empty() && key.len() <= 253 && key.chars().all(ok) && !matches!(key, "." | "..")
}
