//! A pod's file, with objects that Kubernetes keeps apart from pods: ConfigMaps, Secrets, probes, Services.

use std::time::Duration;

use conductor_machine::image::{self, IMAGE};
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;

scenarios!("pods":
    configuration_is_a_deployments_own:
        "two services have a ConfigMap and a Secret of one name, and a new version that changes them fails"
        => "each pod serves its own; after a removal nothing of them is left",
    probes_gate_and_the_rest_is_told,
);

const PORT: &str =
    "[pod]\ntemplate = \"pod.yaml\"\nport = 8080\n[deploy]\nhealth_timeout = \"5s\"\ndrain_timeout = \"5s\"\n";

/// A pod that serves a ConfigMap by a program of another, with a Secret as a file and as a variable.
fn configured(name: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: List
items:
- kind: ConfigMap
  metadata: {{name: site}}
  data: {{index.html: "{name} {{{{ RELEASE }}}}"}}
- kind: ConfigMap
  metadata: {{name: settings}}
  data:
    MOOD: "good {{{{ RELEASE }}}}"
    run: |
      #!/bin/sh
      trap 'exit 0' TERM
      /bin/busybox httpd -f -p 8080 -h /site & wait
---
kind: Secret
metadata: {{name: keys}}
type: Opaque
data: {{other: b3RoZXI=}}
stringData: {{token: "secret of {name} {{{{ RELEASE }}}}"}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  containers:
  - name: web
    image: {IMAGE}
    command: [/script/run]
    env:
    - {{name: TOKEN, valueFrom: {{secretKeyRef: {{name: keys, key: token}}}}}}
    - {{name: NOTHING, valueFrom: {{secretKeyRef: {{name: keys, key: none, optional: true}}}}}}
    envFrom:
    - {{configMapRef: {{name: settings}}}}
    - {{prefix: S_, secretRef: {{name: keys}}}}
    ports: [{{name: http, containerPort: 8080}}]
    readinessProbe: {{httpGet: {{path: "{{{{ PROBED | default("/index.html") }}}}", port: http}}}}
    volumeMounts:
    - {{name: script, mountPath: /script}}
    - {{name: site, mountPath: /site/index.html, subPath: index.html}}
    - {{name: all, mountPath: /all}}
  volumes:
  - name: script
    configMap: {{name: settings, items: [{{key: run, path: run, mode: 0755}}]}}
  - name: site
    configMap: {{name: site}}
  - name: all
    projected:
      sources:
      - secret: {{name: keys, items: [{{key: token, path: keys/token, mode: 0444}}]}}
      - configMap: {{name: site}}
"#
    )
}

fn write(m: &Machine, name: &str, service: &str, pod: &str) {
    if !m.try_run(&format!("podman image exists {IMAGE}")).success() {
        image::make(m, IMAGE, "1");
    }
    let route = format!("[[route]]\nhost = [\"{name}.localhost\"]\ntls = \"off\"\n");
    m.write(&format!("/root/{name}/service.toml"), &format!("{service}{route}"));
    m.write(&format!("/root/{name}/pod.yaml"), pod);
}

/// All that a pod shows of its ConfigMaps and Secrets.
fn shown(m: &Machine, name: &str) -> String {
    let deployment = m.run(&format!("ls -d /run/conductor/deployments/{name}-*-1"));
    let container = format!("{}-web", deployment.trim().rsplit('/').next().unwrap_or_default());
    let inside = r#"echo "$TOKEN|$MOOD|$S_other|${NOTHING-none}|$(cat /all/keys/token)|$(cat /all/index.html)""#;
    let page = m.run(&format!("curl --silent --show-error --fail --max-time 5 http://{name}.localhost/index.html"));
    format!("{page}|{}", m.run(&format!("podman exec {container} /bin/sh -c '{inside}'")).trim())
}

fn expected(name: &str, release: u32) -> String {
    let (page, token) = (format!("{name} {release}"), format!("secret of {name} {release}"));
    format!("{page}|{token}|good {release}|other|none|{token}|{page}")
}

/// The directories of deployments' files, and what podman keeps by name.
fn kept(m: &Machine) -> String {
    m.run(
        "find /var/lib/conductor/generations -mindepth 4 -maxdepth 4 -path '*/volumes/*' | cut -d / -f 6,8- | sort
        podman volume ls --quiet; podman secret ls --quiet",
    )
}

