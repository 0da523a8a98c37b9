//! Limits and conditions as they are declared.

use serde::{Deserialize, Serialize};

/// A limit of `[resources]` or a condition of `[condition]`: `memory_max` and `512M`, `host` and `web*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// In snake case, spelt the same way whatever a declaration's spelling.
    pub(crate) key: String,
    pub(crate) value: String,
}
