//! Quadlet's files, podman-systemd.unit(5).

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::expansion::is_name;
use crate::import::container::{self, Mount, Mounted, Published};
use crate::import::declaration::{Declaration, Service, name_of};
use crate::import::input::Input;
use crate::import::kubernetes;
use crate::import::note::Report;
use crate::import::shell;
use crate::import::text::Text;
use crate::import::units::{Unit, directive};
use crate::unitfile::{self, Line};

/// The suffixes of the files that are services.
const SERVICES: &[&str] = &["container", "kube"];

/// Keys that are one option of podman-run(1) for each value.
const OPTIONS: &[(&str, &str)] = &[
    ("HostName", "hostname"),
    ("ShmSize", "shm-size"),
    ("Sysctl", "sysctl"),
    ("Ulimit", "ulimit"),
    ("AddDevice", "device"),
    ("AddHost", "add-host"),
    ("DNS", "dns"),
    ("DNSSearch", "dns-search"),
    ("DNSOption", "dns-option"),
    ("UserNS", "userns"),
    ("UIDMap", "uidmap"),
    ("GIDMap", "gidmap"),
    ("SubUIDMap", "subuidname"),
    ("SubGIDMap", "subgidname"),
    ("Timezone", "tz"),
    ("StopSignal", "stop-signal"),
    ("Mount", "mount"),
    ("Annotation", "annotation"),
    ("GroupAdd", "group-add"),
    ("SeccompProfile", "security-opt=seccomp"),
    ("SecurityLabelType", "security-opt=label=type"),
    ("SecurityLabelLevel", "security-opt=label=level"),
    ("SecurityLabelFileType", "security-opt=label=filetype"),
    ("Mask", "security-opt=mask"),
    ("Unmask", "security-opt=unmask"),
    ("CgroupsMode", "cgroups"),
    ("AppArmor", "security-opt=apparmor"),
];

/// Keys that are an option of podman-run(1) if they are true.
const FLAGS: &[(&str, &str)] = &[
    ("RunInit", "--init"),
    ("NoNewPrivileges", "--security-opt=no-new-privileges"),
    ("EnvironmentHost", "--env-host"),
    ("SecurityLabelDisable", "--security-opt=label=disable"),
    ("SecurityLabelNested", "--security-opt=label=nested"),
    ("HttpProxy", "--http-proxy"),
];

/// Returns whether a path is one of Quadlet's files.
pub(crate) fn is_one(suffix: &str) -> bool {
    matches!(suffix, "container" | "pod" | "kube" | "network" | "volume" | "image" | "build")
}

/// Translates files that belong together: each container and each file of Kubernetes is a part.
///
/// # Errors
/// If none of them runs anything.
pub(crate) fn import(inputs: &[Input], name: &str, report: &mut Report) -> Result<Declaration, Diagnostics> {
    let mut declaration = Declaration::new(name);
    let stem = |input: &Input| input.path().file_stem().unwrap_or_default().to_owned();
    let units: Vec<(String, Unit, &Input)> = inputs
        .iter()
        .map(|input| {
            (
                input.path().extension().unwrap_or_default().to_owned(),
                Unit::new(input.source.clone(), &stem(input)),
                input,
            )
        })
        .collect();
    let set = Set { units: &units };
    let containers = units.iter().filter(|(suffix, ..)| SERVICES.contains(&suffix.as_str())).count();
    if containers == 0 {
        let path = inputs.first().map(|input| input.path().to_owned()).unwrap_or_default();
        let remedy = "name a .container or .kube, or a directory with one: a network or a volume alone runs nothing";
        return Err(Diagnostic::of_file(&path, "no file of Quadlet that runs anything", remedy).into());
    }
    declaration.is_group = containers > 1;
    for (suffix, unit, input) in &units {
        match suffix.as_str() {
            "container" => {
                let mut service = Service::new(name_of(&unit.stem));
                let one = Translation {
                    set: &set,
                    unit,
                    input,
                    service: &mut service,
                    declaration: &mut declaration,
                    report,
                };
                if one.run() {
                    declaration.services.push(service);
                }
            }
            "kube" => set.kube(unit, input, &mut declaration, report)?,
            _ => set.other(suffix, unit, containers, report),
        }
    }
    if declaration.services.is_empty() {
        let path = inputs.first().map(|input| input.path().to_owned()).unwrap_or_default();
        return Err(Diagnostic::of_file(&path, "no container has an image", "write Image=").into());
    }
    super::order::keep_parts(&mut declaration);
    Ok(declaration)
}

