//! A real Kubernetes on the machines of a cluster: the control plane on the first, nodes on the others.
//!
//! The components are those of `build-kubernetes`; images come from files, so that no registry is asked.

use std::thread;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::command::Output;
use crate::image;
use crate::machine::Machine;

/// The image that declarations run in: the application under test, and busybox for a shell.
pub const IMAGE: &str = "docker.io/library/app:1";
const KUBECONFIG: &str = "/root/.kube/config";
const READY_LIMIT: Duration = Duration::from_secs(300);

/// Starts Kubernetes on all machines, and returns once every node is ready.
pub fn start(cluster: &Cluster) {
    let (control, nodes) = cluster.machines.split_first().expect("machines");
    start_control_plane(control);
    let images = make_images(control);
    let kubeconfig = control.read(KUBECONFIG);
    thread::scope(|scope| {
        for (node, number) in nodes.iter().zip(2..) {
            let (images, kubeconfig) = (&images, &kubeconfig);
            scope.spawn(move || start_node(node, number, nodes.len() + 1, images, kubeconfig));
        }
    });
    await_nodes(control, nodes.len());
}

/// Runs kubectl(1) on the control plane's machine; panics with its output if it fails.
#[track_caller]
pub fn kubectl(control: &Machine, arguments: &str) -> String {
    control.run(&format!("kubectl {arguments}"))
}

/// Runs kubectl(1) on the control plane's machine.
pub fn try_kubectl(control: &Machine, arguments: &str) -> Output {
    control.try_run(&format!("kubectl {arguments}"))
}

/// Waits until so many nodes are ready.
#[track_caller]
pub fn await_nodes(control: &Machine, count: usize) {
    control.until("all nodes are ready", READY_LIMIT, || ready_nodes(control) == count);
}

/// Returns the number of nodes that are ready.
pub fn ready_nodes(control: &Machine) -> usize {
    let nodes = try_kubectl(control, "get nodes --no-headers").stdout;
    nodes.lines().filter(|line| line.split_whitespace().nth(1) == Some("Ready")).count()
}

