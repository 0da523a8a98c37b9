//! `conductor service declare`

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::render::must_be_declaration;
use super::service::{bring, image, remove, report};
use super::{Context, Failure, Outcome, cgi, name_of, variables};
use crate::atomic::{self, Staging};
use crate::compile::{self, Clash, Compiled, PortClash, UnitFiles};
use crate::deployment::Deployment;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::layout::Layout;
use crate::live::Target;
use crate::model::{Engine, ServiceName};
use crate::path;
use crate::podman::pod::Setting;
use crate::resolve::routes;
use crate::service::provenance::{self, Provenance};
use crate::service::{hook, store};
use crate::sources::{self, DECLARATION, PROVENANCE, Site};
use crate::{proxy, template};

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
pub fn lock_declared(context: &Context, name: &ServiceName) -> Result<(File, Site), Failure> {
    context.site(name.as_str())?;
    let lock = lock(context, name)?;
    match context.site(name.as_str()) {
        Ok(site) => Ok((lock, site)),
        // Removed, while this waited for the lock.
        Err(gone) => {
            atomic::remove_file(&context.layout.at(&context.layout.declaring(name)))?;
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
    let site = sources::site_of(&context.layout, name);
    let compiled = compile_proposed(context, &site, &dir, &arguments.dir)?;
    bring_along(context, arguments, &site, &dir, &compiled, bringers)?;
    // On a machine that is only being put together there is nobody to ask.
    let pinned = if context.layout.root() == "/" { image::pin(context, &compiled.service)? } else { None };
    let unpin = || pinned.as_ref().map(|undo| undo.write(&context.layout, name)).transpose();
    let compiled = match pinned {
        Some(_) => {
            let site = sources::site_of(&context.layout, name);
            let compiled = compile_proposed(context, &site, &dir, &arguments.dir);
            compiled.or_else(|failure| unpin().map_err(Failure::from).and(Err(failure)))?
        }
        None => compiled,
    };

    let same = is_same(&place, &dir, &compiled)?;
    if same && arguments.no_start {
        println!("{name}: declared already, as generation {}", compiled.id);
        return Ok(());
    }
    println!("{name}: generation {}{}", compiled.id, if same { ", declared already" } else { "" });
    store::store_files(&context.layout, &compiled, &dir)
        .map_err(|error| Failure::Failed(format!("{name}: the generation cannot be stored: {error}")))?;
    let before = atomic::replace_dir(staged, &place)?;
    let began = Instant::now();
    if let Err(failure) = bring_in(context, arguments, name) {
        let restored = unpin().map_err(Failure::from).and_then(|_| put_back(context, &compiled, &place, before));
        if let Err(second) = restored {
            eprintln!("{second}");
        }
        return Err(failure);
    }
    if arguments.no_start {
        return Ok(());
    }
    report(context, name)?;
    println!("{name}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Declares what a service brings along, before anything of it is touched.
fn bring_along(
    context: &Context,
    arguments: &Arguments,
    site: &Site,
    dir: &Utf8Path,
    compiled: &Compiled,
    bringers: &[ServiceName],
) -> Outcome {
    let name = &compiled.service.name;
    let bringers: Vec<_> = bringers.iter().chain([name]).cloned().collect();
    for (index, brought) in compiled.service.brings.iter().enumerate() {
        let from = arguments.dir.join(&brought.dir);
        let wrong = |message: String, remedy: &str| -> Failure {
            match sources::document(&context.layout, site, dir, &arguments.dir) {
                Ok(document) => Diagnostics::from(document.error(&path!["service", index, "dir"], message, remedy)),
                Err(error) => error.into(),
            }
            .into()
        };
        if bringers.contains(&brought.name) {
            let names: Vec<_> = bringers.iter().chain([&brought.name]).map(ServiceName::as_str).collect();
            let message = format!("services bring each other along: {}", names.join(" → "));
            return Err(wrong(message, "take one of them out of the circle"));
        }
        if !from.join(DECLARATION).is_file() {
            let message = format!("there is no service.toml in {from}");
            return Err(wrong(message, "name a declaration's directory, relative to this one"));
        }
        let (dir, no_start) = (from, arguments.no_start);
        let child = Arguments { dir, variables: Vec::new(), name: Some(brought.name.to_string()), no_start };
        run_for(context, &child, brought.vars.clone(), &bringers)
            .inspect_err(|_| eprintln!("{name}: not declared, because it brings {} along", brought.name))?;
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
    let keep = match sources::find_one(&context.layout, name) {
        None => Vec::new(),
        Some(site) => match compile::compile_site(&context.layout, &site, context.systemd()) {
            Ok(compiled) => compiled.service.brings.into_iter().map(|brought| brought.name).collect(),
            Err(_) => return Ok(()), // what it means nobody knows
        },
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
        println!("{name}: nothing brings it along any more");
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

/// Everything that can be known without doing it.
pub fn compile_proposed(context: &Context, site: &Site, dir: &Utf8Path, shown: &Utf8Path) -> Result<Compiled, Failure> {
    let layout = &context.layout;
    let compiled = compile::compile_at(layout, site, dir, shown, context.systemd())?;
    UnitFiles::list(layout).refuse(site)?;
    pod_error(layout, &compiled, dir, shown).map_or(Ok(()), |error| Err(Diagnostics::from(error)))?;
    let host = compile::compile(layout, context.systemd());
    // Only what is wrong has to be found in the document.
    let document = || sources::document(layout, site, dir, shown).map_err(Diagnostics::from);
    if let Some(clash) = PortClash::between(&compiled.service, &host.services) {
        return Err(Diagnostics::from(clash.error(&document()?)).into());
    }
    if let Some((route, message)) = cgi::alias_clash(context, &host, &compiled.service) {
        let document = document()?;
        let at = routes::section(&document, route);
        let remedy = "give the route another path, or remove the function's alias";
        return Err(Diagnostics::from(document.key_error(&at, message, remedy)).into());
    }
    match Clash::between(&compiled.service, &host.services) {
        Some(clash) => Err(Diagnostics::from(clash.error(&document()?, &compiled.service, &clash.owner)).into()),
        None => Ok(compiled),
    }
}

/// A pod's file is rendered when a deployment starts; what is wrong with it is said before that.
pub fn pod_error(layout: &Layout, compiled: &Compiled, dir: &Utf8Path, shown: &Utf8Path) -> Option<Diagnostic> {
    let Compiled { service, id, .. } = compiled;
    let Engine::Pod(pod) = &service.process.engine else { return None };
    let deployment = &Deployment::new(&service.name, id, 1);
    let error = Setting { layout, deployment, model: service, pod, files: dir }.check().err()?;
    let path = shown.join(&pod.template);
    let message = error.to_string().replace(dir.as_str(), shown.as_str());
    let message = message.trim_start_matches(&format!("{path}: ")).to_owned();
    Some(Diagnostic::of_file(&path, message, "write Kubernetes YAML as podman-kube-play(1) takes it"))
}

/// Whether what is stored already is the same declaration.
fn is_same(place: &Utf8Path, fresh: &Utf8Path, compiled: &Compiled) -> Result<bool, Failure> {
    if !place.join(DECLARATION).exists() {
        return Ok(false);
    }
    let same_file = |name: &str| fs::read(place.join(name)).ok() == fs::read(fresh.join(name)).ok();
    let files = sources::files(place, place).map_err(Diagnostics::from)?;
    Ok(same_file(DECLARATION) && same_file(PROVENANCE) && files == compiled.service.files)
}

/// The previous declaration stands again, so that a reboot does not start the one that failed.
fn put_back(context: &Context, failed: &Compiled, place: &Utf8Path, before: Option<Staging>) -> Outcome {
    let Context { layout, manager } = context;
    let name = &failed.service.name;
    let Some(before) = before else {
        let unit = format!("{name}.service");
        let stopped = manager.stop(std::slice::from_ref(&unit));
        atomic::remove_dir(place)?;
        stopped?;
        manager.daemon_reload()?;
        manager.reset_failed(&[unit]);
        hook::forget(layout, name)?;
        proxy::republish(*manager)?;
        eprintln!("{name}: the declaration is taken back; nothing of it runs");
        return Ok(());
    };
    drop(atomic::replace_dir(before, place)?);
    manager.daemon_reload()?;
    eprintln!("{name}: the previous declaration stands again");
    // The rollout has turned back already; this is for what failed after it. Who stopped the service
    // in the middle of it has the last word.
    let unit = format!("{name}.service");
    let state = manager.property(&unit, "ActiveState")?;
    if state != "deactivating" && !manager.is_to_stop(&unit) && !hook::is_stopped(layout, name) {
        bring(context, name)?;
    }
    if Target::read(layout, name)?.is_some_and(|target| target.generation != failed.id) {
        atomic::remove_dir(&layout.at(&layout.stored(name, &failed.id)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Layout, Scope};
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
            let dirs = ["etc/conductor/services", "run/conductor/locks", "var/lib/conductor/generations"];
            let entries = dirs.iter().filter_map(|dir| root.join(dir).read_dir_utf8().ok()).flatten();
            entries.map(|entry| entry.unwrap().file_name().to_owned()).collect::<Vec<_>>()
        };
        fs::create_dir(&dir).unwrap();
        assert!(matches!(declare("[exec]\ncommand = []\n"), Err(Failure::Declaration(_))));
        assert_eq!(left(), Vec::<String>::new());
        assert!(declare("[exec]\ncommand = ['/bin/true']\n").is_ok());
        assert_eq!(left(), ["web", "web.declare", "web"]);
        assert!(declare("[exec]\ncommand = []\n").is_err());
        assert_eq!(left(), ["web", "web.declare", "web"], "what was declared before stays");
    }
}
