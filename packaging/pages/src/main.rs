//! Writes the manual pages: of each command, from the command line itself, and of what docs/ describes; and the
//! schemas of the files that people write.
//! usage: conductor-pages DOCS PAGES SCHEMAS
//!        conductor-pages --tables DOCS

mod commands;
mod endings;
mod prose;
mod tables;
mod tidy;

use std::error::Error;
use std::fs;
use std::path::Path;

/// When the version that the pages are about was released.
const RELEASED: &str = "2026-11-25";

/// A page that is written by hand, in docs/.
struct Page {
    name: &'static str,
    section: &'static str,
    about: &'static str,
    source: &'static str,
}

const PAGES: &[Page] = &[
    Page {
        name: "service.toml",
        section: "5",
        about: "declaration of a service for conductor",
        source: "service-toml.md",
    },
    Page {
        name: "function.toml",
        section: "5",
        about: "manifest of a CGI function for conductor",
        source: "function-toml.md",
    },
    Page {
        name: "conductor.toml",
        section: "5",
        about: "what holds for all services of a host",
        source: "conductor-toml.md",
    },
    Page { name: "conductor", section: "7", about: "how conductor works", source: "concepts.md" },
    Page {
        name: "conductor-generator",
        section: "8",
        about: "compiles declarations when systemd loads its units",
        source: "generator.md",
    },
];

const USAGE: &str = "usage: conductor-pages DOCS PAGES SCHEMAS, or conductor-pages --tables DOCS";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--tables", docs] => tables::update(docs.as_ref()),
        [docs, dir, schemas] => write(docs.as_ref(), dir.as_ref(), schemas.as_ref()),
        _ => Err(USAGE.into()),
    }
}

fn write(docs: &Path, dir: &Path, schemas: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(dir)?;
    for (name, text) in commands::pages() {
        let text = String::from_utf8(text)? + &prose::sections(&endings::of(&name));
        fs::write(dir.join(name), tidy::tidy(&text, RELEASED))?;
    }
    for page in PAGES {
        let text = fs::read_to_string(docs.join(page.source)).map_err(|error| format!("{}: {error}", page.source))?;
        let name = format!("{}.{}", page.name, page.section);
        let text = prose::page(page, &text) + &prose::sections(&endings::of(&name));
        fs::write(dir.join(name), tidy::tidy(&text, RELEASED))?;
    }
    fs::create_dir_all(schemas)?;
    for (file, schema) in conductor::schema::all() {
        fs::write(schemas.join(format!("{file}.schema.json")), format!("{schema:#}\n"))?;
    }
    Ok(())
}
