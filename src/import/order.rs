//! The order of parts.

use std::collections::{BTreeMap, BTreeSet};

use crate::import::declaration::Declaration;

/// Removes from `after` what is no part, and references that form a cycle.
pub(crate) fn keep_parts(declaration: &mut Declaration) {
    let known: BTreeSet<_> = declaration.services.iter().map(|service| service.name.clone()).collect();
    let mut kept: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for service in &mut declaration.services {
        let own = service.name.clone();
        let wanted = service.words("", "after");
        service.remove("", "after");
        let mut after = Vec::new();
        for name in wanted {
            if name != own && known.contains(&name) && !after.contains(&name) && !reaches(&kept, &name, &own) {
                after.push(name);
            }
        }
        kept.insert(own, after.clone());
        if !after.is_empty() && known.len() > 1 {
            service.set("", "after", after);
        }
    }
}

/// Returns whether a part waits for another, directly or over others.
fn reaches(kept: &BTreeMap<String, Vec<String>>, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(name) = next.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            next.extend(kept.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    false
}
