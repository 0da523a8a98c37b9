//! The same declarations on a Pacemaker cluster of three machines, and a fourth that calls them.

use std::time::{Duration, Instant};

use conductor_machine::cluster::Cluster;
use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use super::manual::{blocks, write_files};
use super::service::refused;
use crate::scenario::scenarios;

scenarios!("pacemaker" with Pacemaker on 4:
    one_address_on_three_machines: "machines of a Pacemaker cluster die, and service declare --host goes from one to the next"
        => "the address moves to another machine, a majority goes on, a minority stops, and no request fails while a new version is declared",
);

const PAGE: &str = include_str!("../../../../docs/how-to/cluster.md");
const NODES: usize = 3;
const ADDRESS: &str = "10.77.0.100";
const HOSTS: &str = "n1,n2,n3";
/// What a cluster may take to react; the figures are in the notes.
const LIMIT: Duration = Duration::from_secs(120);

fn one_address_on_three_machines(cluster: &mut Cluster) {
    let (nodes, client) = cluster.machines.split_at_mut(NODES);
    let client = &client[0];
    nodes.iter().for_each(start_node);
    reach_by_ssh(nodes);
    let first = &nodes[0];
    first.run("for i in $(seq 600); do crm_mon -1 2>/dev/null | grep -q 'Online: \\[ n1 n2 n3 \\]' && exit; sleep 0.2; done; exit 1");
    first.run("crm_attribute --type crm_config --name stonith-enabled --update false");

    write_files(first, PAGE);
    declare_everywhere(nodes);
    apply(first);
    let begun = Instant::now();
    client.until("the address answers", LIMIT, || answer(client) == "1");
    first.note(format!("resources started in {:.1} s", begun.elapsed().as_secs_f64()));

    roll(first, client);
    stops_are_noticed(&nodes[1], client);
    let survivors = kill_the_address(nodes, client);
    kill_the_majority(nodes, &survivors);
    nodes.iter_mut().filter(|node| !node.is_on()).for_each(power_on);
    client.until("the address answers again", LIMIT, || answer(client) == "2");
}

fn start_node(node: &Machine) {
    let members: String = (1..=NODES)
        .map(|number| {
            format!(
                "  node {{\n    ring0_addr: {}\n    name: n{number}\n    nodeid: {number}\n  }}\n",
                Cluster::address(number)
            )
        })
        .collect();
    let totem = "totem {\n  version: 2\n  cluster_name: machines\n  transport: knet\n  token: 1000\n  crypto_cipher: none\n  crypto_hash: none\n}\n";
    let rest = "quorum {\n  provider: corosync_votequorum\n}\nlogging {\n  to_syslog: yes\n}\n";
    node.write("/etc/corosync/corosync.conf", &format!("{totem}nodelist {{\n{members}}}\n{rest}"));
    let hosts: String = (1..=NODES).map(|number| format!("{} n{number}\n", Cluster::address(number))).collect();
    node.run(&format!("printf '{}' >>/etc/hosts", hosts.replace('\n', "\\n")));
    node.copy_app("/usr/local/bin/app");
    start_cluster(node);
}

fn start_cluster(node: &Machine) {
    node.run("mkdir -p /run/sshd; systemctl start ssh corosync pacemaker");
}

fn power_on(node: &mut Machine) {
    node.power_on();
    start_cluster(node);
}

/// Lets the first node log in on all of them.
fn reach_by_ssh(nodes: &[Machine]) {
    let first = &nodes[0];
    first.run("ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519; echo 'StrictHostKeyChecking accept-new' >/root/.ssh/config");
    let key = first.read("/root/.ssh/id_ed25519.pub");
    nodes.iter().for_each(|node| node.install("/root/.ssh/authorized_keys", "600", key.as_bytes()));
}

