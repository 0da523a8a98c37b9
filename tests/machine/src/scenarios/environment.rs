//! The environment of processes, hooks and commands: references, files, directories.

use conductor_machine::machine::Machine;

use super::shop::{self, Engine, Listen, Shop};
use super::written::{ask, write};
use crate::scenario::scenarios;

scenarios!("environment":
    values_refer_to_variables,
    values_reach_containers,
    files_set_variables,
    environment_file_is_missing: "an environment file of a new version is missing"
        => "the old generation serves; the error names the file",
    processes_have_a_home_and_a_directory,
    start_templates_are_rendered,
    start_templates_are_checked,
);

const TCP: &str = "[listen]\ntype = \"tcp\"\n";

/// The environment as `conductor … env --json` prints it.
fn printed(m: &Machine, command: &str) -> serde_json::Value {
    serde_json::from_str(&m.run(&format!("conductor {command} --json"))).expect("JSON")
}

/// The first deployment's name.
fn deployment(m: &Machine, name: &str) -> String {
    m.run(&format!("cd /run/conductor/deployments; ls -d {name}-*-1")).trim().to_owned()
}

fn values_refer_to_variables(m: &mut Machine) {
    let text = format!(
        r#"
config = {{ HERE = "${{CONDUCTOR_SERVICE_DIR}}/x", URL = "http://127.0.0.1:${{PORT}}/?q=\"a b\"&p=50%&c=`$x`" }}
[exec]
command = ["./server.py", "${{BIND}}"]
credentials = {{ key = "/etc/hostname" }}
[exec.environment]
BIND = "127.0.0.1:${{PORT}}"
SECRET = "s3cret:${{PORT}}"
DATABASE = "sqlite:${{STATE_DIRECTORY}}/db"
KEY = "${{CREDENTIALS_DIRECTORY}}/key"
NAME = "${{CONDUCTOR_SERVICE}}.${{CONDUCTOR_GENERATION}}.${{CONDUCTOR_INSTANCE}}"
FORMAT = '${{time}} $remote $$ %d $${{PORT}} ${{PORT:-1}}'
[hooks]
pre_start = ["sh", "-c", "echo $BIND $DATABASE >$STATE_DIRECTORY/hook"]
[commands.say]
exec = ["sh", "-c", "echo $BIND $DATABASE"]
[commands.alone]
exec = ["sh", "-c", "echo $DATABASE"]
scope = "service"
[systemd.service]
StateDirectory = "words"
{TCP}"#
    );
    write(m, "words", &text);
    m.run("conductor service declare /root/words");
    let answer = ask(m, "words");
    let environment = &answer["environment"];
    let port = environment["PORT"].as_str().expect("a port");
    assert_eq!(answer["arguments"], serde_json::json!([format!("127.0.0.1:{port}")]));
    let (_, generation, instance) = {
        let name = environment["CONDUCTOR_DEPLOYMENT"].as_str().expect("a name").to_owned();
        let parts: Vec<_> = name.split('-').map(str::to_owned).collect();
        (parts[0].clone(), parts[1].clone(), parts[2].clone())
    };
    let unit = format!("words-{generation}@{instance}.service");
    for (name, expected) in [
        ("HERE", format!("/var/lib/conductor/generations/words/{generation}/files/x")),
        ("URL", format!("http://127.0.0.1:{port}/?q=\"a b\"&p=50%&c=`$x`")),
        ("SECRET", format!("s3cret:{port}")),
        ("DATABASE", "sqlite:/var/lib/words/db".to_owned()),
        ("KEY", format!("/run/credentials/{unit}/key")),
        ("NAME", format!("words.{generation}.{instance}")),
        ("FORMAT", "${time} $remote $$ %d ${PORT} ${PORT:-1}".to_owned()),
        ("HOME", "/var/lib/words".to_owned()),
    ] {
        assert_eq!(environment[name], expected, "{name}");
        assert_eq!(printed(m, &format!("deployment env {unit}"))[name], expected, "{name} as printed");
    }
    let said = format!("127.0.0.1:{port} sqlite:/var/lib/words/db\n");
    assert_eq!(m.run("cat /var/lib/words/hook"), said);
    assert_eq!(m.run("conductor run words say"), said);
    assert_eq!(m.run("conductor run words alone"), "sqlite:/var/lib/words/db\n");
    assert_eq!(printed(m, "service env words")["DATABASE"], "sqlite:/var/lib/words/db");
    // What the proxy's group reads has no value of the declaration's.
    assert_eq!(m.run("cd /run/conductor; grep -rl s3cret: deployments | xargs stat --format %a"), "600\n");
    // A crash gives it another port: the values follow.
    m.run(&format!("systemctl kill --signal=KILL {unit}"));
    m.run("until curl -sf --unix-socket /run/conductor/slots/words/1 http://x/ >/dev/null; do sleep 0.1; done");
    let after = ask(m, "words")["environment"].clone();
    assert_eq!(after["BIND"], format!("127.0.0.1:{}", after["PORT"].as_str().expect("a port")));
    m.run("conductor service rm words");
    // What no process has is refused, with what to write.
    for (variable, remedy) in [("PORT", "type = \"tcp\""), ("CACHE_DIRECTORY", "[systemd.service]")] {
        write(
            m,
            "words",
            &format!("[exec]\ncommand = [\"./server.py\"]\nenvironment = {{ A = \"${{{variable}}}\" }}\n"),
        );
        let refused = m.try_run("conductor check /root/words 2>&1");
        assert!(refused.status == 3 && refused.stdout.contains(remedy), "{refused}");
        assert!(refused.stdout.contains(&format!("$${{{variable}}}")), "{refused}");
    }
}

