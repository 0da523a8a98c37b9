//! `conductor service declare`

use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::atomic::{self, Staging};
use crate::cli::output::outln;
use crate::cli::render::must_be_declaration;
use crate::cli::service::image::{self, Pins};
use crate::cli::service::{bring, remove, report};
use crate::cli::{Context, Failure, Outcome, cgi, name_of, variables};
use crate::compile::host::Compiled;
use crate::compile::unit_files::UnitFiles;
use crate::compile::{self, conflict};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::engine::pod::Setting;
use crate::layout::Layout;
use crate::live::Target;
use crate::log::note;
use crate::model::{Engine, Service};
use crate::names::{Deployment, ServiceName};
use crate::proxy::publish;
use crate::proxy::routing::{PortConflict, RouteConflict};
use crate::resolve::routes;
use crate::service::provenance::{self, Provenance};
use crate::service::{hook, store};
use crate::source::files::files as source_files;
use crate::source::search::{self, Location};
use crate::source::{DECLARATION, PROVENANCE};
use crate::{path, template};

#[derive(Args)]
pub struct Arguments {
    /// A directory with a service.toml and the files that belong to it
    dir: Utf8PathBuf,
    /// Variables for its templates
    #[arg(value_name = "VAR=VAL")]
    variables: Vec<String>,
    /// The service's name, if it is not the directory's
    #[arg(long)]
    name: Option<String>,
    /// Only declare: start and roll nothing
    #[arg(long)]
    pub no_start: bool,
}

/// One declaration of a service at a time.
pub fn lock(context: &Context, name: &ServiceName) -> Result<File, Failure> {
    Ok(atomic::lock(&context.layout.at(&context.layout.declaring(name)))?)
}

/// The same of a service that is declared: nothing is left of looking for one that is not.
pub fn lock_declared(context: &Context, name: &ServiceName) -> Result<(File, Location), Failure> {
    let declared = context.location(name.as_str())?.declared_as().clone();
    let lock = lock(context, &declared)?;
    match context.location(name.as_str()) {
        Ok(location) => Ok((lock, location)),
        // Removed, while this waited for the lock.
        Err(gone) => {
            atomic::remove_file(&context.layout.at(&context.layout.declaring(&declared)))?;
            Err(gone)
        }
    }
}

pub fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let given = variables(&arguments.variables)?;
    run_for(context, arguments, given, &[])
}

/// Declares a service for those that bring it along, the nearest last.
fn run_for(
    context: &Context,
    arguments: &Arguments,
    variables: BTreeMap<String, String>,
    bringers: &[ServiceName],
) -> Outcome {
    must_be_declaration(&arguments.dir)?;
    let name = name_of(&arguments.dir, arguments.name.as_deref())?;
    let _lock = lock(context, &name)?;
    let outcome = declare(context, arguments, &name, variables, bringers);
    let outcome = settle_brought(context, &name).and(outcome);
    if context.layout.at(&context.layout.declaration(&name)).exists() {
        return outcome;
    }
    // It failed, and nothing was declared before: no trace of the attempt stays.
    let removed = atomic::remove_file(&context.layout.at(&context.layout.declaring(&name)));
    outcome.and(removed.map_err(Failure::from))
}

