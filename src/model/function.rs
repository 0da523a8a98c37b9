//! A function as it will be, and the digest that is its name.

use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::declaration::Tls;
pub(crate) use crate::declaration::function::{Interface, Mode, RemoteUser, Transport};
use crate::model::alias::Alias;
use crate::model::file::File;
use crate::model::process::Process;
use crate::model::programs::{Programs, Static};
use crate::model::setting::Setting;
use crate::model::systemd::Directive;
use crate::model::writable::Writable;
use crate::names::{FunctionId, hex};

/// The default of `max_body`: enough for what people upload.
pub(crate) const MAX_BODY: u64 = 64 << 20;
/// The default of `queue_timeout`, that of Apache's `Timeout` in Debian.
pub(crate) const QUEUE_TIMEOUT: Duration = Duration::from_secs(300);
/// What the processes of a request need beside its own time.
pub(crate) const MARGIN: Duration = Duration::from_secs(5);
/// The time that a preloaded process waits for a request, and up to two seconds more.
pub(crate) const STAND_BY: Duration = Duration::from_secs(60);

/// Everything that is known of a function: what its ID is the digest of. A field that is added later must be left out
/// of the canonical form while it has its default, or every function would get another ID.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    pub(crate) name: String,
    pub aliases: Vec<Alias>,
    /// Whether it is served at `/cgi/ID`.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub address: bool,
    #[serde(default, skip_serializing_if = "is_anonymous")]
    pub(crate) remote_user: RemoteUser,
    pub(crate) tls: Tls,
    pub(crate) interface: Interface,
    pub(crate) listen: Transport,
    pub(crate) mode: Mode,
    pub preload: u32,
    pub(crate) max_requests: u32,
    pub max_concurrency: u32,
    pub(crate) max_queue: u32,
    /// Bytes of the largest body of a request.
    #[serde(default = "default_max_body", skip_serializing_if = "is_default_max_body")]
    pub(crate) max_body: u64,
    pub(crate) timeout: Duration,
    #[serde(default = "default_queue_timeout", skip_serializing_if = "is_default_queue_timeout")]
    pub(crate) queue_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) path_info_strip: u32,
    pub(crate) network: bool,
    /// The directory of its programs, in place of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) programs: Option<Programs>,
    /// What the proxy serves itself, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) static_files: Vec<Static>,
    #[serde(default, skip_serializing_if = "Writable::is_nothing")]
    pub(crate) writable: Writable,
    /// Directives of the units that run its programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) directives: Vec<Directive>,
    pub(crate) process: Process,
    /// Limits of all its processes together.
    pub(crate) resources: Vec<Setting>,
    /// The files that are stored with the manifest, by path.
    pub(crate) files: Vec<File>,
}

fn default_max_body() -> u64 {
    MAX_BODY
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_yes(is: &bool) -> bool {
    *is
}

fn is_anonymous(user: &RemoteUser) -> bool {
    *user == RemoteUser::None
}

fn is_default_max_body(size: &u64) -> bool {
    *size == MAX_BODY
}

fn default_queue_timeout() -> Duration {
    QUEUE_TIMEOUT
}

fn is_default_queue_timeout(span: &Duration) -> bool {
    *span == QUEUE_TIMEOUT
}

impl Function {
    /// The digest of the canonical form: JSON with fields in the order of the type and sorted maps.
    pub(crate) fn id(&self) -> FunctionId {
        let mut hasher = Sha256::new();
        hasher.update("conductor function\n");
        hasher.update(serde_json::to_vec(self).expect("a model serializes"));
        FunctionId::of_digest(hex(&hasher.finalize()))
    }

    /// Returns the paths of hosts that lead to the function or to its files: what nobody else may have.
    pub fn claims(&self) -> impl Iterator<Item = &Alias> {
        let is_alias = |alias: &Alias| self.aliases.contains(alias);
        self.aliases.iter().chain(self.static_files.iter().map(|it| &it.at).filter(move |at| !is_alias(at)))
    }

    /// Returns the dynamic user. All versions of a function that share directories have one user, by the function's name.
    pub(crate) fn user(&self, id: &FunctionId) -> String {
        if !self.writable.has_directories() {
            return id.user();
        }
        let digest = Sha256::new().chain_update("conductor function's user\n").chain_update(&self.name).finalize();
        FunctionId::of_digest(hex(&digest)).user()
    }
}

/// A function that compiled.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub id: FunctionId,
    pub function: Function,
    /// The directory of its files on the host that runs it.
    pub dir: Utf8PathBuf,
}
