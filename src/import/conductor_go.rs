//! The `conductor-service.json` of conductor.go: pods and functions of one service.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::expansion::is_name;
use crate::import::declaration::{Declaration, Service, name_of};
use crate::import::input::Input;
use crate::import::note::{Fate, Report};
use crate::import::text::Text;
use crate::import::tree::{self, Keys, Node};

/// The file's name.
pub(crate) const NAME: &str = "conductor-service.json";

/// Removes comments of JSON with comments, without moving what is around them.
fn without_comments(text: &str) -> String {
    let (mut out, mut chars, mut in_text) = (String::new(), text.chars().peekable(), false);
    while let Some(c) = chars.next() {
        match (in_text, c, chars.peek()) {
            (true, '\\', _) => {
                out.push(c);
                out.extend(chars.next());
                continue;
            }
            (_, '"', _) => in_text = !in_text,
            (false, '/', Some('/')) => {
                out.push(' ');
                while let Some(c) = chars.next_if(|c| *c != '\n') {
                    out.extend(std::iter::repeat_n(' ', c.len_utf8()));
                }
                continue;
            }
            (false, '/', Some('*')) => {
                out.push(' ');
                let mut before = ' ';
                for c in chars.by_ref() {
                    out.extend(if c == '\n' { "\n".chars().collect() } else { vec![' '; c.len_utf8()] });
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Translates a file.
///
/// # Errors
/// If it is not JSON, or nothing of it can run.
pub(crate) fn import(input: &Input, given: Option<&str>, report: &mut Report) -> Result<Declaration, Diagnostics> {
    let text = without_comments(&input.source.text);
    let source = std::sync::Arc::new(crate::diagnostic::Source { path: input.path().to_owned(), text });
    let documents = tree::documents(&source)?;
    let Some(root) = documents.first() else {
        return Err(Diagnostic::of_file(input.path(), "the file is empty", "write app_name and pods").into());
    };
    let keys = Keys::new("", root);
    let text = |keys: &Keys<'_>, key: &str, report: &mut Report| {
        keys.take(key, report).and_then(|entry| entry.node.text().map(str::to_owned))
    };
    let app = text(&keys, "app_name", report).unwrap_or_else(|| input.dir().file_name().unwrap_or("app").to_owned());
    let instance = text(&keys, "instance_name", report).filter(|instance| instance != "default");
    let own = instance.map_or_else(|| app.clone(), |instance| format!("{app}-{instance}"));
    let mut declaration = Declaration::new(given.unwrap_or(&own));
    for entry in keys.take("config", report).iter().flat_map(|entry| entry.node.entries()) {
        report.see(&entry.position);
        match entry.node.text() {
            Some(value) if is_name(&entry.key) && !entry.key.starts_with("CONDUCTOR_") => {
                declaration.common.set("config", &entry.key, Text::from(value).into_value());
            }
            _ => report.omitted(&entry.position, format!("config.{}", entry.key), "it is no text"),
        }
    }
    if let Some(entry) = keys.take("conditions", report) {
        let hosts: Vec<String> = entry
            .node
            .items()
            .iter()
            .filter_map(|item| item.text_at(&["hostname"]))
            .map(|host| format!("|{host}"))
            .collect();
        match hosts.as_slice() {
            [] => {}
            [one] => declaration.common.set("condition", "host", one.trim_start_matches('|')),
            _ => declaration.common.set("condition", "host", hosts),
        }
    }
    for entry in keys.take("pods", report).iter().flat_map(|entry| entry.node.items()) {
        pod(input, entry, &app, &mut declaration, report);
    }
    for entry in keys.take("functions", report).iter().flat_map(|entry| entry.node.items()) {
        function(input, entry, &app, &mut declaration, report);
    }
    if declaration.services.is_empty() && declaration.function.is_some() {
        keys.skip(&["disable", "auto_restart"], report);
        keys.finish(report, |_| Some("a function has its own manifest"));
        return Ok(declaration);
    }
    declaration.function = None;
    if declaration.services.is_empty() {
        let reasons: Vec<_> = report.of(Fate::Omitted).iter().map(|note| note.to_string()).collect();
        let message = "no pod or function of the file can be translated";
        let remedy = match reasons.as_slice() {
            [] => "write pods with a pod_template, or functions with an exec".to_owned(),
            reasons => format!("write the service by hand: {}", reasons.join("; ")),
        };
        return Err(Diagnostic::at(root.position.clone(), "", message, remedy).into());
    }
    hooks(input, &keys, &mut declaration, report);
    commands(input, &keys, &mut declaration, report);
    keys.skip(&["disable", "auto_restart"], report);
    keys.finish(report, |key| match key {
        "inherit" => {
            Some("a drop-in or a variable of `conductor service declare` does it: import the other file by itself")
        }
        "proxy_config_template" | "caddy_load_balancer" => {
            Some("write [[route]] with the host: conductor writes the proxy's configuration")
        }
        "display_service_config" | "display_service_deployment_config" | "display_deployment_config" => {
            Some("`display` names the variables")
        }
        _ => None,
    });
    Ok(declaration)
}

/// The words of a command, whose program is a file beside the source.
fn words(input: &Input, node: Option<&Node>, declaration: &mut Declaration) -> Option<Vec<Text>> {
    let mut words: Vec<String> = node?.texts().into_iter().map(str::to_owned).collect();
    let program = words.first_mut()?;
    if !program.starts_with('/') && program.contains(['/', '.']) {
        let relative = program.trim_start_matches("./").to_owned();
        if relative.split('/').any(|step| step == "..") || !input.copy(&relative, relative.as_str().into(), declaration)
        {
            return None;
        }
        if let Some(file) = declaration.files.get_mut(camino::Utf8Path::new(&relative)) {
            file.executable = true;
        }
        *program = format!("./{relative}");
    }
    Some(words.into_iter().map(Text::from).map(Text::into_word).collect())
}

/// A pod whose template is a script that only prints: its text is the pod's file.
fn pod(input: &Input, node: &Node, app: &str, declaration: &mut Declaration, report: &mut Report) {
    let keys = Keys::new("pods", node);
    let name =
        keys.take("name", report).and_then(|entry| entry.node.text()).filter(|name| !name.is_empty()).unwrap_or(app);
    let Some(entry) = keys.take("pod_template", report) else {
        return report.omitted(&node.position, "pods", "the pod has no template");
    };
    let mut service = Service::new(name_of(name));
    let mut set = |key: &str, path: &str, report: &mut Report, service: &mut Service, entry: &tree::Entry| {
        let printed = entry.node.text().and_then(|file| input.text_of(file)).and_then(|script| printed(&script));
        match printed {
            Some(yaml) => {
                declaration.add_file(path, yaml, false);
                service.set("pod", key, path);
                keys.approximate(entry, "what the script prints is the file, in which ${NAME} is {{ NAME }}", report);
                true
            }
            None => {
                let text = "the script does more than print one text with `cat <<WORD`: write what it prints";
                keys.omit(entry, text, report);
                false
            }
        }
    };
    let path = format!("{}.yaml", service.name);
    if !set("template", &path, report, &mut service, entry) {
        return;
    }
    if let Some(entry) = keys.take("config_map_template", report) {
        let path = format!("{}-config.yaml", service.name);
        set("config_map", &path, report, &mut service, entry);
    }
    service.set_with(
        "listen",
        "type",
        "none",
        "write port in [pod] and [[route]]: the source has a script for the proxy",
    );
    let proxies = keys.take("reverse_proxy", report).map(|entry| entry.node.items()).unwrap_or_default();
    if let Some(port @ 1..=65535) = proxies.iter().find_map(|proxy| proxy.get("port")?.number()) {
        service.set("pod", "port", port);
        service.remove("listen", "type");
    }
    keys.finish(report, |key| match key {
        "service_directives" => Some("write them in [systemd.service]"),
        "part_id_template" | "exclude_vars" => Some("a generation is the digest of everything that runs"),
        _ => None,
    });
    declaration.services.push(service);
}

/// The text that a script prints, if it is one `cat <<WORD` and nothing else.
fn printed(script: &str) -> Option<String> {
    let mut lines =
        script.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty() && !line.starts_with("set "));
    let word = lines.next()?.strip_prefix("cat <<")?.trim().trim_matches(['"', '\'']).to_owned();
    let (_, rest) = script.split_once(&format!("<<{word}"))?;
    let (body, after) = rest.split_once(&format!("\n{word}"))?;
    if !after.trim().is_empty() || body.contains("$(") || body.contains('`') {
        return None;
    }
    let mut out = String::new();
    let mut rest = body.trim_start_matches('\n');
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, behind) = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}')?,
            None => after.split_at(after.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(after.len())),
        };
        if !is_name(name) {
            return None;
        }
        out.push_str(&format!("{{{{ {name} }}}}"));
        rest = behind;
    }
    Some(format!("{out}{rest}\n"))
}