fn declare(
    context: &Context,
    arguments: &Arguments,
    name: &ServiceName,
    variables: BTreeMap<String, String>,
    bringers: &[ServiceName],
) -> Outcome {
    let place = context.layout.at(&context.layout.declaration(name));
    let provenance = provenance(&place, &arguments.dir, variables, name, bringers)?;
    let staged = atomic::staging(&place)?;
    let dir = Utf8PathBuf::try_from(staged.path().to_owned()).map_err(|error| Failure::Failed(error.to_string()))?;
    template::render_dir(&arguments.dir, &dir, &provenance.variables)?;
    provenance::write(&dir, &provenance)?;
    let location = search::new_location(&context.layout, name);
    let mut services = compile_proposed(context, &location, &dir, &arguments.dir)?;
    bring_along(context, arguments, &location, &dir, &services, bringers)?;
    // On a machine that is only being put together there is nobody to ask.
    let pins = if context.layout.root() == "/" { image::pin_all(context, &services)? } else { Pins::default() };
    if !pins.is_empty() {
        let location = search::new_location(&context.layout, name);
        services = compile_proposed(context, &location, &dir, &arguments.dir)
            .or_else(|failure| pins.undo(&context.layout).map_err(Failure::from).and(Err(failure)))?;
    }

    let same = is_same(&place, &dir)?;
    for Compiled { service, id, .. } in &services {
        match (same, arguments.no_start) {
            (true, true) => outln!("{}: declared already, as generation {id}", service.name),
            (true, false) => outln!("{}: generation {id}, declared already", service.name),
            (false, _) => outln!("{}: generation {id}", service.name),
        }
    }
    if same && arguments.no_start {
        return Ok(());
    }
    for compiled in &services {
        let name = &compiled.service.name;
        store::store_files(&context.layout, compiled, &dir)
            .map_err(|error| Failure::Failed(format!("{name}: the generation cannot be stored: {error}")))?;
    }
    let before = atomic::replace_dir(staged, &place)?;
    let began = Instant::now();
    if let Err(failure) = bring_in(context, arguments, name) {
        let restored = pins.undo(&context.layout).map_err(Failure::from);
        let restored = restored.and_then(|()| put_back(context, name, &services, &place, before));
        if let Err(second) = restored {
            note!("{second}");
        }
        return Err(failure);
    }
    if arguments.no_start {
        return Ok(());
    }
    report(context, name)?;
    outln!("{name}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Declares what a service brings along, before anything of it is touched.
fn bring_along(
    context: &Context,
    arguments: &Arguments,
    location: &Location,
    dir: &Utf8Path,
    services: &[Compiled],
    bringers: &[ServiceName],
) -> Outcome {
    let name = &location.name;
    let bringers: Vec<_> = bringers.iter().chain([name]).cloned().collect();
    // What its parts bring along they bring together.
    let dependencies = services.first().map(|compiled| compiled.service.dependencies()).unwrap_or_default();
    for (index, dependency) in dependencies.iter().enumerate() {
        let from = arguments.dir.join(&dependency.dir);
        let wrong = |message: String, remedy: &str| -> Failure {
            match search::document(&context.layout, location, dir, &arguments.dir) {
                Ok(document) => Diagnostics::from(document.error(&path!["service", index, "dir"], message, remedy)),
                Err(error) => error.into(),
            }
            .into()
        };
        if bringers.contains(&dependency.name) {
            let names: Vec<_> = bringers.iter().chain([&dependency.name]).map(ServiceName::as_str).collect();
            let message = format!("services bring each other along: {}", names.join(" → "));
            return Err(wrong(message, "take one of them out of the circle"));
        }
        if !from.join(DECLARATION).is_file() {
            let message = format!("there is no service.toml in {from}");
            return Err(wrong(message, "name a declaration's directory, relative to this one"));
        }
        let (dir, no_start) = (from, arguments.no_start);
        let child = Arguments { dir, variables: Vec::new(), name: Some(dependency.name.to_string()), no_start };
        run_for(context, &child, dependency.vars.clone(), &bringers)
            .inspect_err(|_| note!("{name}: not declared, because it brings {} along", dependency.name))?;
    }
    Ok(())
}

/// Where it comes from, and who wants it: those who brought it along before as well.
fn provenance(
    place: &Utf8Path,
    from: &Utf8Path,
    variables: BTreeMap<String, String>,
    name: &ServiceName,
    bringers: &[ServiceName],
) -> Result<Provenance, Failure> {
    let dir = from.canonicalize_utf8()?;
    let before = provenance::read(place);
    let by_itself = before.as_ref().map_or(place.join(DECLARATION).exists(), |before| before.by_itself);
    let stands = before.as_ref().map_or(place, |before| &before.dir);
    let mut brought_by = before.as_ref().map_or_else(BTreeSet::new, |before| before.brought_by.clone());
    if let Some(bringer) = bringers.last() {
        if by_itself && !brought_by.contains(bringer) && stands != dir {
            let remedy = format!("give [[service]] another name, or `conductor service rm {name}` first");
            return Err(Failure::Failed(format!("{name} is declared already, from {stands}: {remedy}")));
        }
        brought_by.insert(bringer.clone());
    }
    Ok(Provenance { dir, variables, by_itself: by_itself || bringers.is_empty(), brought_by })
}

/// Lets go of what a service's declaration, as it stands now, does not bring along any more.
fn settle_brought(context: &Context, name: &ServiceName) -> Outcome {
    let keep = match search::find_one(&context.layout, name) {
        None => Vec::new(),
        Some(location) => {
            let (layout, dir) = (&context.layout, context.layout.at(&location.dir));
            let services = compile::compile_each(layout, &location, &dir, &location.dir, context.systemd());
            let one = services.into_iter().flatten().find_map(|(_, outcome)| outcome.ok());
            let Some(one) = one else { return Ok(()) }; // what it means nobody knows
            one.service.dependencies().iter().map(|dependency| dependency.name.clone()).collect()
        }
    };
    release(context, name, &keep)
}

/// Removes what a service brought along, but for those to `keep` and what is wanted by others or by itself.
pub fn release(context: &Context, bringer: &ServiceName, keep: &[ServiceName]) -> Outcome {
    let layout = &context.layout;
    for name in provenance::brought_by(layout, bringer)?.into_iter().filter(|name| !keep.contains(name)) {
        let held = lock(context, &name)?;
        let place = layout.at(&layout.declaration(&name));
        let Some(mut provenance) = provenance::read(&place) else { continue };
        provenance.brought_by.remove(bringer);
        if provenance.by_itself || !provenance.brought_by.is_empty() {
            provenance::write(&place, &provenance)?;
            continue;
        }
        outln!("{name}: nothing brings it along any more");
        drop(held);
        if layout.root() == "/" {
            remove::run(context, &name)?;
        } else {
            atomic::remove_dir(&place)?;
        }
    }
    Ok(())
}

/// What is in its place comes into force.
fn bring_in(context: &Context, arguments: &Arguments, name: &ServiceName) -> Outcome {
    if context.layout.root() == "/" {
        context.manager.daemon_reload()?;
    }
    if arguments.no_start { Ok(()) } else { bring(context, name) }
}

/// Everything that can be known without doing it, of each service that is proposed.
pub fn compile_proposed(
    context: &Context,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<Vec<Compiled>, Failure> {
    let layout = &context.layout;
    let services = compile::compile_all(layout, location, dir, shown, context.systemd())?;
    let units = UnitFiles::list(layout);
    units.refuse(&location.name, location)?;
    let host = compile::compile(layout, context.systemd());
    let replaces = |other: &Service| match &location.group {
        Some(_) => other.name == location.name,
        None => *other.declared_as() == location.name,
    };
    let others = || host.services.values().filter(|other| !replaces(&other.service)).chain(&services);
    // Only what is wrong has to be found in the document.
    let document = |service: &Service| {
        let location = search::part_of(layout, location, &service.name);
        search::document(layout, &location, dir, shown).map_err(Diagnostics::from)
    };
    for compiled in &services {
        let Compiled { service, .. } = compiled;
        units.refuse(&service.name, location)?;
        conflict::refuse_other_kind(layout, service)?;
        if let Some(other) = host.services.get(&service.name).filter(|other| !replaces(&other.service)) {
            let error = conflict::taken_name(&service.name, &shown.join(DECLARATION), &other.service.source);
            return Err(Diagnostics::from(error).into());
        }
        pod_error(layout, compiled, dir, shown).map_or(Ok(()), |error| Err(Diagnostics::from(error)))?;
        if let Some(conflict) = PortConflict::between(service, others().map(|it| &it.service)) {
            return Err(Diagnostics::from(conflict.error(&document(service)?)).into());
        }
        if let Some((route, message)) = cgi::alias_conflict(context, &host, service) {
            let document = document(service)?;
            let remedy = "give the route another path, or remove the function's alias";
            let error = document.key_error(&routes::section(&document, route), message, remedy);
            return Err(Diagnostics::from(error).into());
        }
        if let Some(conflict) = RouteConflict::between(service, others().map(|it| &it.service)) {
            return Err(Diagnostics::from(conflict.error(&document(service)?, service, &conflict.owner)).into());
        }
    }
    Ok(services)
}

/// A pod's file is rendered when a deployment starts; what is wrong with it is said before that.
pub fn pod_error(layout: &Layout, compiled: &Compiled, dir: &Utf8Path, shown: &Utf8Path) -> Option<Diagnostic> {
    let Compiled { service, id, .. } = compiled;
    let Engine::Pod(pod) = &service.process.engine else { return None };
    let deployment = &Deployment::new(&service.name, id, 1);
    Setting { layout, deployment, model: service, pod, files: dir, shown }.check().err()
}

/// Whether what is stored already is the same declaration.
fn is_same(place: &Utf8Path, fresh: &Utf8Path) -> Result<bool, Failure> {
    if !place.join(DECLARATION).exists() {
        return Ok(false);
    }
    let same_file = |name: &str| fs::read(place.join(name)).ok() == fs::read(fresh.join(name)).ok();
    let files = |dir| source_files(dir, dir).map_err(Diagnostics::from);
    Ok(same_file(DECLARATION) && same_file(PROVENANCE) && files(place)? == files(fresh)?)
}

/// The previous declaration stands again, so that a reboot does not start the one that failed.
fn put_back(
    context: &Context,
    name: &ServiceName,
    failed: &[Compiled],
    place: &Utf8Path,
    before: Option<Staging>,
) -> Outcome {
    let Context { layout, manager } = context;
    let unit = name.unit();
    let Some(before) = before else {
        let names: BTreeSet<_> = failed.iter().map(|compiled| &compiled.service.name).chain([name]).collect();
        let units: Vec<_> = names.iter().map(|name| name.unit()).collect();
        let stopped = manager.stop(&units);
        atomic::remove_dir(place)?;
        stopped?;
        manager.daemon_reload()?;
        manager.reset_failed(&units);
        for name in names {
            hook::forget(layout, name)?;
        }
        publish::republish(*manager)?;
        note!("{name}: the declaration is taken back; nothing of it runs");
        return Ok(());
    };
    drop(atomic::replace_dir(before, place)?);
    manager.daemon_reload()?;
    note!("{name}: the previous declaration stands again");
    // The rollout has turned back already; this is for what failed after it. Who stopped the service
    // in the middle of it has the last word.
    let state = manager.property(&unit, "ActiveState")?;
    if state != "deactivating" && !manager.is_to_stop(&unit) && !hook::is_stopped(layout, name) {
        bring(context, name)?;
    }
    for Compiled { service, id, .. } in failed {
        if Target::read(layout, &service.name)?.is_some_and(|target| target.generation != *id) {
            atomic::remove_dir(&layout.at(&layout.stored(&service.name, id)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::layout::Scope;
    use crate::systemd::Manager;

    #[test]
    fn a_first_declaration_that_fails_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let scratch = Utf8Path::from_path(scratch.path()).unwrap();
        let (root, dir) = (scratch.join("root"), scratch.join("web"));
        let context = Context { layout: Layout::system(&root), manager: Manager::new(Scope::System) };
        let arguments = Arguments { dir: dir.clone(), variables: Vec::new(), name: None, no_start: true };
        let declare = |text: &str| {
            fs::write(dir.join(DECLARATION), text).unwrap();
            run(&context, &arguments)
        };
        let left = || {
            let dirs = ["etc/conductor/services", "run/conductor/locks/declare", "var/lib/conductor/generations"];
            let entries = dirs.iter().filter_map(|dir| root.join(dir).read_dir_utf8().ok()).flatten();
            entries.map(|entry| entry.unwrap().file_name().to_owned()).collect::<Vec<_>>()
        };
        fs::create_dir(&dir).unwrap();
        assert!(matches!(declare("[exec]\ncommand = []\n"), Err(Failure::Declaration(_))));
        assert_eq!(left(), Vec::<String>::new());
        assert!(declare("[exec]\ncommand = ['/bin/true']\n").is_ok());
        assert_eq!(left(), ["web", "web", "web"]);
        assert!(declare("[exec]\ncommand = []\n").is_err());
        assert_eq!(left(), ["web", "web", "web"], "what was declared before stays");
    }
}
