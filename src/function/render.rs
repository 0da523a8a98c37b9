//! Rendering a function: its units and routes.

use crate::function::store;
use crate::layout::Layout;
use crate::model::alias::Alias;
use crate::model::function::Compiled;
use crate::proxy::chosen::Chosen;
use crate::proxy::files;
use crate::proxy::routing::{FunctionRoute, FunctionRoutes};
use crate::target::Target;
use crate::tree::Tree;

/// Renders a function's units and its part of the proxy's configuration, as if it were stored.
pub(crate) fn render(layout: &Layout, compiled: &Compiled, target: &dyn Target) -> Tree {
    let dir = store::base(layout).join(compiled.id.as_str());
    let mut tree = target.function(layout, &Compiled { dir, ..compiled.clone() });
    let function = &compiled.function;
    let driver = Chosen::of_host(layout).driver;
    let route = |alias: &Alias| FunctionRoute::new(function, alias.clone(), store::link(layout, alias));
    let is_served = |route: &FunctionRoute| driver.is_none_or(|driver| driver.refuses(route, false).is_none());
    let routes = FunctionRoutes {
        aliases: function.claims().map(route).filter(is_served).collect(),
        has_addresses: true,
        withdrawn: if function.address { Vec::new() } else { vec![compiled.id.clone()] },
        declared: if function.address { vec![compiled.id.clone()] } else { Vec::new() },
    };
    tree.extend(files::render(layout, driver, &[], Some(&routes)));
    tree
}
