//! Attacks on files: locks that others hold, links where root acts, modes and kinds of declared files.

use std::time::Duration;

use conductor_machine::command::Output;
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::shop::{self, Engine, Listen, Shop};

scenarios!("attacks":
    locks_are_nobody_elses: "a local user tries to lock each file and directory of Conductor's" => "every lock is refused; a killed process is back at once, and reload and declare go on",
    socket_is_a_link: "a service puts a link, a file, a FIFO or another service's socket where its socket is to be" => "root changes nothing that the link leads to, the declare fails, and no slot leads there",
    socket_becomes_a_link: "a service replaces its socket by a link to another service's when it is ready" => "its callers still reach what it had bound",
    bridge_follows_no_link: "a service that rests replaces its socket by a link to another service's" => "its callers never reach the other service",
    declaration_is_hostile: "a declaration's service.toml is a link out, a device or a FIFO; it has relative links out, devices, sockets, names that are not UTF-8, too many levels, or a sparse file of 1 TB" => "each is refused at once, nothing of the host's files is shown, and nothing is left",
    manifest_is_hostile: "the same in a function's directory" => "each is refused at once, and nothing of the host's files is shown",
    modes_are_not_copied: "a local user's directory with a setuid program and files that all may write is declared" => "the stored files are root's, 0644 or 0755, and no user gains anything by them",
    modes_of_a_private_umask: "root declares with umask 077" => "the service's and the function's users can read their files",
    links_out_are_only_links: "a declaration has links to /etc/shadow as its file, program, pod, template, .conductorignore, container's program" => "no command follows one: it is stored as a link, or refused",
    changeable_declarations_are_told: "a stored declaration, or what it links to, may be changed by a local user" => "`check` and `doctor` name it",
    declarations_are_synced: "the power is cut in the middle of a declare or a removal" => "a generation's files are on disk before its declaration is, and each directory after what was renamed in it",
    swapped_while_declared: "a local user swaps files and directories of a declaration for links while root declares it, again and again" => "nothing of root's is ever stored",
);

/// Adds a local user without any rights.
pub(super) fn mallory(m: &Machine) {
    m.run("id mallory >/dev/null 2>&1 || useradd --create-home mallory; chmod 755 /home/mallory");
}

pub(super) fn as_mallory(m: &Machine, command: &str) -> Output {
    m.write("/run/mallory.sh", command);
    m.try_run("runuser -u mallory -- sh /run/mallory.sh")
}

fn locks_are_nobody_elses(m: &mut Machine) {
    mallory(m);
    Shop::new(1).declare(m, "1");
    let found = "find /run/conductor /etc/conductor /var/lib/conductor 2>/dev/null";
    let can_lock = r#"{ test -d "$path" || test -f "$path"; } && flock --nonblock "$path" true 2>/dev/null"#;
    let lockable = as_mallory(m, &format!("{found} | while read -r path; do {can_lock} && echo $path; done; true"));
    assert!(lockable.success() && lockable.stdout.contains("/run/conductor\n"), "{lockable}");
    let is_lock = |path: &&str| path.contains("/locks") || path.contains("/permits");
    assert_eq!(lockable.stdout.lines().filter(is_lock).count(), 0, "{lockable}");
    // All that can be locked is held from now on.
    let hold = r#"(exec 9<"$path" && flock --nonblock 9 && exec sleep 6100) 2>/dev/null &"#;
    let is_kind = r#"{ test -d "$path" || test -f "$path"; }"#;
    m.write("/run/hold.sh", &format!("{found} | {{ while read -r path; do {is_kind} && {hold}\ndone; wait; }}"));
    let _holding = m.spawn("runuser -u mallory -- sh /run/hold.sh");
    m.until("all is held", Duration::from_secs(20), || {
        m.try_run("test $(pgrep --count --full --uid mallory 'sleep 6100') -ge 10").success()
    });
    let generation = shop::generation(m);
    let unit = format!("shop-{generation}@1.service");
    m.run(&format!("systemctl kill --signal=KILL {unit}"));
    m.until("it is back", Duration::from_secs(20), || m.prop(&unit, "ActiveState") == "active");
    m.run("timeout 250 systemctl reload shop");
    m.run(&format!("timeout 60 {}", shop::command("2")));
    shop::assert_serves(m, "2", 1);
    m.run("timeout 250 conductor service rm shop");
}

