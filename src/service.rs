//! A service as a whole: what is to be done, and doing it.

pub mod hook;
pub mod plan;
pub mod rollout;
pub mod store;
