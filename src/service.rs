//! A service as a whole: what is to be done, and doing it.

pub mod change;
pub mod condition;
pub mod hook;
pub mod history;
pub mod record;
pub mod overrides;
pub mod plan;
pub mod ports;
pub mod provenance;
pub mod rollout;
pub mod store;
pub mod permit;
