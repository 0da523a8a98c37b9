//! The services that a command is asked about.

use std::collections::BTreeSet;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::words;
use crate::compile::host::Host;
use crate::live;
use crate::names::ServiceName;
use crate::service::parts::members;

/// Returns the services that are declared or run: those of these names, with the parts of groups, or all without a name.
///
/// # Errors
/// If there is no service of one of the names.
pub(crate) fn services(context: &Context, host: &Host, names: &[String]) -> Result<BTreeSet<ServiceName>, Failure> {
    let layout = &context.layout;
    let asked = words::services(names)?;
    let mut all: BTreeSet<ServiceName> = host.services.keys().cloned().collect();
    all.extend(host.errors.keys().flatten().cloned());
    all.extend(live::all(layout)?.into_keys());
    let mut wanted = BTreeSet::new();
    for name in &asked {
        let members = members(layout, name)?;
        if !members.iter().any(|member| all.contains(member)) {
            context.location(name.as_str())?;
        }
        wanted.extend(members);
    }
    all.retain(|name| asked.is_empty() || wanted.contains(name));
    Ok(all)
}
