//! Models become systemd's units, a file for each kind of unit. Nothing here reads, looks anything up or knows of
//! declarations.

mod bridge;
pub(crate) mod canary;
mod command;
mod deployment;
mod engine;
mod function;
pub(crate) mod job;
mod port;
mod queue;
mod service;
mod slice;
mod unit;

use crate::diagnostic::Diagnostics;
use crate::layout::Layout;
use crate::model::{self, DropIn, Model};
use crate::names::GenerationId;
use crate::path;
use crate::source::search::Declared;
use crate::target::{Target, Vocabulary};
use crate::tree::Tree;

/// Units for the systemd of a version; None: it is unknown, and the units are for the oldest that is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units(pub Option<u16>);

impl Vocabulary for Units {
    fn systemd(&self) -> Option<u16> {
        self.0
    }

    fn refuse(&self, declared: &Declared, model: &Model) -> Diagnostics {
        if model.service.deploy.autoscale.is_none() {
            return Diagnostics::default();
        }
        let message = "systemd starts as many deployments as are declared, whatever their load";
        let remedy = "write concurrency for this host; [deploy.autoscale] is for render --target kubernetes";
        declared.document.key_error(&path!["deploy", "autoscale"], message, remedy).into()
    }
}

impl Target for Units {
    fn service(&self, layout: &Layout, model: &Model, id: &GenerationId) -> Tree {
        let Model { service, systemd } = model;
        let mut tree = Tree::default();
        service::render(layout, model, &mut tree);
        slice::render(layout, model, &mut tree);
        if service.process.is_none() {
            return tree;
        }
        deployment::render(layout, model, id, self.0, &mut tree);
        bridge::render(layout, service, id, &mut tree);
        port::render(layout, service, self.0, &mut tree);
        queue::render(layout, service, &mut tree);
        job::render(layout, service, self.0, &mut tree);
        for DropIn { name, content } in &systemd.drop_ins {
            tree.file(format!("{}.service.d/{name}", service.name.template(id)), content.as_str());
        }
        tree
    }

    fn function(&self, layout: &Layout, function: &model::function::Compiled) -> Tree {
        function::render(layout, function, self.0)
    }
}
