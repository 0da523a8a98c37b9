//! The same declarations on a real Kubernetes: the control plane on the first machine, nodes on three others.

use std::time::{Duration, Instant};

use conductor_machine::cluster::Cluster;
use conductor_machine::kubernetes::{self, kubectl, try_kubectl};
use conductor_machine::load::{Load, Seen};
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;

scenarios!("kubernetes" with Kubernetes on 4:
    one_declaration_on_three_nodes: "pods are replaced, never become healthy, and lose their nodes on Kubernetes"
        => "every request is answered while versions roll and a node is drained, also one of 25 s by an application that dies at SIGTERM",
);

const LIMIT: Duration = Duration::from_secs(300);
/// The namespace of what is rendered.
const NAMESPACE: &str = "web";
/// The node that dies. The addresses of Services are reached through another one.
const DEAD: usize = 3;
/// What is rendered for this cluster. `kubectl` does not wait for the hook of a release, as `apply` does.
const OPTIONS: &str =
    "--target kubernetes --kubernetes 1.20 --image docker.io/library/app:1 --namespace web --accept hooks.release";

fn one_declaration_on_three_nodes(cluster: &mut Cluster) {
    kubernetes::start(cluster);
    let control = &cluster.machines[0];
    // The addresses of Services are reached through a node.
    control.run(&format!("ip route add 10.96.0.0/16 via {}", Cluster::address(2)));
    control.run(&format!(
        "kubectl create namespace {NAMESPACE}; kubectl config set-context --current --namespace={NAMESPACE}"
    ));
    control
        .run("echo secret >/root/token; kubectl create secret generic shop-credentials --from-file=token=/root/token");

    declare(control, SHOP);
    apply(control, "VERSION=1");
    rolled(control);
    has_what_it_needs(control);
    let before = hash(control);

    let rolls = rolls_under_load(control);
    control.note(format!("3 rollouts of 6 pods: {rolls}"));
    assert_ne!(hash(control), before);

    long_requests_are_answered(control);
    unhealthy_generation(control);
    scale_and_routes(control);
    drain_a_node(control);
    files(control);
    kill_a_node(cluster);
    let control = &cluster.machines[0];
    kubectl(control, "delete --recursive -f /root/out-shop");
    // Jobs of earlier releases stay, and a node that is dead never says that its pods have ended.
    let dead = format!(" n{DEAD} ");
    let is_left = |line: &str| line.contains("shop") && !line.contains("shop-release") && !line.contains(&dead);
    let kinds = "deployments,services,ingresses,pods,poddisruptionbudgets";
    let left = || kubectl(control, &format!("get {kinds} -o wide --no-headers"));
    control.until("nothing is left", LIMIT, || !left().lines().any(is_left));
}

const SHOP: &str = r#"
concurrency = 6
config = { VERSION = "{{ VERSION }}" }
[exec]
command = ["/bin/app", "--stop-delay", "0s", {{ MORE | default("") | safe }}]
credentials = { token = "/etc/credstore/token" }
[health]
http = "/healthz"
interval = "1s"
[[route]]
host = ["shop.example.com"]
[deploy]
max_surge = 2
drain_timeout = "40s"
health_timeout = "60s"
[hooks]
release = ["/bin/sh", "-c", "/bin/busybox grep -q secret $CREDENTIALS_DIRECTORY/token"]
pre_stop = ["/bin/sh", "-c", "/bin/busybox true"]
"#;

/// Writes the declaration.
fn declare(control: &Machine, text: &str) {
    control.write("/root/shop/service.toml", text);
}

/// Renders the declaration and applies it, first to see whether the API server takes it. Its release hook comes first.
fn apply(control: &Machine, variables: &str) {
    render(control, "shop", variables);
    kubectl(control, "apply --server-side --dry-run=server --recursive -f /root/out-shop");
    let before = ["00-conductor-pod", "shop/10-service-account", "shop/35-job"];
    let before: String = before.iter().map(|file| format!(" -f /root/out-shop/{file}.yaml")).collect();
    kubectl(control, &format!("apply --server-side{before}"));
    kubectl(control, "wait --for=condition=complete --timeout=120s -f /root/out-shop/shop/35-job.yaml");
    kubectl(control, "apply --server-side --recursive -f /root/out-shop");
}

fn render(control: &Machine, name: &str, variables: &str) {
    control.run(&format!(
        "rm -rf /root/out-{name}; conductor render {OPTIONS} -o /root/out-{name} /root/{name} {variables}"
    ));
}

