//! Targets beyond this host: their options, and the services that are rendered for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, ValueEnum};

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::input::{is_directory, is_function, with_rendered};
use crate::cli::output::out;
use crate::cli::words;
use crate::compile::export::{Exported, export_all, export_at, in_order};
use crate::diagnostic::Diagnostics;
use crate::layout::LIBRARY;
use crate::names::ServiceName;
use crate::source::search;
use crate::target::Export;
use crate::target::kubernetes::{Helper, Kubernetes, RouteApi, Version, keys};
use crate::target::pacemaker::{self, Address, Cluster};
use crate::tree::{Entry, Tree};

/// The engine that a declaration is rendered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Systemd,
    Kubernetes,
    Pacemaker,
}

/// The API of a cluster's routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Routes {
    Ingress,
    Gateway,
}

#[derive(Args)]
#[group(skip)]
pub(crate) struct Arguments {
    /// Compile for this target [default: systemd]
    #[arg(long, value_name = "TARGET")]
    target: Option<Name>,
    /// Run services with [exec] in this image
    #[arg(long, value_name = "IMAGE", help_heading = "For Kubernetes")]
    image: Option<String>,
    /// Name images that are built of large files
    #[arg(long, value_name = "REGISTRY/PATH", help_heading = "For Kubernetes")]
    repository: Option<String>,
    /// Set the namespace of objects [default: that of kubectl]
    #[arg(long, help_heading = "For Kubernetes")]
    namespace: Option<String>,
    /// Accept what a key loses on the target
    #[arg(long, value_name = "KEY")]
    accept: Vec<String>,
    /// Render routes for this API [default: ingress]
    #[arg(long, value_name = "API", help_heading = "For Kubernetes")]
    route_api: Option<Routes>,
    /// Name the Gateway of routes
    #[arg(long, value_name = "[NAMESPACE/]NAME", help_heading = "For Kubernetes")]
    gateway: Option<String>,
    /// Render for this version of Kubernetes, from 1.20 on [default: the current one]
    #[arg(long, value_name = "VERSION", help_heading = "For Kubernetes")]
    kubernetes: Option<Version>,
    /// Use this helper program of pods [default: that of this machine]
    #[arg(long, value_name = "FILE", help_heading = "For Kubernetes")]
    helper: Option<Utf8PathBuf>,
    /// Set the size of volumes [default: 1Gi]
    #[arg(long, value_name = "SIZE", help_heading = "For Kubernetes")]
    storage: Option<String>,
    /// Name the nodes of the cluster
    #[arg(long, value_name = "NODE", value_delimiter = ',', help_heading = "For Pacemaker")]
    nodes: Vec<String>,
    /// Move this address with the services that have routes or ports
    #[arg(long, value_name = "IP[/PREFIX]", help_heading = "For Pacemaker")]
    address: Option<Address>,
    /// Run this service on one node at a time
    #[arg(long, value_name = "NAME", help_heading = "For Pacemaker")]
    single: Vec<String>,
}

impl Arguments {
    /// Returns whether there is a target beyond this host.
    pub(crate) fn is_given(&self) -> bool {
        self.target.is_some_and(|target| target != Name::Systemd)
    }

    /// Returns the target, if it is one beyond this host.
    ///
    /// # Errors
    /// Options that the target does not have, and keys that cannot be accepted.
    pub(crate) fn target(&self) -> Result<Option<Box<dyn Export>>, Failure> {
        let target = self.target.unwrap_or(Name::Systemd);
        if let Some((option, of)) = self.options().find(|(_, of)| !of.contains(&target)) {
            let of: Vec<_> = of.iter().filter_map(ValueEnum::to_possible_value).collect();
            let of: Vec<_> = of.iter().map(|value| format!("--target {}", value.get_name())).collect();
            return Err(Failure::Usage(format!("{option} is for {}", of.join(" and "))));
        }
        match target {
            Name::Systemd => Ok(None),
            Name::Kubernetes => Ok(self.kubernetes()?.map(|target| Box::new(target) as _)),
            Name::Pacemaker => Ok(Some(Box::new(self.pacemaker()?))),
        }
    }

