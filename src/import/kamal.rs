//! Kamal's config/deploy.yml: roles and accessories are parts.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics, Source};
use crate::expansion::is_name;
use crate::import::compose::bytes;
use crate::import::container::{self, Mount, Mounted, Published};
use crate::import::declaration::{Declaration, Section, Service, name_of};
use crate::import::input::Input;
use crate::import::note::Report;
use crate::import::shell;
use crate::import::text::Text;
use crate::import::tree::{self, Entry, Keys, Node, Value};
use std::sync::Arc;

/// Returns whether a document looks like one of Kamal's.
pub(crate) fn is_one(root: &Node) -> bool {
    root.get("service").is_some_and(|service| service.text().is_some())
        && (root.get("image").is_some() || root.get("servers").is_some())
}

/// Replaces what Ruby would write by variables: `<%= ENV["TAG"] %>` is `${TAG}`. Lines stay as they are.
pub(crate) fn without_ruby(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<%") {
        let Some((inside, behind)) = after.split_once("%>") else { break };
        out.push_str(before);
        let quoted = inside.split(['"', '\'']).nth(1).filter(|name| inside.contains("ENV") && is_name(name));
        match quoted {
            Some(name) if inside.starts_with('=') => out.push_str(&format!("${{{name}}}")),
            _ if inside.starts_with('=') => out.push_str("${RUBY}"),
            _ => {}
        }
        out.extend(inside.chars().filter(|c| *c == '\n'));
        rest = behind;
    }
    out + rest
}

/// Translates a file.
///
/// # Errors
/// If it is not YAML, or no file of Kamal's.
pub(crate) fn import(input: &Input, given: Option<&str>, report: &mut Report) -> Result<Declaration, Diagnostics> {
    let text = without_ruby(&input.source.text);
    let has_ruby = text != input.source.text;
    let source = Arc::new(Source { path: input.path().to_owned(), text });
    let documents = tree::documents(&source)?;
    let Some(root) = documents.first() else {
        return Err(Diagnostic::of_file(input.path(), "the file is empty", "write service: and image:").into());
    };
    let keys = Keys::new("", root);
    let Some(name) = keys.take("service", report).and_then(|entry| entry.node.text()) else {
        let remedy = "write service: NAME; for a destination, import deploy.yml and write what differs by hand";
        return Err(Diagnostic::at(root.position.clone(), "service", "the file names no service", remedy).into());
    };
    let name = given.unwrap_or(name.trim());
    let mut declaration = Declaration::new(name);
    if has_ruby {
        report.approximated(
            &root.position,
            "<% %>",
            "what Ruby would compute is a variable of `conductor service declare`",
        );
    }
    let image = keys.take("image", report);
    let server = keys.take("registry", report).map(|entry| registry(entry, report)).unwrap_or_default();
    let image = image.and_then(|entry| entry.node.text()).map_or(name, str::trim);
    let image = image_name(image, &server);
    let environment = keys.take("env", report);
    let volumes = keys.take("volumes", report);
    let proxy = keys.take("proxy", report);
    let deploy = deploy(&keys, report);
    let servers = keys.take("servers", report);
    let all = roles(servers);
    let accessory_count = root.get("accessories").map_or(0, |node| node.entries().len());
    declaration.is_group = all.len() + accessory_count > 1;
    for (role, own) in all {
        let mut service = Service::new(name_of(&role));
        service.set("container", "image", image.clone());
        let one = Kamal { input, name, environment_of: "" };
        let path = format!("servers.{role}");
        let own_keys = own.filter(|node| !node.entries().is_empty()).map(|node| Keys::new(path.as_str(), node));
        one.environment(&mut service, environment, report);
        if let Some(keys) = &own_keys {
            one.container_keys(&mut service, keys, report);
        }
        if let Some(entry) = volumes {
            one.volumes(&mut service, &mut declaration, entry, "volumes", report);
        }
        let own_proxy = own_keys.as_ref().and_then(|keys| keys.take("proxy", report));
        let is_served = role == "web" || own_proxy.is_some_and(|entry| entry.node.text() != Some("false"));
        let has_route = declaration.services.iter().any(|other| !other.routes.is_empty());
        match (is_served, own_proxy.or(proxy)) {
            (true, Some(entry)) if entry.node.text() != Some("false") => {
                one.proxy(&mut service, entry, report);
                if has_route {
                    service.routes.clear();
                    let text = "another role has the route on this machine: write [[part.route]] with another host";
                    report.approximated(&entry.position, format!("servers.{role}"), text);
                }
            }
            (true, _) => {
                service.set_with("container", "port", 80, "Kamal's default");
                container::route(&mut service, &name_of(name).replace('_', "-"), None);
            }
            (false, _) => service.set("listen", "type", "none"),
        }
        for (key, span) in deploy.iter().filter(|_| is_served) {
            service.set("deploy", key, span.as_str());
        }
        if let Some(keys) = own_keys {
            keys.skip(&["hosts"], report);
            keys.finish(report, reason);
        }
        declaration.services.push(service);
    }
    if let Some(entry) = servers {
        report.approximated(
            &entry.position,
            "servers",
            "conductor serves the machine that it runs on: declare the service on each",
        );
    }
    accessories(input, name, &keys, &mut declaration, report);
    keys.skip(
        &["require_destination", "primary_role", "allow_empty_roles", "retain_containers", "minimum_version"],
        report,
    );
    keys.finish(report, reason);
    Ok(declaration)
}

