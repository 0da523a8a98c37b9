//! The machine itself is what the other scenarios take it for. None of these needs the project.

use std::time::Duration;

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;

scenarios!("harness":
    boots_clean,
    run_is_noexec,
    sandbox_directives_work,
    sockets_are_diagnosable,
    disk_outlives_reboot_and_power_cut,
    stops_without_timeouts,
    load_on_a_socket,
    load_through_caddy,
    load_sees_failures,
    application_misbehaves_as_told,
);

fn boots_clean(m: &mut Machine) {
    assert_eq!(m.failed_units(), Vec::<String>::new());
    assert_eq!(m.run("systemctl is-active caddy").trim(), "active");
    m.note(m.run("systemctl --version | head -n 1").trim());
    m.note(m.run("systemd-analyze time | head -n 1").trim());
}

fn run_is_noexec(m: &mut Machine) {
    assert!(m.run("findmnt --noheadings --output OPTIONS /run").contains("noexec"));
    m.write_executable("/run/program", "#!/bin/true\n");
    assert_eq!(m.try_run("/run/program").status, 126);
    m.reboot();
    assert!(m.run("findmnt --noheadings --output OPTIONS /run").contains("noexec"), "after a reboot");
}

const SANDBOX: &[&str] = &[
    "CapabilityBoundingSet=",
    "DevicePolicy=closed",
    "DynamicUser=yes",
    "KeyringMode=private",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "NoNewPrivileges=yes",
    "PrivateDevices=yes",
    "PrivateIPC=yes",
    "PrivateMounts=yes",
    "PrivateNetwork=yes",
    "PrivateTmp=yes",
    "PrivateUsers=yes",
    "ProcSubset=pid",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHome=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RemoveIPC=yes",
    "RestrictAddressFamilies=AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "UMask=0077",
    "StateDirectory=sandboxed",
    "RuntimeDirectory=sandboxed",
    "LoadCredential=secret:/etc/machine-id",
];

fn sandbox_directives_work(m: &mut Machine) {
    let directives: String = SANDBOX.iter().map(|directive| format!("--property='{directive}' ")).collect();
    // Not only accepted: in force.
    let probe = r#"
        test "$(id -u)" -ge 61184
        test -s "$CREDENTIALS_DIRECTORY/secret"
        echo x >"$STATE_DIRECTORY/file"
        ! echo x 2>/dev/null >/etc/file
        ! test -e /proc/meminfo
        ! test -e /proc/1
        ! test -e /dev/kmsg
        ! unshare --user true 2>/dev/null
        test "$(ls /sys/class/net)" = lo
        grep -q "^CapBnd:.0*$" /proc/self/status
        echo sandboxed"#;
    m.write_executable("/usr/local/bin/probe", &format!("#!/bin/sh -e{probe}\n"));
    let output = m.run(&format!("systemd-run --quiet --wait --pipe {directives} /usr/local/bin/probe"));
    assert_eq!(output, "sandboxed\n");
}

fn sockets_are_diagnosable(m: &mut Machine) {
    assert!(m.run("ss --unix --listening --no-header").contains("/run/systemd/private"));
}

fn disk_outlives_reboot_and_power_cut(m: &mut Machine) {
    let first =
        m.run("cat /proc/sys/kernel/random/boot_id /etc/machine-id; echo kept >/var/lib/kept; echo lost >/run/lost");
    m.reboot();
    m.kill_power();
    m.power_on();
    assert_eq!(m.read("/var/lib/kept"), "kept\n");
    assert!(!m.try_run("test -e /run/lost").success());
    assert_eq!(m.run("journalctl --field=_BOOT_ID | wc -l").trim(), "3");
    assert!(first.ends_with(&m.read("/etc/machine-id")), "the machine is the same one");
}

fn stops_without_timeouts(m: &mut Machine) {
    let took = m.poweroff(Duration::from_secs(5));
    m.note(format!("off in {took:.1?}"));
}

