//! What becomes of each key of service.toml on Kubernetes. The table in docs/, refusals and tests come from here.

use crate::target::disposition::Disposition::{self, Approximated, Mapped, Partly, Refused, Unneeded};

/// What routes need that an Ingress does not have.
const BY_GATEWAY: &str = "HTTPRoute, with `--route-api gateway`; an Ingress has nothing of this kind";
const IN_PROXY: &str = "write it for the cluster's proxy, and remove it here";

/// Every key, and directives that are more than passed through, by their paths; `*` stands for any name.
pub const KEYS: &[(&str, Disposition)] = &[
    ("description", Mapped("annotation `kubernetes.io/description` of the Deployment")),
    ("concurrency", Mapped("`replicas`; with `deploy.autoscale` `minReplicas`")),
    ("slots", Unneeded("a Service leads to as many pods as there are")),
    ("config", Mapped("`env`")),
    (
        "resources",
        Approximated {
            becomes: "`memory_max`: `limits.memory`; `cpu_quota`: `limits.cpu`",
            lost: "each pod has the limits alone, which all deployments share on a host",
        },
    ),
    ("display", Unneeded("`kubectl get` has columns of its own")),
    ("condition", Approximated { becomes: "nothing", lost: "Kubernetes chooses the nodes, and asks no conditions" }),
    ("exec.command", Mapped("`command`, behind the helper if it is passed sockets; `--image` has the programs")),
    ("exec.working_dir", Mapped("`workingDir`")),
    ("exec.environment", Mapped("`env`")),
    (
        "exec.environment_file",
        Partly {
            becomes: "of the declaration's files: `env`; of the host: the keys of a Secret `SERVICE-FILE`, `envFrom`",
            lost: "`environment` overrides the variables of a file of the host, and not the other way round",
        },
    ),
    (
        "exec.start_templates",
        Refused {
            why: "there is no step between the rendering and the start of a pod",
            remedy: "name the file *.j2, which is rendered with the variables of the command line",
        },
    ),
    (
        "exec.user",
        Partly {
            becomes: "a number: `runAsUser` and `runAsGroup`",
            lost: "pods run as the user 64123, since an image has users of its own",
        },
    ),
    ("exec.credentials", Mapped("the keys of the Secret `SERVICE-credentials`, mounted at `/run/credentials`")),
    (
        "exec.credentials_encrypted",
        Mapped("the keys of the Secret `SERVICE-credentials`, mounted at `/run/credentials`"),
    ),
    (
        "exec.sandbox",
        Mapped(
            "`\"strict\"`: `securityContext` without root, privileges and a writable root; `\"none\"`: the cluster's defaults",
        ),
    ),
    ("container.image", Mapped("`image`")),
    ("container.pull", Mapped("`imagePullPolicy`")),
    ("container.digest", Mapped("`image`")),
    ("container.exec", Mapped("`args`")),
    ("container.entrypoint", Mapped("`command`; required with `listen.type = \"activation\"`")),
    ("container.environment", Mapped("`env`")),
    (
        "container.environment_file",
        Partly {
            becomes: "of the declaration's files: `env`; of the host: the keys of a Secret `SERVICE-FILE`, `envFrom`",
            lost: "`environment` overrides the variables of a file of the host, and not the other way round",
        },
    ),
    ("container.user", Mapped("numbers: `runAsUser` and `runAsGroup`; names are refused")),
    ("container.working_dir", Mapped("`workingDir`")),
    (
        "container.volume",
        Partly {
            becomes: "`./…`: a ConfigMap; a name: a PersistentVolumeClaim; paths of the host are refused",
            lost: "what the volume has on this host stays here, and another size holds: `--storage`",
        },
    ),
    ("container.tmpfs", Mapped("`emptyDir` in memory")),
    (
        "container.secret",
        Refused {
            why: "podman keeps it on this host",
            remedy: "write credentials = { NAME = \"/etc/…\" }, whose Secret you create with kubectl",
        },
    ),
    ("container.network", Approximated { becomes: "nothing", lost: "all pods of a cluster reach each other" }),
    ("container.add_capability", Mapped("`capabilities.add`")),
    ("container.drop_capability", Mapped("`capabilities.drop`")),
    ("container.read_only", Mapped("`readOnlyRootFilesystem`")),
    ("container.podman_args", Approximated { becomes: "nothing", lost: "podman does not run the containers" }),
    ("container.port", Mapped("`containerPort`")),
    ("container.credentials", Mapped("the keys of the Secret `SERVICE-credentials`, mounted at `/run/credentials`")),
    (
        "container.credentials_encrypted",
        Mapped("the keys of the Secret `SERVICE-credentials`, mounted at `/run/credentials`"),
    ),
    (
        "pod.template",
        Mapped(
            "the Deployment's `template`; its variables are known when it is rendered, the pod's name where Kubernetes expands it",
        ),
    ),
    ("pod.config_map", Mapped("its ConfigMaps, named by their digests; Secrets are refused")),
    ("pod.environment", Mapped("`env`")),
    (
        "pod.environment_file",
        Refused { why: "the file's containers have variables of their own", remedy: "write environment = { … }" },
    ),
    ("pod.network", Approximated { becomes: "nothing", lost: "all pods of a cluster reach each other" }),
    ("pod.podman_args", Approximated { becomes: "nothing", lost: "podman does not run the pods" }),
    ("pod.port", Mapped("`containerPort`")),
    ("pod.credentials", Mapped("the keys of the Secret `SERVICE-credentials`, mounted at `/run/credentials`")),
    (
        "pod.credentials_encrypted",
        Mapped("the keys of the Secret `SERVICE-credentials`, mounted at `/run/credentials`"),
    ),
    (
        "listen.type",
        Mapped(
            "`\"activation\"`: the helper binds the port; `\"tcp\"`: `PORT`; `\"none\"`: no Service; `\"unix\"` is refused",
        ),
    ),
    ("listen.idle_timeout", Approximated { becomes: "nothing", lost: "pods run all the time: no caller can wake one" }),
    ("listen.protocol", Mapped("`\"h2c\"`: `appProtocol`; `\"fastcgi\"` is refused")),
    (
        "listen.root",
        Refused {
            why: "proxies of clusters speak no FastCGI",
            remedy: "put a web server into the service, as a part or in its pod",
        },
    ),
    ("listen.*.type", Mapped("as `listen.type`")),
    ("listen.*.port", Mapped("`containerPort`")),
    ("listen.*.protocol", Mapped("as `listen.protocol`")),
    (
        "listen.*.root",
        Refused {
            why: "proxies of clusters speak no FastCGI",
            remedy: "put a web server into the service, as a part or in its pod",
        },
    ),
    ("health.http", Mapped("`startupProbe` and `readinessProbe`, `httpGet`")),
    ("health.tcp", Mapped("`startupProbe` and `readinessProbe`, `tcpSocket`")),
    ("health.exec", Mapped("`startupProbe` and `readinessProbe`, `exec`")),
    (
        "health.notify",
        Refused {
            why: "no process can notify a kubelet",
            remedy: "write http = \"/healthz\" or exec = [\"./check\"] in [health]",
        },
    ),
    ("health.start", Mapped("`minReadySeconds`")),
    ("health.status", Approximated { becomes: "nothing", lost: "every status from 200 to 399 passes" }),
    ("health.headers", Mapped("`httpHeaders`")),
    ("health.body", Approximated { becomes: "nothing", lost: "nobody looks at the body" }),
    ("health.interval", Mapped("`periodSeconds`, whole seconds")),
    ("health.timeout", Mapped("`timeoutSeconds`, whole seconds")),
    ("health.retries", Mapped("`failureThreshold` of the `startupProbe`")),
    ("health.listener", Mapped("the probe's `port`")),
    ("health.live.http", Mapped("`livenessProbe`, `httpGet`")),
    ("health.live.tcp", Mapped("`livenessProbe`, `tcpSocket`")),
    ("health.live.exec", Mapped("`livenessProbe`, `exec`")),
    (
        "health.live.notify",
        Refused { why: "no process can notify a kubelet", remedy: "write http = \"/healthz\" or exec = [\"./check\"]" },
    ),
    ("health.live.status", Approximated { becomes: "nothing", lost: "every status from 200 to 399 passes" }),
    ("health.live.interval", Mapped("`periodSeconds`")),
    ("health.live.timeout", Mapped("`timeoutSeconds`")),
    ("health.live.failures", Mapped("`failureThreshold`")),
    ("health.live.listener", Mapped("the probe's `port`")),
    ("route.host", Mapped("Ingress `host`, HTTPRoute `hostnames`")),
    ("route.path", Mapped("`path`")),
    ("route.exact", Mapped("`pathType: Exact`")),
    (
        "route.suffix",
        Refused { why: "neither Ingress nor HTTPRoute has ends of paths", remedy: "write the paths, or their prefix" },
    ),
    ("route.methods", Mapped(BY_GATEWAY)),
    ("route.headers", Mapped(BY_GATEWAY)),
    (
        "route.tls",
        Mapped(
            "`\"auto\"`: the Secret `HOST-tls` of the Ingress, which cert-manager or you create; of HTTPRoutes the Gateway's listeners",
        ),
    ),
    ("route.certificate", Mapped("the Secret `HOST-tls`, which you create with kubectl")),
    ("route.certificate_key", Mapped("the Secret `HOST-tls`, which you create with kubectl")),
    (
        "route.client_ca",
        Refused { why: "neither an Ingress nor an HTTPRoute asks clients for certificates", remedy: IN_PROXY },
    ),
    ("route.listener", Mapped("the port of the Service")),
    ("route.redirect", Refused { why: "a route leads to a Service, which answers by itself", remedy: IN_PROXY }),
    ("route.respond", Refused { why: "a route leads to a Service, which answers by itself", remedy: IN_PROXY }),
    ("route.status", Refused { why: "a route leads to a Service, which answers by itself", remedy: IN_PROXY }),
    (
        "route.static",
        Refused { why: "proxies of clusters serve no files", remedy: "let the service itself serve them" },
    ),
    ("route.fallback", Refused { why: "a route leads to a Service, which answers by itself", remedy: IN_PROXY }),
    ("route.clients", Refused { why: "each controller has an annotation of its own for it", remedy: IN_PROXY }),
    ("route.strip_prefix", Mapped(BY_GATEWAY)),
    ("route.set_request_headers", Mapped(BY_GATEWAY)),
    ("route.add_request_headers", Mapped(BY_GATEWAY)),
    ("route.remove_request_headers", Mapped(BY_GATEWAY)),
    ("route.set_response_headers", Mapped(BY_GATEWAY)),
    ("route.add_response_headers", Mapped(BY_GATEWAY)),
    ("route.remove_response_headers", Mapped(BY_GATEWAY)),
    ("route.max_body", Refused { why: "each controller has an annotation of its own for it", remedy: IN_PROXY }),
    ("route.read_timeout", Approximated { becomes: "nothing", lost: "the time limits of the cluster's proxy hold" }),
    ("route.write_timeout", Approximated { becomes: "nothing", lost: "the time limits of the cluster's proxy hold" }),
    (
        "route.affinity",
        Approximated {
            becomes: "`\"source\"`: `sessionAffinity` of the Service; `\"cookie\"`: nothing",
            lost: "many controllers go past the Service, and know no affinity without annotations of their own",
        },
    ),
    ("route.compress", Approximated { becomes: "nothing", lost: "the cluster's proxy compresses as it is configured" }),
    ("route.basic_auth", Refused { why: "each controller has annotations of its own for it", remedy: IN_PROXY }),
    ("route.forward_auth", Refused { why: "each controller has annotations of its own for it", remedy: IN_PROXY }),
    (
        "route.forward_auth_headers",
        Refused { why: "each controller has annotations of its own for it", remedy: IN_PROXY },
    ),
    ("route.access_log", Approximated { becomes: "nothing", lost: "the cluster's proxy logs as it is configured" }),
    ("route.error_pages", Refused { why: "each controller has annotations of its own for it", remedy: IN_PROXY }),
    (
        "route.keepalive",
        Unneeded("the cluster's proxy keeps connections; a pod that ends waits for requests, not for idle connections"),
    ),
    ("route.snippet", Approximated { becomes: "nothing", lost: "the cluster's proxy does not read the lines" }),
    (
        "port.listen",
        Mapped(
            "all addresses: a Service of type LoadBalancer, `SERVICE-ports`; others: a port of the Service, within the cluster; sockets are refused",
        ),
    ),
    ("port.pass", Mapped("`true`: the helper binds the port in each pod")),
    (
        "port.datagram",
        Refused { why: "the helper passes no UDP sockets", remedy: "write the port in a pod's file of its own" },
    ),
    (
        "port.proxy_protocol",
        Refused {
            why: "a Service does not announce callers",
            remedy: "read the callers' addresses from the connections",
        },
    ),
    ("port.name", Mapped("the socket's name in `$LISTEN_FDNAMES`")),
    ("port.listener", Mapped("`targetPort`")),
    (
        "deploy.strategy",
        Partly {
            becomes: "`\"rolling\"`: `RollingUpdate`; `\"recreate\"`: `Recreate`; `\"blue-green\"`: `maxSurge: 100%`; `\"canary\"` is refused",
            lost: "each new pod takes requests when it is ready, and does not wait for the others",
        },
    ),
    (
        "deploy.steps",
        Refused {
            why: "a Deployment has no steps",
            remedy: "write strategy = \"rolling\", or use Argo Rollouts or Flagger",
        },
    ),
    ("deploy.steps.slots", Refused { why: "a Deployment has no steps", remedy: "write strategy = \"rolling\"" }),
    ("deploy.steps.pause", Refused { why: "a Deployment has no steps", remedy: "write strategy = \"rolling\"" }),
    ("deploy.max_surge", Mapped("`maxSurge`; `maxUnavailable` is 0")),
    ("deploy.drain_timeout", Mapped("the wait in `preStop`, and `terminationGracePeriodSeconds`")),
    ("deploy.abandoned_timeout", Mapped("the wait in `preStop`")),
    ("deploy.drain_signal", Mapped("a step of `preStop`")),
    ("deploy.health_timeout", Mapped("`failureThreshold` of the `startupProbe`, and `progressDeadlineSeconds`")),
    ("deploy.restarted_at", Mapped("annotation `kubectl.kubernetes.io/restartedAt` of the pods")),
    ("deploy.autoscale.max", Mapped("HorizontalPodAutoscaler, `maxReplicas`")),
    ("deploy.autoscale.cpu", Mapped("HorizontalPodAutoscaler, `averageUtilization`")),
    (
        "hooks.release",
        Approximated {
            becomes: "a Job that runs once for each generation and image, `SERVICE-release-DIGEST`",
            lost: "kubectl does not wait for it before it applies the Deployment: apply the Job first, and wait for it",
        },
    ),
    (
        "hooks.post_release",
        Refused {
            why: "Kubernetes runs nothing when a rollout is complete",
            remedy: "write it as [commands.NAME], and start it behind kubectl rollout status",
        },
    ),
    ("hooks.verify", Refused { why: "it belongs to a canary, which a Deployment is not", remedy: "remove it" }),
    ("hooks.pre_start", Mapped("`initContainers`")),
    (
        "hooks.post_start",
        Approximated { becomes: "`postStart`", lost: "it runs beside the start, and not when the pod is ready" },
    ),
    ("hooks.pre_stop", Mapped("a step of `preStop`")),
    ("hooks.pre_drain", Mapped("a step of `preStop`")),
    ("hooks.drain", Mapped("a step of `preStop`")),
    (
        "hooks.post_stop",
        Refused { why: "nothing of a pod runs when its processes have ended", remedy: "write it as pre_stop or drain" },
    ),
    ("hooks.inside", Mapped("all hooks run in containers; of a container or pod the others are refused")),
    ("hooks.timeout", Mapped("the limit of each step of `preStop`")),
    ("hooks.*.command", Mapped("as the hook")),
    (
        "hooks.*.timeout",
        Mapped(
            "the limit of a step of `preStop`, `activeDeadlineSeconds` of a Job, a part of `progressDeadlineSeconds`",
        ),
    ),
    ("commands.*.description", Mapped("annotation `kubernetes.io/description` of the CronJob")),
    (
        "commands.*.exec",
        Mapped("CronJob; without `schedule` a suspended one, for `kubectl create job --from=cronjob/SERVICE-NAME`"),
    ),
    ("commands.*.scope", Unneeded("each command runs in a pod of its own")),
    ("commands.*.inside", Mapped("`true`: in the image of `[container]`; of a container `false` is refused")),
    (
        "commands.*.schedule",
        Mapped("`schedule`, where cron can say the same, and `timeZone`; without one, the cluster's"),
    ),
    ("commands.*.persistent", Mapped("no `startingDeadlineSeconds`")),
    ("commands.*.overlap", Mapped("`concurrencyPolicy: Forbid`; `\"queue\"`: without `startingDeadlineSeconds`")),
    ("commands.*.randomized_delay", Approximated { becomes: "nothing", lost: "jobs start at the minute itself" }),
    ("commands.*.timeout", Mapped("`activeDeadlineSeconds`")),
    ("commands.*.on_failure", Approximated { becomes: "nothing", lost: "nothing starts when a job fails" }),
    ("service.dir", Mapped("the objects of the other service, before those of this one")),
    ("service.vars", Mapped("the objects of the other service")),
    ("service.name", Mapped("the names of the other service's objects")),
    ("install.wanted_by", Unneeded("Kubernetes starts what is applied")),
    ("systemd.unit", Approximated { becomes: "nothing", lost: "systemd does not run the pods" }),
    ("systemd.service", Approximated { becomes: "nothing", lost: "systemd does not run the pods" }),
    (
        "systemd.service.IPAddressAllow",
        Mapped("NetworkPolicy, `egress`; names are resolved if the address of the cluster's DNS is among them"),
    ),
    ("systemd.service.IPAddressDeny", Mapped("`any`: NetworkPolicy; others are refused")),
    (
        "systemd.service.StateDirectory",
        Approximated {
            becomes: "PersistentVolumeClaim, which several pods write to unless one alone is recreated",
            lost: "what the directory has on this host stays here, and another size holds: `--storage`",
        },
    ),
    ("systemd.service.CacheDirectory", Approximated { becomes: "`emptyDir`", lost: "its content ends with the pod" }),
    ("systemd.service.LogsDirectory", Approximated { becomes: "`emptyDir`", lost: "its content ends with the pod" }),
    ("systemd.service.RuntimeDirectory", Approximated { becomes: "`emptyDir`", lost: "each pod has one of its own" }),
    ("systemd.socket", Approximated { becomes: "nothing", lost: "the helper binds the ports" }),
    ("systemd.slice", Approximated { becomes: "nothing", lost: "pods are in no slice of the service" }),
    (
        "part.name",
        Partly {
            becomes: "a Deployment and a Service `SERVICE-PART`",
            lost: "parts in containers reach each other by `SERVICE-PART`, and not by `PART`",
        },
    ),
    ("part.after", Approximated { becomes: "nothing", lost: "pods do not wait for those of other parts" }),
    ("part.address", Unneeded("the cluster gives Services their addresses")),
];

