//! `[[service]]`: the dependencies of a service.

use std::collections::BTreeSet;

use camino::Utf8Path;

use crate::model::Dependency;
use crate::names::ServiceName;
use crate::resolve::{Resolver, unfit};
use crate::{declaration, path};

impl Resolver<'_> {
    /// Resolves `[[service]]`.
    pub(crate) fn dependencies(&mut self, services: Vec<declaration::Dependency>) -> Vec<Dependency> {
        let mut dependencies = Vec::new();
        let mut names = BTreeSet::new();
        for (index, declaration::Dependency { dir, vars, name }) in services.into_iter().enumerate() {
            let at = path!["service", index];
            let dir = Utf8Path::new(&dir);
            let named_at = at.join(if name.is_some() { "name" } else { "dir" });
            let Some(text) = name.as_deref().or(dir.file_name()) else {
                let remedy = "write the path of a directory that has a service.toml, or a name beside it";
                self.error(&at.join("dir"), format!("{dir:?} does not end in the name of a directory"), remedy);
                continue;
            };
            if let Some((message, remedy)) = unfit(dir.as_str()) {
                self.error(&at.join("dir"), message, remedy);
            }
            let vars = vars.into_iter().map(|(name, value)| (name, value.0)).collect();
            match ServiceName::new(text) {
                Err(why) => self.error(&named_at, why, "write name = \"…\""),
                Ok(name) if name == *self.declared.declared_as() => {
                    self.error(&named_at, "a service cannot depend on itself", "remove it");
                }
                Ok(name) if !names.insert(name.clone()) => {
                    let remedy = "remove one of the two, or give it another name";
                    self.error(&named_at, format!("the dependency on {name} is declared twice"), remedy);
                }
                Ok(name) => dependencies.push(Dependency { name, dir: dir.to_owned(), vars }),
            }
        }
        dependencies
    }
}
