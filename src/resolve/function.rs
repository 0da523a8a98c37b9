//! Resolving a function's manifest to a model, with the rules of services.

mod directory;
mod writable;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::declaration::function::Manifest;
use crate::declaration::{Container, Exec};
use crate::diagnostic::Diagnostics;
use crate::document::Path;
use crate::key::File;
use crate::key::mismatch;
use crate::layout::Scope;
use crate::model::alias::Alias;
use crate::model::function::{Function, Interface, MAX_BODY, Mode, QUEUE_TIMEOUT, Transport};
use crate::model::{Engine, Process, Pull, User};
use crate::path;
use crate::resolve::{MAX_SLOTS, Resolver};
use crate::source::search::Declared;

/// The longest name of a function, in characters.
const MAX_NAME: usize = 80;
/// The largest number of parallel requests of a function.
const MAX_CONCURRENCY: u32 = 16_384;
/// The largest `max_body`, in bytes.
const MAX_SIZE: u64 = 1 << 40;
/// The variables that the gateway sets for each request beside `HTTP_…`, and those of authentication, which it must never take
/// from elsewhere: RFC 3875 section 4.1, and Apache's.
const META_VARIABLES: &[&str] = &[
    "AUTH_TYPE",
    "CONDUCTOR_FUNCTION",
    "CONDUCTOR_REQUEST",
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "GATEWAY_INTERFACE",
    "HTTPS",
    "PATH_INFO",
    "PATH_TRANSLATED",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REMOTE_HOST",
    "REMOTE_IDENT",
    "REMOTE_PORT",
    "REMOTE_USER",
    "REQUEST_METHOD",
    "REQUEST_SCHEME",
    "REQUEST_URI",
    "SCRIPT_NAME",
    "SERVER_ADDR",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
];
/// The path below which the proxy serves functions by their IDs.
const RESERVED: &str = "/cgi";

/// Resolves one manifest for a host's version of systemd, if that is known.
///
/// # Errors
/// All errors of the manifest.
pub(crate) fn resolve(declared: &Declared, systemd: Option<u16>) -> Result<Function, Diagnostics> {
    let document = &declared.document;
    let mut reading = mismatch::read::<Manifest>(File::Function, document);
    let Some(manifest) = reading.value.take() else { return Err(reading.errors) };
    let mut resolver = Resolver { file: File::Function, document, declared, systemd, errors: Diagnostics::default() };
    let function = resolver.function(manifest);
    reading.with(resolver.errors).into_result()?;
    Ok(function)
}

/// Returns the defaults of `max_concurrency` and `preload`.
fn default_capacity(mode: Mode, engine: &Engine) -> (u32, u32) {
    match (mode, engine.has_images()) {
        // Each isolated container has a podman process of 40 MB.
        (Mode::Isolated, true) => (8, 0),
        (Mode::Isolated, false) => (64, 1),
        (Mode::Pooled, _) => (64, 0),
    }
}

