//! `[exec]`, `[container]` and `[pod]`: the engine of a service.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use crate::declaration::{self, Declaration, Scalar};
use crate::document::{Node, Path};
use crate::key::File;
use crate::layout::Scope;
use crate::model::{Command, Container, DropIn, Engine, FileKind, Pod, Process, Sandbox, User};
use crate::path;
use crate::resolve::Resolver;

/// Options of podman-run(1) that conductor passes itself, each with the remedy of its error.
const OWNED: &[(&str, &str)] = &[
    ("--publish", "write [[route]] for HTTP or [[port]] for TCP: a published port belongs to one deployment alone"),
    ("-p", "write [[route]] for HTTP or [[port]] for TCP: a published port belongs to one deployment alone"),
    ("--publish-all", "write [[route]] for HTTP or [[port]] for TCP"),
    ("-P", "write [[route]] for HTTP or [[port]] for TCP"),
    ("--name", "remove it: a container has the name of its deployment"),
    ("--detach", "remove it"),
    ("-d", "remove it"),
    ("--rm", "remove it"),
    ("--replace", "remove it"),
    ("--cgroups", "remove it: the container is in its unit's control group"),
    ("--cgroup-parent", "remove it: the container is in its unit's control group"),
    ("--sdnotify", "write notify = true in [health]"),
    ("--log-driver", "remove it: the journal has the output, with the deployment's fields"),
    ("--pull", "write pull = \"newer\" in [container]"),
    ("--restart", "remove it: systemd restarts"),
    ("--service-container", "remove it"),
    ("--start", "remove it"),
    ("--configmap", "write config_map = \"config.yaml\" in [pod]"),
];

/// Keys that say something of a program, its deployments and their units.
const OF_PROGRAMS: &[&str] = &[
    "concurrency",
    "slots",
    "config",
    "listen",
    "health",
    "port",
    "deploy",
    "hooks",
    "resources",
    "commands",
    "systemd",
];

