//! Values that Kubernetes does not have, of keys that it has otherwise.

use crate::diagnostic::Diagnostics;
use crate::document::{Node, Path};
use crate::expansion;
use crate::model::route::{Answer, AppProtocol};
use crate::model::text::{Piece, pieces};
use crate::model::{Check, Command, Engine, ListenKind, Model, RunningHook, Service, Strategy, Systemd, User};
use crate::path;
use crate::resolve::route::section;
use crate::source::search::Declared;
use crate::target::disposition::Disposition;
use crate::target::kubernetes::keys::disposition;
use crate::target::kubernetes::options::{Kubernetes, RouteApi, Version};
use crate::target::kubernetes::ports::{Ports, ServicePort, address};
use crate::target::kubernetes::{cron, directories, helper, network, refusal};
use crate::variable;

/// The version in which CronJobs have time zones.
const TIME_ZONES: Version = Version(27);

/// The declaration that is judged, and the errors found so far.
struct Judge<'a> {
    kubernetes: &'a Kubernetes,
    document: &'a Node,
    service: &'a Service,
    systemd: &'a Systemd,
    errors: Diagnostics,
}

/// Lists the errors of a service's values.
pub(super) fn refuse(kubernetes: &Kubernetes, declared: &Declared, model: &Model) -> Diagnostics {
    let Model { service, systemd } = model;
    let document = &declared.document;
    let mut judge = Judge { kubernetes, document, service, systemd, errors: Diagnostics::default() };
    judge.engine();
    judge.listeners();
    judge.health();
    judge.routes();
    judge.ports();
    judge.deploy();
    judge.hooks();
    judge.commands();
    judge.variables();
    judge.parts();
    judge.systemd();
    let mut errors = judge.errors;
    if let Some(group) =
        declared.group.as_ref().filter(|_| service.group.as_ref().is_some_and(|group| !group.resources.is_empty()))
    {
        let remedy = "write resources in each [[part]]";
        errors.0.push(group.document.key_error(&path!["resources"], "pods of several parts share no limits", remedy));
    }
    errors
}

