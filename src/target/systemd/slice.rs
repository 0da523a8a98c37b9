//! Slices, systemd.slice(5): the limits of a service, and of a group of parts.

use askama::Template;

use crate::escape::Text;
use crate::layout::Layout;
use crate::model::{Directive, Model, Setting};
use crate::target::systemd::unit::{Common, Line, finish, limits, lines};
use crate::tree::Tree;

#[derive(Template)]
#[template(path = "systemd/service.slice", escape = "none")]
struct Slice<'a> {
    common: Common<'a>,
    lines: Vec<Line<'a>>,
}

/// Adds the slice of a service and, for a part, that of its group.
pub(super) fn render(layout: &Layout, model: &Model, tree: &mut Tree) {
    let Model { service, systemd } = model;
    let slice = |description: &str, resources: &[Setting], passed: &[Directive]| {
        let common = Common { description: Text(description), ..Common::new(layout, service) };
        finish(&Slice { common, lines: limits(resources).chain(lines(passed)).collect() })
    };
    tree.file(
        service.name.slice(service.declared_as()),
        slice(&service.description, &service.resources, &systemd.slice),
    );
    if let Some(group) = &service.group {
        let unit = slice(&group.description, &group.resources, &systemd.group_slice);
        tree.file(group.name.slice(&group.name), unit);
    }
}