fn values_reach_containers(m: &mut Machine) {
    m.write("/etc/credstore/db", "secret-1");
    m.write("/etc/default/shop", "FROM_FILE=\"two words\" # and more\nLEVEL=file\nPORT=1\nCONDUCTOR_INSTANCE=7\n");
    for engine in [Engine::Container(Listen::Tcp), Engine::Pod(Listen::Tcp)] {
        let shop = Shop::new(1).engine(engine);
        shop.write(m);
        let more = "environment_file = [\"/etc/default/shop\", \"-/etc/default/none\"]\ncredentials = { db = \"/etc/credstore/db\" }\n\
                    environment = { LEVEL = \"declared\", BIND = \"[::]:${PORT}\", KEY = \"${CREDENTIALS_DIRECTORY}/db\", \
                    WHO = \"${CONDUCTOR_DEPLOYMENT} $${PORT} ${time}\", ";
        let text = shop.service_toml().replace("environment = {", more);
        m.write(&format!("{}/service.toml", shop::DIR), &text);
        m.run(&shop::command("1"));
        shop::assert_serves(m, "1", 1);
        let name = format!("shop-{}-1", shop::generation(m));
        let container = if engine == Engine::Container(Listen::Tcp) { name.clone() } else { format!("{name}-web") };
        let echo = r#"echo "$BIND|$(cat $KEY)|$WHO|$FROM_FILE|$LEVEL|$PORT|$CONDUCTOR_INSTANCE""#;
        let said = m.run(&format!("podman exec {container} /bin/sh -c '{echo}'"));
        let expected = format!("[::]:8080|secret-1|{name} ${{PORT}} ${{time}}|two words# and more|file|8080|1\n");
        assert_eq!(said, expected, "{engine:?}");
        m.run("conductor service rm shop");
    }
}