/// Writes the manifest of a program that is started for requests. A file of several has services too, or is several functions.
fn manifest(
    input: &Input,
    keys: &Keys<'_>,
    name: &str,
    format: &str,
    declaration: &mut Declaration,
    report: &mut Report,
) {
    let interface = if format == "http-stdio" { "http" } else { "cgi" };
    let Some(entry) = keys.take("exec", report) else { return };
    if declaration.function.is_some() || !declaration.services.is_empty() {
        let text =
            format!("write a function.toml for {name}, with interface = {interface:?}: a service has no functions");
        return keys.omit(entry, text, report);
    }
    let Some(words) = words(input, Some(&entry.node), declaration) else {
        return keys.omit(entry, "the program is not beside the file", report);
    };
    let command: Vec<String> = words.iter().map(Text::to_toml).collect();
    let strip = keys.take("path_info_strip", report).and_then(|entry| entry.node.number()).filter(|strip| *strip > 0);
    let strip = strip.map_or_else(String::new, |strip| format!("path_info_strip = {strip}\n"));
    if let Some(entry) = keys.take("response_headers", report) {
        keys.omit(entry, "the program writes its header fields itself", report);
    }
    keys.skip(&["no_response_headers", "stderr_as_stdout", "service_directives", "reverse_proxy", "policies"], report);
    declaration.function = Some(format!(
        "#:schema /usr/share/conductor/schemas/function.toml.schema.json\nname = {}\n# aliases = [\"/{}\"]\ninterface = \
         {interface:?}\n{strip}\n[exec]\ncommand = [{}]\n",
        Text::from(name).to_toml(),
        name_of(name),
        command.join(", ")
    ));
}

