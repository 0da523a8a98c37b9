//! All objects of a service, in the order in which they can be applied.

use camino::Utf8PathBuf;

use crate::diagnostic::Diagnostics;
use crate::model::Engine;
use crate::target::kubernetes::options::RouteApi;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{self, Yaml, map};
use crate::target::kubernetes::{
    autoscaler, build, deployment, gateway, ingress, job, network, pod, policy, secrets, service, volume,
};
use crate::tree::Tree;

impl Workload<'_> {
    /// Renders all objects: those that others refer to come first.
    pub(super) fn tree(&self) -> Result<Tree, Diagnostics> {
        let mut tree = Tree::default();
        let mut add = |file: &str, objects: Vec<Yaml>| {
            if !objects.is_empty() {
                tree.file(self.path(file), format!("{}{}", secrets::needed(self, &objects), yaml::write(&objects)));
            }
        };
        add("10-service-account.yaml", vec![self.service_account()]);
        add("15-config-map.yaml", self.config_maps()?);
        add("20-persistent-volume-claim.yaml", volume::claims(self));
        add("25-service.yaml", service::render(self));
        add("30-network-policy.yaml", network::render(self));
        add("35-job.yaml", job::release(self)?);
        add("40-deployment.yaml", vec![deployment::render(self)?]);
        add("45-pod-disruption-budget.yaml", vec![policy::render(self)]);
        add("50-horizontal-pod-autoscaler.yaml", autoscaler::render(self));
        add("55-cron-job.yaml", job::scheduled(self)?);
        match &self.kubernetes.routes {
            RouteApi::Ingress => add("60-ingress.yaml", ingress::render(self)),
            RouteApi::Gateway(gateway) => add("60-http-route.yaml", gateway::render(self, gateway)),
        }
        build::context(self, &mut tree);
        Ok(tree)
    }

    fn path(&self, file: &str) -> Utf8PathBuf {
        Utf8PathBuf::from(&self.name).join(file)
    }

    fn config_maps(&self) -> Result<Vec<Yaml>, Diagnostics> {
        match &self.service.process.engine {
            Engine::Pod(declared) => pod::config_maps(self, declared),
            Engine::Exec { .. } | Engine::Container(_) => Ok(self.files.config_maps(self)),
        }
    }

    fn service_account(&self) -> Yaml {
        map! {
            "apiVersion" => "v1",
            "kind" => "ServiceAccount",
            "metadata" => self.metadata(&self.name),
            "automountServiceAccountToken" => false,
        }
    }
}