/// All files of an import.
struct Set<'a> {
    units: &'a [(String, Unit, &'a Input)],
}

impl Set<'_> {
    fn find(&self, suffix: &str, stem: &str) -> Option<&Unit> {
        self.units.iter().find(|(known, unit, _)| known == suffix && unit.stem == stem).map(|(_, unit, _)| unit)
    }

    /// The part that a unit of systemd is, such as `db.service` of `db.container`.
    fn part(&self, unit: &str) -> Option<String> {
        let stem = unit
            .strip_suffix(".service")
            .or_else(|| unit.strip_suffix(".container"))
            .or_else(|| unit.strip_suffix(".kube"))?;
        SERVICES.iter().any(|suffix| self.find(suffix, stem).is_some()).then(|| name_of(stem))
    }

    /// The name that Quadlet gives a volume.
    fn volume(&self, name: &str) -> String {
        let Some(stem) = name.strip_suffix(".volume") else { return name.to_owned() };
        let own = self.find("volume", stem).and_then(|unit| unit.value("Volume", "VolumeName"));
        own.map_or_else(|| format!("systemd-{stem}"), str::to_owned)
    }

    /// The name that Quadlet gives a network.
    fn network(&self, stem: &str) -> String {
        let own = self.find("network", stem).and_then(|unit| unit.value("Network", "NetworkName"));
        own.map_or_else(|| format!("systemd-{stem}"), str::to_owned)
    }

    /// Notes what becomes of a pod, a network, a volume, an image or a build.
    fn other(&self, suffix: &str, unit: &Unit, containers: usize, report: &mut Report) {
        for line in unit.lines.iter().filter(|line| !line.value.is_empty()) {
            let position = unit.position(line);
            report.see(&position);
            let key = format!("{}.{}", line.section, line.key);
            match (suffix, line.section.as_str(), line.key.as_str()) {
                (_, "Unit" | "Service" | "Install", _) => {}
                ("volume", "Volume", "VolumeName" | "Label")
                | ("network", "Network", "NetworkName" | "Label" | "Driver") => {}
                ("volume", ..) => report.omitted(
                    &position,
                    key,
                    "podman creates the volume without it: `podman volume create` has options",
                ),
                ("network", ..) => {
                    report.omitted(&position, key, "the network has to be there: `podman network create` has options");
                }
                ("pod", "Pod", "PodName" | "Label") => {}
                ("pod", "Pod", "PublishPort") => {
                    report.approximated(&position, key, "it is a route or a port of the pod's first container");
                }
                ("pod", ..) => {
                    report.omitted(&position, key, "containers of the pod are parts, each with a network of its own");
                }
                ("build", ..) => report.omitted(&position, key, "conductor builds no images: podman build"),
                ("image", ..) => report.omitted(&position, key, "conductor pulls the image of a container itself"),
                _ => report.omitted(&position, key, "conductor has no such setting"),
            }
        }
        if suffix == "network" && containers < 2 {
            report.hint(format!("podman network create {}", self.network(&unit.stem)));
        }
    }

    fn kube(
        &self,
        unit: &Unit,
        input: &Input,
        declaration: &mut Declaration,
        report: &mut Report,
    ) -> Result<(), Diagnostics> {
        let Some(yaml) = unit.value("Kube", "Yaml").map(str::to_owned) else {
            let remedy = "write Yaml= with the file";
            return Err(Diagnostic::of_file(input.path(), "the unit has no Yaml=", remedy).into());
        };
        let other = Input::read(&input.path().parent().unwrap_or("".into()).join(&yaml))?;
        let mut imported = kubernetes::import(&other, report)?;
        let mut is_first = true;
        for mut service in std::mem::take(&mut imported.services) {
            if is_first {
                service.name = name_of(&unit.stem);
            }
            for line in unit.lines.iter().filter(|line| !line.value.is_empty() && is_first) {
                let position = unit.position(line);
                report.see(&position);
                let key = format!("{}.{}", line.section, line.key);
                match (line.section.as_str(), line.key.as_str()) {
                    ("Kube", "Yaml" | "ExitCodePropagation" | "KubeDownForce" | "SetWorkingDirectory") => {}
                    ("Kube", "PublishPort") => match Published::parse(&line.value.as_str().into()) {
                        Ok(ports) => {
                            let host = service.name.replace('_', "-");
                            if let Some(text) = container::publish(&mut service, "pod", &host, &ports) {
                                report.approximated(&position, key, text);
                            }
                            service.remove("listen", "type");
                        }
                        Err(message) => report.omitted(&position, key, message),
                    },
                    ("Kube", "ConfigMap") => {
                        let place = declaration.place(&service.name, line.value.trim_start_matches("./"));
                        if input.copy(&line.value, place.as_str().into(), declaration) {
                            service.set("pod", "config_map", place);
                        } else {
                            report.omitted(&position, key, "the file is not there: config_map of [pod] names it");
                        }
                    }
                    ("Kube", "Network") => match line.value.strip_suffix(".network") {
                        Some(stem) => service.push("pod", "network", self.network(stem)),
                        None => service.push("pod", "network", line.value.as_str()),
                    },
                    ("Kube", "PodmanArgs") => {
                        unitfile::words(&line.value)
                            .into_iter()
                            .for_each(|word| service.push("pod", "podman_args", word));
                    }
                    ("Kube", "AutoUpdate") => {
                        report.omitted(&position, key, "a pod's images have the names in its file");
                    }
                    ("Kube", _) => report.omitted(&position, key, "conductor has no such setting"),
                    ("Install", _) => install(&mut service, unit),
                    ("Unit" | "Service", _) => dependency_or_directive(self, &mut service, unit, line, report),
                    _ => report.omitted(&position, key, "conductor has no such section"),
                }
            }
            is_first = false;
            declaration.services.push(service);
        }
        declaration.files.append(&mut imported.files);
        Ok(())
    }
}