/// A service that binds nothing but runs `act` and says that it is ready.
fn binder(m: &Machine, name: &str, act: &str, extra: &str) {
    m.write(
        &format!("/root/{name}/service.toml"),
        &format!(
            "concurrency = 1\n[exec]\ncommand = [\"./server\"]\n[listen]\ntype = \"unix\"\n{extra}\n[health]\nnotify = true\n\
             [deploy]\nhealth_timeout = \"5s\"\ndrain_timeout = \"1s\"\n"
        ),
    );
    m.write_executable(&format!("/root/{name}/server"), &SERVER.replace("ACT", act));
}

const SERVER: &str = r#"#!/usr/bin/python3
import os, socket, threading, time
path = os.environ["CONDUCTOR_SOCKET"]

def serve(listener):
    while True:
        connection, _ = listener.accept()
        try:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nmine\n")
        except OSError:
            pass
        connection.close()

def bind():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    threading.Thread(target=serve, args=(listener,), daemon=True).start()

def ready():
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = os.environ["NOTIFY_SOCKET"]
    notify.connect("\0" + address[1:] if address[0] == "@" else address)
    notify.send(b"READY=1")

ACT
time.sleep(6101)
"#;

fn socket_is_a_link(m: &mut Machine) {
    Shop::new(1).engine(Engine::Exec(Listen::Unix)).declare(m, "1");
    let other = format!("/run/conductor/sockets/shop-{}/1", shop::generation(m));
    let state = || m.run(&format!("stat --format='%A %U %G %n' /etc/shadow {other} /etc/passwd"));
    let before = state();
    for act in [
        "os.symlink('/etc/shadow', path)".to_owned(),
        format!("os.symlink('{other}', path)"),
        "os.symlink('.', path)".to_owned(),
        "os.mkfifo(path)".to_owned(),
        "os.mkdir(path)".to_owned(),
        "open(path, 'w').close()".to_owned(),
        String::new(),
    ] {
        binder(m, "evil", &format!("{act}\nready()"), "");
        let refused = m.try_run("timeout 250 conductor service declare /root/evil");
        assert!(!refused.success() && refused.status != 124, "{act}: {refused}");
        assert_eq!(state(), before, "{act}");
        assert_eq!(m.run("find /run/conductor/slots/evil 2>/dev/null || true"), "", "{act}");
    }
    assert!(shop::get(m).starts_with("1 "));
}

/// Asks a service's first slot, as its callers do.
fn ask(m: &Machine, name: &str) -> String {
    m.try_run(&format!("curl --silent --max-time 5 --unix-socket /run/conductor/slots/{name}/1 http://{name}/")).stdout
}

fn socket_becomes_a_link(m: &mut Machine) {
    Shop::new(1).engine(Engine::Exec(Listen::Unix)).declare(m, "1");
    let other = format!("/run/conductor/sockets/shop-{}/1", shop::generation(m));
    let act = format!("bind()\nready()\ntime.sleep(0.3)\nos.unlink(path)\nos.symlink('{other}', path)");
    binder(m, "evil", &act, "");
    m.run("conductor service declare /root/evil");
    m.until("it is replaced", Duration::from_secs(5), || {
        m.try_run("test -L /run/conductor/sockets/evil-*/1.d/socket").success()
    });
    assert_eq!(ask(m, "evil"), "mine\n");
    m.run("timeout 250 conductor service rm evil");
    assert!(shop::get(m).starts_with("1 "));
}

fn bridge_follows_no_link(m: &mut Machine) {
    Shop::new(1).engine(Engine::Exec(Listen::Unix)).declare(m, "1");
    let other = format!("/run/conductor/sockets/shop-{}/1", shop::generation(m));
    let act = format!("bind()\nready()\ntime.sleep(0.3)\nos.unlink(path)\nos.symlink('{other}', path)");
    binder(m, "evil", &act, "idle_timeout = \"30s\"");
    m.run("conductor service declare /root/evil");
    m.until("it is replaced", Duration::from_secs(5), || {
        m.try_run("test -L /run/conductor/sockets/evil-*/1.d/socket").success()
    });
    assert_eq!(ask(m, "evil"), "mine\n");
}