impl Resolver<'_> {
    fn function(&mut self, manifest: Manifest) -> Function {
        let Manifest {
            name,
            aliases,
            address,
            remote_user,
            tls,
            interface,
            listen,
            mode,
            preload,
            max_requests,
            max_concurrency,
            max_queue,
            max_body,
            timeout,
            queue_timeout,
            idle_timeout,
            path_info_strip,
            network,
            files: _, // `function::store` has checked and stored them
            directory,
            interpreter,
            index,
            static_files,
            state,
            cache,
            logs,
            read_write,
            groups,
            exec,
            container,
            resources,
            systemd,
        } = manifest;
        let name = self.function_name(name);
        let process = self.engine(exec, container, network);
        let aliases = self.aliases(aliases);
        let programs = self.programs(directory, interpreter, index);
        self.check_directory(&process, interface, path_info_strip.is_some());
        let static_files = self.static_files(static_files);
        let writable = self.writable((state, cache, logs), read_write, groups, &process);
        self.check_combination(interface, listen, mode, preload.unwrap_or(0));
        if interface == Interface::Cgi {
            self.check_environment(&process);
        }
        let (concurrency, warm) = default_capacity(mode, &process.engine);
        let max_concurrency = self.number(&path!["max_concurrency"], max_concurrency, concurrency, 1, MAX_CONCURRENCY);
        Function {
            aliases,
            address,
            remote_user,
            tls,
            interface,
            listen,
            mode,
            preload: self.number(&path!["preload"], preload, warm, 0, max_concurrency.min(MAX_SLOTS)),
            max_requests: self.number(&path!["max_requests"], max_requests, 1000, 1, u32::MAX),
            max_queue: self.number(&path!["max_queue"], max_queue, 1024, 0, MAX_CONCURRENCY),
            max_body: max_body.map_or(MAX_BODY, |size| self.size(&path!["max_body"], &size)),
            timeout: self.span(&path!["timeout"], timeout, Duration::from_secs(30)),
            queue_timeout: self.span(&path!["queue_timeout"], queue_timeout, QUEUE_TIMEOUT),
            idle_timeout: self.span(&path!["idle_timeout"], idle_timeout, Duration::from_secs(300)),
            path_info_strip: self.number(&path!["path_info_strip"], path_info_strip, 0, 0, 64),
            resources: self.resources(resources),
            files: self.declared.files.clone(),
            max_concurrency,
            network,
            programs,
            static_files,
            writable,
            directives: self.function_directives(systemd.service),
            process,
            name,
        }
    }

    /// Resolves what runs. A directory of programs needs no `[exec]`.
    fn engine(&mut self, exec: Option<Exec>, container: Option<Container>, network: bool) -> Process {
        let is_directory = container.is_none() && self.has_directory();
        let exec = exec.or_else(|| is_directory.then(Exec::default));
        let has_engine = exec.is_some() || container.is_some();
        let mut process = self.process(BTreeMap::new(), exec, container, None);
        if !has_engine {
            let remedy = "add [exec] with command = [\"./program\"], or [container] with image = \"…\"";
            self.error(&path![], "nothing to run: [exec] is missing", remedy);
        }
        self.check_container(&process, network);
        if let User::Dynamic(user) = &mut process.user {
            user.clear(); // the user is made of the ID, so that the ID cannot contain it
        }
        process
    }

    fn function_name(&mut self, name: String) -> String {
        let name = self.line(&path!["name"], &name);
        if name.is_empty() || name.chars().count() > MAX_NAME {
            let message = format!("a function's name has 1 to {MAX_NAME} characters");
            self.error(&path!["name"], message, "write what the function does, such as \"thumbnail\"");
        }
        name
    }

    /// Reads a size: a number of bytes, or one with a unit of 1024, 1024² or 1024³ bytes as in systemd.resource-control(5).
    pub(super) fn size(&mut self, at: &Path, text: &str) -> u64 {
        let (digits, unit) = match text.char_indices().last() {
            Some((end, 'K')) => (&text[..end], 1 << 10),
            Some((end, 'M')) => (&text[..end], 1 << 20),
            Some((end, 'G')) => (&text[..end], 1 << 30),
            _ => (text, 1),
        };
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let size = digits.parse::<u64>().ok().filter(|_| is_number).and_then(|number| number.checked_mul(unit));
        size.filter(|size| *size <= MAX_SIZE).unwrap_or_else(|| {
            self.error(at, format!("{text:?} is not a size up to 1024G"), "write such as \"16M\"");
            0
        })
    }

    /// Checks combinations of interface, listener, mode and preloaded processes.
    fn check_combination(&mut self, interface: Interface, listen: Transport, mode: Mode, preload: u32) {
        if interface == Interface::Cgi && mode == Mode::Pooled && preload > 0 {
            let remedy = "remove it, or write interface = \"http\" or mode = \"isolated\"";
            self.key_error(&path!["preload"], "a CGI process serves one request: none can start in advance", remedy);
        }
        if interface == Interface::Cgi && listen == Transport::Socket {
            let remedy = "remove it, or write interface = \"http\"";
            self.key_error(&path!["listen"], "a CGI program uses stdin and stdout", remedy);
        }
        if mode == Mode::Isolated && listen == Transport::Socket {
            let remedy = "remove it: an isolated program has the request on stdin";
            self.key_error(&path!["listen"], "each process of an isolated function serves one connection", remedy);
        }
    }

    /// Checks that no variable is one that a request determines.
    fn check_environment(&mut self, process: &Process) {
        let section = if process.engine.has_images() { "container" } else { "exec" };
        let is_of_request = |name: &str| META_VARIABLES.contains(&name) || name.starts_with("HTTP_");
        for name in process.environment.keys().filter(|name| is_of_request(name)) {
            let remedy = "remove it; SCRIPT_FILENAME and DOCUMENT_ROOT may be set";
            self.error(
                &path![section, "environment", name.as_str()],
                "a meta-variable: its value is that of the request",
                remedy,
            );
        }
    }

    /// Checks the keys of a container that functions do not support, or have another key for.
    fn check_container(&mut self, process: &Process, network: bool) {
        let Engine::Container(container) = &process.engine else { return };
        let at = path!["container"];
        if !container.network.is_empty() && !network {
            let remedy = "write network = true above all sections, or remove it";
            self.key_error(&at.join("network"), "a function has no network by default", remedy);
        }
        if container.port.is_some() {
            let remedy = "remove it: its gateway is in the container";
            self.key_error(&at.join("port"), "a function listens on no port", remedy);
        }
        if !container.drop_capability.is_empty() {
            let remedy = "remove it, and write those that it needs into add_capability";
            self.key_error(&at.join("drop_capability"), "a function has no capabilities by default", remedy);
        }
        if container.pull == Pull::Newer {
            let remedy = "remove it; digest = \"sha256:…\" makes the image part of the function's ID";
            self.key_error(
                &at.join("pull"),
                "a function's ID determines its image: a newer one does not replace it",
                remedy,
            );
        }
        for (key, given) in
            [("credentials", &process.credentials), ("credentials_encrypted", &process.credentials_encrypted)]
        {
            if !given.is_empty() {
                let remedy = "write secret = [\"NAME\"], podman-secret(1)";
                self.key_error(
                    &at.join(key),
                    "the processes of a function's container cannot read credentials",
                    remedy,
                );
            }
        }
        for (index, volume) in container.volume.iter().enumerate() {
            let is_read_only = || volume.splitn(3, ':').nth(2).is_some_and(|it| it.split(',').any(|it| it == "ro"));
            if volume.starts_with("./") && !is_read_only() {
                let remedy = format!("write {:?}", format!("{volume}:ro"));
                self.error(&at.join("volume").join(index), "a function's files are read-only", remedy);
            }
        }
    }

    fn aliases(&mut self, given: Vec<String>) -> Vec<Alias> {
        let mut aliases: Vec<Alias> = Vec::new();
        for (index, text) in given.into_iter().enumerate() {
            let at = path!["aliases", index];
            let alias = self.alias(&at, &text);
            if self.declared.scope == Scope::User {
                let remedy = "remove aliases, or declare the function for the system's manager";
                self.error(&at, "aliases are for functions of the system's manager", remedy);
            } else if aliases
                .iter()
                .any(|other| other.host == alias.host && other.path.eq_ignore_ascii_case(&alias.path))
            {
                self.error(&at, "this alias is written twice", "remove one of the two");
            } else if self.alias_length(&at, &alias) {
                aliases.push(alias);
            }
        }
        aliases.sort();
        aliases
    }

    /// Checks the length of an alias, and returns whether it fits.
    fn alias_length(&mut self, at: &Path, alias: &Alias) -> bool {
        let is_short = alias.to_string().len() <= Alias::MAX;
        if !is_short {
            let remedy = format!("write at most {} characters", Alias::MAX);
            self.error(at, "too long: an alias is part of a socket's path", remedy);
        }
        is_short
    }

    fn alias(&mut self, at: &Path, text: &str) -> Alias {
        let (host, path) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None => (text, "/"),
        };
        if text.contains("://") {
            self.error(at, "an alias has no scheme", "write \"/path\", \"host\" or \"host/path\"");
            return Alias { host: None, path: "/".to_owned() };
        }
        if text.is_empty() || host.starts_with('*') {
            let remedy = "write \"/path\", \"host\" or \"host/path\"";
            self.error(at, format!("{text:?} is not an alias"), remedy);
            return Alias { host: None, path: "/".to_owned() };
        }
        let host = (!host.is_empty()).then(|| self.host(at, host.to_owned()));
        let path = self.route_path(at, path.to_owned());
        let lower = path.to_ascii_lowercase();
        if host.is_none() && (lower == RESERVED || lower.starts_with("/cgi/")) {
            self.error(at, "/cgi/ is reserved for the IDs of functions", "choose another path");
        }
        Alias { host, path }
    }
}
