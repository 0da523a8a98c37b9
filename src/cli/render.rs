//! `conductor render`

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::cli::context::Context;
use crate::cli::export;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::input::{is_directory, is_function, with_function, with_rendered};
use crate::cli::{rendered, words};
use crate::compile;
use crate::compile::host::Compiled;
use crate::declaration::host::ProxyDriver;
use crate::diagnostic::Diagnostics;
use crate::target::Export;
use crate::target::systemd::Units;
use crate::{function, write};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Directory or manifest, service, or function [default: all]
    #[arg(value_name = "DIR|NAME|FUNCTION] [VAR=VAL")]
    words: Vec<String>,
    /// Write new files below DIR [default: show them]
    #[arg(long, short, value_name = "DIR")]
    output: Option<Utf8PathBuf>,
    /// Set the service's name [default: the directory's name]
    #[arg(long)]
    name: Option<String>,
    /// Render for this version of systemd [default: this host's]
    #[arg(long, value_name = "VERSION")]
    target_systemd: Option<u16>,
    /// Render for this proxy [default: this host's]
    #[arg(long, value_name = "DRIVER", value_parser = proxy_driver)]
    proxy: Option<ProxyDriver>,
    #[command(flatten)]
    export: export::Arguments,
}

/// Reads the name of a proxy's driver as conductor.toml has it.
fn proxy_driver(name: &str) -> Result<ProxyDriver, String> {
    ProxyDriver::named(name).ok_or_else(|| "write caddy, nginx, haproxy or none".to_owned())
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    if let Some(target) = arguments.export.target()? {
        return render_export(context, arguments, &*target);
    }
    let asked = arguments.proxy.map(|proxy| context.layout.with_proxy(proxy));
    let layout = asked.as_ref().unwrap_or(&context.layout);
    let context = &Context { layout: layout.clone(), manager: context.manager };
    let target = Units(arguments.target_systemd.or_else(|| context.systemd()));
    let (things, assignments) = words::split(&arguments.words);
    let (tree, errors) = match things.as_slice() {
        [] => {
            let mut host = compile::compile(&context.layout, &target);
            (host.tree(&context.layout, &target), host.into_errors())
        }
        [thing] if is_function(context, thing) => {
            let tree = with_function(context, thing, &assignments, |compiled, _| {
                Ok(function::render::render(&context.layout, compiled, &target))
            })?;
            (tree, Diagnostics::default())
        }
        [thing] => {
            let services = one(context, thing, arguments.name.as_deref(), &assignments, target)?;
            (rendered::tree(context, &services, &target), Diagnostics::default())
        }
        _ => return Err(Failure::Usage("one directory or service at a time; variables are VAR=VAL".to_owned())),
    };
    match &arguments.output {
        Some(dir) => write::create(dir, &tree)?,
        None => rendered::show(&tree),
    }
    Ok(errors.into_result()?)
}

/// Renders for an engine beyond this host, whose tools apply the files in the order in which they are shown.
fn render_export(context: &Context, arguments: &Arguments, target: &dyn Export) -> Outcome {
    let found = export::services(context, &arguments.words, arguments.name.as_deref(), target)?;
    match &arguments.output {
        Some(dir) => {
            write::create(dir, &found.shared)?;
            found.services.iter().try_for_each(|exported| write::create(dir, &exported.tree))?;
        }
        None => found.show()?,
    }
    Ok(found.errors.into_result()?)
}

fn one(
    context: &Context,
    thing: &str,
    name: Option<&str>,
    assignments: &[String],
    target: Units,
) -> Result<Vec<Compiled>, Failure> {
    let path = Utf8Path::new(thing);
    if is_directory(thing) {
        return with_rendered(context, path, name, assignments, |location, dir| {
            Ok(compile::compile_all(&context.layout, location, dir, path, &target)?)
        });
    }
    if !assignments.is_empty() {
        let why = format!("{thing} is a declared service: its variables were given when it was declared");
        return Err(Failure::Usage(why));
    }
    let location = context.location(thing)?;
    Ok(compile::compile_all(&context.layout, &location, &context.layout.at(&location.dir), &location.dir, &target)?)
}