/// What makes a directory hostile, by a name: commands that run in the directory. `@` is its declaration or manifest.
const HOSTILE: &[(&str, &str)] = &[
    ("its declaration is /etc/shadow", "ln -sf /etc/shadow @"),
    ("its declaration is a link within", "mv @ other; ln -s other @"),
    ("its declaration is /dev/zero", "ln -sf /dev/zero @"),
    ("its declaration is a device", "rm @; mknod @ c 1 5 || mkfifo @"),
    ("its declaration is a FIFO", "rm @; mkfifo @"),
    ("its declaration is a directory", "rm @; mkdir @"),
    ("its declaration is 1 TB", "truncate --size=1T @"),
    ("a link out by its parent", "ln -s ../../../../etc/shadow sub/x"),
    ("a device", "mknod sub/x c 1 3 || mkfifo sub/x"),
    ("a FIFO", "mkfifo sub/x"),
    ("a socket", "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sub/x\")'"),
    ("a name that is not UTF-8", "touch \"$(printf 'sub/\\377\\376')\""),
    ("a link to a name that is not UTF-8", "ln -s \"$(printf '\\377')\" sub/x"),
    ("150 levels", "cd sub; for i in $(seq 150); do mkdir d; cd d; done"),
    ("1900 levels", "cd sub; for i in $(seq 1900); do mkdir d; cd d; done"),
    ("a sparse file of 1 TB", "truncate --size=1T sub/x"),
    ("1000 files of 1 MB", "for i in $(seq 1000); do truncate --size=1M sub/$i; done"),
];

fn declaration_is_hostile(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    for (what, commands) in HOSTILE {
        m.run("rm -rf /root/evil; mkdir -p /root/evil/sub");
        m.write("/root/evil/service.toml", "[exec]\ncommand = [\"sleep\", \"6102\"]\n");
        m.run(&format!("cd /root/evil; {}", commands.replace('@', "service.toml")));
        for command in ["check", "render", "plan", "explain", "service declare"] {
            let refused = m.try_run(&format!("ulimit -v 4000000; timeout 10 conductor {command} /root/evil 2>&1"));
            assert!(![0, 101, 124, 134].contains(&refused.status), "{what}: {command}: {refused}");
            assert!(!refused.stdout.contains("root:"), "{what}: {command}: {refused}");
        }
        let left =
            m.run("find /etc/conductor /var/lib/conductor /run/conductor -path '*evil*' -o -name '.conductor-*'");
        assert_eq!(left, "", "{what}");
    }
    shop::assert_serves(m, "1", 1);
    // Names of one line, as people see them.
    m.run("rm -rf /root/evil; mkdir -p /root/evil");
    m.write("/root/evil/service.toml", "[exec]\ncommand = [\"sleep\", \"6102\"]\n");
    m.run("cd /root/evil; mkfifo \"$(printf 'a\\nb\\033[31mred')\"");
    let refused = m.try_run("conductor check /root/evil 2>&1");
    assert!(!refused.success(), "{refused}");
}

/// What is a link to /etc/shadow, and the rest of the declaration.
const LINKS: &[(&str, &str)] = &[
    ("x", "[exec]\ncommand = [\"sleep\", \"6102\"]\n"),
    ("run", "[exec]\ncommand = [\"./run\"]\n"),
    ("check", "[exec]\ncommand = [\"sleep\", \"6102\"]\n[health]\nexec = [\"./check\"]\n"),
    ("x.j2", "[exec]\ncommand = [\"sleep\", \"6102\"]\n"),
    ("pod.yaml", "[pod]\ntemplate = \"pod.yaml\"\nport = 80\n"),
    ("map.yaml", "[pod]\ntemplate = \"pod.yaml\"\nconfig_map = \"map.yaml\"\nport = 80\n"),
    (".conductorignore", "[exec]\ncommand = [\"sleep\", \"6102\"]\n"),
    ("function.toml", "[exec]\ncommand = [\"sleep\", \"6102\"]\n"),
];

fn links_out_are_only_links(m: &mut Machine) {
    for (link, text) in LINKS {
        m.run("rm -rf /root/evil; mkdir -p /root/evil");
        m.write("/root/evil/service.toml", text);
        m.run(&format!("ln -s /etc/shadow /root/evil/{link}"));
        for command in ["check", "render", "plan", "explain", "service declare --no-start"] {
            let told = m.try_run(&format!("timeout 10 conductor {command} /root/evil 2>&1"));
            assert!(![101, 124, 134].contains(&told.status), "{link}: {command}: {told}");
            assert!(!told.stdout.contains("root:"), "{link}: {command}: {told}");
        }
        let copies = m.run("grep -rl '^root:' /etc/conductor /var/lib/conductor /run/conductor || true");
        assert_eq!(copies, "", "{link}");
        m.run("! test -e /etc/conductor/services/evil || conductor service rm evil");
    }
}