/// Finds what becomes of a key.
pub(super) fn disposition(key: &str) -> Option<Disposition> {
    KEYS.iter().find(|(known, _)| *known == key).map(|(_, disposition)| *disposition)
}

/// Lists the keys that can be accepted.
pub fn acceptable() -> impl Iterator<Item = &'static str> {
    let is_acceptable = |disposition: &Disposition| matches!(disposition, Approximated { .. } | Partly { .. });
    KEYS.iter().filter(move |(_, disposition)| is_acceptable(disposition)).map(|(key, _)| *key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{File, Kind};

    #[test]
    fn every_key_has_a_disposition_and_nothing_else_has_one() {
        let sections = File::Service.sections();
        let mut keys = Vec::new();
        for section in sections {
            for key in section.keys {
                let path = if section.path.is_empty() {
                    key.name.to_owned()
                } else {
                    format!("{}.{}", section.path, key.name)
                };
                let has_keys = sections.iter().any(|section| section.path.trim_end_matches(".*") == path);
                let is_section = matches!(key.kind, Kind::Section | Kind::Sections | Kind::NamedSections);
                if !(is_section && has_keys) || path == "deploy.steps" {
                    keys.push(path);
                }
            }
        }
        let missing: Vec<_> = keys.iter().filter(|key| disposition(key).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let is_directive = |key: &str| key.starts_with("systemd.service.");
        let unknown: Vec<_> =
            KEYS.iter().filter(|(key, _)| !is_directive(key) && !keys.iter().any(|known| known == key)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