fn reason(key: &str) -> Option<&'static str> {
    Some(match key {
        "builder" => "conductor builds no images: push the image to the registry",
        "ssh" | "sshkit" => "conductor works on the machine that it runs on",
        "aliases" => "write [commands.NAME] with `inside = true`, and run `conductor run NAME COMMAND`",
        "asset_path" => "old and new deployments serve their own assets: `static` of [[route]] names a directory",
        "boot" => "max_surge in [deploy] is the number of deployments that start at a time",
        "hooks_path" => "write the hooks in [hooks]",
        "secrets_path" => "write the secrets in the environment file",
        "labels" => "conductor gives containers no labels",
        "logging" => "the journal has the output: `conductor service logs NAME`",
        "readiness_delay" => "`start` in [health] is the time that a process has to run",
        "run_directory" | "output" | "error_pages_path" => "conductor has a place of its own",
        "traefik" | "healthcheck" => "it is of Kamal 1: write [health] and [[route]]",
        "destination" => "a declaration has variables: `conductor service declare DIR VAR=VAL`",
        _ => return None,
    })
}

fn registry(entry: &Entry, report: &mut Report) -> String {
    let server = entry.node.text_at(&["server"]).unwrap_or_default().trim_end_matches('/').to_owned();
    let shown = if server.is_empty() { "docker.io" } else { &server };
    report.hint(format!("podman login --authfile /root/.docker/config.json {shown}"));
    for key in ["username", "password"] {
        if let Some(node) = entry.node.get(key) {
            report.approximated(&node.position, format!("registry.{key}"), "log in as root: `podman login`");
        }
    }
    server
}

/// The image with its registry, and its version as a variable.
fn image_name(image: &str, server: &str) -> Text {
    let full = if server.is_empty() { image.to_owned() } else { format!("{server}/{image}") };
    let text = Text::interpolated(&full, &BTreeMap::new()).unwrap_or_else(|_| full.as_str().into());
    let mut text = container::image_text(text);
    let last = full.rsplit('/').next().unwrap_or_default();
    if !last.contains([':', '@']) {
        text.push(":".into());
        text.push(Text::variable("VERSION", Some("latest".to_owned())));
    }
    text
}

/// Roles with what they say themselves; hosts alone are those of `web`.
fn roles(servers: Option<&Entry>) -> Vec<(String, Option<&Node>)> {
    let Some(entry) = servers else { return vec![("web".to_owned(), None)] };
    match &entry.node.value {
        Value::Map(entries) if !entries.is_empty() => {
            entries.iter().map(|role| (role.key.clone(), Some(&role.node))).collect()
        }
        _ => vec![("web".to_owned(), None)],
    }
}

/// Time limits of rollouts.
fn deploy(keys: &Keys<'_>, report: &mut Report) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for (key, to) in [("deploy_timeout", "health_timeout"), ("drain_timeout", "drain_timeout")] {
        if let Some(entry) = keys.take(key, report) {
            match span(&entry.node) {
                Some(span) => found.push((to, span)),
                None => keys.omit(entry, "it is no time span above zero", report),
            }
        }
    }
    found
}

