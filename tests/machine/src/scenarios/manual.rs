//! The commands in docs/: each block, in its order.

use conductor_machine::image::{self, IMAGE};
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;

scenarios!("manual":
    tutorial(|m: &mut Machine| follow(m, include_str!("../../../../docs/tutorial.md"))),
    from_a_unit_file(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/from-a-unit-file.md"))),
    from_caddy(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/from-caddy.md"))),
    from_quadlet(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/from-quadlet.md"))),
    from_compose(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/from-compose.md"))),
    import(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/import.md"))),
    secrets(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/secrets.md"))),
    databases(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/databases.md"))),
    canary(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/canary.md"))),
    workers(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/workers.md"))),
    jobs(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/jobs.md"))),
    cgi(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/cgi.md"))),
    cgi_directories(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/cgi-directories.md"))),
    from_apache_cgi(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/from-apache-cgi.md"))),
    from_fcgiwrap(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/from-fcgiwrap.md"))),
    cgi_login(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/cgi-login.md"))),
    environment_files(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/environment-files.md"))),
    private_images(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/private-images.md"))),
    backups(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/backups.md"))),
    alerts(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/alerts.md"))),
    logs(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/logs.md"))),
    metrics(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/metrics.md"))),
    https(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/https.md"))),
    migrations(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/migrations.md"))),
    from_kamal(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/from-kamal.md"))),
    templates(|m: &mut Machine| follow(m, include_str!("../../../../docs/templates.md"))),
    conductor_toml(|m: &mut Machine| follow(m, include_str!("../../../../docs/conductor-toml.md"))),
    readme,
);

/// Commands of the README that build, or install what is installed: this suite and `make demo` are what they do.
const ELSEWHERE: &[&str] = &["make", "apt", "systemd-sysusers"];

/// Its indented lines, in order; its first declaration is what `conductor new` writes.
fn readme(m: &mut Machine) {
    let page = include_str!("../../../../README.md");
    let mut commands = 0;
    let mut is_code = false;
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        let Some(command) = line.strip_prefix("    ").filter(|_| !is_code) else { continue };
        if ELSEWHERE.iter().any(|elsewhere| command.starts_with(elsewhere)) {
            continue;
        }
        m.run(&format!("cd /root; SYSTEMD_PAGER= {command}"));
        commands += 1;
    }
    assert!(commands >= 12, "{commands} commands");
    m.note(format!("{commands} commands"));
}

/// Writes the files of a page and runs its commands, in /root. Other blocks are only to be looked at.
pub(super) fn follow(m: &Machine, page: &str) {
    if page.contains(IMAGE) {
        image::make(m, IMAGE, "1");
    }
    let mut commands = 0;
    for (language, text) in blocks(page) {
        if !write_file(m, text) && language == "sh" {
            m.run(&format!("cd /root; set -e\n{text}"));
            commands += text.lines().count();
        }
    }
    assert!(commands > 0, "a page without commands");
    m.note(format!("{commands} lines of commands"));
}

/// Writes a file that a block shows; returns false if it shows none.
fn write_file(m: &Machine, block: &str) -> bool {
    let Some((path, content)) = block.strip_prefix("# file: ").and_then(|rest| rest.split_once('\n')) else {
        return false;
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/root/{path}") };
    m.install(&path, if content.starts_with("#!") { "755" } else { "644" }, content.as_bytes());
    true
}

/// Writes the files that a page shows, and runs none of its commands.
pub(super) fn write_files(m: &Machine, page: &str) {
    for (_, text) in blocks(page) {
        write_file(m, text);
    }
}

/// Fenced blocks: the language, and the text.
pub(super) fn blocks(page: &str) -> Vec<(&str, &str)> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}