#[track_caller]
fn rolled(control: &Machine) {
    kubectl(control, "rollout status deployment/shop --timeout=240s");
}

/// The hash of the template of the pods that serve.
fn hash(control: &Machine) -> String {
    let path = "{.items[*].metadata.labels.pod-template-hash}";
    let hashes = kubectl(
        control,
        &format!("get pods -l app.kubernetes.io/name=shop --field-selector=status.phase=Running -o jsonpath='{path}'"),
    );
    let mut hashes: Vec<_> = hashes.split_whitespace().map(str::to_owned).collect();
    hashes.dedup();
    hashes.join(" ")
}

fn address(control: &Machine, service: &str) -> String {
    kubectl(control, &format!("get service {service} -o jsonpath='{{.spec.clusterIP}}'")).trim().to_owned()
}

/// A load in which each request has a connection, as requests of different callers have.
fn load(control: &Machine, at_least: u64) -> Load {
    Load {
        connect: format!("{}:80", address(control, "shop")),
        host: "shop.example.com".into(),
        pause_ms: 30,
        close: true,
        at_least,
        ..Load::default()
    }
}

/// The sandbox and the credentials are there, and what is declared of pods has become so.
fn has_what_it_needs(control: &Machine) {
    let pod = kubectl(control, "get pods -l app.kubernetes.io/name=shop -o name --field-selector=status.phase=Running");
    let pod = pod.lines().next().expect("a pod");
    let seen = kubectl(
        control,
        &format!(
            "exec {pod} -- /bin/sh -c 'echo $CONDUCTOR_SERVICE $LISTEN_FDS; /bin/busybox id -u; /bin/busybox cat $CREDENTIALS_DIRECTORY/token; /bin/busybox touch /x 2>&1; exit 0'"
        ),
    );
    let lines: Vec<_> = seen.lines().collect();
    assert!(
        lines[0].starts_with("shop") && lines[1] != "0" && lines[2] == "secret" && lines[3].contains("Read-only"),
        "{seen}"
    );
    let answer = control.run(&format!("curl --silent --fail http://{}/", address(control, "shop")));
    assert!(answer.starts_with("1 "), "{answer}");
    let nodes = kubectl(control, "get pods -l app.kubernetes.io/name=shop -o jsonpath='{.items[*].spec.nodeName}'");
    assert!(["n2", "n3", "n4"].iter().all(|node| nodes.contains(node)), "{nodes}");
}

/// Declares three versions, one after the other, under load.
fn rolls_under_load(control: &Machine) -> Seen {
    let load = control.load(load(control, 20_000));
    for version in 2..=4 {
        apply(control, &format!("VERSION={version}"));
        rolled(control);
    }
    without_failures(load.stop())
}

#[track_caller]
fn without_failures(seen: Seen) -> Seen {
    assert_eq!(seen.failed, 0, "{seen}");
    seen
}

/// Requests of 25 s outlast the version that they began with, whose processes die at SIGTERM.
fn long_requests_are_answered(control: &Machine) {
    let url = format!("http://{}/slow?ms=25000", address(control, "shop"));
    let calls: Vec<_> = (0..8).map(|_| control.spawn(&format!("curl --silent --fail --max-time 60 {url}"))).collect();
    apply(control, "VERSION=5");
    rolled(control);
    for call in calls {
        let output = call.wait();
        assert!(output.success() && output.stdout.starts_with("4 "), "{output}");
    }
}

/// A version that never becomes healthy takes no request, and is undone.
fn unhealthy_generation(control: &Machine) {
    let load = control.load(load(control, 500));
    let text = SHOP.replace("health_timeout = \"60s\"", "health_timeout = \"5s\"");
    declare(control, &text);
    apply(control, "VERSION=6 MORE='\"--unhealthy\"'");
    let status = try_kubectl(control, "rollout status deployment/shop --timeout=200s");
    assert!(!status.success() && status.stderr.contains("progress deadline"), "{status}");
    kubectl(control, "rollout undo deployment/shop");
    rolled(control);
    let seen = without_failures(load.stop());
    assert!(seen.versions.keys().all(|version| version == "5"), "{seen}: {:?}", seen.versions);
    declare(control, SHOP);
}

