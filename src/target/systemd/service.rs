//! The units that people start: a service's, which rolls its deployments, and that of a group of parts.

use askama::Template;

use crate::escape::{Raw, Text};
use crate::layout::Layout;
use crate::model::{Dependency, Group, Live, Model, Service, Systemd};
use crate::names::ServiceName;
use crate::target::systemd::unit::{Argument, Common, Line, conditions, finish};
use crate::timespan;
use crate::tree::Tree;

#[derive(Template)]
#[template(path = "systemd/service.service", escape = "none")]
struct ServiceUnit<'a> {
    common: Common<'a>,
    /// The group, if the service is a part.
    group: Option<&'a str>,
    has_routes: bool,
    /// The timer that asks whether its deployments live.
    live_timer: Option<String>,
    dependencies: Vec<&'a str>,
    /// The parts that it starts after.
    after: Vec<&'a str>,
    requirements: Vec<Line<'a>>,
    conditions: Vec<Line<'a>>,
    program: &'a str,
    dir: Argument<'a>,
    timeout_start: String,
    timeout_stop: String,
}

#[derive(Template)]
#[template(path = "systemd/group.service", escape = "none")]
struct GroupUnit<'a> {
    common: Common<'a>,
    dependencies: Vec<&'a str>,
    conditions: Vec<Line<'a>>,
    program: &'a str,
    dir: Argument<'a>,
}

/// Adds `NAME.service` and, for a part, that of its group, with the links that start what is declared.
pub(super) fn render(layout: &Layout, model: &Model, tree: &mut Tree) {
    let Model { service, systemd } = model;
    tree.file(service.name.unit(), service_unit(layout, service, systemd));
    if let Some(group) = &service.group {
        tree.file(group.name.unit(), group_unit(layout, service, group));
    }
    let unit = service.declared_as().unit();
    for wanting in &systemd.wanted_by {
        tree.symlink(format!("{wanting}.wants/{unit}"), format!("../{unit}"));
    }
}

fn service_unit(layout: &Layout, service: &Service, systemd: &Systemd) -> String {
    finish(&ServiceUnit {
        common: Common::new(layout, service),
        group: service.group.as_ref().map(|group| group.name.as_str()),
        has_routes: !service.routes.is_empty(),
        live_timer: service.health.live.as_ref().and_then(Live::timer),
        dependencies: names(&service.dependencies),
        after: service.after.iter().map(ServiceName::as_str).collect(),
        requirements: requirements(systemd),
        conditions: conditions(&service.conditions),
        program: &layout.program(),
        dir: Argument(&layout.service_dir(service)),
        timeout_start: timespan::format(service.rollout_limit()),
        timeout_stop: timespan::format(service.shutdown_limit()),
    })
}

fn group_unit(layout: &Layout, service: &Service, group: &Group) -> String {
    finish(&GroupUnit {
        common: Common {
            name: group.name.as_str(),
            description: Text(&group.description),
            ..Common::new(layout, service)
        },
        dependencies: names(&group.dependencies),
        conditions: conditions(&group.conditions),
        program: &layout.program(),
        dir: Argument(&layout.declaration(&group.name)),
    })
}

/// Directives by which systemd stops a unit together with another one, and their order.
const REQUIREMENTS: &[&str] = &["Requires", "Requisite", "BindsTo", "After"];

/// Writes what the deployments require for the service, too: when systemd stops them together with what they require, the
/// service has stopped, and a start brings all of it back.
fn requirements(systemd: &Systemd) -> Vec<Line<'_>> {
    // What differs between deployments is not the service's.
    let unit = || {
        let all = systemd.unit.iter().filter(|directive| REQUIREMENTS.contains(&directive.name.as_str()));
        all.filter(|directive| !directive.value.replace("%%", "").contains('%'))
    };
    if unit().all(|directive| directive.name == "After") {
        return Vec::new();
    }
    unit().map(|directive| Line::new(&directive.name, Raw(&directive.value))).collect()
}

fn names(dependencies: &[Dependency]) -> Vec<&str> {
    dependencies.iter().map(|dependency| dependency.name.as_str()).collect()
}
