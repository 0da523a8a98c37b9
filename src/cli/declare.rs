//! `conductor service declare`

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::render::must_be_declaration;
use super::service::{bring, report};
use super::{Context, Failure, Outcome, name_of, variables};
use crate::compile::{self, Clash, Compiled, UnitFiles};
use crate::diagnostic::Diagnostics;
use crate::live::Target;
use crate::model::ServiceName;
use crate::service::{hook, store};
use crate::sources::{self, DECLARATION, PROVENANCE, Site};
use crate::{atomic, template};

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

/// Where a stored declaration came from.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Provenance {
    dir: Utf8PathBuf,
    variables: BTreeMap<String, String>,
}

pub fn lock_path(context: &Context, name: &ServiceName) -> Utf8PathBuf {
    context.layout.locks().join(format!("{name}.declare"))
}

/// One declaration of a service at a time.
pub fn lock(context: &Context, name: &ServiceName) -> Result<File, Failure> {
    Ok(atomic::lock(&context.layout.at(&lock_path(context, name)))?)
}

pub fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let given = variables(&arguments.variables)?;
    must_be_declaration(&arguments.dir)?;
    let name = name_of(&arguments.dir, arguments.name.as_deref())?;
    let _lock = lock(context, &name)?;
    let place = context.layout.at(&context.layout.declaration(&name));
    let staged = atomic::staging(&place)?;
    let dir = Utf8PathBuf::try_from(staged.path().to_owned()).map_err(|error| Failure::Failed(error.to_string()))?;
    template::render_dir(&arguments.dir, &dir, &given)?;
    let site = sources::site_of(&context.layout, &name);
    let compiled = compile_staged(context, &site, &dir, &arguments.dir)?;
    record(&dir, &arguments.dir, given)?;

    let same = is_same(&place, &dir, &compiled)?;
    if same && arguments.no_start {
        println!("{name}: declared already, as generation {}", compiled.id);
        return Ok(());
    }
    println!("{name}: generation {}{}", compiled.id, if same { ", declared already" } else { "" });
    store::store_files(&context.layout, &compiled, &dir)
        .map_err(|error| Failure::Failed(format!("{name}: the generation cannot be stored: {error}")))?;
    let before = atomic::replace_dir(staged, &place)?;
    if context.layout.root() == "/" {
        context.manager.daemon_reload()?;
    }
    if arguments.no_start {
        return Ok(());
    }
    let began = Instant::now();
    if let Err(failure) = bring(context, &name) {
        if let Err(second) = put_back(context, &compiled, &place, before) {
            eprintln!("{second}");
        }
        return Err(failure);
    }
    report(context, &name)?;
    println!("{name}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Everything that can be known without doing it.
fn compile_staged(context: &Context, site: &Site, dir: &Utf8Path, shown: &Utf8Path) -> Result<Compiled, Failure> {
    let layout = &context.layout;
    let compiled = compile::compile_at(layout, site, dir, shown, context.systemd())?;
    UnitFiles::list(layout).refuse(site)?;
    let host = compile::compile(layout, context.systemd());
    match Clash::between(&compiled.service, &host.services) {
        Some(clash) => Err(Diagnostics::from(clash.error(&shown.join(DECLARATION), &clash.owner)).into()),
        None => Ok(compiled),
    }
}

fn record(dir: &Utf8Path, from: &Utf8Path, variables: BTreeMap<String, String>) -> Outcome {
    let from = from.canonicalize_utf8()?;
    let provenance = Provenance { dir: from, variables };
    let text = serde_json::to_vec_pretty(&provenance).map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(fs::write(dir.join(PROVENANCE), text)?)
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
fn put_back(context: &Context, failed: &Compiled, place: &Utf8Path, before: Option<TempDir>) -> Outcome {
    let Context { layout, manager } = context;
    let name = &failed.service.name;
    let Some(before) = before else {
        let unit = format!("{name}.service");
        manager.stop(std::slice::from_ref(&unit))?;
        atomic::remove_dir(place)?;
        manager.daemon_reload()?;
        manager.reset_failed(&[unit]);
        hook::forget(layout, *manager, name)?;
        atomic::remove_dir(&layout.at(&layout.kept(name)))?;
        eprintln!("{name}: the declaration is taken back; nothing of it runs");
        return Ok(());
    };
    drop(atomic::replace_dir(before, place)?);
    manager.daemon_reload()?;
    eprintln!("{name}: the previous declaration stands again");
    // The rollout has turned back already; this is for what failed after it. Who stopped the service
    // in the middle of it has the last word.
    let state = manager.property(&format!("{name}.service"), "ActiveState")?;
    if state != "deactivating" && !hook::is_stopped(layout, name) {
        bring(context, name)?;
    }
    if Target::read(layout, name)?.is_some_and(|target| target.generation != failed.id) {
        atomic::remove_dir(&layout.at(&layout.stored(name, &failed.id)))?;
    }
    Ok(())
}