fn files_set_variables(m: &mut Machine) {
    let hostile = "PORT=3000\nexport A=1\nCONDUCTOR_SERVICE=other\nCONDUCTOR_DEPLOYMENT_DIR=/\nLEVEL=file\nURL=\"$x `y`\" # kept\n";
    m.write("/etc/default/shop", hostile);
    let declared = "environment_file = [\"/etc/default/shop\", \"-/etc/default/none\", \"./env\"]\n";
    let passed = "[systemd.service]\nEnvironmentFile = [\"/etc/default/shop\", \"-/etc/default/none\"]\n";
    for (exec, more) in [(declared, ""), ("", passed)] {
        for listen in ["", TCP] {
            let bind = if listen.is_empty() { "" } else { "BIND = \"127.0.0.1:${PORT}\", " };
            let text = format!(
                "[exec]\ncommand = [\"./server.py\"]\nenvironment = {{ {bind}LEVEL = \"declared\" }}\n{exec}\
                 [commands.say]\nexec = [\"sh\", \"-c\", \"echo $LEVEL $CONDUCTOR_SERVICE\"]\n\
                 [commands.alone]\nexec = [\"sh\", \"-c\", \"echo $LEVEL $CONDUCTOR_SERVICE\"]\nscope = \"service\"\n{more}{listen}"
            );
            write(m, "files", &text);
            m.write("/root/files/env", "OWN=' of the declaration'\n");
            m.run("conductor service declare /root/files");
            let environment = ask(m, "files")["environment"].clone();
            assert_eq!(environment["LEVEL"], "file", "as systemd has it: {text}");
            assert_eq!(environment["CONDUCTOR_SERVICE"], "files", "{text}");
            assert_ne!(environment["CONDUCTOR_DEPLOYMENT_DIR"], "/", "{text}");
            assert_eq!(environment["URL"], "$x `y`# kept", "{text}");
            if !listen.is_empty() {
                assert_eq!(environment["BIND"], format!("127.0.0.1:{}", environment["PORT"].as_str().expect("a port")));
            }
            let own = if exec.is_empty() { serde_json::Value::Null } else { " of the declaration".into() };
            assert_eq!(environment["OWN"], own, "{text}");
            assert_eq!(
                m.run("conductor run files say; conductor run files alone"),
                "file files\nfile files\n",
                "{text}"
            );
            if !exec.is_empty() {
                let printed = printed(m, &format!("deployment env {}", deployment(m, "files")));
                for name in ["LEVEL", "CONDUCTOR_SERVICE", "URL", "OWN"] {
                    assert_eq!(printed[name], environment[name], "{name}");
                }
            }
            // Another content of a file on the host is another restart, and no other generation.
            m.run("sed -i s/LEVEL=file/LEVEL=new/ /etc/default/shop; conductor daemon-reload");
            assert_eq!(ask(m, "files")["environment"]["LEVEL"], "file", "{text}");
            m.run("conductor service restart files");
            assert_eq!(ask(m, "files")["environment"]["LEVEL"], "new", "{text}");
            m.write("/etc/default/shop", hostile);
            m.run("conductor service rm files");
        }
    }
    // What would keep the process from its socket.
    m.write("/etc/default/shop", "LISTEN_PID=1\nLISTEN_FDS=1\n");
    write(m, "files", &format!("[exec]\ncommand = [\"./server.py\"]\n{declared}"));
    m.write("/root/files/env", "");
    let refused = m.try_run("conductor service declare /root/files 2>&1");
    assert!(refused.status == 1 && refused.stdout.contains("sets LISTEN_FDS"), "{refused}");
}