fn start_control_plane(control: &Machine) {
    control.run(&format!(
        r#"mkdir -p /srv/kubernetes /root/.kube; cd /srv/kubernetes
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 3650 -subj /CN=ca 2>/dev/null
        openssl req -newkey rsa:2048 -nodes -keyout api.key -out api.csr -subj /CN=kube-apiserver 2>/dev/null
        echo 'subjectAltName=IP:{address},IP:10.96.0.1,IP:127.0.0.1,DNS:kubernetes.default.svc' >api.ext
        openssl x509 -req -in api.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out api.crt -extfile api.ext 2>/dev/null
        openssl genrsa -out sa.key 2048 2>/dev/null
        echo 'admintoken,admin,admin,"system:masters"' >tokens.csv
        cat >{KUBECONFIG} <<EOF
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "https://{address}:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}}}]
users: [{{name: u, user: {{token: admintoken}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
EOF
        ln -s {KUBECONFIG} kubeconfig
        run() {{ unit=$1; shift; systemd-run --quiet --unit="kubernetes-$unit" --working-directory=/srv/kubernetes --property=LimitNOFILE=65536 "$@"; }}
        run etcd etcd --data-dir /srv/etcd --unsafe-no-fsync
        run kube-apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --advertise-address {address} --secure-port 6443 \
            --tls-cert-file api.crt --tls-private-key-file api.key --client-ca-file ca.crt --token-auth-file tokens.csv \
            --service-account-key-file sa.key --service-account-signing-key-file sa.key \
            --service-account-issuer https://{address}:6443 --api-audiences api --service-cluster-ip-range 10.96.0.0/16 \
            --default-not-ready-toleration-seconds=5 --default-unreachable-toleration-seconds=5 \
            --authorization-mode RBAC --kubelet-preferred-address-types=InternalIP --allow-privileged --disable-admission-plugins=StorageObjectInUseProtection
        until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done
        run kube-controller-manager kube-controller-manager --kubeconfig kubeconfig --leader-elect=false \
            --service-account-private-key-file sa.key --root-ca-file ca.crt --use-service-account-credentials=false \
            --allocate-node-cidrs --cluster-cidr 10.88.0.0/16 --node-monitor-grace-period 10s --node-monitor-period 2s \
            --pod-eviction-timeout 5s
        run kube-scheduler kube-scheduler --kubeconfig kubeconfig --leader-elect=false"#,
        address = Cluster::address(1),
    ));
}

/// Makes the archives of the images that nodes take: `pause`, and the application.
fn make_images(control: &Machine) -> Vec<Vec<u8>> {
    image::make(control, IMAGE, "1");
    control.run(
        r#"mkdir -p /root/pause/root; cd /root/pause; cp /usr/local/bin/pause root/
        tar -C root -c . | podman import --quiet --change 'ENTRYPOINT ["/pause"]' - k8s.gcr.io/pause:3.2"#,
    );
    let archive = |image: &str| {
        control.run(&format!("podman save --quiet --format docker-archive --output /root/image.tar {image}"));
        let archive = control.take("/root/image.tar");
        control.run("rm /root/image.tar");
        archive
    };
    vec![archive("k8s.gcr.io/pause:3.2"), archive(IMAGE)]
}

/// Starts a node and the routes to the pods of the others.
fn start_node(node: &Machine, number: usize, last: usize, images: &[Vec<u8>], kubeconfig: &str) {
    node.write(KUBECONFIG, kubeconfig);
    node.write("/etc/containerd/config.toml", CONTAINERD);
    node.write("/etc/cni/net.d/10-bridge.conflist", &pod_network(number));
    for (image, index) in images.iter().zip(1..) {
        node.install(&format!("/root/{index}.tar"), "644", image);
    }
    for other in (2..=last).filter(|other| *other != number) {
        node.run(&format!("ip route replace {}.0/24 via {}", pods(other), Cluster::address(other)));
    }
    node.run(&format!(
        r#"mount --make-rshared /
        for group in $(ls /sys/fs/cgroup); do mount -o remount,bind,rw /sys/fs/cgroup/$group 2>/dev/null || true; done
        [ -e /dev/kmsg ] || mknod -m 600 /dev/kmsg c 1 11
        sysctl -qw net.ipv4.ip_forward=1; iptables -P FORWARD ACCEPT
        systemd-run --quiet --unit=kubernetes-containerd --property=Delegate=yes containerd
        until ctr version >/dev/null 2>&1; do sleep 0.2; done
        for image in /root/*.tar; do ctr --namespace k8s.io images import $image >/dev/null; rm $image; done
        systemd-run --quiet --unit=kubernetes-kubelet kubelet --kubeconfig {KUBECONFIG} --hostname-override n{number} --node-ip {address} \
            --container-runtime remote --container-runtime-endpoint unix:///run/containerd/containerd.sock \
            --cgroup-driver cgroupfs --cgroups-per-qos=false --enforce-node-allocatable= --fail-swap-on=false --oom-score-adj 0 \
            --image-gc-high-threshold 100 --eviction-hard 'memory.available<1Mi' --resolv-conf /dev/null \
            --node-status-update-frequency 3s --anonymous-auth=true --authorization-mode AlwaysAllow --read-only-port 0
        systemd-run --quiet --unit=kubernetes-kube-proxy kube-proxy --kubeconfig {KUBECONFIG} --hostname-override n{number} \
            --proxy-mode iptables --cluster-cidr 10.88.0.0/16 --oom-score-adj 0 --conntrack-max-per-core 0 \
            --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0 --iptables-min-sync-period 100ms
        # One caller's address uses its ports again after some seconds.
        for time in time_wait close close_wait last_ack fin_wait syn_sent; do
            sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_$time=4 || true
        done"#,
        address = Cluster::address(number),
    ));
}

/// Returns the first three bytes of the addresses of a node's pods.
fn pods(number: usize) -> String {
    format!("10.88.{number}")
}

/// Returns the network of a node's pods, for the plugins of containernetworking.
fn pod_network(number: usize) -> String {
    format!(
        r#"{{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{}.0/24"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}
"#,
        pods(number)
    )
}

/// Containers without what a machine in a container cannot give them.
const CONTAINERD: &str = r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "k8s.gcr.io/pause:3.2"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
"#;
