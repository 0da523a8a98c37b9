//! One service of a file of compose.

use super::file::{File, variables};
use crate::expansion::is_name;
use crate::import::container::{self, Mount, Mounted, Published};
use crate::import::declaration::{Declaration, Section, Service, name_of};
use crate::import::note::Report;
use crate::import::shell;
use crate::import::text::Text;
use crate::import::tree::{Entry, Keys, Node, Value};

/// Keys that are one option of podman-run(1) with one value.
const OPTIONS: &[(&str, &str)] = &[
    ("hostname", "hostname"),
    ("shm_size", "shm-size"),
    ("platform", "platform"),
    ("ipc", "ipc"),
    ("pid", "pid"),
    ("userns_mode", "userns"),
    ("uts", "uts"),
    ("cgroup", "cgroupns"),
    ("oom_score_adj", "oom-score-adj"),
    ("stop_signal", "stop-signal"),
    ("cpuset", "cpuset-cpus"),
    ("domainname", "domainname"),
];

/// Keys that are an option of podman-run(1) for each item.
const REPEATED: &[(&str, &str)] = &[
    ("devices", "device"),
    ("dns", "dns"),
    ("dns_search", "dns-search"),
    ("dns_opt", "dns-option"),
    ("security_opt", "security-opt"),
    ("group_add", "group-add"),
    ("device_cgroup_rules", "device-cgroup-rule"),
    ("extra_hosts", "add-host"),
    ("sysctls", "sysctl"),
    ("annotations", "annotation"),
];

/// The translation of one service.
pub(super) struct Translation<'a> {
    pub(super) file: &'a File<'a>,
    pub(super) keys: &'a Keys<'a>,
    pub(super) entry: &'a Entry,
    pub(super) service: &'a mut Service,
    pub(super) declaration: &'a mut Declaration,
    pub(super) report: &'a mut Report,
}

impl<'a> Translation<'a> {
    /// Translates all keys; false if the service has nothing to run.
    pub(super) fn run(&mut self) -> bool {
        if !self.image() {
            return false;
        }
        self.command();
        self.environment();
        self.volumes();
        self.options();
        self.networks();
        self.ports();
        self.health();
        self.order();
        true
    }

