//! What services compile to on this host, and how it is shown.

use crate::cli::context::Context;
use crate::cli::output::{out, outln};
use crate::compile::host::Compiled;
use crate::model::Footprint;
use crate::proxy::chosen::Chosen;
use crate::proxy::files;
use crate::target::Target;
use crate::tree::{Entry, Tree};

/// Renders the units of services, and the configuration by which the chosen proxy serves their routes alone.
pub(crate) fn tree(context: &Context, services: &[Compiled], target: &dyn Target) -> Tree {
    let layout = &context.layout;
    let mut tree = Tree::default();
    services.iter().for_each(|compiled| tree.extend(compiled.units(layout, target)));
    let footprints: Vec<_> = services.iter().map(|compiled| Footprint::of(&compiled.service)).collect();
    let driver = Chosen::of_host(layout).driver;
    tree.extend(files::render(layout, driver, &footprints.iter().collect::<Vec<_>>(), None));
    tree
}

/// Prints each entry of a tree under its path.
pub(crate) fn show(tree: &Tree) {
    for (index, (path, entry)) in tree.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        match entry {
            Entry::File { content, .. } => out!("{gap}## {path}\n{}", String::from_utf8_lossy(content)),
            Entry::Symlink { target } => outln!("{gap}## {path} -> {target}"),
        }
    }
}
