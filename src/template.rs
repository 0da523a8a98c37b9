//! A declared directory, templated with the variables given on the command line.

use fs_err as fs;
use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

use crate::diagnostic::{Diagnostic, Diagnostics, Position, Source};
use crate::given::{Entry, Given, Kind, failed, must_fit, permissions, private};
use crate::source::{DECLARATION, PROVENANCE};

/// Suffix of files that are templates; it is dropped.
const SUFFIX: &str = ".j2";

/// Copies `from` into the empty directory `to`: `service.toml` and every `*.j2` rendered, the rest as it is. Returns the
/// files that others cannot read in `from`, except `service.toml`.
///
/// # Errors
/// Templates that do not parse or use a variable that is not given; a `service.toml` that is a link; files that are too
/// large; what cannot be read or written.
pub fn render_dir(
    from: &Utf8Path,
    to: &Utf8Path,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<Utf8PathBuf>, Diagnostics> {
    let given = &Given::open(from)?;
    let mut entries = given.below(Utf8Path::new(""))?;
    entries.retain(|entry| entry.path != PROVENANCE);
    must_be_file(given, &entries)?;
    must_fit(from, "declaration", &entries)?;
    let templating = Templating { environment: environment(), variables, given, entries: &entries, to };
    let mut errors = Diagnostics::default();
    errors.0.extend(entries.iter().filter_map(|entry| templating.entry(entry).err()));
    errors.into_result()?;
    Ok(private(&entries).filter(|path| *path != DECLARATION).map(Utf8Path::to_owned).collect())
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
    given: &'a Given,
    entries: &'a [Entry],
    to: &'a Utf8Path,
}

impl Templating<'_> {
    fn entry(&self, entry: &Entry) -> Result<(), Diagnostic> {
        let path = &entry.path;
        let rendered = path.as_str().strip_suffix(SUFFIX);
        let Kind::File { is_executable, .. } = entry.kind else { return self.given.copy(entry, self.to) };
        if path != DECLARATION && rendered.is_none() {
            return self.given.copy(entry, self.to);
        }
        let at = Utf8Path::new(rendered.unwrap_or(path.as_str()));
        if rendered.is_some() && self.entries.iter().any(|other| other.path == at) {
            let message = format!("{at} is there as well");
            return Err(Diagnostic::of_file(&self.given.shown(path), message, "remove one of the two"));
        }
        let text = render_in(&self.environment, &self.given.shown(path), &self.given.text(path)?, self.variables)?;
        let to = self.to.join(at);
        let written = fs::write(&to, text).and_then(|()| fs::set_permissions(&to, permissions(is_executable)));
        written.map_err(|error| failed(&to, error))
    }
}

/// Checks that a declaration is a file of its directory, and not a link to any file of the host.
fn must_be_file(given: &Given, entries: &[Entry]) -> Result<(), Diagnostic> {
    let declaration = entries.iter().find(|entry| entry.path == DECLARATION);
    match declaration.map(|entry| &entry.kind) {
        Some(Kind::Link { target }) => {
            let message = format!("is a link, to {target}, and not a file");
            Err(Diagnostic::of_file(&given.shown(DECLARATION.into()), message, "copy what it links to"))
        }
        _ => Ok(()),
    }
}

fn line_span(text: &str, line: Option<usize>) -> std::ops::Range<usize> {
    let number = line.unwrap_or(1).max(1);
    let start: usize = text.split_inclusive('\n').take(number - 1).map(str::len).sum();
    let length = text[start..].lines().next().map_or(0, str::len);
    start..start + length
}