    pub(super) fn take(&mut self, key: &str) -> Option<&'a Entry> {
        self.keys.take(key, self.report)
    }

    pub(super) fn omit(&mut self, entry: &Entry, text: impl Into<String>) {
        self.keys.omit(entry, text, self.report);
    }

    pub(super) fn approximate(&mut self, entry: &Entry, text: impl Into<String>) {
        self.keys.approximate(entry, text, self.report);
    }

    /// Reads a scalar with its variables.
    pub(super) fn text(&mut self, entry: &Entry, node: &Node) -> Option<Text> {
        let text = node.text()?;
        match Text::interpolated(text, &self.file.known) {
            Ok(text) => Some(text),
            Err(message) => {
                self.omit(entry, message);
                None
            }
        }
    }

    /// Reads a scalar whose variables have their defaults.
    pub(super) fn fixed(&mut self, entry: &Entry, node: &Node) -> Option<String> {
        let text = self.text(entry, node)?;
        if text.literal().is_none() {
            self.approximate(entry, format!("variables have the values that they have now: {}", text.shown()));
        }
        text.with_defaults().or_else(|| {
            self.omit(entry, format!("{} has no value", text.shown()));
            None
        })
    }

    fn image(&mut self) -> bool {
        let build = self.take("build");
        let image = self.take("image");
        match (image, build) {
            (Some(image), build) => {
                let Some(text) = self.text(image, &image.node) else { return false };
                self.service.set("container", "image", container::image_text(text));
                if let Some(build) = build {
                    self.approximate(build, "conductor runs images and builds none: push the image, or build it here");
                }
            }
            (None, Some(build)) => {
                let name = format!("localhost/{}-{}", name_of(&self.declaration.name), self.service.name);
                let context = build.node.text().or_else(|| build.node.text_at(&["context"])).unwrap_or(".");
                let file = build.node.text_at(&["dockerfile"]).map_or_else(String::new, |file| {
                    format!(" --file {}", shell::quoted(&format!("{}/{file}", context.trim_end_matches('/'))))
                });
                let target =
                    build.node.text_at(&["target"]).map_or_else(String::new, |target| format!(" --target {target}"));
                self.approximate(build, "conductor builds no images: build it here, and name each version");
                self.report.hint(format!("podman build --tag {name}{file}{target} {}", shell::quoted(context)));
                self.service.set_with("container", "image", name, "build it before the service is declared");
            }
            (None, None) => {
                let text = "it has neither an image nor a build";
                self.report.omitted(&self.entry.position, self.keys.path.as_str(), text);
                return false;
            }
        }
        if let Some(policy) = self.take("pull_policy") {
            match policy.node.text() {
                Some("always" | "newer") => self.service.set("container", "pull", "newer"),
                Some("never") => self.service.set("container", "pull", "never"),
                Some("missing" | "if_not_present") => {}
                _ => self.omit(policy, "conductor pulls a missing image, or a newer one"),
            }
        }
        true
    }

    /// Reads words of a command, or a line of them.
    fn words(&mut self, entry: &Entry) -> Option<Vec<Text>> {
        if let Value::List(items) = &entry.node.value {
            return items.iter().map(|item| self.text(entry, item)).collect();
        }
        let line = entry.node.text()?;
        // The file's variables are words to the shell: `$$` of compose stays one sign.
        match shell::split(line) {
            Ok(split) => split
                .words
                .iter()
                .map(|word| {
                    Text::interpolated(word, &self.file.known).map_err(|message| self.omit(entry, message)).ok()
                })
                .collect(),
            Err(message) => {
                self.omit(entry, message);
                None
            }
        }
    }

    fn command(&mut self) {
        let mut arguments = Vec::new();
        if let Some(entry) = self.take("entrypoint") {
            let mut words = self.words(entry).unwrap_or_default().into_iter();
            let program = words.next().unwrap_or_default();
            self.service.set("container", "entrypoint", program.into_word());
            arguments.extend(words);
        }
        if let Some(entry) = self.take("command") {
            arguments.extend(self.words(entry).unwrap_or_default());
        }
        if !arguments.is_empty() {
            let words: Vec<_> = arguments.into_iter().map(Text::into_word).collect();
            self.service.set("container", "exec", words);
        }
    }

    fn environment(&mut self) {
        let mut names = Vec::new();
        if let Some(entry) = self.take("environment") {
            for (name, value) in self.pairs(entry) {
                let value = value.unwrap_or_else(|| Text::variable(&name, self.file.known.get(&name).cloned()));
                if is_name(&name) && !name.starts_with("CONDUCTOR_") {
                    names.push(name.clone());
                    self.service.insert("container", "environment", &name, value.into_value());
                } else {
                    self.omit(entry, format!("{name:?} is no name of a variable"));
                }
            }
        }
        let Some(entry) = self.take("env_file") else { return };
        let nodes: Vec<&Node> =
            if entry.node.items().is_empty() { vec![&entry.node] } else { entry.node.items().iter().collect() };
        for node in nodes {
            let path = node.get("path").unwrap_or(node);
            let Some(name) = self.text(entry, path).and_then(|text| text.with_defaults()) else { continue };
            let may_miss = node.get("required").is_some_and(|required| required.text() == Some("false"));
            self.environment_file(entry, &name, may_miss, &names);
        }
    }

    fn environment_file(&mut self, entry: &Entry, name: &str, may_miss: bool, names: &[String]) {
        let known = self.file.input.text_of(name);
        let overridden = known.as_deref().map(variables).unwrap_or_default();
        let overridden: Vec<_> = names.iter().filter(|name| overridden.contains_key(*name)).cloned().collect();
        if !overridden.is_empty() {
            let names = overridden.join(", ");
            self.approximate(entry, format!("a file overrides `environment` here: remove {names} from one of them"));
        }
        if name.starts_with('/') {
            return self.service.push(
                "container",
                "environment_file",
                format!("{}{name}", if may_miss { "-" } else { "" }),
            );
        }
        // A name with a dot in front is a file like others; `..` leads out of the declaration.
        let relative = name.trim_start_matches("../").trim_start_matches("./");
        let relative = self.declaration.place(&self.service.name, relative);
        let is_copied = self.file.input.copy(name, relative.as_str().into(), self.declaration);
        if is_copied {
            return self.service.push("container", "environment_file", format!("./{relative}"));
        }
        let outside = self.file.input.absolute(name);
        if !may_miss {
            self.approximate(entry, format!("{outside} is not there"));
        }
        self.service.push("container", "environment_file", format!("-{outside}"));
    }

    /// The entries of a map, or `NAME=VALUE` of a list; None for a name alone.
    pub(super) fn pairs(&mut self, entry: &Entry) -> Vec<(String, Option<Text>)> {
        let mut pairs = Vec::new();
        for child in entry.node.entries() {
            let value = match &child.node.value {
                Value::Null => None,
                _ => Some(self.text(child, &child.node).unwrap_or_default()),
            };
            pairs.push((child.key.clone(), value));
        }
        for item in entry.node.texts().into_iter().filter(|_| entry.node.entries().is_empty()) {
            let (name, value) = item.split_once('=').map_or((item, None), |(name, value)| (name, Some(value)));
            let value = value.map(|value| match Text::interpolated(value, &self.file.known) {
                Ok(text) => text,
                Err(message) => {
                    self.omit(entry, message);
                    Text::default()
                }
            });
            pairs.push((name.trim().to_owned(), value));
        }
        pairs
    }

    fn volumes(&mut self) {
        if let Some(entry) = self.take("volumes") {
            for item in entry.node.items() {
                self.volume(entry, item);
            }
        }
        if let Some(entry) = self.take("tmpfs") {
            for text in entry.node.texts() {
                self.service.push("container", "tmpfs", text);
            }
        }
        if let Some(entry) = self.take("configs") {
            self.file_mounts(entry, "configs");
        }
        if let Some(entry) = self.take("secrets") {
            self.file_mounts(entry, "secrets");
        }
    }

    fn volume(&mut self, entry: &Entry, item: &Node) {
        let (source, target, options) = match &item.value {
            Value::Map(_) => {
                let kind = item.text_at(&["type"]).unwrap_or("volume");
                if kind == "tmpfs" {
                    let Some(target) = item.text_at(&["target"]) else { return };
                    return self.service.push("container", "tmpfs", target);
                }
                if !matches!(kind, "volume" | "bind") {
                    return self.omit(entry, format!("podman mounts no {kind}"));
                }
                let source = item.get("source").and_then(|node| self.text(entry, node));
                let Some(target) = item.get("target").and_then(|node| self.text(entry, node)) else {
                    return self.omit(entry, "a volume has no target");
                };
                let options = if item.get("read_only").is_some_and(Node::is_true) { "ro" } else { "" };
                (source, target, options.to_owned())
            }
            _ => {
                let Some(text) = self.text(entry, item) else { return };
                let mut parts = text.split(':');
                match parts.len() {
                    1 => (None, parts.remove(0), String::new()),
                    2 | 3 => {
                        let options = if parts.len() == 3 { parts.remove(2).shown() } else { String::new() };
                        let target = parts.remove(1);
                        (Some(parts.remove(0)), target, options)
                    }
                    _ => return self.omit(entry, format!("{:?} is no volume", text.shown())),
                }
            }
        };
        if !target.shown().starts_with(['/', '$']) {
            return self.omit(entry, format!("{:?} is no absolute path in the container", target.shown()));
        }
        let Some(source) = source.filter(|source| source.literal() != Some("")) else {
            let mut option = Text::from("--volume=");
            option.push(target);
            return self.service.push("container", "podman_args", option);
        };
        let source = self.volume_name(source);
        let shown = source.shown();
        match container::mount(
            self.service,
            self.declaration,
            self.file.input,
            Mount { source, target, options: &options },
        ) {
            Mounted::Same => {}
            Mounted::Copied => {
                self.approximate(
                    entry,
                    format!("{shown} is a file of the declaration, and read-only: each version has its own"),
                );
            }
            Mounted::Outside(path) => self.approximate(entry, format!("{shown} stays at {path}")),
        }
    }

    /// The name that compose gives a volume of the project.
    fn volume_name(&self, source: Text) -> Text {
        let Some(name) = source.literal().filter(|name| !name.starts_with(['/', '.', '~'])) else { return source };
        let declared = self.file.root.at(&["volumes", name]);
        if let Some(own) = declared.and_then(|volume| volume.text_at(&["name"])) {
            return Text::interpolated(own, &self.file.known).unwrap_or_else(|_| own.into());
        }
        let is_external = declared.and_then(|volume| volume.get("external")).is_some_and(Node::is_true);
        if is_external { source } else { format!("{}_{name}", name_of(&self.declaration.name)).into() }
    }

    /// Mounts `configs` and `secrets`, which the top of the file defines.
    fn file_mounts(&mut self, entry: &Entry, kind: &str) {
        let items: Vec<_> = entry.node.items().to_vec();
        for item in items {
            let Some(name) = item.text().or_else(|| item.text_at(&["source"])).map(str::to_owned) else { continue };
            let defined = self.file.root.at(&[kind, &name]);
            let target = item.text_at(&["target"]).unwrap_or(&name).to_owned();
            if kind == "secrets" {
                let option = if target == name { name.clone() } else { format!("{name},target={target}") };
                self.service.push("container", "secret", option);
                let from = defined
                    .and_then(|secret| secret.text_at(&["file"]))
                    .map_or_else(|| "FILE".to_owned(), str::to_owned);
                self.report.hint(format!("podman secret create {name} {}", shell::quoted(&from)));
                continue;
            }
            let target = if target.starts_with('/') { target } else { format!("/{target}") };
            let file = defined.and_then(|config| config.text_at(&["file"])).map(str::to_owned);
            let content = defined.and_then(|config| config.get("content")).and_then(|node| self.text(entry, node));
            if let Some(file) = file {
                let file = if file.starts_with(['/', '.']) { file } else { format!("./{file}") };
                let mount = Mount { source: file.into(), target: target.into(), options: "ro" };
                if let Mounted::Outside(path) = container::mount(self.service, self.declaration, self.file.input, mount)
                {
                    self.approximate(entry, format!("{name} stays at {path}"));
                }
            } else if let Some(content) = content.and_then(|content| content.with_defaults()) {
                let path = self.declaration.place(&self.service.name, &format!("configs/{}", name_of(&name)));
                self.declaration.add_file(&path, content, false);
                self.service.push("container", "volume", format!("./{path}:{target}:ro"));
            } else {
                self.omit(entry, format!("{name} has no file"));
            }
        }
    }

    fn options(&mut self) {
        for (key, to) in [("user", "user"), ("working_dir", "working_dir")] {
            if let Some(entry) = self.take(key)
                && let Some(text) = self.text(entry, &entry.node)
            {
                self.service.set("container", to, text);
            }
        }
        for (key, to) in [("cap_add", "add_capability"), ("cap_drop", "drop_capability")] {
            for text in self.take(key).iter().flat_map(|entry| entry.node.texts()) {
                let name = if text.eq_ignore_ascii_case("all") { "all" } else { text };
                self.service.push("container", to, name);
            }
        }
        for (key, option) in [("init", "--init"), ("privileged", "--privileged")] {
            if self.take(key).is_some_and(|entry| entry.node.is_true()) {
                self.service.push("container", "podman_args", option);
            }
        }
        if self.take("read_only").is_some_and(|entry| entry.node.is_true()) {
            self.service.set("container", "read_only", true);
        }
        for (key, option) in OPTIONS {
            if let Some(entry) = self.take(key)
                && let Some(value) = self.text(entry, &entry.node)
            {
                self.option(option, value);
            }
        }
        for (key, option) in REPEATED {
            let Some(entry) = self.take(key) else { continue };
            if entry.node.entries().is_empty() {
                for item in entry.node.texts() {
                    let value = Text::interpolated(item, &self.file.known).unwrap_or_else(|_| item.into());
                    self.option(option, value);
                }
                continue;
            }
            let separator = if *key == "extra_hosts" { ":" } else { "=" };
            for (name, value) in self.pairs(entry) {
                let mut text = Text::from(format!("{name}{separator}"));
                text.push(value.unwrap_or_default());
                self.option(option, text);
            }
        }
        if let Some(entry) = self.take("ulimits") {
            for limit in entry.node.entries() {
                let value =
                    limit.node.text().map(str::to_owned).or_else(|| {
                        Some(format!("{}:{}", limit.node.text_at(&["soft"])?, limit.node.text_at(&["hard"])?))
                    });
                if let Some(value) = value {
                    self.option("ulimit", format!("{}={value}", limit.key).into());
                }
            }
        }
        if let Some(entry) = self.take("container_name")
            && entry.node.text() != Some(self.service.name.as_str())
        {
            self.approximate(entry, format!("other parts reach it as {}", self.service.name));
        }
        self.keys.skip(&["extends", "stdin_open", "tty", "attach", "develop"], self.report);
    }

    fn option(&mut self, option: &str, value: Text) {
        let mut text = Text::from(format!("--{option}="));
        text.push(value.into_word());
        self.service.push("container", "podman_args", text);
    }

    fn networks(&mut self) {
        if let Some(entry) = self.take("network_mode") {
            match entry.node.text() {
                Some("none") => self.service.set("container", "network", vec!["none"]),
                Some("bridge" | "default") => {}
                Some("host") => self.omit(entry, "deployments of two generations would share the host's ports"),
                _ => self.omit(entry, "the container has a network of its own, and reaches other parts by name"),
            }
        }
        let Some(entry) = self.take("networks") else { return };
        let names: Vec<_> =
            entry.node.texts().into_iter().chain(entry.node.entries().iter().map(|child| child.key.as_str())).collect();
        for name in names {
            let network = self.file.root.at(&["networks", name]);
            if network.and_then(|network| network.get("external")).is_some_and(Node::is_true) {
                let name = network.and_then(|network| network.text_at(&["name"])).unwrap_or(name);
                self.service.push("container", "network", name);
            }
        }
        for child in entry.node.entries() {
            for option in child.node.entries() {
                let text = match option.key.as_str() {
                    "aliases" => format!("other parts reach it as {}", self.service.name),
                    _ => "deployments of two generations run side by side".to_owned(),
                };
                self.report.omitted(
                    &option.position,
                    format!("{}.{}.{}", self.keys.dotted("networks"), child.key, option.key),
                    text,
                );
            }
        }
    }

    fn ports(&mut self) {
        let mut ports = Vec::new();
        if let Some(entry) = self.take("ports") {
            for item in entry.node.items() {
                match self.published(entry, item) {
                    Ok(published) => ports.extend(published),
                    Err(message) => self.omit(entry, message),
                }
            }
            for udp in ports.iter().filter(|port: &&Published| port.is_udp) {
                let text = format!("no container of podman takes a socket of UDP from systemd: port {}", udp.container);
                self.omit(entry, text);
            }
            let host = self.host_name();
            let is_published = ports.iter().any(|port| !port.is_udp);
            if let Some(text) = container::publish(self.service, "container", &host, &ports) {
                self.approximate(entry, text);
            }
            self.routed_by_labels();
            if is_published && self.service.get("container", "port").is_some() {
                return;
            }
        } else {
            self.routed_by_labels();
        }
        if let Some(entry) = self.take("expose") {
            let port = entry.node.texts().first().and_then(|text| text.split(['/', '-']).next()?.parse().ok());
            if let Some(port) = port {
                container::listener(self.service, "container", port);
            }
        }
        if self.service.get("container", "port").is_none() {
            self.guess_port();
        }
    }

    fn published(&mut self, entry: &Entry, item: &Node) -> Result<Vec<Published>, String> {
        if item.entries().is_empty() {
            let text = self.text(entry, item).ok_or("it is no port")?;
            return Published::parse(&text);
        }
        let mut parts = Vec::new();
        for key in ["host_ip", "published", "target"] {
            if let Some(node) = item.get(key) {
                parts.push(self.text(entry, node).ok_or("it is no port")?);
            }
        }
        let mut text = Text::joined(&parts, ":");
        if let Some(protocol) = item.text_at(&["protocol"]) {
            text.push(format!("/{protocol}").into());
        }
        Published::parse(&text)
    }

    /// The host of routes of the part.
    fn host_name(&self) -> String {
        let group = name_of(&self.declaration.name);
        let others = self.file.root.get("services").map_or(0, |services| services.entries().len());
        if others > 1 { format!("{}.{group}", self.service.name.replace('_', "-")) } else { group }.replace('_', "-")
    }

    /// Takes hosts from what proxies for docker read: `VIRTUAL_HOST`, and Traefik's labels.
    fn routed_by_labels(&mut self) {
        let mut hosts = Vec::new();
        let mut port = None;
        if let Some(entry) = self.keys.take("labels", self.report) {
            let labels = self.pairs(entry);
            let mut is_used = false;
            for (name, value) in labels {
                let value = value.map(|value| value.shown()).unwrap_or_default();
                if name.starts_with("traefik.http.routers.") && name.ends_with(".rule") {
                    is_used = true;
                    hosts.extend(hosts_of_rule(&value));
                } else if name.starts_with("traefik.http.services.") && name.ends_with(".port") {
                    port = value.parse().ok();
                }
            }
            if is_used && !hosts.is_empty() {
                self.approximate(
                    entry,
                    "the host of Traefik's rule is one of [[route]]; other labels are not translated",
                );
            } else {
                self.omit(entry, "conductor gives containers no labels");
            }
        }
        let of_variable = self.service.table_text("container", "environment", "VIRTUAL_HOST");
        hosts.extend(of_variable.iter().flat_map(|hosts| hosts.split(',')).map(|host| host.trim().to_owned()));
        let port = port.or_else(|| self.service.table_text("container", "environment", "VIRTUAL_PORT")?.parse().ok());
        hosts.retain(|host| is_host(host));
        hosts.dedup();
        if hosts.is_empty() {
            return;
        }
        if self.service.get("container", "port").is_none() {
            match port {
                Some(port) => drop(container::listener(self.service, "container", port)),
                None => self.guess_port(),
            }
        }
        if self.service.get("container", "port").is_none() {
            return;
        }
        let listener = port.and_then(|port| container::listener(self.service, "container", port));
        let mut route = Section::default();
        route.set("host", hosts);
        if let Some(listener) = listener {
            route.set("listener", listener);
        }
        self.service.routes.push(route);
    }

    /// Looks for the port in what other services write, such as `http://web:8080`, and in what is known of images.
    fn guess_port(&mut self) {
        let text = &self.file.input.source.text;
        let names = self.file.names.iter().filter(|(_, part)| **part == self.service.name).map(|(name, _)| name);
        let of_others = names.filter_map(|name| port_after(text, name)).next();
        let image = self.service.words("container", "image").concat();
        let own = self.service.table_text("container", "environment", "PORT").and_then(|port| port.parse().ok());
        let found = of_others.map(|port| (port, "other services of the file call it at this port")).or_else(|| {
            own.map(|port| (port, "PORT of the environment"))
                .or_else(|| Some((container::port_of_image(&image)?, "the port of this image")))
        });
        match found {
            Some((port, comment)) => {
                self.service.set_with("container", "port", i64::from(port), comment);
                let text = format!("the source does not tell the port: {port}, {comment}");
                self.report.approximated(&self.entry.position, self.keys.path.as_str(), text);
            }
            None => {
                self.service.set_with("listen", "type", "none", "the source tells no port: write `port` if it has one");
            }
        }
    }

    fn health(&mut self) {
        let Some(entry) = self.take("healthcheck") else { return };
        let keys = Keys::new(self.keys.dotted("healthcheck"), &entry.node);
        let is_off = keys.take("disable", self.report).is_some_and(|entry| entry.node.is_true());
        let Some(test) = keys.take("test", self.report) else {
            keys.skip(&["interval", "timeout", "retries", "start_period", "start_interval"], self.report);
            return keys.finish(self.report, |_| None);
        };
        let words: Vec<Text> = match &test.node.value {
            Value::List(items) => items.iter().filter_map(|item| self.text(test, item)).collect(),
            _ => {
                let line = self.text(test, &test.node).unwrap_or_default();
                vec!["CMD-SHELL".into(), line]
            }
        };
        let (kind, rest) =
            words.split_first().map_or((None, &[][..]), |(kind, rest)| (kind.literal().map(str::to_owned), rest));
        let command: Vec<Text> = match kind.as_deref() {
            Some("NONE") | None => Vec::new(),
            Some("CMD") => rest.to_vec(),
            Some("CMD-SHELL") => vec!["/bin/sh".into(), "-c".into(), Text::joined(rest, " ")],
            Some(_) => words.clone(),
        };
        if is_off || command.is_empty() {
            keys.skip(&["interval", "timeout", "retries", "start_period", "start_interval"], self.report);
            return keys.finish(self.report, |_| None);
        }
        let command: Vec<_> = command.into_iter().map(Text::into_word).collect();
        self.service.set("health", "exec", command);
        let mut span = |key: &str| {
            let entry = keys.take(key, self.report)?;
            crate::timespan::parse(entry.node.text()?).map(|span| (entry, span.as_secs_f64()))
        };
        let (interval, timeout) = (span("interval"), span("timeout"));
        let (period, faster) = (span("start_period"), span("start_interval"));
        let retries = keys.take("retries", self.report).and_then(|entry| entry.node.number());
        self.service.set("health", "interval", seconds(faster.map_or(1.0, |(_, span)| span.clamp(0.2, 5.0))));
        if let Some((_, timeout)) = timeout.filter(|(_, timeout)| *timeout > 0.0) {
            self.service.set("health", "timeout", seconds(timeout));
        }
        if let Some((entry, every)) = interval {
            let text = "conductor asks until the deployment is ready: [health.live] asks as long as it runs";
            keys.approximate(entry, text, self.report);
            let limit = period.map_or(0.0, |(_, span)| span) + every * retries.unwrap_or(3).clamp(1, 1000) as f64;
            if limit > 60.0 {
                self.service.set("deploy", "health_timeout", seconds(limit));
            }
        }
        keys.finish(self.report, |_| None);
    }

    fn order(&mut self) {
        for key in ["depends_on", "links"] {
            let Some(entry) = self.take(key) else { continue };
            let items = entry.node.texts().into_iter().map(|name| (name.to_owned(), None));
            let items: Vec<_> =
                items.chain(entry.node.entries().iter().map(|child| (child.key.clone(), Some(child)))).collect();
            for (name, child) in items {
                let (name, alias) =
                    name.split_once(':').map_or((name.as_str(), None), |(name, alias)| (name, Some(alias)));
                let condition = child.and_then(|child| child.node.text_at(&["condition"]));
                if condition == Some("service_completed_successfully") {
                    let text = format!("a service runs on: write what {name} does as hooks.release, or as a command");
                    self.omit(entry, text);
                    continue;
                }
                if let Some(alias) = alias.filter(|alias| *alias != name) {
                    self.approximate(entry, format!("{name} is reached as {name}, and not as {alias}"));
                }
                match self.file.names.get(name) {
                    Some(part) => {
                        let known = self.service.words("", "after");
                        if !known.contains(part) {
                            self.service.push("", "after", part.as_str());
                        }
                    }
                    None => self.omit(entry, format!("the file has no service {name}")),
                }
            }
        }
    }
}

