//! A declared directory, templated with the variables given on the command line.

use fs_err as fs;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use camino::Utf8Path;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

use crate::diagnostic::{Diagnostic, Diagnostics, Position, Source};
use crate::source::{DECLARATION, PROVENANCE};

/// Suffix of files that are templates; it is dropped.
const SUFFIX: &str = ".j2";

/// Copies `from` into the empty directory `to`: `service.toml` and every `*.j2` rendered, the rest
/// as it is.
///
/// # Errors
/// Templates that do not parse or use a variable that is not given; what cannot be read or written.
pub fn render_dir(from: &Utf8Path, to: &Utf8Path, variables: &BTreeMap<String, String>) -> Result<(), Diagnostics> {
    let mut errors = Diagnostics::default();
    Templating { environment: environment(), variables, from, to }.directory(Utf8Path::new(""), &mut errors);
    errors.into_result()
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("jinja's own delimiters"));
    // Declarations are not HTML.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment
}

/// Renders the text of one file.
///
/// # Errors
/// A template that does not parse or uses a variable that is not given.
pub(crate) fn render(path: &Utf8Path, text: &str, variables: &BTreeMap<String, String>) -> Result<String, Diagnostic> {
    render_in(&environment(), path, text, variables)
}

fn render_in(
    environment: &Environment,
    path: &Utf8Path,
    text: &str,
    variables: &BTreeMap<String, String>,
) -> Result<String, Diagnostic> {
    environment.render_named_str(path.as_str(), text, variables).map_err(|error| {
        let source = Arc::new(Source { path: path.to_owned(), text: text.to_owned() });
        let span = error.range().unwrap_or_else(|| line_span(text, error.line()));
        let undefined = error.kind() == minijinja::ErrorKind::UndefinedError;
        let name = text.get(span.clone()).unwrap_or("").trim().to_owned();
        let (message, remedy) = if undefined {
            let message = format!("the variable {name} is not given");
            (message, format!("add {name}=… to the command, or write {{{{ {name} | default(\"…\") }}}}"))
        } else {
            let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            (format!("not a valid template: {detail}"), "see the syntax of Jinja templates".to_owned())
        };
        Diagnostic::at(Position { source, span }, "", message, remedy)
    })
}

struct Templating<'a> {
    environment: Environment<'static>,
    variables: &'a BTreeMap<String, String>,
    from: &'a Utf8Path,
    to: &'a Utf8Path,
}

impl Templating<'_> {
    fn directory(&self, below: &Utf8Path, errors: &mut Diagnostics) {
        let dir = self.from.join(below);
        let mut entries: Vec<_> = match dir.read_dir_utf8() {
            Ok(entries) => entries.flatten().collect(),
            Err(error) => return errors.0.push(failed(&dir, &error)),
        };
        entries.sort_by(|one, other| one.file_name().cmp(other.file_name()));
        for entry in entries {
            let path = below.join(entry.file_name());
            if path == PROVENANCE {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                match fs::create_dir(self.to.join(&path)) {
                    Ok(()) => self.directory(&path, errors),
                    Err(error) => errors.0.push(failed(&self.to.join(&path), &error)),
                }
            } else if let Err(error) = self.file(&path) {
                errors.0.push(error);
            }
        }
    }

    fn file(&self, path: &Utf8Path) -> Result<(), Diagnostic> {
        let from = self.from.join(path);
        let kind = from.symlink_metadata().map_err(|error| failed(&from, &error))?;
        if kind.is_symlink() {
            let target = from.read_link_utf8().map_err(|error| failed(&from, &error))?;
            return symlink(target, self.to.join(path)).map_err(|error| failed(&from, &error));
        }
        if !kind.is_file() {
            let message = "is neither a file, a directory nor a link";
            return Err(Diagnostic::of_file(&from, message, "remove it from the declaration"));
        }
        let rendered = path.as_str().strip_suffix(SUFFIX);
        if path != DECLARATION && rendered.is_none() {
            let to = self.to.join(path);
            return fs::copy(&from, &to)
                .map(drop)
                .map_err(|error| failed(if error.kind() == ErrorKind::StorageFull { &to } else { &from }, &error));
        }
        let to = self.to.join(rendered.unwrap_or(path.as_str()));
        if rendered.is_some() && self.from.join(rendered.unwrap_or_default()).exists() {
            let message = format!("{} is there as well", rendered.unwrap_or_default());
            return Err(Diagnostic::of_file(&from, message, "remove one of the two"));
        }
        fs::write(&to, self.render(&from)?).map_err(|error| failed(&to, &error))?;
        fs::set_permissions(&to, kind.permissions()).map_err(|error| failed(&to, &error))
    }

    fn render(&self, path: &Utf8Path) -> Result<String, Diagnostic> {
        let text = fs::read_to_string(path).map_err(|error| failed(path, &error))?;
        render_in(&self.environment, path, &text, self.variables)
    }
}

fn line_span(text: &str, line: Option<usize>) -> std::ops::Range<usize> {
    let number = line.unwrap_or(1).max(1);
    let start: usize = text.split_inclusive('\n').take(number - 1).map(str::len).sum();
    let length = text[start..].lines().next().map_or(0, str::len);
    start..start + length
}

fn failed(path: &Utf8Path, error: &std::io::Error) -> Diagnostic {
    let remedy = match error.kind() {
        ErrorKind::StorageFull => "make space there",
        _ => "check the path and its permissions",
    };
    Diagnostic::of_file(path, error.to_string(), remedy)
}