fn span(node: &Node) -> Option<String> {
    let text = node.text()?.trim();
    let text = if text.chars().all(|c| c.is_ascii_digit()) { format!("{text}s") } else { text.to_owned() };
    crate::timespan::parse(&text).filter(|span| !span.is_zero() && span.as_secs() < 31_000_000).map(|_| text)
}

/// What all parts of a file have in common.
struct Kamal<'a> {
    input: &'a Input,
    name: &'a str,
    /// The accessory whose container it is; empty for roles.
    environment_of: &'a str,
}

impl Kamal<'_> {
    /// Variables in clear, and the file that has the secret ones.
    fn environment(&self, service: &mut Service, entry: Option<&Entry>, report: &mut Report) {
        let Some(entry) = entry else { return };
        let clear = match entry.node.get("clear") {
            Some(clear) => clear,
            None if entry.node.get("secret").is_some() || entry.node.get("tags").is_some() => {
                return self.secret(service, entry, report);
            }
            None => &entry.node,
        };
        for variable in clear.entries().iter().filter(|variable| variable.key != "tags") {
            report.see(&variable.position);
            match variable.node.text() {
                Some(value) if is_name(&variable.key) && !variable.key.starts_with("CONDUCTOR_") => {
                    let value = Text::interpolated(value.trim(), &BTreeMap::new()).unwrap_or_else(|_| value.into());
                    service.insert("container", "environment", &variable.key, value.into_value());
                }
                _ => report.omitted(&variable.position, format!("env.{}", variable.key), "it is no text"),
            }
        }
        self.secret(service, entry, report);
    }

    fn secret(&self, service: &mut Service, entry: &Entry, report: &mut Report) {
        if let Some(tags) = entry.node.get("tags") {
            report.omitted(
                &tags.position,
                "env.tags",
                "a declaration has variables: `conductor service declare DIR VAR=VAL`",
            );
        }
        let Some(secret) = entry.node.get("secret").filter(|node| !node.items().is_empty()) else { return };
        // Each accessory has secrets of its own.
        let own = if self.environment_of.is_empty() { String::new() } else { format!("-{}", self.environment_of) };
        let file = format!("/etc/default/{}{own}", name_of(self.name));
        let names: Vec<_> =
            secret.texts().iter().map(|name| name.split(':').next().unwrap_or_default().to_owned()).collect();
        report.approximated(
            &secret.position,
            "env.secret",
            format!("environment_file names {file}, which has to have {}", names.join(", ")),
        );
        report.hint(format!("install --mode 0600 /dev/null {file}   # and write {}=… into it", names.join("=…, ")));
        let known = service.words("container", "environment_file");
        if !known.contains(&file) {
            service.push("container", "environment_file", file);
        }
    }

    /// Keys that roles and accessories have in common.
    fn container_keys(&self, service: &mut Service, keys: &Keys<'_>, report: &mut Report) {
        if let Some(entry) = keys.take("cmd", report) {
            match entry.node.text().map(shell::split) {
                Some(Ok(split)) => {
                    let words: Vec<Text> = split.words.into_iter().map(|word| Text::from(word).into_word()).collect();
                    service.set("container", "exec", words);
                }
                _ => keys.omit(entry, "it is no command", report),
            }
        }
        if let Some(entry) = keys.take("env", report) {
            self.environment(service, Some(entry), report);
        }
        let Some(entry) = keys.take("options", report) else { return };
        for option in entry.node.entries() {
            report.see(&option.position);
            let path = format!("{}.options.{}", keys.path, option.key);
            for value in option.node.texts() {
                match option.key.as_str() {
                    "memory" => match bytes(value) {
                        Some(bytes) => service.set("resources", "memory_max", bytes),
                        None => report.omitted(&option.position, path.as_str(), "it is no size"),
                    },
                    "cpus" => match value.parse::<f64>().ok().filter(|cpus| *cpus > 0.0 && *cpus < 1e6) {
                        Some(cpus) => {
                            service.set("resources", "cpu_quota", format!("{}%", (cpus * 100.0).round().max(1.0)));
                        }
                        None => report.omitted(&option.position, path.as_str(), "it is no number"),
                    },
                    "network" => service.push("container", "network", value),
                    "user" => service.set("container", "user", value),
                    "restart" | "name" | "publish" | "log-driver" | "cgroup-parent" => {
                        report.omitted(&option.position, path.as_str(), "conductor passes it itself");
                    }
                    _ if option.node.is_true() => service.push("container", "podman_args", format!("--{}", option.key)),
                    _ => service.push("container", "podman_args", format!("--{}={value}", option.key)),
                }
            }
        }
    }

    fn volumes(
        &self,
        service: &mut Service,
        declaration: &mut Declaration,
        entry: &Entry,
        key: &str,
        report: &mut Report,
    ) {
        for value in entry.node.texts() {
            let mut parts = value.splitn(3, ':');
            let (source, target, options) =
                (parts.next().unwrap_or_default(), parts.next(), parts.next().unwrap_or_default());
            let Some(target) = target.filter(|target| target.starts_with('/')) else {
                report.omitted(&entry.position, key, format!("{value:?} is no volume"));
                continue;
            };
            let mount = Mount { source: source.into(), target: target.into(), options };
            match container::mount(service, declaration, self.input, mount) {
                Mounted::Same => {}
                Mounted::Copied => report.approximated(
                    &entry.position,
                    key,
                    format!("{source} is a file of the declaration, and read-only"),
                ),
                Mounted::Outside(path) => {
                    report.approximated(&entry.position, key, format!("{source} stays at {path}"));
                }
            }
        }
    }

    fn proxy(&self, service: &mut Service, entry: &Entry, report: &mut Report) {
        let keys = Keys::new("proxy", &entry.node);
        let port = keys.take("app_port", report).and_then(|entry| entry.node.number()).unwrap_or(80);
        service.set("container", "port", port.clamp(1, 65535));
        let mut hosts = Vec::new();
        for key in ["host", "hosts"] {
            let texts = keys.take(key, report).map(|entry| entry.node.texts()).unwrap_or_default();
            hosts.extend(texts.iter().flat_map(|text| text.split(',')).map(|host| host.trim().to_owned()));
        }
        let mut route = Section::default();
        let ssl = keys.take("ssl", report);
        let has_tls = ssl.is_some_and(|entry| entry.node.is_true() || !entry.node.entries().is_empty());
        let known: Vec<Text> =
            hosts.iter().filter_map(|host| Text::interpolated(host, &BTreeMap::new()).ok()).collect();
        if known.is_empty() {
            let host = format!("{}.localhost", name_of(self.name).replace('_', "-"));
            route.set_with("host", vec![host], "write the host's DNS name");
            report.approximated(&entry.position, "proxy", "it names no host: [[route]] has one to be changed");
        } else {
            route.set("host", known);
        }
        if !has_tls {
            route.set_with("tls", "off", "remove it for HTTPS");
        }
        if let Some(entry) = ssl.filter(|entry| !entry.node.entries().is_empty()) {
            keys.omit(entry, "certificate and certificate_key of [[route]] are files of the host", report);
        }
        if let Some(entry) = keys.take("path_prefix", report)
            && let Some(path) = entry.node.text().filter(|path| path.starts_with('/'))
        {
            route.set("path", path);
            route.set("strip_prefix", true);
        }
        if keys.take("strip_path_prefix", report).is_some_and(|entry| entry.node.text() == Some("false")) {
            route.set("strip_prefix", false);
        }
        if let Some(entry) = keys.take("response_timeout", report) {
            match span(&entry.node) {
                Some(span) => drop(route.set("read_timeout", span)),
                None => keys.omit(entry, "it is no time span above zero", report),
            }
        }
        if let Some(entry) = keys.take("buffering", report) {
            for option in entry.node.entries() {
                match (option.key.as_str(), option.node.number()) {
                    ("max_request_body", Some(size @ 1..)) => drop(route.set("max_body", size.to_string())),
                    _ => report.omitted(
                        &option.position,
                        format!("proxy.buffering.{}", option.key),
                        "the proxy does not buffer",
                    ),
                }
            }
        }
        if let Some(entry) = keys.take("healthcheck", report) {
            service.set("health", "http", entry.node.text_at(&["path"]).unwrap_or("/up"));
            for (key, to) in [("interval", "interval"), ("timeout", "timeout")] {
                if let Some(span) = entry.node.get(key).and_then(span) {
                    service.set("health", to, span);
                }
            }
        } else {
            service.set_with("health", "http", "/up", "Kamal's default");
        }
        if let Some(entry) = keys.take("run", report) {
            keys.omit(entry, "the reverse proxy is the host's own", report);
        }
        keys.finish(report, |key| match key {
            "forward_headers" => Some(
                "the proxy sets X-Forwarded-For itself; proxy.trusted_proxies in conductor.toml names those before it",
            ),
            "ssl_redirect" => Some("the proxy redirects to HTTPS where [[route]] has no tls = \"off\""),
            "logging" => Some("access_log = true in [[route]]"),
            _ => None,
        });
        service.routes.push(route);
    }
}