struct Translation<'a> {
    set: &'a Set<'a>,
    unit: &'a Unit,
    input: &'a Input,
    service: &'a mut Service,
    declaration: &'a mut Declaration,
    report: &'a mut Report,
}

impl Translation<'_> {
    fn run(mut self) -> bool {
        let mut ports = Vec::new();
        let unit = self.unit;
        for line in unit.lines.iter().filter(|line| !line.value.is_empty()) {
            self.report.see(&unit.position(line));
            unit.note_home(line, self.report);
            match line.section.as_str() {
                "Container" => self.key(line, &mut ports),
                "Install" => {}
                "Unit" | "Service" => dependency_or_directive(self.set, self.service, unit, line, self.report),
                "Quadlet" => {}
                section if section.starts_with("X-") => {}
                _ => self.omit(line, "conductor has no such section"),
            }
        }
        install(self.service, unit);
        if self.service.get("container", "image").is_none() {
            let position = self.input.position(0..0);
            self.report.omitted(&position, "Container.Image", "the container has no image");
            return false;
        }
        self.pod(&mut ports);
        self.publish(&ports);
        self.health();
        true
    }

    fn omit(&mut self, line: &Line, text: impl Into<String>) {
        self.report.omitted(&self.unit.position(line), format!("{}.{}", line.section, line.key), text);
    }

    fn approximate(&mut self, line: &Line, text: impl Into<String>) {
        self.report.approximated(&self.unit.position(line), format!("{}.{}", line.section, line.key), text);
    }

    fn key(&mut self, line: &Line, ports: &mut Vec<(Line, Published)>) {
        let value = match self.unit.expand(&line.value) {
            Ok(value) => value,
            Err(message) => return self.omit(line, message),
        };
        let is_true = matches!(value.as_str(), "true" | "yes" | "1" | "on");
        match line.key.as_str() {
            "Image" => match value.rsplit_once('.') {
                Some((stem, suffix @ ("image" | "build"))) => {
                    let other = self.set.find(suffix, stem);
                    let section = if suffix == "image" { ("Image", "Image") } else { ("Build", "ImageTag") };
                    let name = other
                        .and_then(|unit| unit.value(section.0, section.1))
                        .map_or_else(|| format!("localhost/{stem}"), str::to_owned);
                    self.service.set("container", "image", container::image(&name));
                    if suffix == "build" {
                        self.approximate(line, "conductor builds no images");
                        self.report.hint(format!("podman build --tag {name} …   # {value} of the source"));
                    }
                }
                _ => {
                    // systemd would take variables from [Service].
                    let known = self.unit.values("Service", "Environment").into_iter();
                    let known = known.flat_map(|line| unitfile::words(&line.value));
                    let known = known.filter_map(|word| {
                        word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
                    });
                    match Text::interpolated(&value, &known.collect()) {
                        Ok(text) => self.service.set("container", "image", container::image_text(text)),
                        Err(message) => self.omit(line, message),
                    }
                }
            },
            "Exec" => {
                let words: Vec<Text> = unitfile::words(&value).into_iter().map(Text::from).collect();
                self.service.set("container", "exec", words);
            }
            "Entrypoint" => self.entrypoint(line, &value),
            "Environment" => {
                for word in unitfile::words(&value) {
                    match word.split_once('=').filter(|(name, _)| is_name(name) && !name.starts_with("CONDUCTOR_")) {
                        Some((name, value)) => {
                            self.service.insert("container", "environment", name, Text::from(value).into_value());
                        }
                        None => self.omit(line, format!("{word:?} is no variable")),
                    }
                }
            }
            "EnvironmentFile" => self.environment_file(line, &value),
            "Volume" => self.volume(line, &value),
            "Tmpfs" => self.service.push("container", "tmpfs", value),
            "Secret" => self.service.push("container", "secret", value),
            "Network" => self.network(line, &value),
            "AddCapability" | "DropCapability" => {
                let key = if line.key == "AddCapability" { "add_capability" } else { "drop_capability" };
                value.split_whitespace().for_each(|name| self.service.push("container", key, name));
            }
            "ReadOnly" if is_true => self.service.set("container", "read_only", true),
            "ReadOnly" => {}
            "User" => {
                let group = self.unit.value("Container", "Group").map_or_else(String::new, |group| format!(":{group}"));
                self.service.set("container", "user", format!("{value}{group}"));
            }
            "Group" => {}
            "WorkingDir" => self.service.set("container", "working_dir", value),
            "PodmanArgs" => self.podman_args(line, &value),
            "PublishPort" => match Published::parse(&value.as_str().into()) {
                Ok(published) => ports.extend(published.into_iter().map(|one| (line.clone(), one))),
                Err(message) => self.omit(line, message),
            },
            "ExposeHostPort" => {
                if let Some(port) = value.split(['/', '-']).next().and_then(|port| port.parse().ok()) {
                    container::listener(self.service, "container", port);
                }
            }
            "AutoUpdate" if value == "registry" => self.service.set("container", "pull", "newer"),
            "AutoUpdate" => self.omit(line, "pull = \"newer\" asks the registry"),
            "Pull" => match value.as_str() {
                "newer" | "always" => self.service.set("container", "pull", "newer"),
                "never" => self.service.set("container", "pull", "never"),
                _ => {}
            },
            "Notify" if is_true || value == "healthy" => self.service.set("health", "notify", true),
            "Notify" => {}
            "HealthCmd" | "HealthInterval" | "HealthTimeout" | "HealthRetries" | "HealthStartPeriod" => {}
            "StopTimeout" => match value.parse::<u64>() {
                Ok(seconds @ 1..=31_536_000) => self.service.set("deploy", "drain_timeout", format!("{seconds}s")),
                _ => self.omit(line, "drain_timeout is above zero"),
            },
            "Memory" => match super::compose::bytes(&value) {
                Some(bytes) => self.service.set("resources", "memory_max", bytes),
                None => self.omit(line, "it is no size"),
            },
            "PidsLimit" => match value.parse::<u32>() {
                Ok(tasks @ 1..) => self.service.set("resources", "tasks_max", i64::from(tasks)),
                _ => self.omit(line, "tasks_max is above zero"),
            },
            "ContainerName" => {
                if value != self.unit.stem && value != format!("systemd-{}", self.unit.stem) {
                    self.approximate(
                        line,
                        format!(
                            "other parts reach it as {}, and the container has its deployment's name",
                            self.service.name
                        ),
                    );
                }
            }
            "Label" => self.omit(line, "conductor gives containers no labels"),
            "LogDriver" | "LogOpt" => self.omit(line, "the journal has the output: `conductor service logs NAME`"),
            "Pod" => self.approximate(
                line,
                "containers of a pod are parts, each with a network of its own: they reach each other by name",
            ),
            "IP" | "IP6" | "NetworkAlias" => {
                self.omit(line, "deployments of two generations run side by side: parts reach each other by name");
            }
            "Rootfs" => self.omit(line, "write image in [container]"),
            key => self.table_key(line, key, value, is_true),
        }
    }

    fn table_key(&mut self, line: &Line, key: &str, value: String, is_true: bool) {
        if let Some((_, flag)) = FLAGS.iter().find(|(known, _)| *known == key) {
            if is_true {
                self.service.push("container", "podman_args", *flag);
            }
        } else if let Some((_, option)) = OPTIONS.iter().find(|(known, _)| *known == key) {
            if *option == "cgroups" {
                return self.omit(line, "the container is in its unit's control group");
            }
            let separator = if option.contains('=')
                && !option.ends_with("seccomp")
                && !option.ends_with("mask")
                && !option.ends_with("apparmor")
            {
                ":"
            } else {
                "="
            };
            self.service.push("container", "podman_args", format!("--{option}{separator}{value}"));
        } else {
            self.omit(line, "conductor has no such setting");
        }
    }

    fn entrypoint(&mut self, line: &Line, value: &str) {
        let words: Vec<String> = if value.starts_with('[') {
            serde_json::from_str(value).unwrap_or_default()
        } else {
            vec![value.to_owned()]
        };
        match words.as_slice() {
            [program] => self.service.set("container", "entrypoint", program.as_str()),
            [program, rest @ ..] => {
                self.service.set("container", "entrypoint", program.as_str());
                let exec = self.service.words("container", "exec");
                let words: Vec<Text> = rest.iter().chain(&exec).map(|word| word.as_str().into()).collect();
                self.service.set("container", "exec", words);
            }
            [] => self.omit(line, "it is no list of words"),
        }
    }

    fn environment_file(&mut self, line: &Line, value: &str) {
        let (mark, path) = value.strip_prefix('-').map_or(("", value), |path| ("-", path));
        if path.starts_with('/') {
            return self.service.push("container", "environment_file", value);
        }
        let relative = path.trim_start_matches("../").trim_start_matches("./");
        let relative = self.declaration.place(&self.service.name, relative);
        let is_copied = self.input.copy(path, relative.as_str().into(), self.declaration);
        if is_copied {
            return self.service.push("container", "environment_file", format!("{mark}./{relative}"));
        }
        let outside = self.input.absolute(path);
        if mark.is_empty() {
            self.approximate(line, format!("{outside} is not there"));
        }
        self.service.push("container", "environment_file", format!("-{outside}"));
    }

    fn volume(&mut self, line: &Line, value: &str) {
        let mut parts = value.splitn(3, ':');
        let (source, target, options) =
            (parts.next().unwrap_or_default(), parts.next(), parts.next().unwrap_or_default());
        let Some(target) = target else {
            return self.service.push("container", "podman_args", format!("--volume={source}"));
        };
        if !target.starts_with('/') {
            return self.omit(line, "a volume is mounted at an absolute path");
        }
        let name = self.set.volume(source);
        let shown = name.clone();
        let mount = Mount { source: name.into(), target: target.into(), options };
        match container::mount(self.service, self.declaration, self.input, mount) {
            Mounted::Same => {}
            Mounted::Copied => {
                self.approximate(
                    line,
                    format!("{shown} is a file of the declaration, and read-only: each version has its own"),
                );
            }
            Mounted::Outside(path) => self.approximate(line, format!("{shown} stays at {path}")),
        }
    }

    fn network(&mut self, line: &Line, value: &str) {
        let (name, options) = value.split_once(':').unwrap_or((value, ""));
        if let Some(stem) = name.strip_suffix(".network") {
            let has_others =
                self.set.units.iter().filter(|(suffix, ..)| SERVICES.contains(&suffix.as_str())).count() > 1;
            if has_others {
                self.approximate(line, "parts reach each other by name without a network of their own");
            } else {
                let network = self.set.network(stem);
                self.report.hint(format!("podman network create {network}   # {name} of the source"));
                self.service.push("container", "network", network);
            }
        } else if name == "host" {
            self.omit(line, "deployments of two generations would share the host's ports");
        } else if name.ends_with(".container") || name == "container" {
            self.omit(line, "the container has a network of its own, and reaches other parts by name");
        } else {
            self.service.push("container", "network", name);
        }
        if !options.is_empty() {
            self.omit(
                line,
                format!("the network's options {options}: deployments of two generations run side by side"),
            );
        }
    }

    fn podman_args(&mut self, line: &Line, value: &str) {
        let mut words = unitfile::words(value).into_iter().peekable();
        while let Some(word) = words.next() {
            let option = word.split('=').next().unwrap_or(&word);
            let is_own = matches!(
                option,
                "--publish"
                    | "-p"
                    | "--name"
                    | "--detach"
                    | "-d"
                    | "--rm"
                    | "--replace"
                    | "--cgroups"
                    | "--cgroup-parent"
                    | "--sdnotify"
                    | "--log-driver"
                    | "--pull"
                    | "--restart"
                    | "--publish-all"
                    | "-P"
            );
            let takes_value = !word.contains('=') && words.peek().is_some_and(|next| !next.starts_with('-'));
            if is_own {
                self.omit(line, format!("conductor passes {option} itself"));
                if takes_value {
                    words.next();
                }
                continue;
            }
            self.service.push("container", "podman_args", word);
            if let Some(value) = words.next_if(|_| takes_value) {
                self.service.push("container", "podman_args", value);
            }
        }
    }

    /// The first container of a pod takes the pod's ports.
    fn pod(&mut self, ports: &mut Vec<(Line, Published)>) {
        let Some(stem) = self.unit.value("Container", "Pod").and_then(|pod| pod.strip_suffix(".pod")) else { return };
        let Some(pod) = self.set.find("pod", stem) else { return };
        let is_first = self.set.units.iter().find(|(suffix, unit, _)| {
            suffix == "container"
                && unit.value("Container", "Pod").is_some_and(|other| other.strip_suffix(".pod") == Some(stem))
        });
        if is_first.is_none_or(|(_, unit, _)| unit.stem != self.unit.stem) {
            return;
        }
        for line in pod.values("Pod", "PublishPort") {
            if let Ok(published) = Published::parse(&line.value.as_str().into()) {
                ports.extend(published.into_iter().map(|one| ((*line).clone(), one)));
            }
        }
    }

    fn publish(&mut self, ports: &[(Line, Published)]) {
        let host = self.service.name.replace('_', "-");
        for (line, port) in ports {
            if port.is_udp {
                let text =
                    format!("no container of podman takes a socket of UDP from systemd: port {}", port.container);
                self.omit(line, text);
                continue;
            }
            if let Some(text) = container::publish(self.service, "container", &host, std::slice::from_ref(port)) {
                self.approximate(line, text);
            }
        }
        if self.service.get("container", "port").is_some() {
            return;
        }
        let image = self.service.words("container", "image").concat();
        match container::port_of_image(&image) {
            Some(port) => self.service.set_with("container", "port", i64::from(port), "the port of this image"),
            None => {
                self.service.set_with("listen", "type", "none", "the source tells no port: write `port` if it has one");
            }
        }
    }

    fn health(&mut self) {
        let unit = self.unit;
        let Some(line) = unit.values("Container", "HealthCmd").pop() else { return };
        let value = line.value.as_str();
        if value == "none" {
            return;
        }
        let words: Vec<Text> = match serde_json::from_str::<Vec<String>>(value) {
            Ok(words) => words.into_iter().map(Text::from).collect(),
            Err(_) => match shell::split(value) {
                Ok(split) if !split.needs_shell && !value.contains('$') => {
                    split.words.into_iter().map(Text::from).collect()
                }
                _ => vec!["/bin/sh".into(), "-c".into(), value.into()],
            },
        };
        if words.is_empty() {
            return self.omit(line, "the command is empty");
        }
        if self.service.get("health", "notify").is_some() {
            self.service.remove("health", "notify");
        }
        self.service.set("health", "exec", words.into_iter().map(Text::into_word).collect::<Vec<_>>());
        self.service.set("health", "interval", "1s");
        if let Some(timeout) = unit
            .value("Container", "HealthTimeout")
            .filter(|span| crate::timespan::parse(span).is_some_and(|span| !span.is_zero()))
        {
            self.service.set("health", "timeout", timeout);
        }
        if let Some(interval) = unit.values("Container", "HealthInterval").pop() {
            let text = "conductor asks until the deployment is ready: [health.live] asks as long as it runs";
            self.approximate(interval, text);
        }
    }
}

