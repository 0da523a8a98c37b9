//! Rendering a function: its units and routes.

use crate::function::store;
use crate::layout::Layout;
use crate::model::function::Compiled;
use crate::proxy::files;
use crate::proxy::routing::FunctionRoute;
use crate::target::Target;
use crate::tree::Tree;

/// Renders a function's units and its part of the proxy's configuration, as if it were stored.
pub(crate) fn render(layout: &Layout, compiled: &Compiled, target: &dyn Target) -> Tree {
    let dir = store::base(layout).join(compiled.id.as_str());
    let mut tree = target.function(layout, &Compiled { dir, ..compiled.clone() });
    let function = &compiled.function;
    let aliases = function.aliases.iter().map(|alias| FunctionRoute {
        link: store::link(layout, alias),
        tls: function.tls,
        alias: alias.clone(),
    });
    tree.extend(files::render(layout, &[], Some(&aliases.collect::<Vec<_>>())));
    tree
}
