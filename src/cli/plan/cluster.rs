//! `conductor plan --target kubernetes`: what applying the objects would change of a cluster.

use std::io::Read;

use camino::Utf8Path;

use crate::cli::context::Context;
use crate::cli::export;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;
use crate::cli::plan::{Arguments, shortened};
use crate::cli::{table, words};
use crate::target::kubernetes::Kubernetes;
use crate::target::kubernetes::fields::one_line;
use crate::target::kubernetes::plan::{Action, Change, Difference, compare};

pub(super) fn run(context: &Context, arguments: &Arguments, target: &Kubernetes) -> Outcome {
    let found = export::services(context, &arguments.names, None, target)?;
    let cluster = match &arguments.against {
        Some(path) => read(path)?,
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        }
    };
    let is_all = words::split(&arguments.names).0.is_empty();
    let differences = compare(&found.stream(), &cluster, is_all).map_err(|why| {
        let remedy = "give it the output of kubectl get deployments,services,… --selector app.kubernetes.io/managed-by=conductor -o yaml";
        Failure::Failed(format!("the cluster's objects are not YAML: {why}\n  help: {remedy}"))
    })?;
    if arguments.json {
        table::print_json(&differences)?;
    } else {
        print(&differences);
    }
    found.errors.into_result()?;
    if !differences.is_empty() && arguments.exit_code { Err(Failure::Exit(4)) } else { Ok(()) }
}

/// Reads a file, or all files of a directory.
fn read(path: &Utf8Path) -> Result<String, Failure> {
    let named = |path: &Utf8Path, error: std::io::Error| Failure::Failed(format!("{path}: {error}"));
    if !path.is_dir() {
        return std::fs::read_to_string(path).map_err(|error| named(path, error));
    }
    let mut files: Vec<_> = path
        .read_dir_utf8()
        .and_then(|entries| entries.map(|entry| Ok(entry?.into_path())).collect::<std::io::Result<_>>())
        .map_err(|error| named(path, error))?;
    files.retain(|file| matches!(file.extension(), Some("yaml" | "yml" | "json")));
    files.sort();
    let texts = files.iter().map(|file| {
        let text = std::fs::read_to_string(file).map_err(|error| named(file, error))?;
        Ok(format!("---\n{text}\n"))
    });
    texts.collect()
}

fn print(differences: &[Difference]) {
    if differences.is_empty() {
        return outln!("no changes");
    }
    let mut service = None;
    for difference in differences {
        if service != Some(&difference.service) {
            let of_it = differences.iter().filter(|other| other.service == difference.service);
            let mut actions: Vec<_> = of_it.flat_map(|other| &other.actions).copied().collect();
            actions.sort_unstable();
            actions.dedup();
            let name = if difference.service.is_empty() { "all services" } else { &difference.service };
            outln!("{name}: {}", actions.into_iter().map(Action::name).collect::<Vec<_>>().join(", "));
            service = Some(&difference.service);
        }
        let actions: Vec<_> = difference.actions.iter().map(|action| action.name()).collect();
        outln!("  {} {}: {}", difference.kind, difference.name, actions.join(", "));
        for Change { field, old, new } in &difference.changes {
            let text = |value: &Option<String>| one_line(value.as_deref().unwrap_or(""));
            let (before, after) = shortened(&text(old), &text(new));
            let how = match (old, new) {
                (Some(_), Some(_)) => format!("{before} -> {after}"),
                (None, _) => format!("{after} (new)"),
                (Some(_), None) => format!("{before} (removed)"),
            };
            outln!("    {field}: {how}");
        }
    }
}