/// Translates a line of [Unit] or [Service]: what names another part is an order of parts.
fn dependency_or_directive(set: &Set<'_>, service: &mut Service, unit: &Unit, line: &Line, report: &mut Report) {
    let is_dependency = matches!(
        line.key.as_str(),
        "After" | "Requires" | "Wants" | "BindsTo" | "PartOf" | "Requisite" | "Before" | "Upholds"
    );
    if line.section == "Unit" && is_dependency {
        let mut rest = Vec::new();
        for other in line.value.split_whitespace() {
            let of_quadlet =
                [".network", ".volume", ".pod", ".image", ".build"].iter().any(|suffix| other.ends_with(suffix))
                    || other.ends_with("-network.service")
                    || other.ends_with("-volume.service")
                    || other.ends_with("-pod.service");
            match set.part(other) {
                Some(part) if line.key != "Before" && line.key != "PartOf" => {
                    if !service.words("", "after").contains(&part) {
                        service.push("", "after", part);
                    }
                }
                Some(_) => report.approximated(
                    &unit.position(line),
                    format!("Unit.{}", line.key),
                    "write `after` in the other part",
                ),
                None if of_quadlet => {}
                None => rest.push(other.to_owned()),
            }
        }
        if !rest.is_empty() {
            let line = Line { value: rest.join(" "), ..line.clone() };
            directive(service, unit, &line, "Unit", report);
        }
        return;
    }
    let hooks: BTreeMap<&str, &str> = BTreeMap::from([
        ("ExecStartPre", "pre_start"),
        ("ExecStartPost", "post_start"),
        ("ExecStop", "pre_stop"),
        ("ExecStopPost", "post_stop"),
    ]);
    if let Some(hook) = hooks.get(line.key.as_str()).filter(|_| line.section == "Service") {
        let text = format!("a hook runs as a user of its own, and not as root: write {hook} in [hooks]");
        return report.omitted(&unit.position(line), format!("Service.{}", line.key), text);
    }
    let of_boot = line.section == "Service"
        && matches!(line.key.as_str(), "Environment" | "EnvironmentFile" | "Type" | "RemainAfterExit");
    if of_boot {
        return report.omitted(
            &unit.position(line),
            format!("Service.{}", line.key),
            "it is about podman's own process",
        );
    }
    directive(service, unit, line, &line.section.clone(), report);
}

fn install(service: &mut Service, unit: &Unit) {
    let wanted: Vec<_> = unit
        .lines
        .iter()
        .filter(|line| line.section == "Install" && matches!(line.key.as_str(), "WantedBy" | "RequiredBy"))
        .flat_map(|line| line.value.split_whitespace().map(str::to_owned))
        .collect();
    let is_default = wanted.iter().all(|unit| matches!(unit.as_str(), "multi-user.target" | "default.target"));
    if wanted.is_empty() {
        service.set_with("install", "wanted_by", Vec::<String>::new(), "the source has no [Install]");
    } else if !is_default {
        service.set("install", "wanted_by", wanted);
    }
}
