//! The directory of a deployment that belongs to the service's user: `$CONDUCTOR_DEPLOYMENT_DIR` of a command.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::panic::resume_unwind;
use std::thread;

use camino::Utf8Path;
use fs_err as fs;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::accounts;
use crate::diagnostic::Diagnostics;
use crate::engine::start_templates;
use crate::error::{Error, Result};
use crate::layout::{Layout, Scope};
use crate::model::{Service, User};
use crate::names::Deployment;
use crate::template::rendered;
use crate::variable;

/// The links by which systemd tells the number of a dynamic user that exists, by its name.
const DYNAMIC_USERS: &str = "/run/systemd/dynamic-uid/direct:";

/// Creates the directory, for the service's user alone, and renders the service's templates into it. The caller is a hook of
/// the deployment's unit; `known` are the variables of its process that systemd has not set for this one.
///
/// # Errors
/// If the user does not exist, a template cannot be rendered, or a file cannot be written.
pub(crate) fn fill(
    layout: &Layout,
    deployment: &Deployment,
    model: &Service,
    known: BTreeMap<String, String>,
) -> Result<()> {
    let dir = layout.at(&deployment.own_dir(layout));
    let user = if layout.scope == Scope::System { Some(number(&model.process.user)?) } else { None };
    // What the process before has written stays. Root alone writes to the directory above.
    match fs::create_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => created?,
    }
    fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))?;
    if let Some((user, group)) = user {
        chown(&dir, Some(user.as_raw()), Some(group.as_raw()))?;
    }
    let files = layout.at(&layout.files(&deployment.service, &deployment.generation));
    let mut variables = from_unit(model);
    variables.extend(known);
    let texts = start_templates::render(&model.process, &files, &files, variables).map_err(Diagnostics::from)?;
    as_user(user, || texts.iter().try_for_each(|(path, text)| write(&dir, rendered(path), text.as_bytes())))
}

/// Returns the number of a user and of its group.
fn number(user: &User) -> Result<(Uid, Gid)> {
    let name = match user {
        User::Static(name) => name,
        User::Dynamic(name) => {
            let number = fs::read_link(format!("{DYNAMIC_USERS}{name}")).ok();
            if let Some(number) = number.and_then(|number| number.to_str()?.parse().ok()) {
                return Ok((Uid::from_raw(number), Gid::from_raw(number)));
            }
            name
        }
    };
    let found = accounts::user(name)?.ok_or_else(|| Error(format!("there is no user {name}")))?;
    Ok((Uid::from_raw(found.uid.as_raw()), Gid::from_raw(found.gid.as_raw())))
}

/// Returns the variables that systemd has set for this process as for the deployment's own.
fn from_unit(model: &Service) -> BTreeMap<String, String> {
    let names = model.process.environment.keys().cloned().chain(variable::known().map(str::to_owned));
    names.filter_map(|name| std::env::var(&name).ok().map(|value| (name, value))).collect()
}

/// Works in a thread that has the rights of a user: links in that user's directory lead no further than the user itself.
fn as_user(user: Option<(Uid, Gid)>, work: impl FnOnce() -> io::Result<()> + Send) -> Result<()> {
    let become_user = |(user, group)| -> io::Result<()> {
        set_thread_groups(&[])?;
        set_thread_res_gid(group, group, group)?;
        Ok(set_thread_res_uid(user, user, user)?)
    };
    let work = || user.map_or(Ok(()), become_user).and_then(|()| work());
    Ok(thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| resume_unwind(panic)))?)
}

/// Writes a file below a directory, for its user alone.
fn write(dir: &Utf8Path, path: &Utf8Path, text: &[u8]) -> io::Result<()> {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap_or(dir))?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text)
}
