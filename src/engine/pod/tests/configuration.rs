//! ConfigMaps, Secrets and probes of a pod's file, and what of it is not used.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::model::{Check, Command};

/// A ConfigMap, a Secret, and a pod that refers to them.
fn configured(spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: List\nitems:\n- kind: ConfigMap\n  metadata: {{name: settings}}\n  data: {{LEVEL: info, \
         LEVEL2: debug}}\n  binaryData: {{logo: //79}}\n- kind: Secret\n  metadata: {{name: keys}}\n  data: {{TOKEN: YWJj}}\n  \
         stringData: {{PIN: '1'}}\n---\nkind: Pod\nspec: {spec}\n"
    )
}

#[test]
fn references_become_values() {
    let spec = "{containers: [{name: web, image: web, envFrom: [{prefix: A_, secretRef: {name: keys}}, {configMapRef: {name: \
                none, optional: true}}, {prefix: B_, configMapRef: {name: settings}}], env: [{name: A_PIN, value: '2'}, {name: L, valueFrom: {configMapKeyRef: {name: settings, \
                key: LEVEL}}}, {name: T, valueFrom: {secretKeyRef: {name: keys, key: TOKEN}}}, {name: NO_KEY, valueFrom: \
                {secretKeyRef: {name: keys, key: none, optional: true}}}, {name: F, valueFrom: {fieldRef: {fieldPath: a}}}]}]}";
    let objects = Fixture::new().objects(&configured(spec)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(objects.len(), 1, "podman gets no ConfigMap and no Secret");
    let container = &objects[0]["spec"]["containers"][0];
    let expected = json!([
        { "name": "A_TOKEN", "value": "abc" },
        { "name": "B_LEVEL", "value": "info" },
        { "name": "B_LEVEL2", "value": "debug" },
        { "name": "A_PIN", "value": "2" },
        { "name": "L", "value": "info" },
        { "name": "T", "value": "abc" },
        { "name": "F", "valueFrom": { "fieldRef": { "fieldPath": "a" } } },
    ]);
    assert_eq!(&container["env"].as_array().unwrap()[..7], expected.as_array().unwrap().as_slice());
    assert_eq!(container.get("envFrom"), None);
}

#[test]
fn volumes_are_files_of_the_deployment() {
    let spec = "{volumes: [{name: all, configMap: {name: settings}}, {name: some, secret: {secretName: keys, defaultMode: 0400, \
                items: [{key: PIN, path: a/pin}, {key: TOKEN, path: token, mode: 0755}]}}, {name: both, projected: {sources: \
                [{configMap: {name: settings, items: [{key: logo, path: logo}]}}, {secret: {name: keys}}]}}], containers: [{name: \
                web, image: web, volumeMounts: [{name: all, mountPath: /all}, {name: some, mountPath: /pin, subPath: a/pin}, \
                {name: some, mountPath: /a, subPath: a}, {name: both, mountPath: /both}]}]}";
    let fixture = Fixture::new();
    let rendered = fixture.render(&configured(spec)).unwrap_or_else(|error| panic!("{error}"));
    let spec = &rendered.objects[0]["spec"];
    let dir = "/var/lib/conductor/generations/shop/0123456789ab/volumes/2/0";
    let host = |name: &str, path: &str, kind: &str| json!({ "name": name, "hostPath": { "path": format!("{dir}/{path}"), "type": kind } });
    let volumes = [
        host("all", "0", "Directory"),
        host("some", "1", "Directory"),
        host("both", "2", "Directory"),
        host("conductor-part-0", "1/a/pin", "File"),
        host("conductor-part-1", "1/a", "Directory"),
    ];
    assert_eq!(&spec["volumes"].as_array().unwrap()[..5], volumes);
    let mounts = json!([
        { "name": "all", "mountPath": "/all", "readOnly": true },
        { "name": "conductor-part-0", "mountPath": "/pin", "readOnly": true },
        { "name": "conductor-part-1", "mountPath": "/a", "readOnly": true },
        { "name": "both", "mountPath": "/both", "readOnly": true },
    ]);
    assert_eq!(&spec["containers"][0]["volumeMounts"].as_array().unwrap()[..4], mounts.as_array().unwrap().as_slice());
    volume::create_above(&fixture.layout.at(&fixture.layout.volumes(&fixture.deployment))).expect("a directory");
    for files in &rendered.volumes {
        files.write(&|path| fixture.layout.at(path)).expect("files");
    }
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt;
        let place = fixture.layout.at(&Utf8Path::new(dir).join(path));
        (
            fs::read(&place).unwrap_or_default(),
            fs::metadata(&place).map_or(0, |file| file.permissions().mode() & 0o7777),
        )
    };
    assert_eq!(mode("0/LEVEL"), (b"info".to_vec(), 0o644));
    assert_eq!(mode("0/logo"), (vec![0xff, 0xfe, 0xfd], 0o644));
    assert_eq!((mode("1/a/pin"), mode("1/a").1), ((b"1".to_vec(), 0o400), 0o755));
    assert_eq!(mode("1/token"), (b"abc".to_vec(), 0o755));
    assert_eq!((mode("2/TOKEN"), mode("2/logo").1, mode("2/LEVEL").1), ((b"abc".to_vec(), 0o644), 0o644, 0));
    assert_eq!(mode("..").1, 0o700, "only root reads them on the host");
}

#[test]
fn probes_are_checks() {
    let file = "kind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: web, image: w, ports: [{name: http, \
                containerPort: 80}], readinessProbe: {httpGet: {path: /ready?a=1, port: http, httpHeaders: [{name: Host, value: \
                a.test}]}, timeoutSeconds: 3}}\n  - {name: db, image: d, startupProbe: {tcpSocket: {port: 5432}}}\n  - {name: q, \
                image: q, readinessProbe: {exec: {command: [ask, '-x']}}}\n  - {name: tls, image: t, readinessProbe: {httpGet: \
                {port: 8443, scheme: HTTPS}}}\n";
    let rendered = Fixture::new().render(file).unwrap_or_else(|error| panic!("{error}"));
    let asked: Vec<_> = rendered.prepared.probes.iter().map(|probe| (probe.port, probe.health.check.clone())).collect();
    let headers = BTreeMap::from([("Host".to_owned(), "a.test".to_owned())]);
    let http = Check::Http { path: "/ready?a=1".to_owned(), status: Vec::new(), headers, body: None, announced: false };
    let command = Command(vec!["ask".to_owned(), "-x".to_owned()]);
    let inside = Check::Inside { container: "shop-0123456789ab-2-q".to_owned(), command };
    assert_eq!(asked, [(Some(80), http), (Some(5432), Check::Tcp), (None, inside), (Some(8443), Check::Tcp)]);
    assert_eq!(rendered.prepared.probes[0].health.timeout, Duration::from_secs(3));
    let told: Vec<_> = rendered.notes.iter().map(Diagnostic::headline).collect();
    let expected = "shop/pod.yaml:8:74: spec.containers[3].readinessProbe.httpGet.scheme: health checks speak no TLS: conductor \
                    waits until the port accepts a connection";
    assert_eq!(told, [expected]);
    assert!(rendered.objects[0]["spec"]["containers"].to_string().find("Probe").is_none(), "podman asks nothing");
}

/// A pod's file, and what it notes.
const NOTED: &[(&str, &[&str])] = &[
    ("kind: Pod\nspec: {containers: [{name: a, image: b}]}\n", &[]),
    (
        "kind: Service\n---\nkind: Pod\nspec: {containers: [{name: a, image: b}]}\n",
        &[
            "shop/pod.yaml:1:7: kind: the Service is not used; write [[route]] for HTTP or [[port]] for TCP in service.toml, and its targetPort as port in [pod]",
        ],
    ),
    (
        "kind: ServiceAccount\n---\nkind: Pod\nspec: {containers: [{name: a, image: b}]}\n",
        &[
            "shop/pod.yaml:1:7: kind: the ServiceAccount is not used; take it out: it is for a cluster of Kubernetes alone",
        ],
    ),
    (
        "kind: Deployment\nmetadata: {name: db}\nspec: {strategy: {type: Recreate}, template: {spec: {imagePullSecrets: [{name: a}], containers: [{name: a, image: b, lifecycle: {}, livenessProbe: {}}]}}}\n",
        &[
            "shop/pod.yaml:3:25: spec.strategy.type: the strategy is that of service.toml: old and new deployments run beside each other; write strategy = \"recreate\" in [deploy]",
            "shop/pod.yaml:3:72: spec.template.spec.imagePullSecrets: podman does not use imagePullSecrets; log in as root: `podman login --authfile /root/.docker/config.json REGISTRY`",
            "shop/pod.yaml:3:129: spec.template.spec.containers[0].lifecycle: podman runs no hooks of a container; write post_start and pre_stop in [hooks] of service.toml",
            "shop/pod.yaml:3:148: spec.template.spec.containers[0].livenessProbe: conductor asks no running container: a livenessProbe is not used; let a process that cannot serve exit: it is started again",
        ],
    ),
    (
        "kind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: b}]}\n---\nkind: Pod\nmetadata: {name: beside}\nspec: {containers: [{name: a, image: b}]}\n",
        &[
            "shop/pod.yaml:5:7: kind: routes and ports lead to the first pod, web, and not to this one; write the pod that callers reach first, or declare this one in a [[part]] of its own",
        ],
    ),
];

#[test]
fn what_is_not_used_is_noted() {
    let fixture = Fixture::new();
    for (file, expected) in NOTED {
        let rendered = fixture.render(file).unwrap_or_else(|error| panic!("{error}"));
        let told = rendered.notes.iter().map(|note| format!("{}; {}", note.headline(), note.remedy()));
        assert_eq!(told.collect::<Vec<_>>(), *expected, "{file}");
    }
}

#[test]
fn ports_that_are_not_reached_are_noted() {
    let mut fixture = Fixture::new();
    fixture.model.listen.kind = ListenKind::Tcp;
    let crate::model::Engine::Pod(pod) = &mut fixture.model.process.engine else { panic!("a pod") };
    pod.port = Some(80);
    let ports = |ports: &str| {
        let file = format!("kind: Pod\nspec: {{containers: [{{name: a, image: b, ports: [{ports}]}}]}}\n");
        let rendered = fixture.render(&file).unwrap_or_else(|error| panic!("{error}"));
        rendered.notes.iter().map(|note| note.headline()).collect::<Vec<_>>()
    };
    assert_eq!(ports("{containerPort: 80}"), [""; 0]);
    let at = "spec.containers[0].ports";
    let leads = "routes and ports lead to port 80";
    assert_eq!(
        ports("{containerPort: 80}, {containerPort: 9090}"),
        [format!("shop/pod.yaml:2:86: {at}[1].containerPort: {leads}, of the container a, and not to port 9090 of a")]
    );
    assert_eq!(
        ports("{containerPort: 8080}"),
        [format!(
            "shop/pod.yaml:2:65: {at}[0].containerPort: {leads}, which no container of the file tells, and not to port 8080 of a"
        )]
    );
}
