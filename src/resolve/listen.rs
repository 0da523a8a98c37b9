//! `[listen]`, its further listeners, and the keys that name one of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::directive::closest;
use crate::document::Path;
use crate::model::route::AppProtocol;
use crate::model::{Engine, Further, Listen, ListenKind, Process};
use crate::names::{ListenerName, listener};
use crate::resolve::Resolver;
use crate::resolve::route::Protocols;
use crate::{declaration, path};

impl Resolver<'_> {
    /// Resolves `[listen]`, with errors for what the engine does not support.
    pub(crate) fn listen(&mut self, listen: declaration::Listen, process: &Process) -> Listen {
        let declaration::Listen { kind, idle_timeout, protocol: _, root: _, further } = listen;
        let engine = &process.engine;
        let kind = kind.unwrap_or(engine.default_listener());
        let at = path!["listen", "type"];
        let (section, port) = (engine.section(), engine.port());
        let of_port = path![section, "port"];
        if !engine.takes_sockets() && kind == ListenKind::Activation {
            let remedy = "write \"tcp\" with port = … in [pod], or \"unix\"";
            self.error(&at, "podman passes no sockets to a pod", remedy);
        } else if engine.has_own_network() && kind == ListenKind::Tcp && port.is_none() {
            self.error(
                &path![section],
                "`port` is required for type = \"tcp\"",
                format!("add port = 8080 to [{section}], or [listen] with type = \"unix\""),
            );
        } else if port.is_some() && kind != ListenKind::Tcp {
            let remedy = "remove it, or write type = \"tcp\" in [listen]";
            self.key_error(&of_port, "`port` applies only to type = \"tcp\"", remedy);
        }
        let idle_timeout =
            idle_timeout.map(|span| self.span(&path!["listen", "idle_timeout"], Some(span), Duration::ZERO));
        if kind == ListenKind::None && idle_timeout.is_some() {
            let remedy = "remove it: what has no callers is not woken by one";
            self.key_error(&path!["listen", "idle_timeout"], "the service listens nowhere", remedy);
        } else if idle_timeout.is_some() && !further.is_empty() {
            let remedy = "remove it, or the further listeners";
            let message = "callers of a further listener cannot wake a deployment";
            self.key_error(&path!["listen", "idle_timeout"], message, remedy);
        }
        let listen = Listen { kind, idle_timeout, further: self.further(further, engine) };
        self.alone_on_ports(&listen, process);
        listen
    }

    /// Resolves what the listeners speak.
    pub(crate) fn protocols(&mut self, listen: &declaration::Listen) -> Protocols {
        let mut protocols = Protocols::new();
        let main = (None, path!["listen"], listen.protocol, &listen.root);
        let further = listen.further.iter().map(|(name, listener)| {
            (Some(name.clone()), path!["listen", name.as_str()], listener.protocol, &listener.root)
        });
        for (name, at, protocol, root) in std::iter::once(main).chain(further) {
            if let Some(root) = root {
                self.host_file(&at.join("root"), root);
            }
            let protocol = match (protocol.unwrap_or_default(), root) {
                (declaration::AppProtocol::FastCgi, Some(root)) => AppProtocol::FastCgi { root: root.into() },
                (declaration::AppProtocol::FastCgi, None) => {
                    let remedy = "add root = \"/srv/www\", the directory with the programs";
                    self.error(&at.join("protocol"), "FastCGI needs `root`", remedy);
                    continue;
                }
                (protocol, Some(_)) => {
                    let remedy = "remove it, or write protocol = \"fastcgi\"";
                    self.key_error(&at.join("root"), "`root` is for FastCGI", remedy);
                    of_http(protocol)
                }
                (protocol, None) => of_http(protocol),
            };
            protocols.insert(name, protocol);
        }
        protocols
    }

    fn further(
        &mut self,
        further: BTreeMap<String, declaration::Listener>,
        engine: &Engine,
    ) -> BTreeMap<ListenerName, Further> {
        let mut resolved = BTreeMap::new();
        for (name, declaration::Listener { kind, port, protocol: _, root: _ }) in further {
            let (at, kind) = (path!["listen", name.as_str()], ListenKind::from(kind));
            match kind {
                ListenKind::Activation if !engine.takes_sockets() => {
                    let remedy = "write \"tcp\" with port = …, or \"unix\"";
                    self.error(&at.join("type"), "podman passes no sockets to a pod", remedy);
                }
                ListenKind::Tcp if engine.has_own_network() && port.is_none() => {
                    let remedy = "add port = 9090, the port in the container";
                    self.key_error(&at, "`port` is required for type = \"tcp\"", remedy);
                }
                ListenKind::Activation | ListenKind::Unix | ListenKind::Tcp | ListenKind::None => {}
            }
            self.port_number(&at.join("port"), port);
            if port.is_some() && !(engine.has_own_network() && kind == ListenKind::Tcp) {
                let remedy = format!("remove it: the process listens on ${}", listener_variable(&name));
                self.key_error(&at.join("port"), "`port` is the port in a container, for type = \"tcp\"", remedy);
            }
            match ListenerName::new(&name) {
                Ok(name) => drop(resolved.insert(name, Further { kind, port })),
                Err(why) => self.key_error(&at, why, "write a name such as [listen.metrics]"),
            }
        }
        resolved
    }

    /// Refuses ports that parallel deployments would share, and variables that conductor sets.
    fn alone_on_ports(&mut self, listen: &Listen, process: &Process) {
        let own = |network: &String| matches!(network.as_str(), "host" | "none") || network.starts_with("container:");
        let engine = &process.engine;
        if let Some(index) = engine.networks().iter().position(own).filter(|_| listen.has(ListenKind::Tcp)) {
            let remedy =
                "name a network that gives each deployment its own address, or write type = \"unix\" in [listen]";
            let at = path![engine.section(), "network", index];
            self.error(&at, "parallel deployments would share its ports", remedy);
        }
        for listener in listen.all().filter(|listener| listener.kind == ListenKind::Tcp) {
            let variable = listener::variable("PORT", listener.name);
            if process.environment.contains_key(&variable) {
                let at = listener.name.map_or_else(|| path!["listen"], |name| path!["listen", name.as_str()]);
                let remedy = format!("remove {variable} from config and environment, and listen on ${variable}");
                self.key_error(&at, format!("with type = \"tcp\" conductor sets {variable}"), remedy);
            }
        }
    }

    /// Refuses what leads callers to a service that listens nowhere, or not by `[listen]` itself.
    pub(crate) fn no_callers(
        &mut self,
        listen: &Listen,
        has_slots: bool,
        routes: &[declaration::Route],
        ports: &[declaration::Port],
    ) {
        if listen.main().is_some() {
            return;
        }
        let asks_main = |route: &declaration::Route| route.listener.is_none() && !route.is_answered_by_proxy();
        let to_main = routes.iter().enumerate().filter(|(_, route)| asks_main(route));
        let routes = to_main.map(|(index, _)| path!["route", index]);
        let relayed = ports.iter().enumerate().filter(|(_, port)| port.pass != Some(true) && port.listener.is_none());
        let ports = relayed.map(|(index, _)| path!["port", index]);
        let slots = (has_slots && !listen.has_callers()).then(|| path!["slots"]);
        for at in routes.chain(ports).chain(slots) {
            let remedy = match listen.further.keys().next() {
                None => "remove it, or the type = \"none\" in [listen]".to_owned(),
                Some(name) => format!("add listener = \"{name}\", or remove the type = \"none\" in [listen]"),
            };
            self.key_error(&at, "the service listens nowhere", remedy);
        }
    }

    /// Resolves a key that names a listener; None for that of `[listen]` itself.
    pub(crate) fn listener(&mut self, at: &Path, name: Option<String>, listen: &Listen) -> Option<ListenerName> {
        let name = name?;
        if let Some((found, _)) = listen.further.iter().find(|(known, _)| known.as_str() == name) {
            return Some(found.clone());
        }
        let remedy = match closest(&name, listen.further.keys().map(ListenerName::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("declare it: [listen.{name}]"),
        };
        self.error(at, format!("there is no listener {name:?}"), remedy);
        None
    }
}

fn of_http(protocol: declaration::AppProtocol) -> AppProtocol {
    if protocol == declaration::AppProtocol::H2c { AppProtocol::H2c } else { AppProtocol::Http }
}

/// Returns the remedy for what asks the listener of `[listen]` itself where there is none.
pub(super) fn nowhere(listen: &Listen, otherwise: &str) -> String {
    match listen.further.keys().next() {
        None => otherwise.to_owned(),
        Some(name) => format!("add listener = \"{name}\""),
    }
}

/// Returns the variable with the port of a further listener, whatever its name is.
fn listener_variable(name: &str) -> String {
    ListenerName::new(name).map_or_else(|_| "PORT".to_owned(), |name| listener::variable("PORT", Some(&name)))
}
