//! `[[port]]`: addresses at which callers reach a service without a reverse proxy.

use std::net::SocketAddr;

use crate::declaration;
use crate::model::{Engine, Listen, Passed, Port, Protocol};
use crate::path;
use crate::resolve::Resolver;

/// The longest name of a socket, sd_listen_fds(3).
const MAX_NAME: usize = 255;

impl Resolver<'_> {
    pub(crate) fn ports(&mut self, ports: Vec<declaration::Port>, engine: &Engine, listen: &Listen) -> Vec<Port> {
        let mut resolved: Vec<Port> = Vec::new();
        for (index, port) in ports.into_iter().enumerate() {
            let port = self.port(index, port, engine, listen);
            let is_twice = |there: &Port| there.listen == port.listen && there.protocol == port.protocol;
            if resolved.iter().any(is_twice) {
                let message = format!("{:?} is declared twice", port.listen);
                self.error(&path!["port", index, "listen"], message, "remove one of the two");
            }
            resolved.push(port);
        }
        resolved
    }

    fn port(&mut self, index: usize, port: declaration::Port, engine: &Engine, listeners: &Listen) -> Port {
        let declaration::Port { listen, pass, datagram, proxy_protocol, name, listener } = port;
        let at = |key: &str| path!["port", index, key];
        let (is_passed, is_datagram) = (pass == Some(true), datagram == Some(true));
        let proxy_protocol = proxy_protocol == Some(true);
        if !is_address(&listen) {
            let remedy = "write \"5432\", \"127.0.0.1:5432\", \"[::1]:5432\", \"/run/db.sock\" or \"vsock:2:5432\"";
            self.error(&at("listen"), format!("{listen:?} is not an address to listen on"), remedy);
        }
        if is_datagram && !is_passed {
            let remedy = "add pass = true, or remove datagram";
            self.key_error(&at("datagram"), "datagrams cannot be relayed: they have no connection", remedy);
        }
        if is_datagram && listen.starts_with("vsock:") {
            self.error(&at("listen"), "vsock has no datagrams", "write a port, or remove datagram");
        }
        if is_passed && !engine.takes_sockets() {
            let remedy = "remove pass, or run the image by [container]";
            self.key_error(&at("pass"), "podman passes no sockets to a pod", remedy);
        }
        if proxy_protocol && is_passed {
            let remedy = "remove proxy_protocol: the process sees its callers' addresses";
            self.key_error(&at("proxy_protocol"), "no relay stands before a socket that processes take", remedy);
        } else if proxy_protocol && listen.parse::<u16>().is_err() && listen.parse::<SocketAddr>().is_err() {
            let remedy = "write an address of TCP, or remove proxy_protocol";
            self.error(&at("listen"), "callers of this socket have no address that could be announced", remedy);
        }
        if let Some(name) = &name {
            self.descriptor_name(index, name, is_passed, listeners);
        }
        if is_passed && listener.is_some() {
            let remedy = "remove listener, or pass";
            self.key_error(&at("listener"), "no relay leads to a listener: processes take the socket", remedy);
        }
        let listener = self.listener(&at("listener"), listener, listeners);
        Port {
            listen,
            protocol: if is_datagram { Protocol::Datagram } else { Protocol::Stream },
            passed: is_passed.then_some(Passed { name }),
            proxy_protocol,
            listener,
        }
    }

    fn descriptor_name(&mut self, index: usize, name: &str, is_passed: bool, listen: &Listen) {
        let at = path!["port", index, "name"];
        let is_plain = |c: char| c.is_ascii_graphic() && !":\\".contains(c);
        if !is_passed {
            self.key_error(&at, "no process gets this socket", "add pass = true, or remove name");
        } else if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
            let message = format!("{name:?} is not the name of a socket");
            self.error(&at, message, "write printable ASCII characters other than `:`, `\\` and space");
        } else if listen.further.keys().any(|listener| listener.as_str() == name) {
            self.error(&at, format!("the socket of [listen.{name}] has this name"), "write another name");
        }
    }

    /// Refuses routes beside a port whose callers are announced: the reverse proxy announces none. Returns the listeners
    /// whose callers are announced.
    pub(crate) fn announced(
        &mut self,
        ports: &[declaration::Port],
        routes: &[declaration::Route],
    ) -> Vec<Option<String>> {
        let announced = ports.iter().enumerate().filter(|(_, port)| port.proxy_protocol == Some(true));
        let announced: Vec<_> = announced.map(|(index, port)| (index, port.listener.clone())).collect();
        let is_routed = |listener: &Option<String>| routes.iter().any(|route| route.listener == *listener);
        for (index, _) in announced.iter().filter(|(_, listener)| is_routed(listener)).take(1) {
            let remedy = "remove the routes, or proxy_protocol and read X-Forwarded-For";
            let message = "the process would expect the PROXY protocol of the reverse proxy, too";
            self.key_error(&path!["port", *index, "proxy_protocol"], message, remedy);
        }
        announced.into_iter().map(|(_, listener)| listener).collect()
    }

    /// Refuses to pass sockets to deployments that rest: callers would not wake them.
    pub(crate) fn no_rest(&mut self, listen: &Listen, ports: &[declaration::Port]) {
        let passed = ports.iter().position(|port| port.pass == Some(true));
        if let Some(index) = passed.filter(|_| listen.idle_timeout.is_some()) {
            let remedy = "remove listen.idle_timeout, or pass";
            let message = "callers of a socket that processes take cannot wake a deployment";
            self.key_error(&path!["port", index, "pass"], message, remedy);
        }
    }
}

/// Returns whether a text is an address of `ListenStream=`, systemd.socket(5), that names a port or a path.
fn is_address(text: &str) -> bool {
    let port = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
    let number = |text: &str| text.parse::<u32>().is_ok();
    if let Some(vsock) = text.strip_prefix("vsock:") {
        return vsock.split_once(':').is_some_and(|(cid, port)| (cid.is_empty() || number(cid)) && number(port));
    }
    if text.starts_with('/') {
        let normalized = !text.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
        return normalized && text.len() < 108 && !text.chars().any(|c| c.is_control() || c == '\\');
    }
    port(text) || text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0)
}