fn environment_file_is_missing(m: &mut Machine) {
    m.write("/etc/default/shop", "RELEASE=1\n");
    let with = |file: &str| format!("[exec]\ncommand = [\"./server.py\"]\nenvironment_file = [\"{file}\"]\n");
    write(m, "files", &with("/etc/default/shop"));
    m.run("conductor service declare /root/files");
    // A migration would run without its variables.
    let release = "[hooks]\nrelease = [\"sh\", \"-c\", \"echo $RELEASE >$STATE_DIRECTORY/ran\"]\n\
                   [systemd.service]\nStateDirectory = \"files\"\n";
    write(m, "files", &format!("{}{release}", with("/etc/default/shup")));
    let refused = m.try_run("conductor service declare /root/files 2>&1");
    assert!(
        refused.status == 3 && refused.stdout.contains("environment_file[0]: there is no file /etc/default/shup"),
        "{refused}"
    );
    // One that goes later is missing when a new process is to start.
    m.run("mv /etc/default/shop /etc/default/shup");
    let refused = m.try_run("conductor service restart files 2>&1");
    assert!(
        !refused.success() && refused.stdout.contains("environment file /etc/default/shop is missing"),
        "{refused}"
    );
    assert_eq!(ask(m, "files")["environment"]["RELEASE"], "1");
    assert!(!m.try_run("test -e /var/lib/files/ran").success());
    // Without the file what runs still drains and stops in order.
    m.run("conductor service stop files");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn processes_have_a_home_and_a_directory(m: &mut Machine) {
    m.run("mkdir -p /srv/web; chmod 755 /srv/web");
    let write_home = "pre_start = [\"sh\", \"-c\", \"mkdir -p $HOME/.cache && echo x >$HOME/.cache/x\"]\n";
    for (keys, more, home) in [
        ("", "", "/tmp"),
        ("sandbox = \"none\"\n", "", "/tmp"),
        ("", "[systemd.service]\nStateDirectory = \"lived other\"\n", "/var/lib/lived"),
        (
            "environment = { HOME = \"${CACHE_DIRECTORY}/home\" }\n",
            "[systemd.service]\nCacheDirectory = \"lived\"\n",
            "/var/cache/lived/home",
        ),
        ("user = \"games\"\nenvironment = { AT = \"${HOME}/x\" }\nworking_dir = \"/srv/web\"\n", "", "/usr/games"),
    ] {
        let hook = if home == "/usr/games" { "" } else { write_home };
        write(m, "lived", &format!("[exec]\ncommand = [\"./server.py\"]\n{keys}[hooks]\n{hook}{more}"));
        m.run("conductor service declare /root/lived");
        let answer = ask(m, "lived");
        assert_eq!(answer["environment"]["HOME"], home, "{keys}{more}");
        if home == "/usr/games" {
            assert_eq!(answer["environment"]["AT"], "/usr/games/x");
            assert_eq!(answer["directory"], "/srv/web");
        }
        m.run("conductor service rm lived");
    }
    // Below the declaration's files; programs with ./ are found all the same.
    let text = "[exec]\ncommand = [\"./server.py\"]\nworking_dir = \"app\"\n[health]\nexec = [\"./bin/check\"]\n\
                [hooks]\npre_start = [\"./bin/check\"]\n[commands.where]\nexec = [\"pwd\"]\n";
    write(m, "lived", text);
    m.run("mkdir -p /root/lived/app /root/lived/bin; touch /root/lived/app/index");
    m.write_executable("/root/lived/bin/check", "#!/bin/sh\ntest -e index\n");
    m.run("conductor service declare /root/lived");
    let directory = ask(m, "lived")["directory"].as_str().expect("a path").to_owned();
    assert!(
        directory.starts_with("/var/lib/conductor/generations/lived/") && directory.ends_with("/files/app"),
        "{directory}"
    );
    assert_eq!(m.run("conductor run lived where").trim(), directory);
    m.run("conductor service rm lived");
}

/// Listens where the rendered file says.
const CONFIGURED: &str = r#"import json, os, socket
config = json.load(open(os.environ["CONDUCTOR_DEPLOYMENT_DIR"] + "/conf/server.json"))
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", config["port"]))
listener.listen()
while True:
    listener.accept()[0].close()
"#;

/// As a dynamic user, a user of the host and root, confined and not: rendered anew before each start, for the user alone, in a
/// directory that hooks write to and that is gone with the deployment.
fn start_templates_are_rendered(m: &mut Machine) {
    m.run("mkdir -p /root/made/conf");
    m.write("/root/made/server.py", CONFIGURED);
    m.write(
        "/root/made/conf/server.json.j2",
        r#"{"port": {{ PORT }}, "state": "{{ STATE_DIRECTORY }}", "level": "{{ LEVEL }}", "key": "{{ CREDENTIALS_DIRECTORY }}",
"here": "{{ CONDUCTOR_DEPLOYMENT_DIR }}", "bind": "{{ BIND }}"}"#,
    );
    m.write("/root/made/app.toml.j2", "given = \"{{ GIVEN }}\"\nport = {{ PORT }}\n");
    for user in ["", "user = \"www-data\"", "user = \"root\"", "user = \"www-data\"\nsandbox = \"none\""] {
        let text = format!(
            r#"config = {{ LEVEL = "debug" }}
[exec]
command = ["/usr/bin/python3", "server.py"]
start_templates = ["conf/server.json.j2", "app.toml.j2"]
environment = {{ BIND = "127.0.0.1:${{PORT}}" }}
credentials = {{ key = "/etc/hostname" }}
{user}
[hooks]
pre_start = ["sh", "-c", "cp $CONDUCTOR_DEPLOYMENT_DIR/app.toml $CONDUCTOR_DEPLOYMENT_DIR/copy && echo x >>$CONDUCTOR_DEPLOYMENT_DIR/starts"]
[listen]
type = "tcp"
[health]
tcp = true
[systemd.service]
StateDirectory = "made"
"#
        );
        m.write("/root/made/service.toml", &text);
        m.run("conductor service declare /root/made GIVEN='a\"b'");
        let name = deployment(m, "made");
        let own = format!("/run/conductor/deployments/{name}/own");
        let owner = if user.is_empty() { "conductor-made" } else { user.split('"').nth(1).expect("a user") };
        let port = m.run(&format!(
            "grep --only-matching --perl-regexp '^PORT=\\K.*' /run/conductor/deployments/{name}/environment"
        ));
        let rendered = m.read(&format!("{own}/conf/server.json"));
        let port = port.trim().trim_matches('"');
        for expected in [
            format!("\"port\": {port}, \"state\": \"/var/lib/made\", \"level\": \"debug\""),
            format!("\"here\": \"{own}\", \"bind\": \"127.0.0.1:{port}\""),
        ] {
            assert!(rendered.contains(&expected), "{rendered}: {expected}");
        }
        assert_eq!(m.read(&format!("{own}/copy")), format!("given = \"a\\\"b\"\nport = {port}\n"));
        let modes = m.run(&format!("cd {own}; stat --format '%a %u' . conf/server.json copy"));
        let number = m.run(&format!("readlink /run/systemd/dynamic-uid/direct:{owner} || id --user {owner}"));
        let number = number.trim();
        assert!(modes.starts_with(&format!("700 {number}\n600 {number}\n")), "{modes} {number}");
        let unit = m.run("systemctl list-units --plain --no-legend 'made-????????????@1.service' | cut -d ' ' -f 1");
        m.run(&format!("kill -KILL {}", m.prop(unit.trim(), "MainPID")));
        m.until("it is ready again, on another port", std::time::Duration::from_secs(20), || {
            m.prop(unit.trim(), "SubState") == "running"
                && !m.try_run(&format!("cat {own}/conf/server.json")).stdout.contains(&format!("\"port\": {port},"))
        });
        assert_eq!(m.read(&format!("{own}/starts")), "x\nx\n");
        m.run("conductor service rm made");
        assert_eq!(m.run("ls /run/conductor/deployments; find / -xdev -name starts"), "");
    }
}

