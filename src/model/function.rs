//! A function as it will be, and the digest that is its name.

use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use crate::declaration::function::{Interface, Mode, Transport};
use crate::model::alias::Alias;
use crate::model::{Directive, File, Process, Tls};
use crate::names::{FunctionId, hex};

/// Everything that is known of a function: what its ID is the digest of. A field that is added later must be left out
/// of the canonical form while it has its default, or every function would get another ID.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    pub name: String,
    pub aliases: Vec<Alias>,
    pub tls: Tls,
    pub interface: Interface,
    pub listen: Transport,
    pub mode: Mode,
    pub preload: u32,
    pub max_requests: u32,
    pub max_concurrency: u32,
    pub max_queue: u32,
    pub timeout: Duration,
    pub idle_timeout: Duration,
    pub path_info_strip: u32,
    pub network: bool,
    pub process: Process,
    /// Directives of the function's slice.
    pub resources: Vec<Directive>,
    /// What travels with the manifest, by path.
    pub files: Vec<File>,
}

impl Function {
    /// The digest of the canonical form: JSON with fields in the order of the type and sorted maps.
    pub fn id(&self) -> FunctionId {
        let mut hasher = Sha256::new();
        hasher.update("conductor function\n");
        hasher.update(serde_json::to_vec(self).expect("a model serializes"));
        FunctionId::of_digest(hex(&hasher.finalize()))
    }
}

/// A function that compiled.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub id: FunctionId,
    pub function: Function,
    /// Where its files are, as the units name it.
    pub dir: Utf8PathBuf,
}
