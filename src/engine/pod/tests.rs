mod configuration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::compile;
use crate::names::GenerationId;
use crate::target::systemd::Units;

/// A service that listens on a unix socket and has a credential.
struct Fixture {
    root: tempfile::TempDir,
    layout: Layout,
    deployment: Deployment,
    model: Service,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a scratch directory");
        let path = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
        let dir = path.join("etc/conductor/services/shop");
        fs::create_dir_all(&dir).expect("a directory");
        let declaration = "[pod]\ntemplate = 'pod.yaml'\nenvironment = { LEVEL = 'info' }\n\
                           credentials = { db = '/etc/db' }\n[listen]\ntype = 'unix'\n";
        fs::write(dir.join("service.toml"), declaration).expect("a declaration");
        fs::write(dir.join("pod.yaml"), "").expect("a file");
        let layout = Layout::system(path);
        let model = compile::compile(&layout, &Units(None)).services.into_values().next().expect("it compiles").service;
        let deployment = Deployment::new(&model.name, &GenerationId::new("0123456789ab").expect("an id"), 2);
        Self { root, layout, deployment, model }
    }

    /// The objects of a pod's file.
    fn objects(&self, file: &str) -> Result<Vec<Value>, Diagnostic> {
        self.render(file).map(|rendered| rendered.objects)
    }

    fn render(&self, file: &str) -> Result<Rendered, Diagnostic> {
        let dir = Utf8Path::from_path(self.root.path()).expect("a UTF-8 path").join("etc/conductor/services/shop");
        fs::write(dir.join("pod.yaml"), file).expect("a file");
        let crate::model::Engine::Pod(pod) = &self.model.process.engine else { panic!("a pod") };
        let Self { layout, deployment, model, .. } = self;
        Setting { layout, deployment, model, pod, files: &dir, shown: Utf8Path::new("shop") }.render()
    }
}

#[test]
fn a_workload_becomes_a_pod_with_what_every_deployment_has() {
    let file = "kind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  template:\n    metadata: {labels: {a: b}}\n\
                \x20   spec:\n      volumes: [{name: tmp, emptyDir: {}}, {name: srv, hostPath: {path: /srv}}]\n\
                \x20     containers:\n      - name: web\n        image: web\n        env: [{name: LEVEL, value: debug}]\n\
                \x20       volumeMounts: [{name: tmp, mountPath: /tmp}, {name: srv, mountPath: /srv}]\n\
                ---\nkind: ConfigMap\nmetadata: {name: c}\n---\n---\nkind: Pod\nmetadata: {name: beside}\n\
                spec: {containers: [{name: b, image: b, command: ['{{ CONDUCTOR_INSTANCE }}'], securityContext: {runAsUser: 0644}}]}\n";
    let documents = Fixture::new().objects(file).expect("pods");
    let names: Vec<_> = documents.iter().map(|document| document["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["shop-0123456789ab-2", "shop-0123456789ab-2-beside"]);
    let spec = &documents[0]["spec"];
    let container = &spec["containers"][0];
    let mounts: Vec<_> =
        container["volumeMounts"].as_array().unwrap().iter().map(|mount| mount["name"].as_str().unwrap()).collect();
    assert_eq!(mounts, ["shop-0123456789ab-2-tmp", "srv", "conductor-socket", "conductor-credentials"]);
    assert_eq!(spec["volumes"].as_array().unwrap().len(), 4);
    let variable = |name: &str| {
        let mut all = container["env"].as_array().unwrap().iter().filter(|one| one["name"] == name);
        let found = all.next().map(|one| one["value"].as_str().unwrap().to_owned());
        assert!(all.next().is_none(), "{name} is there twice");
        found
    };
    assert_eq!(variable("LEVEL").as_deref(), Some("debug"), "the file overrides");
    assert_eq!(variable("CREDENTIALS_DIRECTORY").as_deref(), Some("/run/credentials"));
    let socket = "/run/conductor/sockets/shop-0123456789ab/2.d/socket";
    assert_eq!(variable("CONDUCTOR_SOCKET").as_deref(), Some(socket));
    assert_eq!(documents[0]["metadata"]["labels"], json!({ "a": "b" }));
    let beside = &documents[1]["spec"]["containers"][0];
    assert_eq!((&beside["command"], &beside["securityContext"]["runAsUser"]), (&json!(["2"]), &json!(0o644)));
}

#[test]
fn other_fields_pass_through() {
    let file = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: null}\nstatus: {phase: Running}\n\
                spec:\n  restartPolicy: Never\n  dnsConfig: {options: [{name: ndots, value: '2'}]}\n  containers:\n  - name: web\n\
                \x20   image: web\n    args: &words [a, 2, 0x10, 1.5, 'yes', null, {deep: [[]]}]\n    command: *words\n\
                \x20   ports: [{containerPort: 80, hostPort: 0, name: http}]\n    env: [{name: A, valueFrom: {fieldRef: {fieldPath: a}}}]\n";
    let objects = Fixture::new().objects(file).expect("a pod");
    let pod = &objects[0];
    assert_eq!(pod["metadata"], json!({ "name": "shop-0123456789ab-2", "namespace": "shop" }));
    assert_eq!(pod["status"], json!({ "phase": "Running" }));
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    assert_eq!(pod["spec"]["dnsConfig"], json!({ "options": [{ "name": "ndots", "value": "2" }] }));
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["a", 2, 16, 1.5, "yes", null, { "deep": [[]] }]));
    assert_eq!(container["args"], container["command"]);
    assert_eq!(container.get("ports"), None, "podman 4.3 would publish them");
    assert_eq!(container["env"][0], json!({ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "a" } } }));
}