fn manifest_is_hostile(m: &mut Machine) {
    let more: &[(&str, &str)] = &[
        ("a directory beside it", "sed -i 's|\"sub\"|\"../shop\"|' @"),
        ("an absolute directory", "sed -i 's|\"sub\"|\"/etc\"|' @"),
        ("a file behind a link", "ln -s /etc sub/l; sed -i 's|\"sub\"|\"sub/l/shadow\"|' @"),
    ];
    for (what, commands) in HOSTILE.iter().chain(more) {
        m.run("rm -rf /root/evil; mkdir -p /root/evil/sub");
        let manifest = "name = \"evil\"\naliases = [\"/evil\"]\nfiles = [\"sub\"]\n[exec]\ncommand = [\"./run\"]\n";
        m.write("/root/evil/function.toml", manifest);
        m.write_executable("/root/evil/run", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nfine\\n'\n");
        m.run(&format!("cd /root/evil; {}", commands.replace('@', "function.toml")));
        for command in ["cgi identify", "cgi declare"] {
            let refused = m.try_run(&format!("ulimit -v 4000000; timeout 10 conductor {command} /root/evil 2>&1"));
            assert!(![0, 101, 124, 134].contains(&refused.status), "{what}: {command}: {refused}");
            assert!(!refused.stdout.contains("root:"), "{what}: {command}: {refused}");
        }
        assert_eq!(m.run("find /etc/conductor/functions /etc/conductor/aliases -mindepth 1"), "", "{what}");
    }
}

fn modes_are_not_copied(m: &mut Machine) {
    mallory(m);
    Shop::new(1).write(m);
    m.run("cp -r /root/shop /home/mallory/evil; chown -R mallory: /home/mallory/evil");
    let made = as_mallory(
        m,
        "cd /home/mallory/evil; cp /usr/bin/id su; chmod 6755 su; mkdir open; echo x >open/file; chmod 2777 open
         chmod 666 service.toml open/file",
    );
    assert!(made.success(), "{made}");
    m.run("conductor service declare /home/mallory/evil --name shop VERSION=1");
    let bad = m.run(
        "find /etc/conductor/services/shop /var/lib/conductor/generations ! -type l \\( -perm /7000 -o -perm /022 \\
         -o ! -user root -o ! -group root \\)",
    );
    assert_eq!(bad, "");
    let id = "/var/lib/conductor/generations/shop/*/files/su";
    let gained = as_mallory(m, &format!("{id}; echo x >>/etc/conductor/services/shop/service.toml"));
    assert!(!gained.stdout.contains("euid=0") && !gained.success(), "{gained}");
    let modes = m.run("cd /etc/conductor/services/shop; stat --format='%a %n' su open open/file service.toml");
    assert_eq!(modes, "755 su\n755 open\n644 open/file\n644 service.toml\n");
}