fn accessories(input: &Input, name: &str, keys: &Keys<'_>, declaration: &mut Declaration, report: &mut Report) {
    let Some(entry) = keys.take("accessories", report) else { return };
    for accessory in entry.node.entries() {
        let path = format!("accessories.{}", accessory.key);
        let keys = Keys::new(path.as_str(), &accessory.node);
        let Some(image) = keys.take("image", report).and_then(|entry| entry.node.text()) else {
            report.omitted(&accessory.position, path, "it has no image");
            continue;
        };
        let mut service = Service::new(name_of(&accessory.key));
        let own = name_of(&accessory.key);
        let one = Kamal { input, name, environment_of: &own };
        let text = Text::interpolated(image.trim(), &BTreeMap::new()).unwrap_or_else(|_| image.into());
        service.set("container", "image", container::image_text(text));
        one.container_keys(&mut service, &keys, report);
        if let Some(entry) = keys.take("port", report) {
            match Published::parse(&entry.node.text().unwrap_or_default().trim().into()) {
                Ok(mut ports) => {
                    // `3306` alone is that port of the host, too.
                    for port in &mut ports {
                        port.host.get_or_insert_with(|| port.container.to_string().into());
                    }
                    if let Some(text) =
                        container::publish(&mut service, "container", &accessory.key.replace('_', "-"), &ports)
                    {
                        keys.approximate(entry, text, report);
                    }
                }
                Err(message) => keys.omit(entry, message, report),
            }
        }
        if service.get("container", "port").is_none() {
            match container::port_of_image(image) {
                Some(port) => service.set_with("container", "port", i64::from(port), "the port of this image"),
                None => {
                    service.set_with("listen", "type", "none", "the source tells no port: write `port` if it has one");
                }
            }
        }
        for key in ["volumes", "files"] {
            if let Some(entry) = keys.take(key, report) {
                // Files are relative to the directory of the application, in which config/ is.
                let texts = entry.node.texts();
                for value in texts {
                    let Some((source, target)) = value.split_once(':') else { continue };
                    let source = if key == "files" && !source.starts_with(['/', '.']) {
                        format!("./{}", source.strip_prefix("config/").unwrap_or(source))
                    } else {
                        source.to_owned()
                    };
                    let (target, options) =
                        target.split_once(':').unwrap_or((target, if key == "files" { "ro" } else { "" }));
                    if !target.starts_with('/') {
                        keys.omit(entry, format!("{value:?} is no volume"), report);
                        continue;
                    }
                    let mount = Mount { source: source.as_str().into(), target: target.into(), options };
                    if let Mounted::Outside(path) = container::mount(&mut service, declaration, input, mount) {
                        keys.approximate(
                            entry,
                            format!("{source} is not beside the file: {path} has to be there"),
                            report,
                        );
                    }
                }
            }
        }
        if let Some(entry) = keys.take("directories", report) {
            for value in entry.node.texts() {
                let Some((source, target)) = value.split_once(':').filter(|(_, target)| target.starts_with('/')) else {
                    continue;
                };
                let source = if source.starts_with('/') {
                    source.to_owned()
                } else {
                    format!("{}-{}", name_of(&accessory.key), name_of(source))
                };
                let mount = Mount { source: source.as_str().into(), target: target.into(), options: "" };
                container::mount(&mut service, declaration, input, mount);
                keys.approximate(entry, format!("{value} is the volume {source} of podman's"), report);
            }
        }
        keys.skip(&["host", "hosts", "role", "roles", "service", "tag", "tags"], report);
        keys.finish(report, |key| match key {
            "proxy" => Some("write [[part.route]] with its host"),
            "network" => Some("parts reach each other by name"),
            other => reason(other),
        });
        declaration.services.push(service);
    }
}
