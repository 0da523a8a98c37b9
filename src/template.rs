//! A declared directory, templated with the variables given on the command line.
//!
//! A variable is a value: in TOML and in a pod's YAML it is escaped for the place it stands in, unless the template
//! writes `| safe`. Other files get it as it is.

mod engine;
mod mark;
mod tag;
mod toml;
mod used;

use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use minijinja::Environment;

use self::engine::{FUEL, environment};
pub(crate) use self::mark::Piece;
use self::used::{at_start, names_in, of_pods, refuse_unused};
use crate::diagnostic::{Diagnostic, Diagnostics, Position, Source};
use crate::given::{Entry, Given, Kind, failed, must_fit, permissions};
use crate::resolve::VARIABLES;
use crate::source::{DECLARATION, PROVENANCE};
use crate::variable;

/// Suffix of files that are templates; it is dropped.
const SUFFIX: &str = ".j2";
/// The variables that templates are rendered with.
type Variables = BTreeMap<String, String>;
/// Says what to write for a variable that is not there.
type Remedy = fn(&str) -> String;

/// Copies `from` into the empty directory `to`: `service.toml` and every `*.j2` rendered, the rest as it is.
///
/// # Errors
/// Templates that do not parse or use a variable that is not given; a variable that no template uses; a `service.toml`
/// that is a link; files that are too large; what cannot be read or written.
pub fn render_dir(from: &Utf8Path, to: &Utf8Path, variables: &Variables) -> Result<(), Diagnostics> {
    let given = &Given::open(from)?;
    let mut entries = given.below(Utf8Path::new(""))?;
    entries.retain(|entry| entry.path != PROVENANCE);
    must_be_file(given, &entries)?;
    must_fit(from, "declaration", &entries)?;
    let (mut errors, later) = (Diagnostics::default(), BTreeSet::new());
    let mut templating = Templating { variables, given, entries: &entries, to, used: BTreeSet::new(), later };
    let (declaration, others): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.path == DECLARATION);
    errors.0.extend(declaration.into_iter().filter_map(|entry| templating.entry(entry).err()));
    templating.later = at_start(&to.join(DECLARATION));
    errors.0.extend(others.into_iter().filter_map(|entry| templating.entry(entry).err()));
    errors.into_result()?;
    // A declaration that does not parse has an error of its own.
    if let Some(pods) = of_pods(to, &to.join(DECLARATION)) {
        refuse_unused(&from.join(DECLARATION), variables, &(&templating.used | &pods))?;
    }
    Ok(())
}

/// Renders the text of a file of a declaration when a deployment starts.
///
/// # Errors
/// A template that does not parse or uses a variable that is not given.
pub(crate) fn render_at_start(path: &Utf8Path, text: &str, variables: &Variables) -> Result<String, Diagnostic> {
    match is_toml(path) {
        true => toml_text(path, text, variables, unknown),
        false => render_in(&environment(), path, text, variables, unknown),
    }
}

/// Returns the path of a template once it is rendered.
pub(crate) fn rendered(path: &Utf8Path) -> &Utf8Path {
    path.as_str().strip_suffix(SUFFIX).map_or(path, Utf8Path::new)
}

fn is_toml(path: &Utf8Path) -> bool {
    rendered(path).extension() == Some("toml")
}

/// Renders the text of a file that is TOML.
///
/// # Errors
/// A template that does not parse or uses a variable that is not given; a value that cannot stand in its place; a
/// variable that the template does not use.
pub(crate) fn render_toml(path: &Utf8Path, text: &str, variables: &Variables) -> Result<String, Diagnostic> {
    let rendered = toml_text(path, text, variables, not_given)?;
    refuse_unused(path, variables, &names_in(text).unwrap_or_default())?;
    Ok(rendered)
}