#[test]
fn a_place_in_another_text_than_the_files_is_marked() {
    let file = "{% for at in [1, 2] %}# {{ at }}\n{% endfor %}kind: Pod\nmetadata: web\n";
    let error = Fixture::new().objects(file).expect_err("metadata is a map");
    assert!(error.headline().starts_with("shop/pod.yaml (rendered):4:11: metadata: "), "{error}");
}

/// A file, and the error: where, what, and what to write.
const MALFORMED: &[(&str, &str)] = &[
    (
        "",
        "shop/pod.yaml: the file contains no pod; write a document with kind: Pod or kind: Deployment or kind: DaemonSet or kind: Job",
    ),
    (
        "---\n---\n~\n",
        "shop/pod.yaml: the file contains no pod; write a document with kind: Pod or kind: Deployment or kind: DaemonSet or kind: Job",
    ),
    (
        "a: [",
        "shop/pod.yaml:1:4: not YAML: unclosed bracket '['; check the indentation, and quote texts that contain `: `, ` #` or begin with a sign",
    ),
    (
        "a: 1\na: 2\n",
        "shop/pod.yaml:2:1: not YAML: duplicate mapping key: a not allowed here; check the indentation, and quote texts that contain `: `, ` #` or begin with a sign",
    ),
    (
        "a: *nowhere\n",
        "shop/pod.yaml:1:4: not YAML: reference to unknown value; check the indentation, and quote texts that contain `: `, ` #` or begin with a sign",
    ),
    (
        "a: .nan\n",
        "shop/pod.yaml:1:4: not YAML: value `.nan` is not a finite number; check the indentation, and quote texts that contain `: `, ` #` or begin with a sign",
    ),
    ("- a\n", "shop/pod.yaml:1:1: expected a Kubernetes object, not a list; write kind: Pod, or take the document out"),
    (
        "web\n",
        "shop/pod.yaml:1:1: expected a Kubernetes object, not the text \"web\"; write kind: Pod, or take the document out",
    ),
    (
        "kind: ConfigMap\n",
        "shop/pod.yaml: the file contains no pod; write a document with kind: Pod or kind: Deployment or kind: DaemonSet or kind: Job",
    ),
    ("kind: [Pod]\n", "shop/pod.yaml:1:7: kind: expected a text, not a list; write kind: Pod"),
    (
        "kind: Service\n---\nkind: Pod\nmetadata: web\n",
        "shop/pod.yaml:4:11: metadata: expected a map, not the text \"web\"; write metadata: {name: web}",
    ),
    (
        "kind: Pod\napiVersion: 1\n",
        "shop/pod.yaml:2:13: apiVersion: expected a text, not the number 1; write apiVersion: v1",
    ),
    (
        "kind: Pod\nmetadata: [web]\n",
        "shop/pod.yaml:2:11: metadata: expected a map, not a list; write metadata: {name: web}",
    ),
    (
        "kind: Pod\nmetadata: {name: 7}\n",
        "shop/pod.yaml:2:18: metadata.name: expected a text, not the number 7; write name: web",
    ),
    (
        "kind: Pod\nmetadata: {labels: web}\n",
        "shop/pod.yaml:2:20: metadata.labels: expected a map, not the text \"web\"; write labels: {app: web}",
    ),
    (
        "kind: Pod\nspec:\n",
        "shop/pod.yaml:2:5: spec.containers: the pod has no containers; write containers: [{name: web, image: nginx}]",
    ),
    (
        "kind: Pod\nspec: web\n",
        "shop/pod.yaml:2:7: spec: expected a map, not the text \"web\"; write spec: {containers: […]}",
    ),
    (
        "kind: Pod\nspec: {containers: {name: a}}\n",
        "shop/pod.yaml:2:20: spec.containers: expected a list of maps, not a map; write containers: [{name: web, image: nginx}]",
    ),
    (
        "kind: Pod\nspec: {containers: []}\n",
        "shop/pod.yaml:2:20: spec.containers: the pod has no containers; write containers: [{name: web, image: nginx}]",
    ),
    (
        "kind: Pod\nspec:\n  containers:\n  - web\n",
        "shop/pod.yaml:4:5: spec.containers[0]: expected a map, not the text \"web\"; write containers: [{name: web, image: nginx}]",
    ),
    (
        "kind: Pod\nspec: {containers: [{image: a}]}\n",
        "shop/pod.yaml:2:21: spec.containers[0].name: the container has no name; write name: web",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a}]}\n",
        "shop/pod.yaml:2:21: spec.containers[0].image: the container has no image; write image: docker.io/library/nginx:1.27",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: 1.5}]}\n",
        "shop/pod.yaml:2:38: spec.containers[0].image: expected a text, not the number 1.5; write image: docker.io/library/nginx:1.27",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b, env: {A: b}}]}\n",
        "shop/pod.yaml:2:46: spec.containers[0].env: expected a list of maps, not a map; write env: [{name: LEVEL, value: info}]",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b, env: [A]}]}\n",
        "shop/pod.yaml:2:47: spec.containers[0].env[0]: expected a map, not the text \"A\"; write env: [{name: LEVEL, value: info}]",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b, ports: [{hostPort: 80}]}]}\n",
        "shop/pod.yaml:2:60: spec.containers[0].ports[0].hostPort: a port of the host belongs to one deployment alone; take hostPort out; [[route]] for HTTP and [[port]] for TCP reach the container",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b, ports: [{hostPort: http}]}]}\n",
        "shop/pod.yaml:2:60: spec.containers[0].ports[0].hostPort: expected a port number, not the text \"http\"; write hostPort: 8080",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b, volumeMounts: /srv}]}\n",
        "shop/pod.yaml:2:55: spec.containers[0].volumeMounts: expected a list of maps, not the text \"/srv\"; write volumeMounts: [{name: cache, mountPath: /cache}]",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b}], volumes: [{emptyDir: yes}]}\n",
        "shop/pod.yaml:2:64: spec.volumes[0].emptyDir: expected a map, not true; write emptyDir: {}",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b}], hostNetwork: maybe}\n",
        "shop/pod.yaml:2:56: spec.hostNetwork: expected true or false, not the text \"maybe\"; write hostNetwork: false",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b}], hostNetwork: true}\n",
        "shop/pod.yaml:2:56: spec.hostNetwork: parallel deployments would share the host's ports; take hostNetwork out; [[route]] and [[port]] reach the pod",
    ),
    (
        "x: &list [a]\nkind: Pod\nmetadata: *list\n",
        "shop/pod.yaml:1:10: metadata: expected a map, not a list; write metadata: {name: web}",
    ),
    (
        "kind: Deployment\nspec: {template: web}\n",
        "shop/pod.yaml:2:18: spec.template: expected a map, not the text \"web\"; write template: {spec: {containers: […]}}",
    ),
    (
        "kind: Deployment\nspec: {replicas: two}\n",
        "shop/pod.yaml:2:18: spec.replicas: expected a whole number, not the text \"two\"; write replicas: 1",
    ),
    (
        "kind: Deployment\nspec: {replicas: 2, template: {spec: {containers: [{name: a, image: b}]}}}\n",
        "shop/pod.yaml:2:18: spec.replicas: the number of replicas is that of service.toml; write concurrency = … in service.toml instead",
    ),
    (
        "kind: StatefulSet\n",
        "shop/pod.yaml:1:7: kind: conductor runs no StatefulSet; write kind: Deployment, a PersistentVolumeClaim for each of volumeClaimTemplates, and strategy = \"recreate\" in [deploy]",
    ),
    ("kind: Deploymnet\n", "shop/pod.yaml:1:7: kind: there is no kind Deploymnet; did you mean Deployment?"),
    (
        "metadata: {name: a}\n",
        "shop/pod.yaml:1:1: kind: the document has no kind; write kind: Pod, or take the document out",
    ),
    (
        "kind: ConfigMap\nmetadata: {name: a}\ndata: {PORT: 80}\n---\nkind: Pod\n",
        "shop/pod.yaml:3:14: data.PORT: expected a text, not the number 80; write it in quotes: \"80\"",
    ),
    (
        "kind: ConfigMap\nmetadata: {name: a}\ndata: {../x: a}\n---\nkind: Pod\n",
        "shop/pod.yaml:3:14: data.\"../x\": \"../x\" is not a key of a ConfigMap; use letters, digits, '-', '_' and '.'; items: [{key: …, path: …}] gives its file another name",
    ),
    (
        "kind: ConfigMap\n---\nkind: Pod\n",
        "shop/pod.yaml:1:1: metadata.name: the ConfigMap has no name; write metadata: {name: settings}",
    ),
    (
        "kind: Secret\nmetadata: {name: a}\n---\nkind: Secret\nmetadata: {name: a}\n---\nkind: Pod\n",
        "shop/pod.yaml:5:18: metadata.name: the Secret a is there twice; give each a name of its own",
    ),
    (
        "kind: Secret\nmetadata: {name: a}\ndata: {TOKEN: abc}\n---\nkind: Pod\n",
        "shop/pod.yaml:3:15: data.TOKEN: the value is not base64; write what `base64 -w0` prints, or in a Secret the text itself in stringData",
    ),
    (
        "kind: Pod\nspec: {volumes: [{name: v, configMap: {name: setings}}], containers: [{name: a, image: b}]}\n---\nkind: ConfigMap\nmetadata: {name: settings}\n",
        "shop/pod.yaml:2:46: spec.volumes[0].configMap.name: the pod's files have no ConfigMap \"setings\"; did you mean \"settings\"?",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b, envFrom: [{secretRef: {name: keys}}]}]}\n",
        "shop/pod.yaml:2:70: spec.containers[0].envFrom[0].secretRef.name: the pod's files have no Secret \"keys\"; add a document with kind: Secret, or write credentials in [pod], which containers read in $CREDENTIALS_DIRECTORY",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b, env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: LEVL}}}]}]}\n---\nkind: ConfigMap\nmetadata: {name: c}\ndata: {LEVEL: a}\n",
        "shop/pod.yaml:2:101: spec.containers[0].env[0].valueFrom.configMapKeyRef.key: the ConfigMap c has no key \"LEVL\"; did you mean \"LEVEL\"?",
    ),
    (
        "kind: Pod\nspec: {volumes: [{name: v, configMap: {name: c, items: [{key: LEVEL, path: ../x}]}}], containers: [{name: a, image: b}]}\n---\nkind: ConfigMap\nmetadata: {name: c}\ndata: {LEVEL: a}\n",
        "shop/pod.yaml:2:76: spec.volumes[0].configMap.items[0].path: \"../x\" is not the path of a file in the volume; write path: LEVEL, or a path such as conf.d/LEVEL",
    ),
    (
        "kind: Pod\nspec: {volumes: [{name: v, projected: {sources: [{serviceAccountToken: {}}]}}], containers: [{name: a, image: b}]}\n",
        "shop/pod.yaml:2:72: spec.volumes[0].projected.sources[0].serviceAccountToken: serviceAccountToken is not run; take it out: configMap and secret can be sources; $POD_NAME and others are in the environment",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b, readinessProbe: {httpGet: {port: web}}}]}\n",
        "shop/pod.yaml:2:74: spec.containers[0].readinessProbe.httpGet.port: neither a port nor the name of one; write port: 8080",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b, readinessProbe: {httpGet: {port: 80, path: healthz}}}]}\n",
        "shop/pod.yaml:2:84: spec.containers[0].readinessProbe.httpGet.path: \"healthz\" does not start with /; write \"/healthz\"",
    ),
    (
        "kind: Pod\nspec: {containers: [{name: a, image: b, readinessProbe: {exec: {command: []}}}]}\n",
        "shop/pod.yaml:2:64: spec.containers[0].readinessProbe.exec: the command is empty; write exec: {command: [pg_isready]}",
    ),
    (
        "kind: Job\n",
        "shop/pod.yaml:1:1: spec.template.spec.containers: the pod has no containers; write containers: [{name: web, image: nginx}]",
    ),
];

