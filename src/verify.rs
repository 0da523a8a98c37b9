//! Validation of rendered units with `systemd-analyze verify`, systemd-analyze(1).

use std::io;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

use crate::compile::host::Compiled;
use crate::layout::{Layout, Scope};
use crate::model::function::Compiled as Function;
use crate::service::store;
use crate::target::Target;
use crate::tree::Tree;
use crate::write;

/// Verifies a service's units and returns the findings. `dir` is the directory of the declaration's files.
///
/// # Errors
/// If systemd-analyze cannot be run.
pub fn verify(layout: &Layout, compiled: &Compiled, dir: &Utf8Path, target: &dyn Target) -> io::Result<Vec<String>> {
    let Compiled { service, id, .. } = compiled;
    let scratch = tempfile::tempdir()?;
    let scratch =
        Utf8PathBuf::try_from(scratch.path().to_owned()).map_err(io::Error::other).map(|path| (path, scratch));
    let (path, _guard) = scratch?;
    let (units, state) = (path.join("units"), path.join("state"));
    let layout = layout.for_verification(&state, Utf8Path::new("/bin/true"));
    store::copy(dir, &layout.files(&service.name, id), &service.files)?;
    let tree = target.service(&layout, &compiled.model(), id);
    write::create(&units, &tree)?;
    run(&layout, &units, &tree)
}

/// Verifies a function's units and returns the findings. `dir` is the function's directory.
///
/// # Errors
/// If systemd-analyze cannot be run.
pub fn verify_function(
    layout: &Layout,
    compiled: &Function,
    dir: &Utf8Path,
    target: &dyn Target,
) -> io::Result<Vec<String>> {
    let scratch = tempfile::tempdir()?;
    let units = Utf8PathBuf::try_from(scratch.path().join("units")).map_err(io::Error::other)?;
    let layout = layout.for_verification(&units, Utf8Path::new("/bin/true"));
    let tree = target.function(&layout, &Function { dir: dir.to_owned(), ..compiled.clone() });
    write::create(&units, &tree)?;
    run(&layout, &units, &tree)
}

/// Returns the findings about the units of a tree that is written at `units`.
fn run(layout: &Layout, units: &Utf8Path, tree: &Tree) -> io::Result<Vec<String>> {
    let mut command = Command::new("systemd-analyze");
    if layout.scope == Scope::User {
        command.arg("--user");
    }
    command.args(["verify", "--recursive-errors=no", "--man=no"]);
    command.env("SYSTEMD_UNIT_PATH", format!("{units}:"));
    let names: Vec<_> = tree.iter().map(|(path, _)| path.as_str()).filter(|path| !path.contains('/')).collect();
    // Of a template, an instance.
    let instances: Vec<_> = names.iter().map(|name| name.replace("@.", "@1.")).collect();
    command.args(instances.iter().map(|name| units.join(name)));
    let output = command.output()?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    // `verify` looks at units of the host on the way. A finding begins with its unit, or with the unit's path.
    let is_ours = |line: &&str| {
        let unit = line.strip_prefix(units.as_str()).map_or(*line, |rest| rest.trim_start_matches('/'));
        names.iter().any(|name| unit.starts_with(name)) || instances.iter().any(|name| unit.starts_with(name))
    };
    let mut lines: Vec<_> = words.lines().filter(is_ours).map(|line| line.replace(units.as_str(), "")).collect();
    if !output.status.success() && lines.is_empty() {
        lines.push(words.trim().to_owned());
    }
    Ok(lines)
}
