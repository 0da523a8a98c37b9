//! Entry points for the targets of fuzz/, which would otherwise need public modules.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde_json::Value;

use crate::compile;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::engine::pod::Setting;
use crate::environment::Environment;
use crate::escape::Assignment;
use crate::gateway::header::{self, Parsed};
use crate::layout::Layout;
use crate::model::function::Compiled;
use crate::model::{Engine, File, FileKind, Pod, Service};
use crate::names::{Deployment, GenerationId, ServiceName};
use crate::resolve::function;
use crate::source::functions;
use crate::source::search::Declared;
use crate::target::Target;
use crate::target::systemd::Units;
use crate::tree::Tree;

/// What the beginning of a program's answer is.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    Partial,
    /// A path on this host that the gateway asks for instead.
    Local(String),
    Complete {
        length: usize,
        status: u16,
        /// Names and values in order.
        headers: Vec<(String, Vec<u8>)>,
        has_hop_by_hop: bool,
    },
}

/// Reads the head of an answer: a CGI program's, or that of a program that writes HTTP itself (`nph`).
///
/// # Errors
/// What is wrong with it.
pub fn head(bytes: &[u8], nph: bool) -> Result<Head, &'static str> {
    let parse = if nph { header::parse_nph } else { header::parse };
    Ok(match parse(bytes).map_err(|malformed| malformed.0)? {
        Parsed::Partial => Head::Partial,
        Parsed::Local(path) => Head::Local(path.to_string()),
        Parsed::Head(head, length) => {
            let pairs = head.headers.iter();
            Head::Complete {
                length,
                status: head.status.as_u16(),
                headers: pairs.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
                has_hop_by_hop: head.headers.keys().any(|name| header::is_hop_by_hop(name.as_str())),
            }
        }
    })
}

/// An error: what it prints, and its remedy.
pub type Refused = (String, String);

fn refused(error: &Diagnostic) -> Refused {
    (error.to_string(), error.remedy().to_owned())
}

/// Compiles a function.toml beside a program `act` to the texts of its units.
///
/// # Errors
/// All that is wrong with the file; it is never empty.
pub fn units_of_function(text: &str) -> Result<Vec<String>, Vec<Refused>> {
    let all = |errors: Diagnostics| errors.0.iter().map(refused).collect::<Vec<_>>();
    let layout = Layout::system("/".into());
    let document = functions::parse(text, "function.toml".into()).map_err(|error| vec![refused(&error)])?;
    let program = FileKind::Regular { executable: true, size: 0, sha256: "0".repeat(64) };
    let declared = Declared {
        name: ServiceName::new("function").expect("a name"),
        scope: layout.scope,
        dir: "/f".into(),
        source: "/f/function.toml".into(),
        document,
        group: None,
        drop_ins: Vec::new(),
        files: vec![File { path: "act".into(), kind: program }],
        variables: BTreeMap::new(),
    };
    let function = function::resolve(&declared, Some(252)).map_err(all)?;
    let compiled = Compiled { id: function.id(), function, dir: "/f".into() };
    let tree = Units(Some(252)).function(&layout, &compiled);
    Ok(tree.iter().filter_map(|(path, _)| tree.text(path).map(str::to_owned)).collect())
}

/// Writes a variable as the value of `Environment=`.
pub fn assignment(name: &str, value: &str) -> String {
    Assignment { name, value }.to_string()
}

/// Reads the environment that a unit and a drop-in give the second instance.
pub fn environment(unit: &str, drop_in: &str) -> BTreeMap<String, String> {
    let (name, id) = names();
    let mut units = Tree::default();
    units.file(format!("{}.service", name.template(&id)), unit);
    units.file(format!("{}.service.d/50-more.conf", name.template(&id)), drop_in);
    Environment::of(&units, &name, &id, Some(2)).variables
}

/// A service that runs a pod, declared below a scratch directory.
pub struct Pods {
    layout: Layout,
    deployment: Deployment,
    model: Service,
}

impl Pods {
    /// Declares the service below `root`.
    ///
    /// # Panics
    /// If `root` cannot be written to.
    pub fn new(root: &Utf8Path) -> Self {
        let dir = root.join("etc/conductor/services/web");
        let declaration =
            "[pod]\ntemplate = 'pod.yaml'\nport = 8080\nconfig_map = 'pod.yaml'\ncredentials = { db = '/etc/db' }\n";
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join("pod.yaml"), "").expect("a file");
        std::fs::write(dir.join("service.toml"), declaration).expect("a declaration");
        let layout = Layout::system(root);
        let model = compile::compile(&layout, &Units(None)).services.into_values().next().expect("it compiles").service;
        let (name, id) = names();
        Self { layout, deployment: Deployment::new(&name, &id, 2), model }
    }

    /// Completes the objects of a pod's file that lies in `files`.
    ///
    /// # Errors
    /// What is wrong with the file.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn objects(&self, files: &Utf8Path, text: &str) -> Result<Vec<Value>, Refused> {
        std::fs::write(files.join("pod.yaml"), text).expect("a file");
        let setting = Setting {
            layout: &self.layout,
            deployment: &self.deployment,
            model: &self.model,
            pod: self.pod(),
            files,
            shown: Utf8Path::new("/f"),
        };
        setting.render().map(|rendered| rendered.objects).map_err(|error| refused(&error))
    }

    fn pod(&self) -> &Pod {
        match &self.model.process.engine {
            Engine::Pod(pod) => pod,
            _ => unreachable!("its declaration has [pod]"),
        }
    }
}

fn names() -> (ServiceName, GenerationId) {
    (ServiceName::new("web").expect("a name"), GenerationId::new("0123456789ab").expect("an id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_of_pods_compiles() {
        let root = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(root.path()).expect("UTF-8");
        let pods = Pods::new(root);
        let text = "apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec: { containers: [{ name: b, image: c }] }\n";
        assert_eq!(pods.objects(root, text).map(|objects| objects.len()), Ok(1));
    }
}
