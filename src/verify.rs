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
    run(&layout, &units, service.name.as_str(), &tree)
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
    run(&layout, &units, compiled.id.as_str(), &tree)
}

/// Returns the findings about units with `ours` in their names.
fn run(layout: &Layout, units: &Utf8Path, ours: &str, tree: &Tree) -> io::Result<Vec<String>> {
    let mut command = Command::new("systemd-analyze");
    if layout.scope == Scope::User {
        command.arg("--user");
    }
    command.args(["verify", "--recursive-errors=no", "--man=no"]);
    command.env("SYSTEMD_UNIT_PATH", format!("{units}:"));
    let is_unit = |path: &&Utf8Path| path.components().count() == 1;
    // Of a template, an instance.
    command.args(
        tree.iter().map(|(path, _)| path).filter(is_unit).map(|path| units.join(path.as_str().replace("@.", "@1."))),
    );
    let output = command.output()?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    // `verify` looks at units of the host on the way; only ours are asked about.
    let is_ours = |line: &&str| line.contains(ours);
    let mut lines: Vec<_> = words.lines().filter(is_ours).map(|line| line.replace(units.as_str(), "")).collect();
    if !output.status.success() && lines.is_empty() {
        lines.push(words.trim().to_owned());
    }
    Ok(lines)
}