#[test]
fn malformed_files_are_refused_with_a_place() {
    let fixture = Fixture::new();
    let mut wrong = Vec::new();
    for (file, expected) in MALFORMED {
        let error = fixture.objects(file).expect_err(file);
        let text = format!("{}; {}", error.headline(), error.remedy());
        if text != *expected {
            wrong.push(format!("{file:?} {text:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_variable_is_one_scalar() {
    let file = "kind: Pod\nmetadata: {labels: {double: \"{{ DOUBLE }}\", single: '{{ SINGLE }}', plain: x{{ PLAIN }}}}\n\
                spec:\n  number: {{ NUMBER }}\n  quoted: \"{{ NUMBER }}\"\n  block: |-\n    a {{ DOUBLE }} {# no comment #}\n  \
                containers: [{name: web, image: web, args: [{{ DOUBLE }}, {{ PLAIN }}, {{ YAML | safe }}]}] # {{ DOUBLE }}\n";
    let mut fixture = Fixture::new();
    let (double, single, plain) = ("\"], x: [\n- y", "'\n{}: &a *a", "%YAML #: |");
    let crate::model::Engine::Pod(pod) = &mut fixture.model.process.engine else { panic!("a pod") };
    for (name, value) in
        [("DOUBLE", double), ("SINGLE", single), ("PLAIN", plain), ("NUMBER", "8080"), ("YAML", "{a: [1]}")]
    {
        pod.variables.insert(name.to_owned(), value.to_owned());
    }
    let objects = fixture.objects(file).unwrap_or_else(|error| panic!("{error}"));
    let spec = &objects[0]["spec"];
    let labels = json!({ "double": double, "single": single, "plain": format!("x{plain}") });
    assert_eq!(objects[0]["metadata"]["labels"], labels);
    assert_eq!((&spec["number"], &spec["quoted"]), (&json!(8080), &json!("8080")));
    assert_eq!(spec["block"], format!("a {double} {{# no comment #}}"));
    assert_eq!(spec["containers"][0]["args"], json!([double, plain, { "a": [1] }]));

    let error = fixture.objects("kind: Pod\n{{ DOUBLE }}: 1\nmetadata: web\n").expect_err("metadata is a map");
    assert!(error.headline().starts_with("shop/pod.yaml (rendered):3:11: metadata: "), "{error}");
    let error = fixture.objects("kind: Pod\n8080: 1\n\"{{ NUMBER }}\": 2\n").expect_err("a key twice");
    assert!(error.headline().contains(":3:") && error.headline().contains("twice"), "{error}");
}

/// Any value, with the keys that have a type more often than others.
fn values() -> impl Strategy<Value = Value> {
    let scalars = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[^\u{0}]{0,8}".prop_map(Value::from),
    ];
    let keys = prop_oneof![
        9 => proptest::sample::select(manifest::SHAPES).prop_map(|(key, ..)| key.to_owned()),
        1 => "[^\u{0}]{0,8}",
    ];
    scalars.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(keys.clone(), inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_panics(
        kind in proptest::sample::select(WORKLOADS),
        metadata in values(), spec in values(), container in values(), other in values(),
        depth in 0..4,
    ) {
        let mut container = container;
        if let Some(fields) = container.as_object_mut() {
            fields.insert("name".to_owned(), "web".into());
            fields.insert("image".to_owned(), "web".into());
        }
        let spec = if depth > 0 { json!({ "containers": [container], "volumes": spec }) } else { spec };
        let spec = if depth > 1 { json!({ "template": { "spec": spec, "metadata": metadata } }) } else { spec };
        let object = json!({ "kind": kind, "metadata": metadata, "spec": spec });
        let file = format!("---\n{other}\n---\n{object}\n");
        FIXTURE.with(|fixture| {
            if let Err(error) = fixture.objects(&file.replace('{', "{ ").replace('%', "")) {
                assert!(error.headline().starts_with("shop/pod.yaml:"), "{error}");
            }
        });
    }

    #[test]
    fn no_text_panics(text in "[-a-z0-9:\\[\\]{}&*|>'\"# \n]{0,60}") {
        FIXTURE.with(|fixture| drop(fixture.objects(&format!("kind: Pod\n{text}"))));
    }
}

thread_local! {
    static FIXTURE: Fixture = Fixture::new();
}
