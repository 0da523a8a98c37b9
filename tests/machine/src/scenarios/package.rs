//! Debian's package, as dpkg handles it: used, upgraded while services run, removed, purged.

use conductor_machine::machine::{Machine, PACKAGE};

use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("package":
    upgraded_while_services_run: "the package is upgraded by dpkg while deployments serve"
        => "nothing restarts, no request fails, and the next rollout is the new version's",
    removed_and_purged,
    installs_where_caddy_comes_later,
    completed_in_a_shell,
);

/// The package as its next version.
fn next_version(m: &Machine) -> &'static str {
    m.run(&format!(
        "cd /root && dpkg-deb --raw-extract {PACKAGE} next &&
        sed -i 's/^Version: .*/Version: 0.1.0-2/' next/DEBIAN/control && dpkg-deb --build next next.deb"
    ));
    "/root/next.deb"
}

fn upgraded_while_services_run(m: &mut Machine) {
    let shop = Shop::new(3);
    shop.declare(m, "1");
    let next = next_version(m);
    let (generation, pids) = (shop::generation(m), m.run("pgrep --exact app"));
    let load = m.load(shop::load());
    m.run(&format!("dpkg --install {next}"));
    assert_eq!(m.run("dpkg-query --show --showformat '${Version} ${db:Status-Status}' conductor"), "0.1.0-2 installed");
    assert_eq!((shop::generation(m), m.run("pgrep --exact app")), (generation, pids));
    shop.declare(m, "2");
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert_eq!(seen.versions.len(), 2, "{:?}", seen.versions);
    shop::assert_serves(m, "2", 3);
    m.note(seen.to_string());
}

fn removed_and_purged(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let slow = m.spawn("curl --silent --fail --max-time 10 'http://shop.localhost/?ms=1500'");
    m.run("sleep 0.5; apt-get remove --yes --quiet conductor");
    let answer = slow.wait();
    assert!(answer.success(), "what was in flight is answered: {answer}");
    assert_eq!(m.run("pgrep --exact app || true"), "");
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend 'shop*' 'conductor*'"), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
    assert_eq!(m.prop("caddy.service", "ActiveState"), "active");
    assert!(m.run("systemctl cat caddy").contains("--config /etc/caddy/Caddyfile"), "Debian's own unit again");
    assert!(m.read(&format!("{}/service.toml", shop::DECLARED)).contains("Shop 1"), "declarations stay");

    // Installed again, what was declared is there again.
    m.run(&format!("apt-get install --yes --quiet {PACKAGE}; conductor daemon-reload"));
    shop::assert_serves(m, "1", 2);

    m.run("apt-get purge --yes --quiet conductor");
    assert_eq!(m.run("pgrep --exact app || true"), "");
    let left =
        "find / -xdev -name '*conductor*' ! -path '/proc/*' ! -path '/var/log/*' ! -path '/var/cache/conductor.deb'";
    assert_eq!(m.run(left), "");
    assert_eq!(m.run("find /run -name '*conductor*' -o -name 'shop*'"), "");
    assert_eq!(m.run("grep conductor /etc/passwd /etc/group /etc/shadow || true"), "");
    assert_eq!(m.run("dpkg-query --list 'conductor*' 2>/dev/null | grep '^[a-z]' || true"), "");
    assert_eq!(m.prop("caddy.service", "ActiveState"), "active");
}

/// Names that a shell offers behind the cursor, by the file that it loads.
fn completed_in_a_shell(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    let offered = |words: &str| {
        let word = words.rsplit(' ').next().unwrap_or_default();
        let script = format!(
            "bash -c '. /usr/share/bash-completion/completions/conductor
            COMP_WORDS=({words}) COMP_CWORD=$(( $(echo {words} | wc -w) - 1 )) COMP_TYPE=9
            _clap_complete_conductor conductor {word} x; echo ${{COMPREPLY[@]}}'"
        );
        m.run(&script).trim().to_owned()
    };
    assert_eq!(offered("conductor service sta"), "status start");
    assert_eq!(offered("conductor service status sh"), "shop");
    let generation = shop::generation(m);
    assert_eq!(offered(&format!("conductor service rollback shop {}", &generation[..4])), generation);
    assert_eq!(offered("conductor deployment show sho"), format!("shop-{generation}@1.service"));
    m.run("sed -i '/^:80 {/,/^}/d' /etc/caddy/Caddyfile; cd /root; conductor new greet --cgi; sed -i '/^aliases/d' greet/function.toml; conductor cgi declare greet");
    let id = m.run("conductor cgi identify /root/greet").trim().to_owned();
    assert_eq!(offered(&format!("conductor cgi rm {}", &id[..4])), id);
    for page in [
        "1 conductor-service",
        "5 function.toml",
        "5 conductor.toml",
        "5 service.toml",
        "7 conductor",
        "8 conductor-generator",
    ] {
        let file =
            page.split_once(' ').map(|(section, name)| format!("/usr/share/man/man{section}/{name}.{section}.gz"));
        m.run(&format!("zcat {} | grep --quiet '^.SH DESCRIPTION'", file.expect("a section and a name")));
    }
}

fn installs_where_caddy_comes_later(m: &mut Machine) {
    // As on a machine that has no Caddy yet: its unit is not there when the package is installed.
    m.run("apt-get purge --yes --quiet conductor; systemctl stop caddy; mv /usr/bin/caddy /root/");
    m.run("unit=$(systemctl show caddy --property=FragmentPath --value); cp $unit /root/caddy.service; rm $unit; systemctl daemon-reload");
    m.run(&format!("apt-get install --yes --quiet {PACKAGE}"));
    assert_eq!(m.failed_units(), Vec::<String>::new());
    m.run("mv /root/caddy /usr/bin/; cp /root/caddy.service /usr/lib/systemd/system/; systemctl daemon-reload; systemctl start caddy");
    Shop::new(1).declare(m, "1");
    shop::assert_serves(m, "1", 1);
}