/// Neither another number of deployments nor another route replaces a pod.
fn scale_and_routes(control: &Machine) {
    apply(control, "VERSION=5");
    rolled(control);
    let before = hash(control);
    declare(
        control,
        &SHOP.replace("concurrency = 6", "concurrency = 9").replace("shop.example.com", "www.example.com"),
    );
    render(control, "shop", "VERSION=5");
    let plan = control.run(&format!("kubectl get deployments,services,ingresses,poddisruptionbudgets,configmaps -o yaml >/root/live.yaml; conductor plan {OPTIONS} /root/shop VERSION=5 </root/live.yaml"));
    let kinds: Vec<_> = ["roll", "rescale", "republish"].into_iter().filter(|kind| has_word(&plan, kind)).collect();
    assert_eq!(kinds, ["rescale", "republish"], "{plan}");
    apply(control, "VERSION=5");
    rolled(control);
    assert_eq!(hash(control), before, "pods were replaced");
    let replicas = kubectl(control, "get deployment shop -o jsonpath='{.status.readyReplicas} {.spec.replicas}'");
    assert_eq!(replicas.trim(), "9 9");
    assert!(kubectl(control, "get ingress -o jsonpath='{.items[*].spec.rules[*].host}'").contains("www.example.com"));
    declare(control, SHOP);
    apply(control, "VERSION=5");
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|one| one == word)
}

/// The pods of a node move, no more at a time than the budget allows.
fn drain_a_node(control: &Machine) {
    let load = control.load(load(control, 5_000));
    let begun = Instant::now();
    kubectl(control, "drain n4 --ignore-daemonsets --delete-emptydir-data --timeout=240s");
    rolled(control);
    let took = begun.elapsed();
    let seen = without_failures(load.stop());
    control.note(format!("a node drained in {:.1} s: {seen}", took.as_secs_f64()));
    kubectl(control, "uncordon n4");
}

/// A program that needs nothing but its declared files and a port.
fn files(control: &Machine) {
    control.write("/root/files/service.toml", "[exec]\ncommand = [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"${PORT}\", \"-h\", \"public\"]\n[listen]\ntype = \"tcp\"\n[health]\nhttp = \"/\"\n[commands.tidy]\nexec = [\"./tidy\"]\nschedule = \"*-*-* 03:00\"\n");
    control.write("/root/files/public/index.html", "from a ConfigMap\n");
    control.write_executable("/root/files/tidy", "#!/bin/sh\necho tidy\n");
    render(control, "files", "");
    kubectl(control, "apply --server-side --recursive -f /root/out-files");
    kubectl(control, "rollout status deployment/files --timeout=120s");
    assert_eq!(
        control.run(&format!("curl --silent --fail http://{}/", address(control, "files"))),
        "from a ConfigMap\n"
    );
    let job = kubectl(control, "get cronjobs -o jsonpath='{.items[0].metadata.name} {.items[0].spec.schedule}'");
    let (name, schedule) = job.trim().split_once(' ').expect("a job");
    assert_eq!(schedule, "0 3 * * *");
    kubectl(control, &format!("create job now --from=cronjob/{name}"));
    kubectl(control, "wait --for=condition=complete job/now --timeout=120s");
    assert_eq!(kubectl(control, "logs job/now").trim(), "tidy");
}

/// The pods of a node that dies start on the others. Callers wait for them until Kubernetes knows.
fn kill_a_node(cluster: &mut Cluster) {
    let load = Load { timeout_ms: 2_000, ..load(&cluster.machines[0], 500) };
    let load = cluster.machines[0].load(load);
    cluster.machines[DEAD - 1].kill_power();
    let control = &cluster.machines[0];
    let begun = Instant::now();
    let dead = format!(" n{DEAD} ");
    let on_others = || {
        let pods = try_kubectl(control, "get pods -l app.kubernetes.io/name=shop -o wide --no-headers").stdout;
        let runs = |line: &&str| line.contains(" 1/1 ") && line.contains("Running") && !line.contains(&dead);
        pods.lines().filter(runs).count() == 6
    };
    control.until("the pods run on two nodes", LIMIT, on_others);
    let took = begun.elapsed();
    let seen = load.stop();
    let last = Duration::from_millis(seen.last_failure_ms);
    control.note(format!(
        "a node died: its pods ran elsewhere after {:.1} s; {} of {} requests failed, the last after {:.1} s",
        took.as_secs_f64(),
        seen.failed,
        seen.requests(),
        last.as_secs_f64()
    ));
    assert!(seen.versions.keys().all(|version| version == "5"), "{:?}", seen.versions);
}
