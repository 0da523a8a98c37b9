//! Functions behind a login of the proxy's, and without an address.

use std::time::Duration;

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{EXEC, curl, declare, direct, get, ready};

scenarios!("functions":
    logins: "callers name a user themselves, and call by the ID" => "they are refused; only the proxy's own login names one",
);

const WHO: &str = r#"#!/bin/sh
printf 'Content-Type: text/plain\n\n'
echo "user=$REMOTE_USER type=$AUTH_TYPE"
env | grep -c '^HTTP_CONDUCTOR' || true
"#;

/// A site of the administrator's own, which asks who it is.
const SITE: &str = "http://login.localhost {
	basicauth {
		admin HASH
	}
	reverse_proxy unix//etc/conductor/aliases/+admin {
		header_up Conductor-Remote-User {http.auth.user.id}
	}
}
";

const FORGED: &str = "--header 'Conductor-Remote-User: root' --header 'Conductor-Auth-Type: Basic'";

fn logins(m: &mut Machine) {
    ready(m);
    let exec = EXEC.replace("./act", "./who");
    let manifest = format!("aliases = [\"/admin\"]\naddress = false\nremote_user = \"required\"\n{exec}");
    let id = declare(m, "admin", WHO, &manifest);
    let anyone = declare(m, "anyone", WHO, &format!("aliases = [\"/anyone\"]\nremote_user = \"optional\"\n{exec}"));
    let plain = declare(m, "plain", WHO, &format!("aliases = [\"/plain\"]\n{exec}"));
    for path in [format!("/cgi/{id}"), format!("/cgi/{id}/x"), format!("//cgi/{id}"), format!("/admin/../cgi/{id}/x")] {
        let (status, body) = curl(m, &path, "--path-as-is");
        assert!(matches!(status, 403 | 404) && !body.contains("user="), "{path}: {status} {body}");
    }
    assert_eq!(get(m, "/admin").0, 403);
    assert_eq!(get(m, "/anyone"), (200, "user= type=\n0\n".into()));
    for path in ["/admin", "/anyone", "/plain", &format!("/cgi/{anyone}"), &format!("/cgi/{plain}")] {
        let (status, body) = curl(m, path, FORGED);
        assert!(status == 403 && !body.contains("user="), "{path}: {status} {body}");
    }
    assert_eq!(direct(m, &plain, "/plain", FORGED).0, 403, "a function that takes no user");

    let hash = m.run("caddy hash-password --plaintext secret");
    m.write("/etc/caddy/Caddyfile", &format!("{{\n}}\n{}", SITE.replace("HASH", hash.trim())));
    m.run("systemctl reload caddy");
    let login = |options: &str| curl(m, "/admin/x", &format!("--header 'Host: login.localhost' {options}"));
    m.until("the site is there", Duration::from_secs(10), || login("").0 == 401);
    assert_eq!(login("--user admin:wrong").0, 401);
    let named = (200, "user=admin type=Basic\n0\n".to_owned());
    assert_eq!(login("--user admin:secret"), named);
    assert_eq!(login(&format!("--user admin:secret {FORGED}")), named, "the proxy's word counts");

    // Host-wide: no function has an address, and aliases stay.
    assert_eq!(get(m, &format!("/cgi/{plain}")).0, 200);
    m.write("/etc/conductor/conductor.toml", "[functions]\naddress = false\n");
    m.run("conductor daemon-reload");
    m.until("the address is gone", Duration::from_secs(10), || get(m, &format!("/cgi/{plain}")).0 == 404);
    assert_eq!(get(m, "/plain").0, 200);
    m.run("rm /etc/conductor/conductor.toml; conductor daemon-reload");
    m.until("the address is back", Duration::from_secs(10), || get(m, &format!("/cgi/{plain}")).0 == 200);
    assert_eq!(m.failed_units(), Vec::<String>::new());
}
