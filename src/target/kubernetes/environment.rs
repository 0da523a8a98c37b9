//! The environment of a service's containers.

use std::collections::BTreeMap;

use crate::environment_file;
use crate::expansion;
use crate::model::{Engine, ListenKind, Service, Systemd, User};
use crate::names::GenerationId;
use crate::names::listener::variable as of_listener;
use crate::target::Contents;
use crate::target::kubernetes::directories::directories;
use crate::target::kubernetes::names::{CREDENTIALS, FILES, OWN, object_name, secret_of_file};
use crate::target::kubernetes::ports::Ports;
use crate::target::kubernetes::yaml::{Yaml, map};
use crate::variable;

/// The variable with the pod's name, which alone is not known before there is a pod.
pub(super) const DEPLOYMENT: &str = "CONDUCTOR_DEPLOYMENT";

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    /// The pod's name.
    Name,
    /// A text in the syntax of Kubernetes, with the pod's name in it.
    WithName(String),
}

/// Variables in the order in which they refer to each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    variables: Vec<(String, Value)>,
    /// Secrets whose keys are variables, and whether each may be missing.
    secrets: Vec<(String, bool)>,
}

/// Returns the variables that conductor sets, without that of the pod's name.
pub(super) fn own(service: &Service, id: &GenerationId, ports: &Ports) -> BTreeMap<String, String> {
    let mut own = BTreeMap::from([
        ("CONDUCTOR_SERVICE".to_owned(), service.name.to_string()),
        ("CONDUCTOR_GENERATION".to_owned(), id.to_string()),
    ]);
    if let Engine::Exec { .. } = service.process.engine {
        own.insert("CONDUCTOR_SERVICE_DIR".to_owned(), format!("{FILES}/{}", object_name(&service.name)));
        own.insert("CONDUCTOR_DEPLOYMENT_DIR".to_owned(), OWN.to_owned());
        if matches!(service.process.user, User::Dynamic(_)) {
            own.insert(variable::HOME.to_owned(), "/tmp".to_owned());
        }
    }
    if service.process.has_credentials() {
        own.insert("CREDENTIALS_DIRECTORY".to_owned(), CREDENTIALS.to_owned());
    }
    for listener in service.listen.all().filter(|listener| listener.kind == ListenKind::Tcp) {
        if let Some(port) = ports.listener(listener.name) {
            own.insert(of_listener("PORT", listener.name), port.number.to_string());
        }
    }
    own
}

impl Environment {
    pub(super) fn of(
        service: &Service,
        systemd: &Systemd,
        id: &GenerationId,
        ports: &Ports,
        contents: &Contents,
    ) -> Self {
        let mut own = own(service, id, ports);
        own.extend(directories(systemd).map(|directory| (directory.variable.to_owned(), directory.paths())));
        let declared = &service.process.environment;
        own.retain(|name, _| name != variable::HOME || !declared.contains_key(name));
        let mut variables: Vec<_> = vec![(DEPLOYMENT.to_owned(), Value::Name)];
        if let Engine::Pod(_) = service.process.engine {
            variables.push(("POD_NAME".to_owned(), Value::Name));
        }
        variables.extend(own.iter().map(|(name, value)| (name.clone(), Value::Text(value.clone()))));
        let in_kubernetes = |name: &str| match name {
            DEPLOYMENT | "POD_NAME" => Some(format!("$({DEPLOYMENT})")),
            name => Some(escaped(own.get(name).map_or("", String::as_str))),
        };
        let plainly = |name: &str| own.get(name).cloned();
        for name in declared.keys() {
            let plain = variable::expand(declared, name, &str::to_owned, &plainly);
            let value = plain
                .map(Value::Text)
                .or_else(|| variable::expand(declared, name, &escaped, &in_kubernetes).map(Value::WithName));
            variables.extend(value.map(|value| (name.clone(), value)));
        }
        let mut environment = Self { variables, secrets: Vec::new() };
        for file in &service.process.environment_files {
            environment.add_file(service, &own, file, contents);
        }
        environment
    }

    /// Adds the variables of a file, over those that are there; those of a file of the host are in a Secret.
    fn add_file(&mut self, service: &Service, own: &BTreeMap<String, String>, file: &str, contents: &Contents) {
        let (path, is_optional) = file.strip_prefix('-').map_or((file, false), |path| (path, true));
        let Some(path) = path.strip_prefix("./") else {
            self.secrets.push((secret_of_file(service, path), is_optional));
            return;
        };
        let text = contents.get(camino::Utf8Path::new(path)).map(|content| String::from_utf8_lossy(content));
        for (name, value) in environment_file::read(text.as_deref().unwrap_or("")) {
            if own.contains_key(&name) || name.starts_with("CONDUCTOR_") {
                continue;
            }
            self.variables.retain(|(known, _)| *known != name);
            self.variables.push((name, Value::Text(value)));
        }
    }

    fn has(&self, name: &str) -> bool {
        // Variables of a Secret are not known here.
        !self.secrets.is_empty() || self.variables.iter().any(|(known, _)| known == name)
    }

    /// Writes the words of a container's command.
    pub(super) fn in_command(&self, words: &[String]) -> Vec<String> {
        words.iter().map(|word| expansion::for_kubernetes(word, |name| self.has(name))).collect()
    }

    /// Writes the words of a command of a probe or of a pod's end, in which Kubernetes expands nothing.
    pub(super) fn expanded(&self, words: &[String]) -> Vec<String> {
        let value = |name: &str| {
            let found = self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value);
            found.and_then(|value| match value {
                Value::Text(text) => Some(text.clone()),
                Value::Name | Value::WithName(_) => None,
            })
        };
        words.iter().map(|word| expansion::expand(word, value)).collect()
    }

    /// Renders the list `env` of a container.
    pub(super) fn render(&self) -> Yaml {
        let variable = |(name, value): &(String, Value)| match value {
            Value::Text(text) => map! { "name" => name, "value" => escaped(text) },
            Value::WithName(text) => map! { "name" => name, "value" => text },
            Value::Name => map! {
                "name" => name,
                "valueFrom" => map! { "fieldRef" => map! { "fieldPath" => "metadata.name" } },
            },
        };
        Yaml::List(self.variables.iter().map(variable).collect())
    }

    /// Renders the list `envFrom` of a container.
    pub(super) fn sources(&self) -> Yaml {
        let source = |(name, is_optional): &(String, bool)| {
            map! { "secretRef" => map! { "name" => name, "optional" => is_optional.then_some(true) } }
        };
        Yaml::List(self.secrets.iter().map(source).collect()).or_absent()
    }
}

/// Writes a text where Kubernetes replaces `$(NAME)`.
fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}
