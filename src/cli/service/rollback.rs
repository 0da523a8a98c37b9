//! `conductor service rollback`

use camino::Utf8PathBuf;

use crate::cli::declare::{compile_proposed, lock};
use crate::cli::output::outln;
use crate::cli::service::lifecycle::follow;
use crate::cli::service::members;
use crate::cli::{Context, Failure, Outcome, table};
use crate::live::Target;
use crate::names::{GenerationId, ServiceName};
use crate::service::history::{self, Past};
use crate::service::overrides::Changes;
use crate::source::{DECLARATION, search};
use crate::{atomic, compile};

pub fn run(context: &Context, name: &ServiceName, generation: Option<&str>) -> Outcome {
    let layout = &context.layout;
    must_not_have_parts(context, name)?;
    if history::all(layout, name)?.is_empty() {
        context.location(name.as_str())?;
    }
    let _lock = lock(context, name)?;
    let kept = history::all(layout, name)?;
    if kept.is_empty() {
        return Err(Failure::Failed(format!("{name}: no generation has served yet, so none is kept")));
    }
    let current = current(context, name)?;
    let chosen = choose(context, name, &kept, current.as_ref(), generation)?;

    let place = layout.at(&layout.declaration(name));
    let staged = atomic::staging(&place)?;
    let dir = Utf8PathBuf::try_from(staged.path().to_owned()).map_err(|error| Failure::Failed(error.to_string()))?;
    chosen.restore(&dir)?;
    let changes = Changes::to_generation(layout, name, &chosen.overrides()?)?;
    let location = changes.lay(layout, search::new_location(layout, name));
    let compiled = compile_proposed(context, &location, &dir, &layout.declaration(name))?.remove(0);
    outln!("{name}: back to generation {}, of {}", chosen.id, humantime::format_rfc3339_seconds(chosen.served));
    if compiled.id != chosen.id {
        outln!(
            "{name}: its declaration compiles to {} now: conductor.toml, a drop-in of a package or conductor is another",
            compiled.id
        );
    }
    for hidden in location.shadowed(layout).iter().filter(|_| !place.exists()) {
        outln!("{name}: {} hides {hidden} from now on", layout.declaration(name).join(DECLARATION));
    }
    let undo = changes.write(layout, name)?;
    let before = atomic::replace_dir(staged, &place)?;
    follow(context, name, || {
        match before {
            Some(before) => drop(atomic::replace_dir(before, &place)?),
            None => atomic::remove_dir(&place)?,
        }
        Ok(undo.write(layout, name).map(drop)?)
    })
}

/// # Errors
/// If the service has parts or is one: each has generations of its own, and one declaration for all.
fn must_not_have_parts(context: &Context, name: &ServiceName) -> Outcome {
    let location = search::find_one(&context.layout, name);
    let is_part = location.is_some_and(|location| location.group.is_some());
    if !is_part && members(&context.layout, name).contains(name) {
        return Ok(());
    }
    let why = "the parts of a service have one declaration and generations of their own: declare it as it was";
    Err(Failure::Usage(format!("{name}: {why}, `conductor service declare DIR`")))
}

/// What the service is brought to; while it is stopped, what is declared.
fn current(context: &Context, name: &ServiceName) -> Result<Option<GenerationId>, Failure> {
    let layout = &context.layout;
    if let Some(target) = Target::read(layout, name)? {
        return Ok(Some(target.generation));
    }
    let location = search::find_one(layout, name);
    Ok(location.and_then(|location| Some(compile::compile_located(layout, &location, context.systemd()).ok()?.id)))
}

fn choose<'a>(
    context: &Context,
    name: &ServiceName,
    kept: &'a [Past],
    current: Option<&GenerationId>,
    wanted: Option<&str>,
) -> Result<&'a Past, Failure> {
    let Some(prefix) = wanted else {
        let previous = kept.iter().find(|one| Some(&one.id) != current);
        return previous
            .ok_or_else(|| Failure::Failed(format!("{name}: no other generation has served, so none is kept")));
    };
    let matching: Vec<_> = kept.iter().filter(|one| one.id.as_str().starts_with(prefix)).collect();
    match matching[..] {
        [one] => Ok(one),
        _ => {
            let why = if matching.is_empty() { "no generation" } else { "more than one generation" };
            let list = list(context, name, kept, current);
            Err(Failure::Failed(format!("{name}: {why} {prefix:?} is kept; there are\n{list}")))
        }
    }
}

/// What is kept, and what each would change.
fn list(context: &Context, name: &ServiceName, kept: &[Past], current: Option<&GenerationId>) -> String {
    let location = search::find_one(&context.layout, name);
    let differences = |one: &Past| match &location {
        Some(location) => one
            .differences(&context.layout, location)
            .map_or_else(|_| "it cannot be read".to_owned(), |keys| keys.into_iter().collect::<Vec<_>>().join(", ")),
        None => "nothing is declared".to_owned(),
    };
    let rows = kept.iter().map(|one| {
        let mark = if Some(&one.id) == current { "serves" } else { "" };
        vec![
            one.id.to_string(),
            humantime::format_rfc3339_seconds(one.served).to_string(),
            mark.to_owned(),
            differences(one),
        ]
    });
    let text = table::text(&["GENERATION", "SINCE", "", "OTHER THAN DECLARED"], rows.collect());
    text.trim_end().lines().map(|line| format!("  {line}\n")).collect::<String>().trim_end().to_owned()
}