/// `declare` and `check` tell what can be known then, with its place.
fn start_templates_are_checked(m: &mut Machine) {
    m.run("mkdir -p /root/made");
    let declare = |listed: &str, listen: &str, template: &str| {
        m.write("/root/made/nginx.conf.j2", template);
        let text = format!("[exec]\ncommand = [\"true\"]\n{listed}\n[listen]\ntype = \"{listen}\"\n");
        m.write("/root/made/service.toml", &text);
        m.try_run("conductor service declare /root/made --no-start")
    };
    let listed = "start_templates = [\"nginx.conf.j2\"]";
    for (listed, listen, template, expected) in [
        (
            "",
            "tcp",
            "listen {{ PORT }};\n",
            &["nginx.conf.j2:1:11: ", "PORT", "name the file in exec.start_templates"][..],
        ),
        (listed, "tcp", "a\nlisten {{ PROT }};\n", &["nginx.conf.j2:2:11: the variable PROT is not given"]),
        (listed, "tcp", "listen {{ PORT };\n", &["nginx.conf.j2:1:", "not a valid template"]),
        (listed, "activation", "listen {{ PORT }};\n", &["nginx.conf.j2:1:11: ", "write type = \"tcp\" in [listen]"]),
        (listed, "tcp", "{{ PORT }} {{ STATE_DIRECTORY }}\n", &["nginx.conf.j2:1:15: ", "StateDirectory"]),
        (
            "start_templates = [\"nginx.cnf.j2\"]",
            "tcp",
            "",
            &["service.toml:3:20: ", "put it at /root/made/nginx.cnf.j2"],
        ),
    ] {
        let output = declare(listed, listen, template);
        assert_eq!(output.status, 3, "{output}");
        assert!(expected.iter().all(|text| output.stderr.contains(text)), "{expected:?}: {output}");
        if !listed.contains("cnf") && !listed.is_empty() {
            let output = m.try_run("conductor check /root/made");
            assert!(output.stderr.contains(expected[0]), "{output}");
        }
    }
    assert!(declare(listed, "tcp", "listen {{ PORT | default(80) }}{{ MISSING | default('') }};\n").success());
}