/// Declares what the page shows, and a service with a dependency.
fn declare_everywhere(nodes: &[Machine]) {
    let first = &nodes[0];
    let desk = "install = { wanted_by = [] }\n[exec]\ncommand = [\"/usr/local/bin/app\"]\n";
    first.write("/root/desk/service.toml", &format!("{desk}[[service]]\ndir = \"../stock\"\n"));
    first.write("/root/stock/service.toml", desk);
    let output = first.run(&format!("conductor service declare --no-start --host {HOSTS} /root/desk"));
    assert!(["n1:", "n2:", "n3:"].iter().all(|host| output.contains(host)), "{output}");
    run(first, 0);
    let generation = |node: &Machine| node.run("conductor service status shop --json | grep generation || true");
    let generations: Vec<_> = nodes.iter().map(generation).collect();
    assert!(generations.iter().all(|generation| *generation == generations[0]), "{generations:?}");

    // A mistake is found here, before the first host, and a host that cannot be reached ends it.
    first.write("/root/wrong/service.toml", "[exec]\ncommand = []\n");
    refused(first, "declare --host n1,n2 /root/wrong", 3, &["/root/wrong/service.toml"]);
    let words = "declare --host n1,nowhere,n3 /root/desk --no-start";
    let unreached = refused(first, words, 1, &["nowhere", "nothing was done on n3"]);
    assert!(unreached.stdout.contains("n1:") && !unreached.stdout.contains("n3:"), "{unreached}");
}

/// Renders the resources, gives them to the cluster, and once more.
fn apply(first: &Machine) {
    run(first, 1);
    let cib = first.read("/root/cib.xml");
    assert!(cib.contains(r#"first="stock-clone" then="desk-clone""#), "{cib}");
    let resources = "cibadmin --query --scope=resources";
    first.run(&format!("{resources} >/root/before"));
    run(first, 1);
    first.run(&format!("{resources} | diff /root/before -"));
}

/// Runs a block of the page's commands on a node.
fn run(node: &Machine, index: usize) -> String {
    let commands: Vec<_> = blocks(PAGE).into_iter().filter(|(language, _)| *language == "sh").collect();
    node.run(&format!("cd /root\n{}", commands[index].1))
}

/// Returns the version that answers at the address; nothing if none does within half a second.
fn answer(client: &Machine) -> String {
    let output = client
        .try_run(&format!("curl --silent --fail --max-time 0.5 --header 'Host: shop.localhost' http://{ADDRESS}/"));
    output.stdout.split_whitespace().next().unwrap_or_default().to_owned()
}

/// Declares a new version on one host after the other, under load.
fn roll(first: &Machine, client: &Machine) {
    let load = Load {
        clients: 8,
        connect: format!("{ADDRESS}:80"),
        host: "shop.localhost".into(),
        pause_ms: 5,
        at_least: 3_000,
        ..Load::default()
    };
    let load = client.load(load);
    let begun = Instant::now();
    let output = run(first, 2);
    let took = begun.elapsed();
    assert!(output.matches("n3:").count() == 2, "{output}");
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    first.note(format!("declared on three hosts in {:.1} s: {seen}", took.as_secs_f64()));
}

/// Somebody stops the service behind the cluster's back.
fn stops_are_noticed(node: &Machine, client: &Machine) {
    // Pacemaker forgets a failure that it sees while it still starts other resources.
    node.run("crm_resource --wait --timeout=100s");
    node.run("systemctl stop shop");
    node.until("Pacemaker starts it again", LIMIT, || node.prop("shop", "ActiveState") == "active");
    client.until("the address answers", LIMIT, || answer(client) == "2");
}

fn holds_address(node: &Machine) -> bool {
    node.try_run("ip -brief address show dev eth0").stdout.contains(ADDRESS)
}

/// Kills the node with the address. Returns the numbers of the others.
fn kill_the_address(nodes: &mut [Machine], client: &Machine) -> Vec<usize> {
    let holder = nodes.iter().position(holds_address).expect("a node with the address");
    let begun = Instant::now();
    nodes[holder].kill_power();
    client.until("the address moves", LIMIT, || answer(client) == "2");
    let gap = begun.elapsed();
    let others: Vec<_> = (0..NODES).filter(|number| *number != holder).collect();
    let first = &nodes[others[0]];
    first.until("the service of one node runs on one of two", LIMIT, || {
        others.iter().filter(|number| nodes[**number].prop("report", "ActiveState") == "active").count() == 1
    });
    first.note(format!("the address moved in {:.1} s", gap.as_secs_f64()));
    others
}

/// Kills another node: the last one has no quorum, and stops all.
fn kill_the_majority(nodes: &mut [Machine], survivors: &[usize]) {
    nodes[survivors[1]].kill_power();
    let last = &nodes[survivors[0]];
    for service in ["shop", "stock", "report"] {
        last.until("a minority stops its services", LIMIT, || last.prop(service, "ActiveState") == "inactive");
    }
    assert!(!holds_address(last), "a minority keeps the address");
}
