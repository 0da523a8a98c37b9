//! `conductor cgi declare`

use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::cli::cgi::{manifest, name, parent};
use crate::cli::output::outln;
use crate::cli::{Context, Failure, Outcome, variables};
use crate::compile::functions::load_function;
use crate::compile::host::Host;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::Node;
use crate::engine::podman::image;
use crate::function::store;
use crate::model::alias::Alias;
use crate::model::function::Compiled;
use crate::model::{Engine, User};
use crate::names::FunctionId;
use crate::proxy::publish;
use crate::proxy::routing::RouteConflict;
use crate::source::functions;
use crate::{atomic, compile, path};

#[derive(Args)]
pub struct Arguments {
    /// A function.toml, or the directory that it is in
    manifest: Utf8PathBuf,
    /// Variables for it
    #[arg(value_name = "VAR=VAL")]
    variables: Vec<String>,
    /// Only declare: start nothing
    #[arg(long)]
    no_start: bool,
}

/// One declaration or removal of a function at a time.
pub fn lock(context: &Context) -> Result<std::fs::File, Failure> {
    Ok(atomic::lock(&context.layout.at(&context.layout.functions_lock()))?)
}

pub fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let layout = &context.layout;
    let manifest = manifest(&arguments.manifest);
    let variables = variables(&arguments.variables)?;
    let _lock = lock(context)?;
    let staged = store::staging(layout)?;
    let dir = Utf8PathBuf::try_from(staged.path().to_owned()).map_err(|error| Failure::Failed(error.to_string()))?;
    store::gather(&manifest, &variables, &dir)?;
    let compiled = load_function(layout, &dir, parent(&manifest), context.systemd())?;
    let host = compile::compile(layout, context.systemd());
    refuse_taken(context, &compiled, &host, &dir, &manifest)?;
    if let User::Static(user) = &compiled.function.process.user
        && layout.root() == "/"
    {
        must_be_known(user, &manifest, &dir)?;
    }
    if let Engine::Container(container) = &compiled.function.process.engine
        && layout.root() == "/"
    {
        image::provide_one(&compiled.function.name, container)?;
    }
    let is_there = host.functions.contains_key(&compiled.id);
    if !is_there {
        store::put(layout, staged, &compiled)?;
    }
    // What nobody has yet is in the proxy's configuration when the socket is; what moves, moves when it is ready.
    let owners = functions::aliases(layout);
    let (moving, new): (Vec<_>, Vec<_>) =
        compiled.function.aliases.iter().partition(|alias| owners.contains_key(alias));
    for alias in &new {
        store::give(layout, alias, &compiled.id)?;
    }
    if let Err(failure) = bring_in(context, arguments, &compiled, is_there && new.is_empty()) {
        let restored = undo(context, &compiled, is_there, &new);
        return restored.and(Err(failure));
    }
    for alias in moving {
        store::give(layout, alias, &compiled.id)?;
    }
    outln!("{}", compiled.id);
    Ok(())
}

/// systemd would start the gateway for a user that is not there as fast as it can, for whoever calls.
fn must_be_known(user: &str, manifest: &Utf8Path, dir: &Utf8Path) -> Outcome {
    let is_known = || Command::new("getent").args(["passwd", "--", user]).stdout(Stdio::null()).status();
    if user.is_empty() || is_known()?.success() {
        return Ok(());
    }
    let document = functions::document(dir, manifest)?;
    let message = format!("there is no user {user} on this machine");
    Err(Diagnostics::from(document.error(
        &path!["exec", "user"],
        message,
        "make it first, with useradd(8) or sysusers.d(5)",
    ))
    .into())
}

/// Loads and starts what was stored, on a machine that runs.
fn bring_in(context: &Context, arguments: &Arguments, compiled: &Compiled, is_same: bool) -> Outcome {
    if context.layout.root() != "/" {
        return Ok(());
    }
    if !is_same {
        context.manager.daemon_reload()?;
    }
    if !arguments.no_start {
        context.manager.start(&[format!("{}.socket", compiled.id.unit())])?;
    }
    publish(context)
}

/// Has the proxy's configuration published if it is another than before.
pub fn publish(context: &Context) -> Outcome {
    let host = compile::compile(&context.layout, context.systemd());
    if !publish::is_published(&context.layout, &host.tree) {
        publish::republish(context.manager)?;
    }
    Ok(())
}

/// A function that could not be brought in is not declared; one that was there before stays.
fn undo(context: &Context, compiled: &Compiled, was_there: bool, new: &[&Alias]) -> Outcome {
    let Context { layout, manager } = context;
    for alias in new {
        store::take(layout, alias)?;
    }
    if !was_there {
        if layout.root() == "/" {
            let _ = manager.stop(&[format!("{}.socket", compiled.id.unit())]);
        }
        store::remove(layout, &store::base(layout).join(compiled.id.as_str()))?;
    }
    if layout.root() == "/" {
        manager.daemon_reload()?;
    }
    Ok(())
}

/// Refuses aliases that others have: functions of another name, and services.
fn refuse_taken(context: &Context, compiled: &Compiled, host: &Host, dir: &Utf8Path, manifest: &Utf8Path) -> Outcome {
    let document = functions::document(dir, manifest)?;
    let mut errors = Diagnostics::default();
    let function = &compiled.function;
    for alias in &function.aliases {
        let mut refuse = |message: String, remedy: &str| errors.0.push(at_alias(&document, alias, message, remedy));
        let services = || host.services.values().map(|it| &it.service);
        if let Some((owner, _)) = RouteConflict::of_alias(alias, function.tls, services()) {
            refuse(format!("{alias} is routed to the service {owner} already"), "choose another alias");
        }
        for (other, owned) in functions::aliases(&context.layout) {
            if other.host != alias.host {
                continue;
            }
            let owner = host.functions.get(&owned.id).map(|it| &it.function);
            let owner_name = owner.map_or_else(|| name(context, &owned.id), |owner| owner.name.clone());
            let is_ours = owner_name == function.name;
            if other.path.eq_ignore_ascii_case(&alias.path) && !(is_ours && other == *alias) {
                refuse(taken(alias, &owner_name, &owned.id), "choose another alias, or remove that function");
            } else if alias.host.is_some() && !is_ours && owner.is_some_and(|owner| owner.tls != function.tls) {
                let message =
                    format!("the function {owner_name} ({}) has this host with another tls", owned.id.short());
                refuse(message, "write the same tls for all aliases of a host");
            }
        }
    }
    Ok(errors.into_result()?)
}

fn taken(alias: &Alias, owner: &str, id: &FunctionId) -> String {
    format!("{alias} belongs to the function {owner:?}, {id}")
}

/// Where an alias is written.
fn at_alias(document: &Node, alias: &Alias, message: String, remedy: &str) -> Diagnostic {
    let items = document.get(&path!["aliases"]).map_or(&[][..], Node::items);
    let is_it = |item: &Node| match &item.value {
        crate::document::Value::String(text) => {
            text.trim_end_matches('/').eq_ignore_ascii_case(alias.to_string().trim_end_matches('/'))
        }
        _ => false,
    };
    let at = items.iter().position(is_it).map_or_else(|| path!["aliases"], |index| path!["aliases", index]);
    document.error(&at, message, remedy)
}