    fn pacemaker(&self) -> Result<Cluster, Failure> {
        let known: BTreeSet<_> = pacemaker::keys::acceptable().collect();
        if let Some(key) = self.accept.iter().find(|key| !known.contains(key.as_str())) {
            return Err(nothing_to_accept(key, known.iter().copied()));
        }
        let single = words::services(&self.single)?.into_iter().collect();
        let accepted = self.accept.iter().cloned().collect();
        Ok(Cluster { nodes: self.nodes.clone(), address: self.address, single, accepted })
    }

    /// Lists the options that are given, and the targets that have them.
    fn options(&self) -> impl Iterator<Item = (&'static str, &'static [Name])> {
        const KUBERNETES: &[Name] = &[Name::Kubernetes];
        const PACEMAKER: &[Name] = &[Name::Pacemaker];
        let Self {
            target: _,
            image,
            repository,
            namespace,
            accept,
            route_api,
            gateway,
            kubernetes,
            helper,
            storage,
            nodes,
            address,
            single,
        } = self;
        let given = [
            ("--image", image.is_some(), KUBERNETES),
            ("--repository", repository.is_some(), KUBERNETES),
            ("--namespace", namespace.is_some(), KUBERNETES),
            ("--accept", !accept.is_empty(), &[Name::Kubernetes, Name::Pacemaker]),
            ("--route-api", route_api.is_some(), KUBERNETES),
            ("--gateway", gateway.is_some(), KUBERNETES),
            ("--kubernetes", kubernetes.is_some(), KUBERNETES),
            ("--helper", helper.is_some(), KUBERNETES),
            ("--storage", storage.is_some(), KUBERNETES),
            ("--nodes", !nodes.is_empty(), PACEMAKER),
            ("--address", address.is_some(), PACEMAKER),
            ("--single", !single.is_empty(), PACEMAKER),
        ];
        given.into_iter().filter(|(_, is_given, _)| *is_given).map(|(option, _, of)| (option, of))
    }

    /// Returns Kubernetes with its options, if it is the target.
    ///
    /// # Errors
    /// Keys that cannot be accepted, and options that contradict each other.
    pub(crate) fn kubernetes(&self) -> Result<Option<Kubernetes>, Failure> {
        if self.target != Some(Name::Kubernetes) {
            return Ok(None);
        }
        let known: BTreeSet<_> = keys::acceptable().collect();
        if let Some(key) = self.accept.iter().find(|key| !known.contains(key.as_str())) {
            return Err(nothing_to_accept(key, known.iter().copied()));
        }
        let routes = match (self.route_api, &self.gateway) {
            (None | Some(Routes::Ingress), None) => RouteApi::Ingress,
            (Some(Routes::Gateway), Some(name)) => RouteApi::Gateway(name.clone()),
            (Some(Routes::Gateway), None) => {
                return Err(Failure::Usage("--route-api gateway needs the Gateway's name: --gateway NAME".to_owned()));
            }
            (_, Some(_)) => return Err(Failure::Usage("--gateway is for --route-api gateway".to_owned())),
        };
        let path = self.helper.clone().unwrap_or_else(|| Utf8Path::new(LIBRARY).join("pod"));
        let content = fs::read(&path).map_err(|error| error.to_string());
        Ok(Some(Kubernetes {
            image: self.image.clone(),
            repository: self.repository.clone(),
            namespace: self.namespace.clone(),
            routes,
            version: self.kubernetes.unwrap_or(Version::CURRENT),
            accepted: self.accept.iter().cloned().collect(),
            helper: Helper::new(path, content),
            storage: self.storage.clone().unwrap_or_else(|| "1Gi".to_owned()),
        }))
    }
}

fn nothing_to_accept<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let near = crate::directive::closest(key, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Failure::Usage(format!("--accept {key}: there is nothing to accept of this key{near}"))
}

/// Rendered services, those that others need first.
pub(crate) struct Found {
    /// What a stream begins with.
    head: &'static str,
    /// What they have in common, which is applied before them.
    pub(crate) shared: Tree,
    pub(crate) services: Vec<Exported>,
    /// What could not be rendered.
    pub(crate) errors: Diagnostics,
}