/// Writes seconds as a time span.
pub(super) fn seconds(span: f64) -> String {
    let millis = (span * 1000.0).round().clamp(1.0, 3.0e10) as u64;
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

/// The hosts of a rule of Traefik's: Host(`a`, `b`) || Host(`c`).
fn hosts_of_rule(rule: &str) -> Vec<String> {
    let calls = rule.split("Host(").skip(1).filter_map(|rest| rest.split(')').next());
    calls.flat_map(|inside| inside.split(',')).map(|host| host.trim_matches([' ', '`', '"', '\'']).to_owned()).collect()
}

fn is_host(host: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    !host.is_empty() && host.chars().all(ok) && host.split('.').all(is_label)
}

/// The port behind `NAME:` in a text, where the name is a host.
fn port_after(text: &str, name: &str) -> Option<u16> {
    let pattern = format!("{name}:");
    text.match_indices(&pattern).find_map(|(at, _)| {
        let before = &text[..at];
        // `- web:80` is an item of a list, `web: 80` a key, and `image: web:1` has a version.
        let is_host = before.ends_with("//") || before.ends_with(['@', '=', ',', '"', '\'']);
        let is_image = before.rsplit('\n').next().is_some_and(|line| line.contains("image:"));
        let is_host = is_host && !is_image;
        let rest = &text[at + pattern.len()..];
        let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
        let is_volume = rest[digits.len()..].starts_with(':');
        digits.parse().ok().filter(|port: &u16| is_host && !is_volume && *port > 0)
    })
}
