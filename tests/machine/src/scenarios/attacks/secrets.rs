//! What other users and services learn of what is declared: its files, its variables, its ports.

use std::time::Duration;

use conductor_machine::image::{self, IMAGE};
use conductor_machine::machine::Machine;

use super::files::{as_mallory, mallory};
use crate::scenario::scenarios;
use crate::scenarios::function;
use crate::scenarios::shop::{self, Engine, Listen, Shop};

scenarios!("attacks":
    variables_are_not_readable: "a local user looks for a declaration's variables, its private files and the port of a deployment" => "only what systemd itself shows is found",
    files_are_their_owners: "a local user, and a process of another service in or out of the sandbox, look for the files of commands, parts, containers and functions" => "none is found, and each service and function reads its own",
    nothing_is_concluded_without_privileges: "a local user calls every command that reads what is declared" => "each fails and says that root is needed; none says that nothing is declared",
    opened_directories_are_told: "a directory of declarations, files, functions or snapshots is opened to all" => "`check` and `doctor` name it, and systemd-tmpfiles(8) closes it",
);

const TREES: &str = "/etc/conductor /var/lib/conductor /run/conductor /run/systemd";

/// The command that names the files with a text. It does not find itself.
fn search(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    format!("grep --recursive --files-with-matches --no-messages '[{first}]{rest}' {TREES}; true")
}

fn variables_are_not_readable(m: &mut Machine) {
    mallory(m);
    let shop = Shop::new(1).engine(Engine::Exec(Listen::Tcp));
    shop.write(m);
    m.write("/root/shop/tls.key", "S3CRET\n");
    m.run("chmod 600 /root/shop/tls.key; echo '# {{ PASSWORD }}' >>/root/shop/service.toml");
    m.run(&format!("{} PASSWORD=S3CRET", shop::command("1")));
    assert!(m.run(&search("S3CRET")).lines().count() >= 5, "root finds it");
    assert_eq!(as_mallory(m, &search("S3CRET")).stdout, "");
    let variables = m.run("cat /run/conductor/deployments/shop-*/environment");
    let port = variables.lines().find_map(|line| line.strip_prefix("PORT=")).expect("a port");
    assert_ne!(m.run(&search(port)), "", "root finds it");
    assert_eq!(as_mallory(m, &search(port)).stdout, "");
    // What is for everybody is the proxy's.
    let readable = as_mallory(m, "find /etc/conductor /var/lib/conductor /run/conductor -type f -readable 2>/dev/null");
    let others = readable.stdout.lines().filter(|path| !path.starts_with("/run/conductor/proxy/"));
    assert_eq!(others.collect::<Vec<_>>(), [""; 0]);
    // A service's processes still run and roll.
    m.run(&format!("{} PASSWORD=S3CRET2", shop::command("2")));
    shop::assert_serves(m, "2", 1);
}

/// Whatever the processes of a service are, they find their key.
const READS_ITS_KEY: &str =
    "#!/bin/sh\ngrep --quiet S3CRET ./key && grep --quiet S3CRET \"$CONDUCTOR_SERVICE_DIR/key\"\n";

/// A service whose process, hooks, check and command need its key.
fn reader(m: &Machine, name: &str, exec: &str) {
    m.write(
        &format!("/root/{name}/service.toml"),
        &format!(
            "[exec]\ncommand = [\"/bin/sh\", \"-c\", \"./reads && exec sleep 6104\"]\n{exec}\n[health]\nexec = [\"./reads\"]\n\
             [hooks]\npre_start = [\"./reads\"]\npost_start = [\"./reads\"]\n[commands.reads]\nexec = [\"./reads\"]\n"
        ),
    );
    m.write_executable(&format!("/root/{name}/reads"), READS_ITS_KEY);
    m.write(&format!("/root/{name}/key"), "S3CRET\n");
    m.run(&format!("chmod 600 /root/{name}/key; conductor service declare /root/{name}"));
    m.run(&format!("conductor run {name} reads"));
}

/// A service that looks for the keys of others, and for their names.
fn spy(m: &Machine, name: &str, exec: &str) -> String {
    let look = format!("{}; ls /var/lib/conductor/generations /etc/conductor/services", search("S3CRET"));
    m.write(
        &format!("/root/{name}/service.toml"),
        &format!(
            "[exec]\ncommand = [\"sleep\", \"6105\"]\n{exec}\n[health]\nexec = [\"true\"]\n\
             [commands.look]\nexec = [\"./look\"]\n"
        ),
    );
    m.write_executable(&format!("/root/{name}/look"), &format!("#!/bin/sh\n{look} 2>/dev/null; true\n"));
    m.run(&format!("conductor service declare /root/{name}"));
    m.run(&format!("conductor run {name} look"))
}

