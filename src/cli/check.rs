//! `conductor check`

use camino::Utf8Path;
use clap::Args;

use crate::cli::context::Context;
use crate::cli::export;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::input::{is_directory, is_function, with_function, with_rendered};
use crate::cli::output::outln;
use crate::cli::words;
use crate::compile;
use crate::compile::host::Compiled;
use crate::compile::unit_files::UnitFiles;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::function::host_check as function_check;
use crate::log::note;
use crate::model::function::Compiled as Function;
use crate::proxy::publish;
use crate::service::proposal::template_error;
use crate::service::{access, host_check, proposal};
use crate::source::functions::{self, MANIFEST};
use crate::source::search::{self, Location};
use crate::target::Export;
use crate::{source, verify};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Directories, manifests, services or functions [default: all]
    #[arg(value_name = "DIR|NAME|FUNCTION|VAR=VAL")]
    words: Vec<String>,
    #[command(flatten)]
    export: export::Arguments,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let (things, assignments) = words::split(&arguments.words);
    if let Some(target) = arguments.export.target()? {
        return check_export(context, &things, &assignments, &*target);
    }
    let mut errors = Diagnostics::default();
    let (mut checked, mut checked_functions) = (0, 0);
    if things.is_empty() {
        let host = compile::compile(&context.layout, &context.target());
        for compiled in host.services.values() {
            let dir = compiled.service.source.parent().unwrap_or(Utf8Path::new("/"));
            errors.0.extend(external_errors(context, compiled, &context.layout.at(dir), &compiled.service.source)?);
            if let Some(location) = search::find_one(&context.layout, &compiled.service.name)? {
                errors.0.extend(of_host(context, &location, compiled, &context.layout.at(dir), dir)?);
            }
            checked += 1;
        }
        for compiled in host.functions.values() {
            errors.0.extend(of_function(context, compiled, &context.layout.at(&compiled.dir))?);
            checked_functions += 1;
        }
        errors.0.extend(host.lost.values().cloned());
        errors.0.extend(host.into_errors().0);
        errors.0.extend(access::of_others(&context.layout));
    }
    for thing in &things {
        if is_function(context, thing) {
            match with_function(context, thing, &assignments, |compiled, dir| of_function(context, compiled, dir)) {
                Ok(found) => {
                    errors.0.extend(found);
                    checked_functions += 1;
                }
                Err(Failure::Declaration(found)) => errors.0.extend(found.0),
                Err(other) => return Err(other),
            }
            continue;
        }
        match one(context, thing, &assignments) {
            Ok((services, found)) => {
                errors.0.extend(found);
                checked += services;
            }
            Err(Failure::Declaration(found)) => errors.0.extend(found.0),
            Err(other) => return Err(other),
        }
    }
    errors.distinct().into_result()?;
    if checked > 0 || checked_functions == 0 {
        outln!("{checked} {} in order", if checked == 1 { "service is" } else { "services are" });
    }
    if checked_functions > 0 {
        outln!("{checked_functions} {} in order", if checked_functions == 1 { "function is" } else { "functions are" });
    }
    Ok(())
}

/// Checks that a target beyond this host can express what words name, with the services that it depends on.
fn check_export(context: &Context, things: &[String], assignments: &[String], target: &dyn Export) -> Outcome {
    let (mut checked, mut errors) = (0, Diagnostics::default());
    let each: Vec<_> = if things.is_empty() { vec![&[][..]] } else { things.chunks(1).collect() };
    for thing in each {
        match export::services(context, &[thing, assignments].concat(), None, target) {
            Ok(found) => {
                checked += found.services.len();
                errors.0.extend(found.errors.0);
            }
            Err(Failure::Declaration(found)) => errors.0.extend(found.0),
            Err(other) => return Err(other),
        }
    }
    errors.distinct().into_result()?;
    outln!("{checked} {} in order", if checked == 1 { "service is" } else { "services are" });
    Ok(())
}

/// Collects systemd's errors in a function's units, and what the function does not find on this host.
fn of_function(context: &Context, compiled: &Function, dir: &Utf8Path) -> Result<Vec<Diagnostic>, Failure> {
    let lines = verify::verify_function(&context.layout, compiled, dir, &context.target())
        .map_err(|error| Failure::Failed(format!("could not run systemd-analyze: {error}")))?;
    let remedy = "correct the key that the line comes from; `conductor explain` shows it";
    let shown = compiled.dir.join(MANIFEST);
    let mut found: Vec<_> =
        lines.iter().map(|line| Diagnostic::of_file(&shown, format!("systemd: {line}"), remedy)).collect();
    if context.machine().is_running() {
        let document = functions::document(dir, &shown)?;
        found.extend(function_check::check(context.layout.scope, compiled, &document, dir).0);
    }
    Ok(found)
}

/// Checks what a word names. Returns the number of services and their errors.
fn one(context: &Context, thing: &str, assignments: &[String]) -> Result<(usize, Vec<Diagnostic>), Failure> {
    let path = Utf8Path::new(thing);
    if is_directory(thing) {
        return with_rendered(context, path, None, assignments, |location, dir| each(context, location, dir, path));
    }
    let location = context.location(thing)?;
    each(context, &location, &context.layout.at(&location.dir), &location.dir)
}

fn each(
    context: &Context,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<(usize, Vec<Diagnostic>), Failure> {
    let services = compile::compile_all(&context.layout, location, dir, shown, &context.target())?;
    let others = UnitFiles::list(&context.layout)?;
    let mut found = Vec::new();
    for compiled in &services {
        others.refuse(compiled.service.declared_as(), location)?;
        others.refuse(&compiled.service.name, location)?;
        found.extend(external_errors(context, compiled, dir, &shown.join(source::DECLARATION))?);
        found.extend(of_host(context, location, compiled, dir, shown)?);
    }
    found.extend(proposal::conflicts(&context.machine(), location, dir, shown, &services).0);
    Ok((services.len(), found))
}

/// Collects what a service does not find on this host; prints what it may not find.
fn of_host(
    context: &Context,
    location: &Location,
    compiled: &Compiled,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<Vec<Diagnostic>, Failure> {
    let found = host_check::check(&context.machine(), location, compiled, dir, shown)?;
    found.warnings.0.iter().for_each(|warning| note!("{}", host_check::told(warning)));
    Ok(found.errors.0)
}

/// Collects systemd's errors in the units of a service, and what keeps the proxy from reaching it.
fn external_errors(
    context: &Context,
    compiled: &Compiled,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<Vec<Diagnostic>, Failure> {
    let of_template = template_error(&context.layout, compiled, dir, shown.parent().unwrap_or(shown));
    let lines = verify::verify(&context.layout, compiled, dir, &context.target())
        .map_err(|error| Failure::Failed(format!("could not run systemd-analyze: {error}")))?;
    let remedy = "correct the key that the line comes from; `conductor explain` shows it";
    let of_systemd = lines.iter().map(|line| Diagnostic::of_file(shown, format!("systemd: {line}"), remedy));
    let routed = !compiled.service.routes.is_empty() && context.layout.root() == "/";
    let uncountable = if routed { publish::uncountable(&context.layout, context.manager) } else { None };
    let remedy = "remove that from the unit; `systemctl cat` shows where it is";
    let of_proxy = uncountable.map(|why| Diagnostic::of_file(shown, why, remedy));
    Ok(of_template.into_iter().chain(of_systemd).chain(of_proxy).collect())
}