fn modes_of_a_private_umask(m: &mut Machine) {
    let shop = Shop::new(1);
    m.run("umask 077; mkdir -p /root/shop/sub/deep; echo x >/root/shop/sub/deep/file");
    shop.write(m);
    m.run(&format!("chmod -R go= /root/shop; umask 077; {}", shop::command("1")));
    shop::assert_serves(m, "1", 1);
    let files = "/var/lib/conductor/generations/shop/*/files";
    assert_eq!(m.run(&format!("find {files} ! -type l ! -perm -o=r")), "");
    m.write(
        "/root/fine/function.toml",
        "name = \"fine\"\naliases = [\"fine.localhost\"]\ntls = \"off\"\nfiles = [\"sub\"]\n[exec]\ncommand = [\"./run\"]\n",
    );
    m.write("/root/fine/sub/file", "fine\n");
    m.write_executable("/root/fine/run", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; cat sub/file\n");
    m.run("sed -i '/^:80 {/,/^}/d' /etc/caddy/Caddyfile; systemctl reload caddy");
    m.run("chmod -R go= /root/fine; umask 077; conductor cgi declare /root/fine");
    assert_eq!(m.run("curl --silent --max-time 10 http://fine.localhost/"), "fine\n");
}

fn changeable_declarations_are_told(m: &mut Machine) {
    mallory(m);
    Shop::new(1).declare(m, "1");
    m.run("conductor check");
    let told = |what: &str, path: &str| {
        for command in ["check", "doctor"] {
            let told = m.try_run(&format!("conductor {command} 2>&1"));
            assert!(!told.success() && told.stdout.contains(path), "{what}: {command}: {told}");
        }
    };
    let place = shop::DECLARED;
    m.run(&format!("chmod 666 {place}/service.toml"));
    told("a file that all may write", &format!("{place}/service.toml"));
    m.run(&format!("chmod 644 {place}/service.toml; chown mallory {place}"));
    told("a directory of another user", place);
    m.run(&format!(
        "chown root {place}; mkdir /etc/conductor/services/shop.d; chmod 777 /etc/conductor/services/shop.d"
    ));
    told("drop-ins that all may write", "/etc/conductor/services/shop.d");
    m.run("rmdir /etc/conductor/services/shop.d; conductor check");
    m.run(&format!("cp -r {place} /home/mallory/shop; rm -r {place}; ln -s /home/mallory/shop {place}"));
    told("a link to a user's directory", "/home/mallory");
}

/// Swaps a file and a directory for links to root's, without end: renameat2(2) with RENAME_EXCHANGE.
const SWAP: &str = r#"
import ctypes, os
os.chdir("/home/mallory/evil")
os.mkdir("sub")
open("sub/shadow", "w").write("mine\n")
open("file", "w").write("mine\n")
os.symlink("/etc", "../sub")
os.symlink("/etc/shadow", "../file")
exchange = ctypes.CDLL(None).renameat2
while True:
    for name in [b"sub", b"file"]:
        exchange(-100, name, -100, b"../" + name, 2)
"#;

fn swapped_while_declared(m: &mut Machine) {
    mallory(m);
    m.write("/home/mallory/evil/service.toml", "[exec]\ncommand = [\"sleep\", \"6103\"]\n");
    m.run("chown -R mallory: /home/mallory/evil");
    m.write("/run/swap.py", SWAP);
    let mut swapping = m.spawn("runuser -u mallory -- timeout 20 python3 /run/swap.py");
    let mut tries = 0;
    while swapping.is_running() {
        // Whether it is refused depends on the moment.
        let seen = m.try_run("timeout 250 conductor service declare --no-start /home/mallory/evil 2>&1");
        assert!(!seen.stdout.contains("root:"), "{seen}");
        let stored = m.run("grep --recursive --files-with-matches '^root:' /etc/conductor /var/lib/conductor || true");
        assert_eq!(stored, "");
        tries += 1;
    }
    m.note(format!("{tries} declarations"));
}

/// A power cut after any of a command's steps finds the old or the new declaration, with all its files.
fn declarations_are_synced(m: &mut Machine) {
    let trace = "strace -f -y -qq -o /run/trace -e trace=fsync,syncfs,rename,renameat,renameat2,unlinkat,rmdir";
    Shop::new(1).write(m);
    for version in ["1", "2"] {
        m.run(&format!("{trace} {} --no-start", shop::command(version)));
        let trace = m.read("/run/trace");
        let at = |from: usize, words: &[&str]| {
            let found = trace.lines().skip(from).position(|line| words.iter().all(|word| line.contains(word)));
            from + found.unwrap_or_else(|| panic!("no {words:?} after line {from} of:\n{trace}"))
        };
        let mut moved = Vec::new();
        for (place, name) in [("/var/lib/conductor/generations/shop", "shop/"), ("/etc/conductor/services", "/shop\"")]
        {
            let filled = at(0, &["syncfs(", &format!("<{place}/.conductor-")]);
            let renamed = at(filled, &["rename", &format!("\"{place}/.conductor-"), name]);
            moved.push(at(renamed, &["fsync(", &format!("<{place}>")]));
        }
        assert!(moved[0] < moved[1], "the generation's files are on disk before its declaration:\n{trace}");
    }
    m.run(&format!("{trace} conductor service rm shop"));
    let trace = m.read("/run/trace");
    assert!(trace.lines().any(|line| line.contains("fsync(") && line.contains("</etc/conductor/services>")), "{trace}");
}