fn files_are_their_owners(m: &mut Machine) {
    mallory(m);
    m.run("useradd reader; useradd spy");
    reader(m, "strict", "");
    reader(m, "static", "user = \"reader\"");
    reader(m, "dynamic-bare", "sandbox = \"none\"");
    reader(m, "static-bare", "user = \"reader\"\nsandbox = \"none\"");
    reader(m, "root", "user = \"root\"");
    reader(m, "root-bare", "user = \"root\"\nsandbox = \"none\"");
    declare_parts(m);
    declare_container(m);
    function::ready(m);
    for mode in ["pooled", "isolated"] {
        let program = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; cat sub/key\n";
        m.write(&format!("{}/{mode}/sub/key", function::DIR), "S3CRET\n");
        let manifest = format!("aliases = [\"/{mode}\"]\nmode = \"{mode}\"\nfiles = [\"sub\"]\n{}", function::EXEC);
        let id = function::declare(m, mode, program, &manifest);
        assert_eq!(function::get(m, &format!("/cgi/{id}")), (200, "S3CRET\n".to_owned()), "{mode}");
        assert_eq!(function::get(m, &format!("/{mode}")), (200, "S3CRET\n".to_owned()), "{mode}");
    }
    assert!(m.run(&search("S3CRET")).lines().count() >= 20, "root finds them");
    let found = as_mallory(m, &search("S3CRET"));
    assert!(found.success() && found.stdout.is_empty(), "{found}");
    assert_eq!(spy(m, "spy", ""), "/var/lib/conductor/generations:\nspy\n");
    assert_eq!(spy(m, "spy-bare", "user = \"spy\"\nsandbox = \"none\""), "/var/lib/conductor/generations:\nspy-bare\n");
    // With the user of others it still sees its own files alone.
    assert_eq!(spy(m, "spy-same", "user = \"reader\""), "/var/lib/conductor/generations:\nspy-same\n");
    // What was killed finds its files again.
    m.run("systemctl kill --signal=KILL 'strict-*@1.service'");
    m.until("it is back", Duration::from_secs(40), || m.try_run("conductor run strict reads").success());
}

/// Two parts, each of which has a directory of its own.
fn declare_parts(m: &Machine) {
    let part = |name: &str| {
        format!(
            "[[part]]\nname = \"{name}\"\nexec = {{ command = [\"sleep\", \"6106\"] }}\n\
             health = {{ exec = [\"/bin/sh\", \"-c\", \"cat */key; grep --quiet S3CRE[T] {name}/key\"] }}\n"
        )
    };
    m.write("/root/parts/service.toml", &format!("{}{}", part("one"), part("two")));
    m.write("/root/parts/one/key", "S3CRET\n");
    m.write("/root/parts/two/key", "S3CRET\n");
    m.run("conductor service declare /root/parts");
}

/// A container and its hook, which runs beside it on the host.
fn declare_container(m: &Machine) {
    image::make(m, IMAGE, "1");
    m.write(
        "/root/image-of/service.toml",
        &format!(
            "[listen]\ntype = \"tcp\"\n[container]\nimage = \"{IMAGE}\"\nport = 8080\nvolume = [\"./key:/key:ro\"]\n\
             exec = [\"/bin/app\", \"--stop-delay\", \"0s\", \"--address\", \"0.0.0.0\", \"--tcp\", \"${{PORT}}\"]\n\
             [health]\nhttp = \"/healthz\"\n[hooks]\npre_start = [\"./reads\"]\n"
        ),
    );
    m.write_executable("/root/image-of/reads", READS_ITS_KEY);
    m.write("/root/image-of/key", "S3CRET\n");
    m.run("conductor service declare /root/image-of");
    assert_eq!(m.run("podman exec $(podman ps --quiet) /bin/cat /key"), "S3CRET\n");
}

fn nothing_is_concluded_without_privileges(m: &mut Machine) {
    mallory(m);
    Shop::new(1).declare(m, "1");
    function::ready(m);
    let id = function::declare(m, "act", function::ACT, function::EXEC);
    let unit = format!("shop-{}@1.service", shop::generation(m));
    for command in [
        "status",
        "status shop",
        "plan",
        "plan shop",
        "check",
        "check shop",
        "render",
        "render shop",
        "explain shop",
        "doctor",
        "service list",
        "service list --json",
        "service status shop",
        "service show shop",
        "service env shop",
        "service rm shop",
        "service reload shop",
        "deployment list",
        "deployment list shop",
        &format!("deployment show {unit}"),
        &format!("deployment env {unit}"),
        &format!("run {unit} none"),
        "run shop",
        "cgi list",
        "cgi serve",
        &format!("cgi serve {id}"),
        &format!("cgi rm {id}"),
        &format!("check {id}"),
    ] {
        let told = as_mallory(m, &format!("timeout 250 conductor {command} 2>&1"));
        assert!(!told.success() && told.status != 124, "{command}: {told}");
        assert!(told.stdout.contains("run this as root"), "{command}: {told}");
        for wrong in ["is declared", "panicked", "no service", "no function", "there is no", "does not run"] {
            assert!(!told.stdout.contains(wrong), "{command}: {told}");
        }
    }
    let own = as_mallory(m, "cd; conductor new mine && mkdir -p root && conductor --root root check mine");
    assert!(own.success(), "{own}");
    shop::assert_serves(m, "1", 1);
}

fn opened_directories_are_told(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    m.run("conductor check");
    for dir in [
        "/etc/conductor/services",
        "/etc/conductor/functions",
        "/var/lib/conductor/generations",
        "/run/conductor/generations",
        "/run/conductor/deployments",
    ] {
        m.run(&format!("chmod 755 {dir}"));
        for command in ["check", "doctor"] {
            let told = m.try_run(&format!("conductor {command} 2>&1"));
            assert!(!told.success() && told.stdout.contains(&format!("{dir}: every user may")), "{command}: {told}");
        }
        m.run("systemd-tmpfiles --create conductor.conf; conductor check");
    }
    // A group that an administrator lets in is not every user.
    m.run("chmod 750 /etc/conductor/services; conductor check");
}
