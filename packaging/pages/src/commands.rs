//! Pages of section 1: conductor(1), and one for each of its nouns.

use clap::Command;
use clap_mangen::Man;

/// Each page's file name and text.
pub(crate) fn pages() -> Vec<(String, Vec<u8>)> {
    let mut conductor = conductor::cli::command().disable_help_subcommand(true);
    conductor.build();
    let nouns = conductor.get_subcommands().filter(|noun| !noun.is_hide_set() && noun.get_name() != "help");
    let mut pages: Vec<_> = nouns.map(page).collect();
    pages.push(page(&conductor));
    pages
}

/// Writes a noun and its verbs on one page, because people look for `man conductor-service`.
fn page(command: &Command) -> (String, Vec<u8>) {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let man = Man::new(command.clone()).title(name.to_uppercase()).source("conductor").manual("Conductor");
    let mut text = Vec::new();
    let is_noun = command.get_subcommands().any(|verb| !verb.is_hide_set()) && name != "conductor";
    let written = if is_noun { with_verbs(&man, command, &mut text) } else { man.render(&mut text) };
    written.expect("a vector takes what is written");
    (format!("{name}.1"), text)
}

fn with_verbs(man: &Man, noun: &Command, text: &mut Vec<u8>) -> std::io::Result<()> {
    man.render_title(text)?;
    man.render_name_section(text)?;
    man.render_synopsis_section(text)?;
    man.render_description_section(text)?;
    for verb in noun.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
        let usage = verb.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        let mut page = roff::Roff::new();
        page.control("SH", [verb.get_name().to_uppercase().as_str()]);
        page.text([roff::bold(usage)]);
        page.control("PP", []);
        let about = verb.get_long_about().or(verb.get_about()).map(ToString::to_string).unwrap_or_default();
        page.text([roff::roman(format!("{about}."))]);
        for arg in verb.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_help().is_some()) {
            if matches!(arg.get_id().as_str(), "help" | "user" | "root" | "version") {
                continue;
            }
            page.control("TP", []);
            page.text([roff::bold(called(arg))]);
            page.text([roff::roman(arg.get_help().map(ToString::to_string).unwrap_or_default())]);
        }
        page.to_writer(text)?;
    }
    Ok(())
}

/// How an argument is written.
fn called(arg: &clap::Arg) -> String {
    let values =
        || arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match (arg.get_short(), arg.get_long()) {
        (_, None) if arg.is_required_set() => values(),
        (_, None) => format!("[{}]", values()),
        (short, Some(long)) => {
            let short = short.map_or_else(String::new, |short| format!("-{short}, "));
            let value = if arg.get_action().takes_values() { format!(" {}", values()) } else { String::new() };
            format!("{short}--{long}{value}")
        }
    }
}
