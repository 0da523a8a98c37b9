//! What a reload has to do. A function of what is declared and what is there.

use crate::deployment::Deployment;
use crate::generation::{Digests, Id};
use crate::live::Target;
use crate::model::ServiceName;

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Active deployments, in order.
    pub active: Vec<Deployment>,
    /// Deployments in any other state: failed, crashed, half started.
    pub broken: Vec<Deployment>,
    pub target: Option<Target>,
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Deployments of the declared generation to start, in the order in which they start.
    pub start: Vec<Deployment>,
    /// Deployments to drain and stop: of other generations, or beyond the concurrency.
    pub stop: Vec<Deployment>,
    /// Another generation takes over.
    pub rolls: bool,
    /// The proxy's configuration changes.
    pub republishes: bool,
}

impl Plan {
    pub fn new(name: &ServiceName, id: &Id, digests: &Digests, concurrency: u32, present: &Present) -> Self {
        let wanted: Vec<_> = (1..=concurrency).map(|instance| Deployment::new(name, id, instance)).collect();
        let everything = || present.active.iter().chain(&present.broken);
        let stop: Vec<_> = everything().filter(|there| !wanted.contains(there)).cloned().collect();
        Self {
            rolls: stop.iter().any(|there| there.generation != *id),
            start: wanted.into_iter().filter(|wanted| !present.active.contains(wanted)).collect(),
            stop,
            republishes: present.target.as_ref().is_none_or(|target| target.digests.routes != digests.routes),
        }
    }

    pub fn is_nothing(&self) -> bool {
        let Self { start, stop, rolls: _, republishes } = self;
        start.is_empty() && stop.is_empty() && !republishes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(routes: &str) -> Digests {
        let text = || "0".repeat(64);
        Digests { generation: text(), routes: routes.into(), scale: text(), settings: text() }
    }

    fn plan(present: &[(&str, u32)], broken: &[(&str, u32)], concurrency: u32) -> Plan {
        let name = ServiceName::new("hello").expect("a name");
        let id = |text: &str| Id::new(text).expect("an id");
        let all = |list: &[(&str, u32)]| list.iter().map(|(g, i)| Deployment::new(&name, &id(g), *i)).collect();
        let target = Target { generation: id(OLD), concurrency: 3, slots: 12, digests: digests("same") };
        let present = Present { active: all(present), broken: all(broken), target: Some(target) };
        Plan::new(&name, &id(NEW), &digests("same"), concurrency, &present)
    }

    const OLD: &str = "00000000000a";
    const NEW: &str = "00000000000b";

    fn instances(deployments: &[Deployment]) -> Vec<u32> {
        deployments.iter().map(|deployment| deployment.instance).collect()
    }

    #[test]
    fn another_generation_rolls() {
        let plan = plan(&[(OLD, 1), (OLD, 2)], &[], 2);
        assert!(plan.rolls && !plan.republishes);
        assert_eq!((instances(&plan.start), instances(&plan.stop)), (vec![1, 2], vec![1, 2]));
    }

    #[test]
    fn scaling_rolls_nothing() {
        let up = plan(&[(NEW, 1), (NEW, 2)], &[], 4);
        assert_eq!((instances(&up.start), instances(&up.stop), up.rolls), (vec![3, 4], vec![], false));
        let down = plan(&[(NEW, 1), (NEW, 2), (NEW, 3)], &[], 1);
        assert_eq!((instances(&down.start), instances(&down.stop), down.rolls), (vec![], vec![2, 3], false));
    }

    #[test]
    fn what_is_as_declared_stays() {
        assert!(plan(&[(NEW, 1), (NEW, 2)], &[], 2).is_nothing());
    }

    #[test]
    fn an_interrupted_rollout_goes_on() {
        let plan = plan(&[(NEW, 1), (OLD, 2)], &[(NEW, 2)], 2);
        assert_eq!((instances(&plan.start), instances(&plan.stop)), (vec![2], vec![2]));
    }
}
