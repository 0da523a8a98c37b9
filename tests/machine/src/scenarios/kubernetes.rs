//! The same declaration on a real Kubernetes of three nodes.

use conductor_machine::cluster::Cluster;
use conductor_machine::kubernetes;

use crate::scenario::scenarios;

scenarios!("kubernetes" with Kubernetes on 4: one_declaration_on_three_nodes);

fn one_declaration_on_three_nodes(cluster: &mut Cluster) {
    kubernetes::start(cluster);
}