fn configuration_is_a_deployments_own(m: &mut Machine) {
    let declare = |name: &str, words: &str| m.try_run(&format!("conductor service declare /root/{name} {words}"));
    // A hook on the host brings a sandbox, which hides these files.
    for (name, hooks) in [("one", "[hooks]\npre_start = [\"true\"]\n"), ("two", "")] {
        write(m, name, &format!("{PORT}{hooks}"), &configured(name));
        let output = declare(name, "RELEASE=1");
        assert!(output.success(), "{output}");
    }
    assert_eq!((shown(m, "one"), shown(m, "two")), (expected("one", 1), expected("two", 1)));
    assert_eq!(kept(m), "one/volumes/1\ntwo/volumes/1\n");
    // On the host only root reads them, in the files and in what podman got.
    let others = "for file in $(find /var/lib/conductor/generations /run/conductor -name token -o -name pod.yaml); do
        ! setpriv --reuid=nobody --regid=nogroup --clear-groups cat $file 2>/dev/null || echo $file; done";
    assert_eq!(m.run(others), "");
    // A version whose probe never passes.
    let output = declare("one", "RELEASE=2 PROBED=/none");
    assert!(!output.success(), "{output}");
    assert!(
        output.stderr.contains("health check (GET /none) did not pass") && output.stderr.contains("404"),
        "{output}"
    );
    assert_eq!((shown(m, "one"), shown(m, "two")), (expected("one", 1), expected("two", 1)));
    assert_eq!(kept(m), "one/volumes/1\ntwo/volumes/1\n");
    // A crash, then another version.
    let generation = m.run("basename /run/conductor/deployments/one-*-1").trim().trim_end_matches("-1").to_owned();
    let unit = format!("{generation}@1.service");
    let group = m.prop(&unit, "ControlGroup");
    let before = m.prop(&unit, "MainPID");
    // Some end with the others before it is their turn.
    m.run(&format!("cat /sys/fs/cgroup{group}/*/cgroup.procs | xargs kill -KILL || true"));
    m.until("another pod serves", Duration::from_secs(30), || {
        m.prop(&unit, "MainPID") != before && m.prop(&unit, "ActiveState") == "active"
    });
    assert_eq!(shown(m, "one"), expected("one", 1));
    let output = declare("one", "RELEASE=3");
    assert!(output.success(), "{output}");
    assert_eq!((shown(m, "one"), shown(m, "two")), (expected("one", 3), expected("two", 1)));
    assert_eq!(kept(m), "one/volumes/1\ntwo/volumes/1\n");
    m.run("systemctl stop one; conductor service rm two");
    assert_eq!(kept(m), "", "of what is stopped or removed");
    // A first start that fails.
    let output = declare("two", "RELEASE=1 PROBED=/none");
    assert!(!output.success(), "{output}");
    assert_eq!(kept(m), "");
    assert_eq!(m.run("podman ps --all --quiet"), "");
}

/// A container that is ready once it has written a file, a second pod, and objects that conductor does not run.
const PROBED: &str = r#"apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  strategy: {type: Recreate}
  template:
    spec:
      imagePullSecrets: [{name: registry}]
      containers:
      - name: web
        image: IMAGE
        command: [/bin/app, --stop-delay, 0s, --address, 0.0.0.0, --tcp, "8080"]
        ports: [{containerPort: 8080}, {name: metrics, containerPort: 9090}]
        readinessProbe: {tcpSocket: {port: 8080}}
        livenessProbe: {exec: {command: [/bin/false]}, periodSeconds: 1, failureThreshold: 1}
      - name: late
        image: IMAGE
        command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 2; echo ready >/tmp/FILE; while :; do sleep 0.1; done"]
        startupProbe: {exec: {command: [/bin/cat, /tmp/ready]}}
---
apiVersion: v1
kind: Pod
metadata: {name: beside}
spec:
  containers:
  - name: app
    image: IMAGE
    command: [/bin/app, --stop-delay, 0s, --address, 0.0.0.0, --tcp, "7000"]
    readinessProbe: {httpGet: {path: /healthz, port: 7000}}
"#;

fn probes_gate_and_the_rest_is_told(m: &mut Machine) {
    let pod = |file: &str| PROBED.replace("IMAGE", IMAGE).replace("FILE", file);
    write(m, "web", PORT, &pod("ready"));
    let output = m.try_run("conductor service declare /root/web");
    assert!(output.success(), "{output}");
    let name = m.run("basename /run/conductor/deployments/web-*-1").trim().to_owned();
    assert_eq!(m.run(&format!("podman exec {name}-late /bin/cat /tmp/ready")), "ready\n");
    let told = [
        "pod.yaml:2:7: kind: the Service is not used",
        "pod.yaml:9:20: spec.strategy.type: the strategy is that of service.toml",
        "pod.yaml:12:25: spec.template.spec.imagePullSecrets: podman does not use imagePullSecrets",
        "ports[1].containerPort: routes and ports lead to port 8080, of the container web, and not to port 9090 of web",
        "livenessProbe: conductor asks no running container",
        "pod.yaml:26:7: kind: routes and ports lead to port 8080 of the first pod, web, and not to this one",
    ];
    for line in told {
        assert!(output.stderr.contains(line), "{line}: {output}");
    }
    let checked = m.try_run("conductor check /root/web");
    assert!(told.iter().all(|line| checked.stderr.contains(line)) && checked.success(), "{checked}");
    // podman 4.3 would publish the ports of containers on the host.
    assert_eq!(m.run("ss --no-header --listening --numeric --tcp 'sport = 8080 or sport = 9090'"), "");
    // podman asks no container either, which would end it.
    assert_eq!(m.run(&format!("podman inspect --format '{{{{json .Config.Healthcheck}}}}' {name}-web")).trim(), "null");
    // A probe that does not pass says which one.
    write(m, "web", PORT, &pod("other"));
    let output = m.try_run("conductor service declare /root/web");
    assert!(!output.success(), "{output}");
    assert!(output.stderr.contains("health check (/bin/cat /tmp/ready) did not pass within"), "{output}");
    assert!(output.stderr.contains("No such file or directory"), "{output}");
    // What has no meaning here is refused, with its place.
    for (old, new, error) in [
        ("kind: Pod\n", "kind: StatefulSet\n", "conductor runs no StatefulSet"),
        ("kind: Pod\n", "kind: CronJob\n", "conductor runs no CronJob"),
        (
            "containers:\n  - name: app",
            "volumes: [{name: a, secret: {secretName: none}}]\n  containers:\n  - name: app",
            "no Secret \"none\"",
        ),
    ] {
        write(m, "web", PORT, &pod("ready").replacen(old, new, 1));
        let output = m.try_run("conductor check /root/web");
        assert_eq!(output.status, 3, "{output}");
        assert!(output.stderr.contains(error) && output.stderr.contains("/root/web/pod.yaml:"), "{output}");
    }
    assert_eq!(m.run(&format!("podman exec {name}-late /bin/cat /tmp/ready")), "ready\n", "the old one serves");
}
