//! Services that are declared in parts: one declaration, several services.

use std::collections::BTreeSet;

use crate::layout::Layout;
use crate::live;
use crate::names::ServiceName;
use crate::source::search;

/// Returns the services that a name stands for: its parts, declared or running, if it has some, else itself.
pub(crate) fn members(layout: &Layout, name: &ServiceName) -> Vec<ServiceName> {
    let mut parts: BTreeSet<_> = live::parts_of(layout, name).into_iter().collect();
    // A declaration whose parts cannot be read reports that when it is compiled.
    let location = search::find_one(layout, name);
    parts.extend(location.and_then(|location| search::parts(layout, &location).ok()).unwrap_or_default());
    if parts.is_empty() { vec![name.clone()] } else { parts.into_iter().collect() }
}

/// Returns the service that a declared service is a part of, None if it is no part.
pub(crate) fn group_of(layout: &Layout, name: &ServiceName) -> Option<ServiceName> {
    search::find_one(layout, name)?.group.map(|group| group.name.clone())
}