/// A function that takes its socket from systemd is a service; others are functions of their own.
fn function(input: &Input, node: &Node, app: &str, declaration: &mut Declaration, report: &mut Report) {
    let keys = Keys::new("functions", node);
    let name =
        keys.take("name", report).and_then(|entry| entry.node.text()).filter(|name| !name.is_empty()).unwrap_or(app);
    let format = keys.take("format", report).and_then(|entry| entry.node.text()).unwrap_or("cgi");
    if format != "sdactivate" {
        return manifest(input, &keys, name, format, declaration, report);
    }
    let Some(words) = words(input, keys.take("exec", report).map(|entry| &entry.node), declaration) else {
        return report.omitted(&node.position, "functions.exec", "the program is not beside the file");
    };
    let mut service = Service::new(name_of(name));
    service.set("exec", "command", words);
    service.set_with("listen", "type", "activation", "systemd passes the socket");
    crate::import::container::route(&mut service, &name_of(app).replace('_', "-"), None);
    if let Some(entry) = keys.take("response_headers", report) {
        keys.omit(entry, "write add_response_headers in [[route]]", report);
    }
    keys.skip(&["no_response_headers", "stderr_as_stdout"], report);
    for key in ["service_directives", "policies", "reverse_proxy"] {
        if let Some(entry) = keys.take(key, report).filter(|entry| !entry.node.items().is_empty()) {
            keys.omit(entry, "write it in [systemd.service] or [[route]]", report);
        }
    }
    keys.finish(report, |key| match key {
        "path_info_strip" => Some("strip_prefix in [[route]]"),
        _ => None,
    });
    declaration.services.push(service);
}

fn hooks(input: &Input, keys: &Keys<'_>, declaration: &mut Declaration, report: &mut Report) {
    let Some(entry) = keys.take("hooks", report) else { return };
    for hook in entry.node.items() {
        let when = hook.text_at(&["when"]).unwrap_or_default();
        let to = match when {
            "pre-start" => "pre_start",
            "post-start" => "post_start",
            "pre-stop" => "pre_stop",
            _ => {
                report.omitted(&hook.position, "hooks", format!("conductor has no hook {when:?}"));
                continue;
            }
        };
        match words(input, hook.get("exec"), declaration) {
            Some(words) if declaration.common.get("hooks", to).is_none() => declaration.common.set("hooks", to, words),
            Some(_) => report.omitted(&hook.position, "hooks", format!("the file has another hook {when:?}")),
            None => report.omitted(&hook.position, "hooks", "the program is not beside the file"),
        }
    }
}

fn commands(input: &Input, keys: &Keys<'_>, declaration: &mut Declaration, report: &mut Report) {
    let Some(entry) = keys.take("commands", report) else { return };
    for command in entry.node.entries() {
        report.see(&command.position);
        let path = format!("commands.{}", command.key);
        let is_name =
            !command.key.is_empty() && command.key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let Some(words) = words(input, command.node.get("exec"), declaration).filter(|_| is_name) else {
            report.omitted(&command.position, path, "the program is not beside the file");
            continue;
        };
        if let Some(text) = command.node.text_at(&["description"]) {
            declaration.common.set(&path, "description", text);
        }
        declaration.common.set(&path, "exec", words);
        let of_service = command.node.get("service").is_some_and(Node::is_true);
        declaration.common.set(&path, "scope", if of_service { "service" } else { "deployment" });
    }
}
