//! What must be true of a booted machine. One file a theme; a new one is added to `ALL`.

mod attacks;
mod callers;
mod canary;
mod causes;
mod commands;
mod disk;
mod endings;
mod enforcement;
mod engines;
mod environment;
mod faults;
mod function;
mod functions;
mod further;
mod gaps;
mod gone;
mod guarantees;
mod harness;
mod health;
mod hooks;
mod inside;
mod interrupted;
mod kubernetes;
mod leaving;
mod lifecycle;
mod jobs;
mod listeners;
mod liveness;
mod long;
mod manager;
mod manual;
mod names;
mod newcomer;
mod overrides;
mod pacemaker;
mod package;
mod parts;
mod passed;
mod plan;
mod pods;
mod power;
mod proxies;
mod proxy;
mod queries;
mod realtime;
mod rollback;
mod routes;
mod servers;
mod service;
mod services;
mod settings;
mod shop;
mod stacks;
mod storms;
mod strategies;
mod strike;
mod traps;
mod updates;
mod upgrade;
mod user;
mod verbs;
mod wakes;
mod watch;
mod workers;
mod written;

use crate::scenario::Scenario;

const ALL: &[&[Scenario]] = &[
    enforcement::SCENARIOS, // first, since the longest
    power::SCENARIOS,
    kubernetes::SCENARIOS,
    pacemaker::SCENARIOS,
    harness::SCENARIOS,
    attacks::state::SCENARIOS,
    attacks::flood::SCENARIOS,
    attacks::files::SCENARIOS,
    attacks::secrets::SCENARIOS,
    attacks::generator::SCENARIOS,
    attacks::host::SCENARIOS,
    attacks::functions::SCENARIOS,
    updates::SCENARIOS,
    engines::SCENARIOS,
    pods::SCENARIOS,
    inside::SCENARIOS,
    environment::SCENARIOS,
    listeners::SCENARIOS,
    gaps::SCENARIOS,
    gone::SCENARIOS,
    names::SCENARIOS,
    wakes::SCENARIOS,
    passed::SCENARIOS,
    further::SCENARIOS,
    leaving::SCENARIOS,
    attacks::proxy::SCENARIOS,
    attacks::ports::SCENARIOS,
    attacks::routes::SCENARIOS,
    attacks::health::SCENARIOS,
    attacks::inside::SCENARIOS,
    attacks::users::SCENARIOS,
    guarantees::SCENARIOS,
    lifecycle::SCENARIOS,
    servers::SCENARIOS,
    realtime::SCENARIOS,
    stacks::SCENARIOS,
    proxy::SCENARIOS,
    proxies::SCENARIOS,
    strategies::SCENARIOS,
    canary::SCENARIOS,
    plan::SCENARIOS,
    verbs::SCENARIOS,
    overrides::SCENARIOS,
    rollback::SCENARIOS,
    routes::SCENARIOS,
    queries::SCENARIOS,
    user::SCENARIOS,
    settings::SCENARIOS,
    health::SCENARIOS,
    liveness::SCENARIOS,
    hooks::SCENARIOS,
    commands::SCENARIOS,
    jobs::SCENARIOS,
    services::SCENARIOS,
    parts::SCENARIOS,
    faults::SCENARIOS,
    causes::SCENARIOS,
    interrupted::SCENARIOS,
    manager::SCENARIOS,
    storms::SCENARIOS,
    disk::SCENARIOS,
    endings::SCENARIOS,
    long::SCENARIOS,
    traps::SCENARIOS,
    upgrade::SCENARIOS,
    functions::addresses::SCENARIOS,
    functions::directories::SCENARIOS,
    functions::logins::SCENARIOS,
    functions::requests::SCENARIOS,
    functions::starting::SCENARIOS,
    functions::states::SCENARIOS,
    functions::writing::SCENARIOS,
    functions::programs::SCENARIOS,
    functions::limits::SCENARIOS,
    functions::standard::SCENARIOS,
    functions::waiting::SCENARIOS,
    functions::gateway::SCENARIOS,
    functions::workers::SCENARIOS,
    functions::hanging::SCENARIOS,
    functions::containers::SCENARIOS,
    functions::debian::SCENARIOS,
    functions::examples::SCENARIOS,
    package::SCENARIOS,
    workers::SCENARIOS,
    written::SCENARIOS,
    newcomer::SCENARIOS,
    manual::SCENARIOS,
];

/// Every scenario, in the order in which they run and are reported.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    ALL.iter().copied().flatten()
}