/// A socket and its service without the project: what a deployment is, at its simplest.
fn application(m: &Machine, options: &str) {
    m.copy_app("/usr/local/bin/app");
    m.write(
        "/etc/systemd/system/app.socket",
        "[Socket]\nListenStream=/run/app.sock\nSocketGroup=caddy\nSocketMode=0660\nBacklog=4096\n",
    );
    let service = format!("[Service]\nExecStart=/usr/local/bin/app {options}\nDynamicUser=yes\nRestart=always\n");
    m.write("/etc/systemd/system/app.service", &service);
    // A socket cannot be started while its service runs.
    m.run("systemctl daemon-reload; systemctl stop app.socket app.service; systemctl start app.socket app.service");
}

fn caddy(m: &Machine) {
    let upstream = "reverse_proxy unix//run/app.sock {\n\t\ttransport http {\n\t\t\tkeepalive off\n\t\t}\n\t}";
    m.write("/etc/caddy/Caddyfile", &format!("http://app.localhost {{\n\t{upstream}\n}}\n"));
    m.run("systemctl restart caddy");
}

fn load_on_a_socket(m: &mut Machine) {
    application(m, "--version 7");
    let seen = m.load(Load { connect: "/run/app.sock".into(), requests: 50_000, ..Load::default() }).wait();
    assert_eq!((seen.ok, seen.failed), (50_000, 0), "{seen}");
    assert_eq!(seen.versions.keys().collect::<Vec<_>>(), ["7"]);
    m.note(seen);
}

fn load_through_caddy(m: &mut Machine) {
    application(m, "--version 7");
    caddy(m);
    let load = m.load(Load { host: "app.localhost".into(), ..Load::default() });
    std::thread::sleep(Duration::from_secs(2));
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(seen);
}

/// A process that is killed with requests in flight loses some, and the load says so.
fn load_sees_failures(m: &mut Machine) {
    application(m, "--version 7");
    caddy(m);
    let load = m.load(Load { host: "app.localhost".into(), path: "/slow?ms=20".into(), ..Load::default() });
    m.run("systemctl kill --signal=KILL app.service");
    m.until("a second process", Duration::from_secs(60), || m.prop("app.service", "NRestarts") == "1");
    std::thread::sleep(Duration::from_millis(500));
    let seen = load.stop();
    assert!(seen.failed > 0 && seen.failed <= 32, "{seen}");
    assert_eq!(seen.kinds.keys().collect::<Vec<_>>(), ["status 502"], "{seen}");
    m.note(format!("{} of {} requests failed", seen.failed, seen.requests()));
}

fn application_misbehaves_as_told(m: &mut Machine) {
    let get = "curl --silent --max-time 2 --unix-socket /run/app.sock --write-out '%{http_code}' http://app";
    application(m, "--version 7 --unhealthy");
    assert_eq!(m.run(&format!("{get}/healthz")), "out of order\n500");
    assert!(m.run(&format!("{get}/")).starts_with("7 "));
    application(m, "--hang-health");
    assert_eq!(m.try_run(&format!("{get}/healthz")).status, 28, "curl's timeout");
    application(m, "--stop-delay 1s");
    let stop = "start=$(date +%s%3N); systemctl stop app.service; echo $(($(date +%s%3N) - start))";
    m.run(&format!("{get}/")); // it catches SIGTERM only once it is up
    let took: u32 = m.run(stop).trim().parse().expect("milliseconds");
    assert!((1000..3000).contains(&took), "stopped in {took} ms");
    application(m, "--single --accept-delay 3ms");
    let seen = m.load(Load { connect: "/run/app.sock".into(), requests: 300, ..Load::default() }).wait();
    assert_eq!(seen.failed, 0, "{seen}");
    assert!(seen.per_second() < 334, "3 ms between two accepts: {seen}");
    m.run("systemctl stop app.socket app.service");
    application_exits(m);
}

fn application_exits(m: &Machine) {
    let failed = m.try_run("systemd-run --quiet --wait --collect --unit=exits /usr/local/bin/app --exit-at-start 3");
    assert_eq!(failed.status, 3, "{failed}");
    assert!(m.run("journalctl --unit=exits --output=cat").contains("told to exit with 3"));
    m.run(
        "systemd-run --quiet --unit=writes --property=StateDirectory=app --property=DynamicUser=yes \
           --socket-property=ListenStream=/run/writes.sock /usr/local/bin/app --write lines",
    );
    m.run("systemctl start writes.service");
    let lines = || m.try_run("cat /var/lib/app/lines").stdout.lines().count();
    m.until("some lines", Duration::from_secs(5), || lines() > 3);
}