impl Resolver<'_> {
    /// Resolves the engine, its environment and its user from `[config]`, `[exec]`, `[container]` and `[pod]`.
    pub(crate) fn process(
        &mut self,
        config: BTreeMap<String, Scalar>,
        exec: Option<declaration::Exec>,
        container: Option<declaration::Container>,
        pod: Option<declaration::Pod>,
    ) -> Process {
        let sections = [("exec", exec.is_some()), ("container", container.is_some()), ("pod", pod.is_some())];
        let mut given = sections.iter().filter(|(_, given)| *given).map(|(name, _)| *name);
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            let message = format!("a service has one engine, and [{first}] is another one");
            self.key_error(&path![second], message, "keep one of [exec], [container] and [pod]");
        }
        let podman = if container.is_some() { "container" } else { "pod" };
        if self.declared.scope == Scope::User && (container.is_some() || pod.is_some()) {
            let remedy = "declare the service for the system's manager, or run podman from [exec]";
            self.key_error(&path![podman], "containers and pods are for the system's manager", remedy);
        }
        let config = self.variables(&path!["config"], config);
        match (exec, container, pod) {
            (Some(exec), _, _) => self.exec(config, exec),
            (_, Some(container), _) => self.container(config, container),
            (_, _, Some(pod)) => self.pod(config, pod),
            (None, None, None) => Process::none(self.own_user()),
        }
    }

    fn exec(&mut self, config: BTreeMap<String, String>, exec: declaration::Exec) -> Process {
        let declaration::Exec {
            command,
            working_dir,
            environment,
            environment_file,
            start_templates,
            user,
            credentials,
            credentials_encrypted,
            sandbox,
        } = exec;
        let environment = self.environment("exec", config, environment);
        let at = path!["exec", "command"];
        match &command {
            None if !self.has_directory() => {
                self.error(&path!["exec"], "`command` is required", self.example(&at));
            }
            Some(words) if words.is_empty() => self.error(&at, "the command is empty", self.example(&at)),
            _ => {}
        }
        let command = self.command(&at, command.unwrap_or_default()).unwrap_or(Command(Vec::new()));
        Process {
            engine: Engine::Exec { command },
            environment,
            environment_files: self.environment_files(&path!["exec", "environment_file"], environment_file),
            variables: if start_templates.is_empty() { BTreeMap::new() } else { self.declared.variables.clone() },
            start_templates: self.start_templates(&path!["exec", "start_templates"], start_templates),
            working_dir: working_dir.map(|dir| self.working_dir(&path!["exec", "working_dir"], &dir)),
            parts: BTreeMap::new(),
            user: match user {
                Some(user) => User::Static(self.user(user)),
                None => self.own_user(),
            },
            credentials: self.credentials(&path!["exec", "credentials"], credentials),
            credentials_encrypted: self.credentials(&path!["exec", "credentials_encrypted"], credentials_encrypted),
            sandbox,
        }
    }

    /// Returns the dynamic user of what is declared: all parts of a group run as one user and share its state.
    fn own_user(&self) -> User {
        User::Dynamic(self.declared.declared_as().user())
    }

    fn environment(
        &mut self,
        section: &str,
        config: BTreeMap<String, String>,
        given: BTreeMap<String, Scalar>,
    ) -> BTreeMap<String, String> {
        let mut environment = config;
        environment.extend(self.variables(&path![section, "environment"], given));
        environment
    }

    fn container(&mut self, config: BTreeMap<String, String>, container: declaration::Container) -> Process {
        let declaration::Container {
            image,
            pull,
            digest,
            exec,
            entrypoint,
            environment,
            environment_file,
            user,
            working_dir,
            volume,
            tmpfs,
            secret,
            network,
            add_capability,
            drop_capability,
            read_only,
            podman_args,
            port,
            credentials,
            credentials_encrypted,
        } = container;
        let at = path!["container"];
        let environment = self.environment("container", config, environment);
        let files = self.environment_files(&at.join("environment_file"), environment_file);
        self.image(&at.join("image"), &image, digest.is_some());
        if let Some(digest) = &digest {
            self.digest(&at.join("digest"), digest);
        }
        self.port_number(&at.join("port"), port);
        let mut words = |key: &str, words: Vec<String>| self.words(&at.join(key), words);
        let engine = Container {
            pull,
            exec: words("exec", exec),
            tmpfs: words("tmpfs", tmpfs),
            secret: words("secret", secret),
            network: words("network", network),
            add_capability: words("add_capability", add_capability),
            drop_capability: words("drop_capability", drop_capability),
            entrypoint: entrypoint.map(|word| words("entrypoint", vec![word]).remove(0)),
            user: user.map(|word| words("user", vec![word]).remove(0)),
            working_dir: working_dir.map(|word| words("working_dir", vec![word]).remove(0)),
            volume: self.volumes(&at.join("volume"), volume),
            podman_args: self.podman_args(&at.join("podman_args"), podman_args),
            image,
            digest,
            read_only,
            port,
        };
        self.by_podman(&at, Engine::Container(engine), (environment, files), (credentials, credentials_encrypted))
    }

    /// Resolves the process of an engine that podman runs. The image determines the user of its processes; hooks run as
    /// the service's own user in the strict sandbox.
    fn by_podman(
        &mut self,
        at: &Path,
        engine: Engine,
        (environment, environment_files): (BTreeMap<String, String>, Vec<String>),
        (credentials, encrypted): (BTreeMap<String, String>, BTreeMap<String, String>),
    ) -> Process {
        Process {
            engine,
            environment,
            environment_files,
            start_templates: Vec::new(),
            variables: BTreeMap::new(),
            working_dir: None,
            parts: self.declared.group.as_ref().map(|group| group.addresses.clone()).unwrap_or_default(),
            user: self.own_user(),
            credentials: self.credentials(&at.join("credentials"), credentials),
            credentials_encrypted: self.credentials(&at.join("credentials_encrypted"), encrypted),
            sandbox: Sandbox::Strict,
        }
    }

    fn pod(&mut self, config: BTreeMap<String, String>, pod: declaration::Pod) -> Process {
        let declaration::Pod {
            template,
            config_map,
            environment,
            environment_file,
            network,
            podman_args,
            port,
            credentials,
            credentials_encrypted,
        } = pod;
        let at = path!["pod"];
        let environment = self.environment("pod", config, environment);
        let files = self.environment_files(&at.join("environment_file"), environment_file);
        self.port_number(&at.join("port"), port);
        let engine = Pod {
            template: self.declared_file(&at.join("template"), &template),
            config_map: config_map.map(|file| self.declared_file(&at.join("config_map"), &file)),
            variables: self.declared.variables.clone(),
            network: self.words(&at.join("network"), network),
            podman_args: self.podman_args(&at.join("podman_args"), podman_args),
            port,
        };
        self.by_podman(&at, Engine::Pod(engine), (environment, files), (credentials, credentials_encrypted))
    }

    /// Checks an image's name: the grammar of the OCI distribution specification, without transports.
    fn image(&mut self, at: &Path, image: &str, is_pinned: bool) {
        let ok = |c: char| c.is_ascii_alphanumeric() || "-_./:@+".contains(c);
        if image.is_empty() || image.len() > 4000 || !image.chars().all(ok) || image.starts_with(['-', '.', '/', ':']) {
            let remedy = "write a name such as \"docker.io/library/nginx:1.27\"";
            self.error(at, format!("{image:?} is not a name of an image"), remedy);
        } else if is_pinned && image.contains('@') {
            self.key_error(at, "the image's name has a digest already", "remove it, or the key digest");
        }
    }

    fn digest(&mut self, at: &Path, digest: &str) {
        let hex = digest.strip_prefix("sha256:").unwrap_or("");
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            let remedy = "write \"sha256:\" and 64 hex digits, as `podman image inspect --format '{{.Digest}}'` prints";
            self.error(at, format!("{digest:?} is not a digest of an image"), remedy);
        }
    }

    pub(super) fn port_number(&mut self, at: &Path, port: Option<u16>) {
        if port == Some(0) {
            self.error(at, "0 is not a port", "write the port on which it listens, such as 8080");
        }
    }

    fn podman_args(&mut self, at: &Path, words: Vec<String>) -> Vec<String> {
        for (index, word) in words.iter().enumerate() {
            let option = word.split('=').next().unwrap_or(word);
            if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| *owned == option) {
                self.error(&at.join(index), format!("conductor passes {option}"), *instead);
            } else if index == 0 && !word.starts_with('-') {
                let remedy = "write options of podman, such as [\"--init\", \"--shm-size=64m\"]";
                self.error(&at.join(index), format!("{word:?} is not an option"), remedy);
            }
        }
        self.words(at, words)
    }

    fn volumes(&mut self, at: &Path, volumes: Vec<String>) -> Vec<String> {
        for (index, volume) in volumes.iter().enumerate() {
            let here = at.join(index);
            let mut parts = volume.split(':');
            let (source, path) = (parts.next().unwrap_or(""), parts.next());
            let is_read_only = parts.next().is_some_and(|options| options.split(',').any(|option| option == "ro"));
            if self.file == File::Service && source.starts_with("./") && !is_read_only {
                let name = source.trim_matches(['.', '/']).replace('/', "-");
                let (name, to) = (if name.is_empty() { "data" } else { &name }, path.unwrap_or("/PATH"));
                let remedy = format!(
                    "write \"{source}:{to}:ro\", or for data a volume that podman keeps, \"{name}:{to}\", or an absolute \
                     path of the host"
                );
                let message =
                    "each generation has its own copy of the declaration's files: what is written there is lost";
                self.error(&here, message, remedy);
            } else if let Some(relative) = source.strip_prefix("./") {
                let known = self.declared.files.iter().any(|file| file.path == relative);
                if !known && !relative.is_empty() {
                    let remedy = format!("put it at {}", self.declared.dir.join(relative));
                    self.error(&here, format!("{relative} is not among the declaration's files"), remedy);
                }
            } else if source.starts_with('.') {
                self.error(
                    &here,
                    "a source among the declaration's files starts with ./",
                    "write \"./conf:/etc/app:ro\"",
                );
            }
            if path.is_none_or(|path| !path.starts_with('/')) {
                self.error(&here, "a volume is mounted at an absolute path", "write \"NAME:/var/lib/app\"");
            }
        }
        self.words(at, volumes)
    }

    /// Checks that a name is that of a regular file of the declaration; returns its relative path.
    pub(super) fn declared_file(&mut self, at: &Path, name: &str) -> Utf8PathBuf {
        let relative = Utf8PathBuf::from(name.strip_prefix("./").unwrap_or(name));
        let found = self.declared.files.iter().find(|file| file.path == relative);
        match found.map(|file| &file.kind) {
            Some(FileKind::Regular { .. }) => {}
            Some(_) => self.error(at, format!("{relative} is not a regular file"), "name the file itself"),
            None => {
                let known = self.declared.files.iter().map(|file| file.path.as_str());
                let remedy = match crate::directive::closest(relative.as_str(), known) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("put it at {}", self.declared.dir.join(&relative)),
                };
                self.error(at, format!("{relative} is not among the declaration's files"), remedy);
            }
        }
        relative
    }

    /// Checks keys against the engine: the processes of a pod cannot reach systemd.
    pub(crate) fn check_engine(&mut self, declaration: &Declaration) {
        if !declaration.has_engine() {
            self.without_engine(declaration);
        }
        if declaration.pod.is_some() && declaration.health.notify == Some(true) {
            let remedy = "write http = \"/healthz\", tcp = true or exec = [\"./check\"]";
            self.key_error(&path!["health", "notify"], "nothing in a pod can reach systemd", remedy);
        }
    }

    /// Checks a declaration that runs no program: the proxy answers all its routes, and nothing is declared of a program.
    fn without_engine(&mut self, declaration: &Declaration) {
        if declaration.route.is_empty() {
            let remedy = "add [exec] with command = [\"./server\"], or [container], or [pod]; or a [[route]] that the proxy \
                          answers, with static, redirect or respond";
            self.error(&path![], "nothing to run: [exec] is missing", remedy);
            return;
        }
        for (index, route) in declaration.route.iter().enumerate() {
            if !route.is_answered_by_proxy() {
                let remedy = "add static, redirect or respond to the route; or [exec] with command = [\"./server\"]";
                self.key_error(&path!["route", index], "no program answers this route", remedy);
            }
        }
        for key in OF_PROGRAMS {
            let at = path![*key];
            let is_declared = |node: &Node| !node.key_position.source.path.ends_with(File::Host.name());
            if self.document.get(&at).is_some_and(is_declared) {
                let remedy = "remove it, or add [exec] with command = [\"./server\"]";
                self.key_error(&at, "the service runs no program", remedy);
            }
        }
        if let Some(DropIn { name, content: _ }) = self.declared.drop_ins.first() {
            let message = format!("the service runs no program whose unit {name} could change");
            self.error(&path![], message, format!("remove {name}, or add [exec]"));
        }
    }
}
