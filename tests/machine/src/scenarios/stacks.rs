//! The commands in docs/how-to of languages and databases, with Debian's packages.

use conductor_machine::machine::Machine;

use super::manual::follow;
use crate::scenario::scenarios;

scenarios!("stacks" with Servers:
    starters_serve_as_they_are,
    python(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/python.md"))),
    node(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/node.md"))),
    ruby(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/ruby.md"))),
    php(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/php.md"))),
    cgi_php(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/cgi-php.md"))),
    ci(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/ci.md"))),
    several_hosts(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/several-hosts.md"))),
    programs(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/programs.md"))),
    java(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/java.md"))),
    static_sites(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/static.md"))),
    postgresql(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/postgresql.md"))),
    mariadb(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/mariadb.md"))),
    dns(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/dns.md"))),
    redis(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/redis.md"))),
);

/// Each starter is declared as `conductor new` writes it, and does what it says.
fn starters_serve_as_they_are(m: &mut Machine) {
    m.run("apt-get install --yes --quiet gunicorn nodejs lighttpd php-cgi; systemctl disable --now lighttpd");
    for (kind, answer) in
        [("python", "wsgi, version 1"), ("node", "node, version 1"), ("php", "php, version 1"), ("static", "<")]
    {
        let said = m.run(&format!("cd /root; conductor new {kind} --{kind}; conductor service declare {kind}"));
        assert!(said.contains(&format!("curl http://{kind}.localhost/")), "{said}");
        let got = m.run(&format!("curl --silent --show-error --fail http://{kind}.localhost/"));
        assert!(got.contains(answer), "{kind}: {got}");
    }
    m.run("cd /root; conductor new worker --worker; conductor service declare worker");
    m.run("for i in $(seq 50); do test -s /var/lib/worker/log && exit; sleep 0.1; done; exit 1");
    m.run("cd /root; conductor new job --job; conductor service declare job");
    let said = m.run("conductor run job report");
    assert!(said.contains("reported 1 times"), "{said}");
    for kind in ["python", "node", "php", "static", "worker", "job"] {
        m.run(&format!("conductor service rm {kind}"));
    }
}