fn toml_text(path: &Utf8Path, text: &str, variables: &Variables, remedy: Remedy) -> Result<String, Diagnostic> {
    let pieces = pieces(path, text, variables, remedy)?;
    toml::join(&pieces).map_err(|misplaced| {
        // The line as it would be tells the place and the value in one.
        let text: String = pieces.iter().map(Piece::text).collect();
        let start = pieces[..misplaced.index].iter().map(|piece| piece.text().len()).sum();
        let span = start..start + pieces[misplaced.index].text().len();
        let source = Arc::new(Source { path: format!("{path} (rendered)").into(), text });
        Diagnostic::at(Position { source, span }, "", misplaced.message, misplaced.remedy)
    })
}

/// Renders the text of a pod's file and tells its values apart from the template's text.
///
/// # Errors
/// A template that does not parse or uses a variable that is not known.
pub(crate) fn render_pieces(path: &Utf8Path, text: &str, variables: &Variables) -> Result<Vec<Piece>, Diagnostic> {
    pieces(path, text, variables, unknown)
}

fn pieces(path: &Utf8Path, text: &str, variables: &Variables, remedy: Remedy) -> Result<Vec<Piece>, Diagnostic> {
    if mark::is_marked(text) || variables.values().any(|value| mark::is_marked(value)) {
        let message = "the template or a variable has the noncharacter U+FDD0 or U+FDD1";
        return Err(Diagnostic::of_file(path, message, "remove it"));
    }
    let mut environment = environment();
    mark::mark_values(&mut environment);
    let rendered = render_in(&environment, path, text, variables, remedy)?;
    mark::pieces(&rendered).ok_or_else(|| {
        let message = "a filter takes a captured text apart";
        Diagnostic::of_file(path, message, "apply the filter to the variable itself")
    })
}

fn render_in(
    environment: &Environment,
    path: &Utf8Path,
    text: &str,
    variables: &Variables,
    remedy: Remedy,
) -> Result<String, Diagnostic> {
    if let Some(span) = tag::too_long(text) {
        let source = Arc::new(Source { path: path.to_owned(), text: text.to_owned() });
        let message = format!("the tag is longer than {} bytes", tag::LONGEST);
        return Err(Diagnostic::at(Position { source, span }, "", message, "set parts of it first, with {% set %}"));
    }
    environment.render_named_str(path.as_str(), text, variables).map_err(|error| {
        let source = Arc::new(Source { path: path.to_owned(), text: text.to_owned() });
        let span = error.range().unwrap_or_else(|| line_span(text, error.line()));
        let name = text.get(span.clone()).unwrap_or("").trim().to_owned();
        let (message, remedy) = match error.kind() {
            minijinja::ErrorKind::UndefinedError => (format!("the variable {name} is not given"), remedy(&name)),
            minijinja::ErrorKind::OutOfFuel => {
                (format!("the template takes more than {FUEL} steps"), "shorten its loops and texts".to_owned())
            }
            kind => {
                let detail = error.detail().map_or_else(|| kind.to_string(), str::to_owned);
                let remedy = "see the syntax of Jinja templates; {% raw %} and {% endraw %} enclose text that is none";
                (format!("not a valid template: {detail}"), remedy.to_owned())
            }
        };
        Diagnostic::at(Position { source, span }, "", message, remedy)
    })
}

/// Says what to write for a variable that is not known when a deployment starts.
fn unknown(name: &str) -> String {
    variable::remedy(name).map_or_else(|| not_given(name), str::to_owned)
}

/// Says what to write for a variable that is not given.
fn not_given(name: &str) -> String {
    if VARIABLES.contains(&name) {
        return format!(
            "it is known when a deployment starts: name the file in exec.start_templates, or write ${{{name}}} in a command \
             or in environment"
        );
    }
    format!(
        "add {name}=… to the command, write {{{{ {name} | default(\"…\") }}}}, or enclose text that is no template in \
         {{% raw %}} and {{% endraw %}}"
    )
}

struct Templating<'a> {
    variables: &'a Variables,
    given: &'a Given,
    entries: &'a [Entry],
    to: &'a Utf8Path,
    /// Names of the variables that templates use.
    used: BTreeSet<String>,
    /// Files that are rendered when a deployment starts.
    later: BTreeSet<Utf8PathBuf>,
}

