//! Functions that cannot start: what is refused before, and what callers get when it is too late.

use std::time::Duration;

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{ACT, EXEC, declare, get, ready, try_declare};

scenarios!("functions":
    refused_starts,
    lost_starts: "the user, the credential, the program or the interpreter of a function goes away after it was declared"
        => "each caller gets 502 at once, the function is not started again and again, and serves when it is back",
);

/// The answers of a function that cannot start: the gateway's, or the proxy's while its socket is made anew.
const REFUSED: &[u32] = &[502, 503];

fn refused_starts(m: &mut Machine) {
    ready(m);
    for (name, manifest, told) in [
        ("user", "[exec]\ncommand = [\"./act\"]\nuser = \"nobody-here\"\n", "there is no user nobody-here"),
        ("program", "[exec]\ncommand = [\"/usr/bin/no-such\"]\n", "there is no program /usr/bin/no-such"),
        ("name", "[exec]\ncommand = [\"no-such\"]\n", "there is no program no-such"),
        ("home", "[exec]\ncommand = [\"/root/functions/home/act\"]\n", "ProtectHome=yes of the sandbox hides"),
        (
            "secret",
            "[exec]\ncommand = [\"./act\"]\ncredentials = { key = \"/etc/no-key\" }\n",
            "there is no file /etc/no-key",
        ),
        ("group", "groups = [\"nobodies\"]\n[exec]\ncommand = [\"./act\"]\n", "there is no group nobodies"),
        ("path", "read_write = [\"/srv/no-such\"]\n[exec]\ncommand = [\"./act\"]\n", "there is no /srv/no-such"),
        ("tree", "directory = \"/srv/no-such\"\n[exec]\n", "there is no directory /srv/no-such"),
        ("php", "directory = \"/srv\"\ninterpreter = { php = [\"no-php\"] }\n[exec]\n", "there is no program no-php"),
    ] {
        let refused = try_declare(m, name, ACT, manifest);
        assert!(refused.status == 3 && refused.stderr.contains(told) && refused.stderr.contains("help: "), "{refused}");
        let checked = m.try_run(&format!("conductor check /root/functions/{name}"));
        assert!(checked.status == 3 && checked.stderr.contains(told), "{checked}");
    }
    let refused = try_declare(m, "script", "#!/usr/bin/no-perl\n", EXEC);
    assert!(refused.status == 3 && refused.stderr.contains("there is no program /usr/bin/no-perl"), "{refused}");
    assert_eq!(m.run("conductor cgi list"), "no function is declared; `conductor cgi declare MANIFEST` declares one\n");
}

fn lost_starts(m: &mut Machine) {
    ready(m);
    m.run("useradd --system runner; echo secret >/etc/key; mkdir /srv/written");
    m.write_executable("/srv/act", ACT);
    let user = declare(m, "user", ACT, "[exec]\ncommand = [\"./act\"]\nuser = \"runner\"\n");
    let secret = declare(m, "secret", ACT, "[exec]\ncommand = [\"./act\"]\ncredentials = { key = \"/etc/key\" }\n");
    let path = declare(
        m,
        "path",
        ACT,
        "mode = \"isolated\"\nread_write = [\"/srv/written\"]\n[exec]\ncommand = [\"./act\"]\n",
    );
    let program = declare(m, "program", ACT, "[exec]\ncommand = [\"/srv/act\"]\n");
    let other = declare(m, "other", ACT, EXEC);
    let ids = [&user, &secret, &path, &program];
    for id in ids {
        assert_eq!(get(m, &format!("/cgi/{id}/x")), (200, "here /x\n".into()));
        m.run(&format!("systemctl stop conductor-cgi-{id}.service 'conductor-cgi-{id}-request*.service'"));
    }
    m.run("userdel runner; mv /etc/key /etc/gone; mv /srv/written /srv/gone; mv /srv/act /srv/gone-act");
    for id in ids {
        assert_refused(m, id);
        assert_eq!(get(m, &format!("/cgi/{other}/x")).0, 200);
    }
    let states = m.run("conductor cgi list");
    for name in ["user", "secret"] {
        assert!(
            states.lines().any(|line| line.contains(&format!(" {name} ")) && line.contains(" failing")),
            "{states}"
        );
    }
    let status = m.run("conductor status");
    assert!(status.contains(&format!("conductor cgi logs {}", &user[..12])), "{status}");
    let checked = m.try_run("conductor check");
    for told in [
        "there is no user runner",
        "there is no file /etc/key",
        "there is no /srv/written",
        "there is no program /srv/act",
    ] {
        assert!(checked.status == 3 && checked.stderr.contains(told), "{told}: {checked}");
    }

    m.run("useradd --system runner; mv /etc/gone /etc/key; mv /srv/gone /srv/written; mv /srv/gone-act /srv/act");
    for id in ids {
        m.until("it serves again", Duration::from_secs(60), || get(m, &format!("/cgi/{id}/x")).0 == 200);
    }
    let states = m.run("conductor cgi list");
    assert!(!states.contains("failing"), "{states}");
    m.until("nothing fails", Duration::from_secs(10), || m.failed_units().is_empty());
    // What rests is removed as anything else.
    m.run("systemctl stop 'conductor-cgi-*.service'; userdel runner");
    assert_refused(m, &user);
    m.run(&format!("conductor cgi rm {user}"));
    assert_eq!(get(m, &format!("/cgi/{user}/x")).0, 404);
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

/// A hundred calls are answered, and start the function a few times only.
fn assert_refused(m: &Machine, id: &str) {
    let began = m.run("date +%s").trim().to_owned();
    let statuses = m.run(&format!(
        "for i in $(seq 100); do curl --silent --max-time 20 --output /dev/null --write-out '%{{http_code}}\\n' http://localhost/cgi/{id}/x || true; done"
    ));
    let statuses: Vec<u32> = statuses.lines().map(|line| line.parse().expect("a status")).collect();
    assert!(statuses.len() == 100 && statuses.iter().all(|status| REFUSED.contains(status)), "{id}: {statuses:?}");
    assert!(statuses.contains(&502), "{statuses:?}");
    let seconds: usize = m.run(&format!("echo $(($(date +%s) - {began}))")).trim().parse().expect("a number");
    let failed = m.run(&format!(
        "journalctl --sync; journalctl _PID=1 UNIT=conductor-cgi-{id}.service --since=@{began} --output=cat | grep -c 'Failed with result' || true"
    ));
    let failed: usize = failed.trim().parse().expect("a number");
    // Ten starts, then none for ten seconds.
    assert!(failed <= 11 * (seconds / 10 + 2), "{failed} starts in {seconds} s");
    m.note(format!("{failed} starts in {seconds} s"));
}
