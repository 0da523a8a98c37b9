//! Procfiles, as Heroku and foreman read them: `web` serves at `$PORT`, `release` runs before a version, others work.

use camino::Utf8Path;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::expansion::is_name;
use crate::import::declaration::{Declaration, Service, name_of};
use crate::import::input::Input;
use crate::import::note::Report;
use crate::import::text::Text;
use crate::import::{container, shell};

/// Returns whether a path is that of a Procfile.
pub(crate) fn is_one(path: &Utf8Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name == "Procfile" || name.starts_with("Procfile.") || path.extension() == Some("procfile")
}

/// A line of the file.
struct Process<'a> {
    name: &'a str,
    command: &'a str,
    span: std::ops::Range<usize>,
}

/// Translates a file.
///
/// # Errors
/// A line that is no process, with its place.
pub(crate) fn import(input: &Input, given: Option<&str>, report: &mut Report) -> Result<Declaration, Diagnostics> {
    let processes = processes(input)?;
    let dir = input.dir();
    let mut declaration = Declaration::new(given.or(dir.file_name()).unwrap_or("app"));
    let comment = "The files stay where the Procfile is: another version there is no other generation. Put service.toml beside \
                   them, and remove working_dir, for each version to have its own.";
    declaration.comments.push(comment.to_owned());
    let mut released = Vec::new();
    for process in &processes {
        let position = input.position(process.span.clone());
        report.see(&position);
        if process.name == "release" {
            released.push((process, position));
            continue;
        }
        let mut service = Service::new(name_of(process.name));
        if declaration.services.iter().any(|other| other.name == service.name) {
            report.omitted(&position, process.name, "the file has another process of this name");
            continue;
        }
        service.set("exec", "working_dir", dir.to_string());
        match command(process.command, &dir, &mut service) {
            Ok(words) => service.set("exec", "command", words),
            Err(message) => {
                report.omitted(&position, process.name, message);
                continue;
            }
        }
        if process.name == "web" {
            service.set_with("listen", "type", "tcp", "the process listens at $PORT");
            container::route(&mut service, &name_of(&declaration.name).replace('_', "-"), None);
        } else {
            service.set("listen", "type", "none");
        }
        if input.is_file(".env") {
            service.push("exec", "environment_file", input.absolute(".env").to_string());
        }
        declaration.services.push(service);
    }
    if declaration.services.is_empty() {
        let remedy = "write web: and its command";
        return Err(Diagnostic::of_file(input.path(), "the file has no process that runs on", remedy).into());
    }
    let web = declaration.services.iter().position(|service| service.name == "web").unwrap_or(0);
    for (index, (process, position)) in released.into_iter().enumerate() {
        let service = &mut declaration.services[web];
        match command(process.command, &dir, service) {
            Ok(words) if index == 0 => service.set("hooks", "release", words),
            Ok(_) => report.omitted(&position, "release", "the file has another release process"),
            Err(message) => report.omitted(&position, "release", message),
        }
    }
    if input.is_file(".env") {
        let at = input.position(0..0);
        report.approximated(&at, ".env", "environment_file names the file, which stays where it is");
    }
    if dir.starts_with("/home") || dir.starts_with("/root") || dir.starts_with("/tmp") {
        report.hint(format!("cp -r {dir} /srv/   # the sandbox hides {dir}: then write the new path in service.toml"));
    }
    Ok(declaration)
}

fn processes(input: &Input) -> Result<Vec<Process<'_>>, Diagnostics> {
    let (mut processes, mut errors, mut start) = (Vec::new(), Diagnostics::default(), 0);
    for row in input.source.text.split_inclusive('\n') {
        let span = start..start + row.trim_end().len();
        start += row.len();
        let line = row.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        match line.split_once(':').map(|(name, command)| (name.trim(), command.trim())) {
            Some((name, command)) if !name.is_empty() && name.chars().all(ok) && !command.is_empty() => {
                processes.push(Process { name, command, span });
            }
            _ => {
                let remedy = "write NAME: COMMAND, such as `web: bin/server`";
                errors.0.push(Diagnostic::at(input.position(span), "", "the line is no process", remedy));
            }
        }
    }
    errors.into_result().map(|()| processes)
}

/// Reads a command: assignments in front are variables of the service, and what only a shell understands is run by one.
fn command(line: &str, dir: &Utf8Path, service: &mut Service) -> Result<Vec<Text>, String> {
    let split = shell::split(line)?;
    let mut words = split.words;
    let assigned = |word: &String| {
        word.split_once('=')
            .is_some_and(|(name, value)| is_name(name) && !name.starts_with("CONDUCTOR_") && !value.contains('$'))
    };
    if words.first().is_some_and(|word| word == "env") && words.get(1).is_some_and(assigned) {
        words.remove(0);
    }
    let of_shell = split.needs_shell
        || words.iter().any(|word| needs_shell(word))
        || words.first().is_none_or(|word| word.contains('='));
    let is_script = of_shell
        && (split.needs_shell || !words.first().is_some_and(assigned) || words.iter().any(|word| needs_shell(word)));
    if is_script {
        let exec = if split.needs_shell || line.trim_start().split(' ').next().is_some_and(|word| word.contains('=')) {
            ""
        } else {
            "exec "
        };
        return Ok(vec!["/bin/sh".into(), "-c".into(), Text::from(format!("{exec}{line}")).into_word()]);
    }
    while words.first().is_some_and(assigned) {
        let word = words.remove(0);
        let (name, value) = word.split_once('=').unwrap_or((&word, ""));
        service.insert("exec", "environment", name, Text::from(value).into_value());
    }
    let Some(program) = words.first().cloned() else { return Err("the command is empty".to_owned()) };
    if program.contains('/') && !program.starts_with('/') {
        words[0] = normal(dir, &program);
    }
    // Variables of the shell are those of systemd in braces.
    Ok(words.iter().map(|word| Text::from(braced(word))).collect())
}

fn normal(dir: &Utf8Path, program: &str) -> String {
    let mut path = dir.to_owned();
    for step in program.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(path.pop()),
            step => path.push(step),
        }
    }
    path.into_string()
}

/// Returns whether a word has a variable that is more than `$NAME` or `${NAME}`.
fn needs_shell(word: &str) -> bool {
    word.match_indices('$').any(|(at, _)| {
        let rest = &word[at + 1..];
        match rest.strip_prefix('{') {
            Some(inner) => !inner.split_once('}').is_some_and(|(name, _)| is_name(name)),
            None => !rest.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic()),
        }
    })
}

/// Writes `$NAME` as `${NAME}`.
fn braced(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if after.starts_with('{') {
            out.push('$');
            rest = after;
            continue;
        }
        let length = after.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        out.push_str(&format!("${{{}}}", &after[..length]));
        rest = &after[length..];
    }
    out + rest
}