impl Templating<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<(), Diagnostic> {
        let path = &entry.path;
        let rendered = path.as_str().strip_suffix(SUFFIX);
        let Kind::File { is_executable, .. } = entry.kind else { return self.given.copy(entry, self.to) };
        if self.later.contains(path) {
            self.used.extend(names_in(&self.given.text(path)?).unwrap_or_default());
            return self.given.copy(entry, self.to);
        }
        if path != DECLARATION && rendered.is_none() {
            return self.given.copy(entry, self.to);
        }
        let at = Utf8Path::new(rendered.unwrap_or(path.as_str()));
        if rendered.is_some() && self.entries.iter().any(|other| other.path == at) {
            let message = format!("{at} is there as well");
            return Err(Diagnostic::of_file(&self.given.shown(path), message, "remove one of the two"));
        }
        let text = self.render(path)?;
        let to = self.to.join(at);
        let written = fs::write(&to, text).and_then(|()| fs::set_permissions(&to, permissions(is_executable)));
        written.map_err(|error| failed(&to, error))
    }

    fn render(&mut self, path: &Utf8Path) -> Result<String, Diagnostic> {
        let (shown, text) = (self.given.shown(path), self.given.text(path)?);
        self.used.extend(names_in(&text).unwrap_or_default());
        if is_toml(path) {
            return toml_text(&shown, &text, self.variables, not_given);
        }
        render_in(&environment(), &shown, &text, self.variables, not_given)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        render_toml("service.toml".into(), text, &variables).map_err(|error| error.headline())
    }

    #[test]
    fn values_are_escaped_unless_they_are_safe() {
        let value = &[("X", "1\" }\nuser = \"root\"")];
        assert_eq!(render("a = \"{{ X }}\"", value).unwrap(), "a = \"1\\\" }\\nuser = \\\"root\\\"\"");
        assert_eq!(render("a = {{ X | safe }}", value).unwrap(), format!("a = {}", value[0].1));
        for template in [
            "{% set x %}{{ X }}{% endset %}a = \"{{ x }}\"",
            "{% macro m(x) %}\"{{ x }}\"{% endmacro %}a = {{ m(X) }}",
            "{% set x %}{{ X }}{% endset %}a = \"{% for l in x | lines %}{{ l }}{% endfor %}\"",
            "{% set x %}{{ X }}{% endset %}a = \"{{ (x | split(' '))[3] }}\"",
            "{% set x %}{{ X }}{% endset %}a = \"{{ x | upper }}{{ x[3:] }}\"",
            "a = \"{{ [X, X] | join('\\\"') }}{{ X ~ '\\\"' }}{{ X | e }}{{ 'y' if X == '' }}\"",
        ] {
            let text = render(template, value).unwrap();
            let document: ::toml::Table = ::toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(document.len(), 1, "{text}");
        }
    }

    #[test]
    fn what_a_template_cannot_do_is_an_error() {
        let headline = |text, variables: &[(&str, &str)]| render(text, variables).unwrap_err();
        let error = headline("# {{ A }}\na = {{ X }}\n", &[("A", "1"), ("X", "1\nb = 2")]);
        assert_eq!(error, "service.toml (rendered):2:5: the value \"1\\nb = 2\" stands outside of a string");
        assert_eq!(headline("a = '{{ X }}'", &[]), "service.toml:1:9: the variable X is not given");
        let unused = headline("a = '{{ TAG }}{{ range(2) | length }}'", &[("TAG", "1"), ("TGA", "1")]);
        assert_eq!(unused, "service.toml: no template uses the variable TGA");
        for text in [
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "{% set x = 'a' * 3000000000 %}",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{{ '%999999999d' | format(1) }}",
            "{% include '/etc/shadow' %}",
            "\u{FDD0}",
            // It would put a mark between two marks.
            "{% set x %}{{ 'ab' }}{% endset %}a = \"{{ x | replace('b', 'c') }}\"",
        ] {
            assert!(render(text, &[]).is_err(), "{text}");
        }
    }
}
