//! Going back to a generation that has served before.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;

use crate::diagnostic::Diagnostics;
use crate::live::Target;
use crate::names::{GenerationId, ServiceName};
use crate::service::event::Event;
use crate::service::failure::{Failure, Result};
use crate::service::history::{self, PastGeneration};
use crate::service::lifecycle::apply_change;
use crate::service::lock::{self, Lock};
use crate::service::machine::Machine;
use crate::service::overrides::Changes;
use crate::service::parts::{group_of, members};
use crate::service::proposal;
use crate::source::DECLARATION;
use crate::source::search::{self, Location};
use crate::{atomic, compile};

/// A service that is about to be rolled back, and the generations to choose from.
pub(crate) struct Rollback<'a> {
    machine: &'a Machine<'a>,
    name: &'a ServiceName,
    _lock: Lock,
    /// The past generations, the one that served last first.
    pub(crate) history: Vec<PastGeneration>,
    /// The generation that serves; of a stopped service, the declared one.
    pub(crate) current: Option<GenerationId>,
}

impl<'a> Rollback<'a> {
    /// Locks the declaration of a service and reads its history.
    ///
    /// # Errors
    /// If the service has parts or is one, has no past generation, or is not known at all.
    pub(crate) fn begin(machine: &'a Machine<'a>, name: &'a ServiceName) -> Result<Self> {
        let layout = machine.layout;
        if group_of(layout, name)?.is_some() || !members(layout, name)?.contains(name) {
            let why = "the parts of a service have one declaration and a history each: declare the previous version";
            return Err(Failure::Usage(format!("{name}: {why}, `conductor service declare DIR`")));
        }
        if history::all(layout, name)?.is_empty() {
            machine.location(name)?;
        }
        let lock = lock::declaration(layout, name)?;
        let history = history::all(layout, name)?;
        if history.is_empty() {
            return Err(Failure::Failed(format!("{name}: no generation has served yet")));
        }
        let current = match Target::read(layout, name)? {
            // Beside a canary, and after one that was aborted, what serves is the one before the declared one.
            Some(Target { canary: Some(canary), .. }) => Some(canary.generation),
            Some(target) => Some(target.generation),
            None => search::find_one(layout, name)?
                .and_then(|location| Some(compile::compile_located(layout, &location, &machine.target()).ok()?.id)),
        };
        Ok(Self { machine, name, _lock: lock, history, current })
    }

    /// Returns the generation that served before the current one.
    ///
    /// # Errors
    /// If none did.
    pub(crate) fn previous(&self) -> Result<&PastGeneration> {
        let previous = self.history.iter().find(|past| Some(&past.id) != self.current.as_ref());
        previous.ok_or_else(|| Failure::Failed(format!("{}: no other generation has served", self.name)))
    }

    /// Returns the past generations whose IDs begin with a prefix.
    pub(crate) fn matching(&self, prefix: &str) -> Vec<&PastGeneration> {
        self.history.iter().filter(|past| past.id.as_str().starts_with(prefix)).collect()
    }

    /// Returns the keys and files in which a past generation differs from the declaration; None if nothing is declared.
    ///
    /// # Errors
    /// What cannot be read or parsed.
    pub(crate) fn differences(&self, past: &PastGeneration) -> Option<Result<BTreeSet<String>, Diagnostics>> {
        match search::find_one(self.machine.layout, self.name) {
            Ok(location) => Some(past.differences(self.machine.layout, &location?)),
            Err(unknown) => Some(Err(unknown)),
        }
    }

    /// Declares a past generation again and applies it. If that fails, the present declaration is restored.
    ///
    /// # Errors
    /// Why the past generation does not compile or serve.
    pub(crate) fn run(&self, past: &PastGeneration) -> Result<()> {
        let (machine, layout, name) = (self.machine, self.machine.layout, self.name);
        let place = layout.at(&layout.declaration(name));
        let staged = atomic::staging(&place)?;
        let dir = Utf8PathBuf::try_from(staged.path().to_owned()).map_err(Failure::failed)?;
        past.restore(&dir)?;
        let changes = Changes::to_generation(layout, name, &past.overrides()?)?;
        let location = changes.apply(layout, search::new_location(layout, name)?)?;
        let compiled = proposal::compile(machine, &location, &dir, &layout.declaration(name))?.remove(0);
        self.announce(past, &compiled.id, &location);
        let undo = changes.write(layout, name)?;
        let before = atomic::replace_dir(staged, &place)?;
        apply_change(machine, name, || {
            match before {
                Some(before) => drop(atomic::replace_dir(before, &place)?),
                None => atomic::remove_dir_at_once(&place)?,
            }
            Ok(undo.write(layout, name).map(drop)?)
        })
    }

    fn announce(&self, past: &PastGeneration, compiled: &GenerationId, location: &Location) {
        let (layout, service) = (self.machine.layout, || self.name.clone());
        let (generation, served) = (past.id.clone(), past.served);
        self.machine.report(Event::RollingBack { service: service(), generation, served });
        if *compiled != past.id {
            self.machine.report(Event::CompilesDifferently { service: service(), generation: compiled.clone() });
        }
        let own = layout.declaration(self.name);
        if !layout.at(&own).exists() {
            for shadowed in location.shadowed(layout) {
                let declaration = own.join(DECLARATION);
                self.machine.report(Event::Shadows { service: service(), declaration, shadowed });
            }
        }
    }
}
