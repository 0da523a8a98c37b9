//! Services that are declared in parts: one declaration, several services.

use std::collections::BTreeSet;
use std::io;

use crate::diagnostic::Diagnostics;
use crate::layout::Layout;
use crate::live;
use crate::names::ServiceName;
use crate::source::search;

/// Returns the services that a name stands for: its parts, declared or running, if it has some, else itself.
///
/// # Errors
/// If it cannot be known what runs.
pub(crate) fn members(layout: &Layout, name: &ServiceName) -> io::Result<Vec<ServiceName>> {
    let mut parts: BTreeSet<_> = live::parts_of(layout, name)?.into_iter().collect();
    // A declaration that cannot be read says so when it is compiled: its parts are those that run.
    let declared = search::find_one(layout, name).ok().flatten();
    parts.extend(declared.and_then(|location| search::parts(layout, &location).ok()).unwrap_or_default());
    Ok(if parts.is_empty() { vec![name.clone()] } else { parts.into_iter().collect() })
}

/// Returns the service that a declared service is a part of, None if it is no part.
///
/// # Errors
/// If that cannot be known.
pub(crate) fn group_of(layout: &Layout, name: &ServiceName) -> Result<Option<ServiceName>, Diagnostics> {
    let location = search::find_one(layout, name)?;
    Ok(location.and_then(|location| Some(location.group?.name.clone())))
}
