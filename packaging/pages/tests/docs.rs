//! What README.md and docs/ refer to is there: pages, headings, files, and commands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use clap::error::ErrorKind;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// The directories that `make site` has beside each other.
const ON_THE_SITE: [&str; 3] = ["docs", "examples", "tests/machine/src/scenarios"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Lists the pages of docs/ and of the directories below it, relative to the project.
fn pages_of_docs() -> Vec<PathBuf> {
    let mut dirs = vec![PathBuf::from("docs")];
    let mut pages = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(root().join(&dir)).expect("a directory of docs/") {
            let entry = entry.expect("an entry");
            let path = dir.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

fn all_pages() -> Vec<PathBuf> {
    let others = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASING.md", "examples/README.md"];
    others.into_iter().map(PathBuf::from).chain(pages_of_docs()).collect()
}

fn read(page: &Path) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

fn events(page: &str) -> Parser<'_> {
    Parser::new_ext(page, Options::ENABLE_TABLES)
}

/// Returns the anchor that GitHub and mdbook give a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

/// Returns the anchors of a page; a heading that stands there twice has a number.
fn anchors(page: &str) -> BTreeSet<String> {
    let (mut anchors, mut heading) = (BTreeSet::new(), None);
    for event in events(page) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let name = anchor(&heading.take().expect("a heading"));
                let mut names = std::iter::once(name.clone()).chain((1..).map(|number| format!("{name}-{number}")));
                anchors.extend(names.find(|name| !anchors.contains(name)));
            }
            _ => {}
        }
    }
    anchors
}

/// Returns the targets of links that lead to no other host.
fn links(page: &str) -> Vec<String> {
    let targets = events(page).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.into_string()),
        _ => None,
    });
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// Resolves `..` by the text of a path, as a browser does.
fn resolve(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            assert!(resolved.pop(), "{} leaves the project", path.display());
        } else {
            resolved.push(component);
        }
    }
    resolved
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in all_pages() {
        for link in links(&read(&page)) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let dir = page.parent().expect("a directory");
            let target = if path.is_empty() { page.clone() } else { resolve(&dir.join(path)) };
            let is_there = root().join(&target).exists()
                && (anchor.is_empty() || anchors(&read(&target)).contains(anchor))
                // `make site` copies these.
                && (!page.starts_with("docs") || ON_THE_SITE.iter().any(|dir| target.starts_with(dir)));
            if !is_there {
                wrong.push(format!("{}: {link}", page.display()));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
    assert!(count > 200, "{count} links");
}

#[test]
fn index_and_summary_name_every_page() {
    let named = |list: &str| -> BTreeSet<PathBuf> {
        let links = links(&read(Path::new(list))).into_iter();
        links.map(|link| Path::new("docs").join(link.split('#').next().unwrap_or_default())).collect()
    };
    let is_list = |page: &Path| ["docs/index.md", "docs/SUMMARY.md"].contains(&page.to_str().unwrap_or_default());
    for list in ["docs/index.md", "docs/SUMMARY.md"] {
        let named = named(list);
        let missing: Vec<_> =
            pages_of_docs().into_iter().filter(|page| !is_list(page) && !named.contains(page)).collect();
        assert!(missing.is_empty(), "{list} does not name {missing:?}");
    }
}

/// A command of a page, and whether it stands in a block that people copy.
struct Shown {
    words: Vec<String>,
    is_complete: bool,
}

/// Returns the commands of a page that call conductor.
fn commands(page: &str) -> Vec<Shown> {
    let mut commands = Vec::new();
    let mut block = false;
    for event in events(page) {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                block = match kind {
                    CodeBlockKind::Indented => true,
                    CodeBlockKind::Fenced(language) => language.as_ref() == "sh",
                }
            }
            Event::End(TagEnd::CodeBlock) => block = false,
            Event::Text(text) if block => {
                let text = text.replace("\\\n", " ");
                commands.extend(text.lines().flat_map(of_line).map(|words| Shown { words, is_complete: true }));
            }
            Event::Code(text) if text.starts_with("conductor ") && !text.contains(['…', '[', '|', '\\', '<']) => {
                commands.extend(of_line(&text).into_iter().map(|words| Shown { words, is_complete: false }));
            }
            _ => {}
        }
    }
    commands
}

/// Splits a line of a shell into commands, and returns those that call conductor.
fn of_line(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let (mut word, mut quote) = (String::new(), None);
    for c in line.chars().chain(['\n']) {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.push(c),
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None if c == '#' && word.is_empty() => break,
            None if c.is_whitespace() || matches!(c, ';' | '|' | '&' | '(' | ')') => {
                let command = commands.last_mut().expect("a command");
                command.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
                if !c.is_whitespace() {
                    commands.push(Vec::new());
                }
            }
            None => word.push(c),
        }
    }
    let is_redirection = |word: &String| word.contains(['<', '>']);
    let commands = commands.into_iter().filter_map(|words| {
        let begin = words.iter().position(|word| word == "conductor")?;
        let is_command = words[..begin].iter().all(|word| ["if", "then", "do", "!", "until"].contains(&word.as_str()));
        is_command.then(|| words[begin..].iter().take_while(|word| !is_redirection(word)).cloned().collect())
    });
    commands.collect()
}

#[test]
fn commands_exist() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in all_pages() {
        for Shown { words, is_complete } in commands(&read(&page)) {
            count += 1;
            let Err(error) = conductor::cli::command().try_get_matches_from(&words) else { continue };
            let is_wrong = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => false,
                // `N` stands for a number, and `$id` for what a shell puts there.
                ErrorKind::ValueValidation => is_complete && !words.iter().any(|word| word.contains('$')),
                ErrorKind::MissingRequiredArgument
                | ErrorKind::MissingSubcommand
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => is_complete,
                _ => true,
            };
            if is_wrong {
                wrong.push(format!("{}: {}", page.display(), words.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "commands that do not exist:\n{}", wrong.join("\n"));
    assert!(count > 200, "{count} commands");
}