impl Judge<'_> {
    fn refuse(&mut self, at: &Path, why: impl Into<String>, remedy: impl Into<String>) {
        self.errors.0.push(self.document.error(at, why, remedy));
    }

    /// Refuses a value whose approximation is not accepted under a key.
    fn approximate(&mut self, at: &Path, key: &str) {
        let Some(Disposition::Partly { lost, .. } | Disposition::Approximated { lost, .. }) = disposition(key) else {
            return;
        };
        if !self.kubernetes.accepts(key) {
            self.refuse(at, lost, refusal::accept(key));
        }
    }

    fn engine(&mut self) {
        let process = &self.service.process;
        let section = process.engine.section();
        for (index, file) in process.environment_files.iter().enumerate() {
            if !file.trim_start_matches('-').starts_with("./") {
                self.approximate(&path![section, "environment_file", index], &format!("{section}.environment_file"));
            }
        }
        match &process.engine {
            Engine::Exec { .. } => {
                let is_named = |name: &str| !process.user.is_root() && name.parse::<u32>().is_err();
                if matches!(&process.user, User::Static(name) if is_named(name)) {
                    self.approximate(&path!["exec", "user"], "exec.user");
                }
            }
            Engine::Container(container) => {
                let is_number = |part: &str| part.parse::<u32>().is_ok();
                if container.user.as_deref().is_some_and(|user| !user.split(':').all(is_number)) {
                    let remedy = "write the user's number, as in the image's /etc/passwd: user = \"1000:1000\"";
                    self.refuse(
                        &path!["container", "user"],
                        "Kubernetes knows users of images by number alone",
                        remedy,
                    );
                }
                for (index, declared) in container.volume.iter().enumerate() {
                    let (source, at) = (declared.split(':').next().unwrap_or(""), path!["container", "volume", index]);
                    if source.starts_with('/') {
                        let remedy = "write ./… for one of the declaration's files, or the name of a volume";
                        self.refuse(&at, "nodes have no files of this host", remedy);
                    } else if !declared.contains(':') {
                        self.refuse(
                            &at,
                            "a volume without a name is lost with its pod",
                            "write it as tmpfs, or name it",
                        );
                    } else if !source.starts_with("./") {
                        self.approximate(&at, "container.volume");
                    }
                }
                if helper::starts(self.service) && container.entrypoint.is_none() {
                    let message =
                        "the helper that passes sockets has to start the program, and does not know the image's";
                    let at = path!["container"];
                    self.refuse(
                        &at,
                        message,
                        "add entrypoint = \"/usr/bin/…\", or write type = \"tcp\" in [listen] with a port",
                    );
                }
            }
            Engine::Pod(_) => {}
        }
    }

    fn listeners(&mut self) {
        let of_kind = |kind| self.service.listen.all().filter(move |listener| listener.kind == kind);
        let unix: Vec<_> = of_kind(ListenKind::Unix)
            .map(|listener| match listener.name {
                None => path!["listen", "type"],
                Some(name) => path!["listen", name.as_str(), "type"],
            })
            .collect();
        for at in unix {
            let remedy = "write type = \"activation\", or type = \"tcp\" for a process that binds $PORT";
            self.refuse(&at, "callers in a cluster reach ports, and no unix sockets", remedy);
        }
    }

    fn health(&mut self) {
        let is_announced = |check: &Check| matches!(check, Check::Http { announced: true, .. });
        if is_announced(&self.service.health.check) {
            let remedy = "write tcp = true or exec = [\"./check\"]";
            self.refuse(&path!["health", "http"], "a kubelet does not announce itself by the PROXY protocol", remedy);
        }
    }

    fn routes(&mut self) {
        for (number, route) in self.service.routes.iter().enumerate() {
            let at = section(self.document, number);
            if let Answer::Service { protocol: AppProtocol::FastCgi { .. }, .. } = route.answer {
                let remedy = "put a web server into the service, as a part or in its pod";
                self.refuse(&at, "proxies of clusters speak no FastCGI", remedy);
            }
            let handling = &route.handling;
            let needs_gateway = [
                ("methods", !route.matching.methods.is_empty()),
                ("headers", !route.matching.headers.is_empty()),
                ("strip_prefix", handling.strip_prefix),
                ("set_request_headers", !handling.request_headers.set.is_empty()),
                ("add_request_headers", !handling.request_headers.add.is_empty()),
                ("remove_request_headers", !handling.request_headers.remove.is_empty()),
                ("set_response_headers", !handling.response_headers.set.is_empty()),
                ("add_response_headers", !handling.response_headers.add.is_empty()),
                ("remove_response_headers", !handling.response_headers.remove.is_empty()),
            ];
            let changes = [&handling.request_headers, &handling.response_headers];
            let values = changes.into_iter().flat_map(|changes| changes.set.values().chain(changes.add.values()));
            let is_literal = |value: &String| pieces(value).iter().all(|piece| matches!(piece, Piece::Literal(_)));
            let is_dynamic = !values.into_iter().all(is_literal);
            let is_ingress = self.kubernetes.routes == RouteApi::Ingress;
            for (key, _) in needs_gateway.into_iter().filter(|(_, is_declared)| *is_declared && is_ingress) {
                let remedy = "render HTTPRoutes: --route-api gateway --gateway NAME";
                self.refuse(&at.join(key), "an Ingress has nothing of this kind", remedy);
            }
            if is_dynamic {
                let remedy = "write a text without values of the request";
                self.refuse(&at, "an HTTPRoute sets header fields to fixed texts alone", remedy);
            }
        }
    }

    fn ports(&mut self) {
        for (index, port) in self.service.ports.iter().enumerate() {
            let at = path!["port", index, "listen"];
            if address(&port.listen).is_none() {
                self.refuse(&at, "a Service has ports, and no sockets", "write the number of a port");
            }
        }
        let ports = Ports::of(self.service);
        for (index, port) in ports.of_service.iter().enumerate() {
            let is_same = |other: &&ServicePort| other.number == port.number && other.is_public == port.is_public;
            if ports.of_service[..index].iter().any(|other| is_same(&other)) {
                let message = format!("the port {} of the Service is there twice", port.number);
                let number = self
                    .service
                    .ports
                    .iter()
                    .position(|one| address(&one.listen).is_some_and(|(it, _)| it == port.number));
                let at = number.map_or(path!["port"], |index| path!["port", index, "listen"]);
                self.refuse(&at, message, "write another number; 80 leads to [listen] itself");
            }
        }
    }

    fn deploy(&mut self) {
        let at = path!["deploy", "strategy"];
        match self.service.deploy.strategy {
            Strategy::Rolling | Strategy::Recreate => {}
            Strategy::BlueGreen => self.approximate(&at, "deploy.strategy"),
            Strategy::Canary => {
                let remedy = "write \"rolling\", or use Argo Rollouts or Flagger";
                self.refuse(&at, "a Deployment gives no share of the callers to new pods", remedy);
            }
        }
        let has_quota =
            self.service.resources.iter().any(|limit| limit.key == "cpu_quota" && limit.value.ends_with('%'));
        if self.service.deploy.autoscale.is_some() && !has_quota {
            let remedy = "add cpu_quota = \"50%\" to [resources], half a processor for each pod";
            self.refuse(&path!["deploy", "autoscale"], "`cpu` is a part of what each pod may use", remedy);
        }
        for limit in &self.service.resources {
            let is_size = limit.value.ends_with(|c: char| c.is_ascii_digit() || "KMGTPE".contains(c));
            let is_known = match limit.key.as_str() {
                "memory_max" => is_size,
                "cpu_quota" => limit.value.ends_with('%'),
                _ => false,
            };
            if !is_known && self.document.get(&path!["resources"]).is_some() {
                let at = path!["resources", limit.key.as_str()];
                let remedy = "write memory_max = \"512M\" or cpu_quota = \"50%\"";
                self.refuse(&at, "containers have no such limit", remedy);
            }
        }
    }

    fn hooks(&mut self) {
        if !self.service.process.engine.is_privileged() {
            return;
        }
        let hooks = &self.service.hooks;
        let of_host = [("release", hooks.release.is_some()), ("pre_start", hooks.pre_start.is_some())];
        let running = [
            ("post_start", hooks.post_start.is_some(), RunningHook::PostStart),
            ("pre_stop", hooks.pre_stop.is_some(), RunningHook::PreStop),
            ("pre_drain", hooks.pre_drain.is_some(), RunningHook::PreDrain),
            ("drain", hooks.drain.is_some(), RunningHook::Drain),
        ];
        let outside = running.into_iter().filter(|(_, _, hook)| !self.service.runs_inside(*hook));
        let outside: Vec<_> = outside.map(|(name, is_declared, _)| (name, is_declared, true)).collect();
        let of_host = of_host.into_iter().map(|(name, is_declared)| (name, is_declared, false));
        for (name, _, can_be_inside) in of_host.chain(outside).filter(|(_, is_declared, _)| *is_declared) {
            let remedy = if can_be_inside {
                format!("add inside = [{name:?}] to [hooks], with a program of the image")
            } else {
                "let the image's own program do it, or write an initContainer in a pod's file".to_owned()
            };
            self.refuse(&path!["hooks", name], "it runs on the host, beside the container", remedy);
        }
    }

    fn commands(&mut self) {
        for (name, command) in &self.service.commands {
            let at = path!["commands", name.as_str()];
            if self.service.process.engine.is_privileged() && !command.inside {
                let remedy = match self.service.process.engine {
                    Engine::Container(_) => "add inside = true, with a program of the image",
                    _ => "write a CronJob in Kubernetes's own terms",
                };
                self.refuse(&at, "it runs on the host, beside the container", remedy);
            }
            let Some(job) = &command.job else { continue };
            for (index, schedule) in job.schedule.iter().enumerate() {
                let at = at.join("schedule");
                let at = if self.document.find(&at).items().is_empty() { at } else { at.join(index) };
                match cron::of(schedule) {
                    Err(why) => {
                        let remedy = "write times that cron has, such as \"Mon..Fri *-*-* 03:00\" or \"*:0/15\"";
                        self.refuse(&at, format!("{schedule:?} {why}, which no CronJob can"), remedy);
                    }
                    Ok(cron) if cron.zone.is_some() && self.kubernetes.version < TIME_ZONES => {
                        let remedy = "leave the time zone out: that of the cluster holds";
                        self.refuse(&at, "CronJobs have time zones since Kubernetes 1.27", remedy);
                    }
                    Ok(_) => {}
                }
            }
        }
    }

    /// Refuses variables of a deployment that a pod does not have.
    fn variables(&mut self) {
        let process = &self.service.process;
        let section = process.engine.section();
        let mut found = Vec::new();
        for (name, value) in &process.environment {
            let declared = path![section, "environment", name.as_str()];
            let at = if self.document.get(&declared).is_some() { declared } else { path!["config", name.as_str()] };
            found.extend(variable::names_in(value).into_iter().map(|variable| (at.clone(), variable, true)));
        }
        for (at, words, is_expanded) in self.commands_with_variables() {
            let variables = words.0.iter().enumerate().flat_map(|(index, word)| {
                expansion::variables(word).into_iter().map(move |variable| (index, variable))
            });
            found.extend(variables.map(|(index, variable)| (at.join(index), variable, is_expanded)));
        }
        let found: Vec<_> =
            found.into_iter().map(|(at, variable, is_expanded)| (at, variable.to_owned(), is_expanded)).collect();
        for (at, variable, is_expanded) in found {
            if process.environment.contains_key(&variable) {
                continue;
            }
            if let Some((why, remedy)) = self.unavailable(&variable) {
                self.refuse(&at, why, remedy);
            } else if !is_expanded && matches!(variable.as_str(), "CONDUCTOR_DEPLOYMENT" | "POD_NAME") {
                let remedy = format!("read ${variable} in a script of the declaration");
                self.refuse(
                    &at,
                    "Kubernetes expands no variables here, and the pod's name is not known before",
                    remedy,
                );
            }
        }
    }

    /// Lists commands, and whether Kubernetes expands variables in them.
    fn commands_with_variables(&self) -> Vec<(Path, &Command, bool)> {
        let (hooks, health) = (&self.service.hooks, &self.service.health);
        let mut commands = Vec::new();
        if let Engine::Exec { command } = &self.service.process.engine {
            commands.push((path!["exec", "command"], command, true));
        }
        let of_hooks = [
            ("release", &hooks.release, true),
            ("pre_start", &hooks.pre_start, true),
            ("post_start", &hooks.post_start, false),
            ("pre_stop", &hooks.pre_stop, false),
            ("pre_drain", &hooks.pre_drain, false),
        ];
        for (name, hook, is_expanded) in of_hooks {
            commands.extend(hook.as_ref().map(|hook| (path!["hooks", name], &hook.command, is_expanded)));
        }
        commands.extend(hooks.drain.as_ref().map(|command| (path!["hooks", "drain"], command, false)));
        if let Check::Exec { command } | Check::Inside { command, .. } = &health.check {
            commands.push((path!["health", "exec"], command, false));
        }
        if let Some(Check::Exec { command } | Check::Inside { command, .. }) =
            health.live.as_ref().map(|live| &live.check)
        {
            commands.push((path!["health", "live", "exec"], command, false));
        }
        for (name, command) in &self.service.commands {
            commands.push((path!["commands", name.as_str(), "exec"], &command.exec, true));
        }
        commands
    }

    /// Says why a pod does not have a variable, and what to write instead.
    fn unavailable(&self, variable: &str) -> Option<(String, String)> {
        let process = &self.service.process;
        let directories = || directories::directories(self.systemd).any(|directory| directory.variable == variable);
        let (why, remedy) = match variable {
            "CONDUCTOR_INSTANCE" => {
                ("pods of a Deployment have no numbers", "use ${CONDUCTOR_DEPLOYMENT}, the pod's name")
            }
            "POD_IP_ADDRESS" => ("it is not known before there is a pod", "read the address from `hostname -i`"),
            variable::HOME
                if !process.environment.contains_key(variable::HOME) && matches!(process.user, User::Static(_)) =>
            {
                ("the image determines it", "declare HOME in environment")
            }
            "CONFIGURATION_DIRECTORY" => ("a pod has no directories of the host", "read files of the declaration"),
            name if name.starts_with("CONDUCTOR_SOCKET") => {
                ("a pod's listeners are ports", "use ${PORT} with type = \"tcp\" in [listen]")
            }
            name if name.ends_with("_DIRECTORY")
                && !name.starts_with("CREDENTIALS")
                && variable::is_known(name)
                && !directories() =>
            {
                ("a pod has no such directory", "add StateDirectory or the like to [systemd.service]")
            }
            _ => return None,
        };
        Some((why.to_owned(), remedy.to_owned()))
    }

    fn parts(&mut self) {
        let at = Path::default();
        if !self.service.after.is_empty() {
            self.approximate(&at, "part.after");
        }
        if self.service.process.names().next().is_some() {
            self.approximate(&at, "part.name");
        }
    }

    fn systemd(&mut self) {
        if !network::is_expressible(self.systemd) {
            let remedy = "write IPAddressDeny = \"any\" with IPAddressAllow = [\"10.0.0.0/8\"]";
            let at = path!["systemd", "service"];
            self.refuse(&at, "a NetworkPolicy allows networks, and denies all others", remedy);
        }
        if !self.systemd.drop_ins.is_empty() {
            self.approximate(&path!["systemd"], "systemd.service");
        }
    }
}