/// Renders what words name, with the services that it depends on; without a name all that is declared on this host.
///
/// # Errors
/// Everything that is wrong with what is named.
pub(crate) fn services(
    context: &Context,
    given: &[String],
    name: Option<&str>,
    target: &dyn Export,
) -> Result<Found, Failure> {
    let (things, assignments) = words::split(given);
    let (services, errors) = match things.as_slice() {
        [] if assignments.is_empty() => export_all(&context.layout, target),
        [thing] if is_function(context, thing) => {
            return Err(Failure::Usage("functions run on this host alone".to_owned()));
        }
        [thing] => {
            let mut collected = Collected { context, target, services: BTreeMap::new() };
            if is_directory(thing) {
                collected.directory(Utf8Path::new(thing), name, &assignments)?;
            } else if assignments.is_empty() {
                collected.declared(&words::service(thing)?)?;
            } else {
                let why = format!("{thing} is a declared service: its variables were given when it was declared");
                return Err(Failure::Usage(why));
            }
            (in_order(collected.services.into_values().flatten().collect()), Diagnostics::default())
        }
        _ => return Err(Failure::Usage("one directory or service at a time; variables are VAR=VAL".to_owned())),
    };
    let shared = target.shared(&services.iter().map(|exported| &exported.model).collect::<Vec<_>>())?;
    Ok(Found { head: target.head(), shared, services, errors })
}

/// Declarations that are rendered, by the names that they are declared under.
struct Collected<'a> {
    context: &'a Context,
    target: &'a dyn Export,
    services: BTreeMap<ServiceName, Vec<Exported>>,
}

impl Collected<'_> {
    /// Renders a directory and those of the services that it depends on.
    fn directory(&mut self, path: &Utf8Path, name: Option<&str>, assignments: &[String]) -> Outcome {
        let name = words::name_of(path, name)?;
        if self.services.contains_key(&name) {
            return Ok(());
        }
        let services = with_rendered(self.context, path, Some(name.as_str()), assignments, |location, dir| {
            Ok(export_at(&self.context.layout, location, dir, path, self.target)?)
        })?;
        let needed: Vec<_> =
            services.iter().flat_map(|exported| exported.model.service.dependencies().to_vec()).collect();
        self.services.insert(name, services);
        for dependency in needed {
            let vars: Vec<_> = dependency.vars.iter().map(|(name, value)| format!("{name}={value}")).collect();
            self.directory(&path.join(&dependency.dir), Some(dependency.name.as_str()), &vars)?;
        }
        Ok(())
    }

    /// Renders a service of this host and those that it depends on.
    fn declared(&mut self, name: &ServiceName) -> Outcome {
        if self.services.contains_key(name) {
            return Ok(());
        }
        let (layout, location) = (&self.context.layout, self.context.location(name.as_str())?);
        let services = export_at(layout, &location, &layout.at(&location.dir), &location.dir, self.target)?;
        let needed: Vec<_> =
            services.iter().flat_map(|exported| exported.model.service.dependencies().to_vec()).collect();
        self.services.insert(name.clone(), services);
        for dependency in needed {
            if search::find_one(layout, &dependency.name)?.is_some() {
                self.declared(&dependency.name)?;
            }
        }
        Ok(())
    }
}

impl Found {
    fn files(&self) -> impl Iterator<Item = (&Utf8Path, &Entry)> {
        std::iter::once(&self.shared).chain(self.services.iter().map(|exported| &exported.tree)).flat_map(Tree::iter)
    }

    /// Prints the objects as one stream, in the order in which they can be applied.
    ///
    /// # Errors
    /// If there are files that no stream can have.
    pub(crate) fn show(&self) -> Outcome {
        if let Some((path, _)) = self.files().find(|(path, _)| !is_object(path)) {
            let dir = path.components().take(2).collect::<Utf8PathBuf>();
            return Err(Failure::Usage(format!("an image has to be built of {dir}: write the files with -o DIR")));
        }
        out!("{}{}", self.head, self.stream());
        Ok(())
    }

    /// Returns the objects as one stream, in the order in which they can be applied.
    pub(crate) fn stream(&self) -> String {
        let texts = self.files().filter_map(|(path, entry)| match entry {
            Entry::File { content, .. } if is_object(path) => Some(String::from_utf8_lossy(content)),
            Entry::File { .. } | Entry::Symlink { .. } => None,
        });
        texts.collect()
    }
}

/// Returns whether a file has objects: what an image is built of has none.
fn is_object(path: &Utf8Path) -> bool {
    path.components().count() <= 2 && matches!(path.extension(), Some("yaml" | "xml"))
}
