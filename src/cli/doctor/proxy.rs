//! The reverse proxy: that it runs, has loaded what is published, and reaches the deployments.

mod route;

use camino::Utf8PathBuf;
use fs_err as fs;
use std::process::{Command, Stdio};

use super::finding::{Finding, bad, good, note};
use crate::cli::context::Context;
use crate::compile::host::Host;
use crate::deployment::{listener, slot};
use crate::live;
use crate::names::PROXY_GROUP;
use crate::proxy::chosen::{Chosen, Reason};
use crate::proxy::driver::{Administration, Driver};
use crate::proxy::loaded;
use crate::proxy::publish;
use crate::proxy::published;

/// The proxy, and whether it gets through to the deployments.
pub(super) fn proxy(context: &Context, host: &Host) -> Vec<Finding> {
    let manager = context.manager;
    let Chosen { driver, reason } = Chosen::of_host(&context.layout);
    let routed = host.services.values().any(|compiled| !compiled.service.routes.is_empty());
    let Some(driver) = driver else {
        let remedy = "name one by [proxy] driver in /etc/conductor/conductor.toml";
        let what = "there is no proxy for routes, by [proxy] driver in conductor.toml";
        return vec![if routed { bad(what, remedy) } else { good(what) }];
    };
    let (name, title) = (driver.name(), driver.title());
    let Ok(unit) = manager.show(driver.unit(), &["LoadState", "ActiveState", "MainPID", "DropInPaths"]) else {
        return vec![bad("systemd does not answer", "systemctl status")];
    };
    let get = |key: &str| unit.get(key).map_or("", String::as_str);
    if get("LoadState") == "masked" {
        return vec![bad(
            format!("{} is masked", driver.unit()),
            format!("systemctl unmask {name} && systemctl start {name}"),
        )];
    }
    if get("LoadState") != "loaded" {
        let others = if reason == Reason::Default { ", or nginx or haproxy" } else { "" };
        let remedy = format!("apt-get install {name}{others}; services with [[route]] are not reached without it");
        let what = format!("{title} is not installed");
        return vec![if routed { bad(what, remedy) } else { note(what, remedy) }];
    }
    if !get("DropInPaths").contains("conductor.conf") {
        let remedy = format!("systemctl daemon-reload && systemctl restart {name}");
        return vec![bad(format!("{} lacks the conductor.conf drop-in", driver.unit()), remedy)];
    }
    if get("ActiveState") != "active" {
        let remedy = format!("systemctl start {name}; journalctl -u {name}");
        return vec![bad(format!("{title} is {}", get("ActiveState")), remedy)];
    }
    let mut findings = vec![good(format!("{title} runs, with the routes of services: {}", reason.words()))];
    let uncountable = publish::uncountable(&context.layout, manager);
    findings.extend(uncountable.map(|why| bad(why, format!("take that out of the unit: `systemctl cat {name}`"))));
    let pid = get("MainPID").parse().unwrap_or(0);
    findings.extend(administration(driver, pid));
    if published::is_stale(&context.layout, driver) {
        let remedy = format!("journalctl -u {name} says why; then conductor daemon-reload");
        findings.push(bad(format!("{title} has not loaded the published routes"), remedy));
    } else if !publish::is_published(&context.layout, &host.proxy) {
        findings.push(bad("the declared routes are not published", "conductor daemon-reload"));
    }
    findings.extend(route::check(context, host, driver));
    // What cannot be read is not the driver's to judge.
    let own = fs::read_to_string(context.layout.at(driver.own_configuration())).unwrap_or_default();
    findings.extend(driver.note(&context.layout, &own).map(|it| note(it.finding, it.remedy)));
    findings.extend(slots(context, driver, pid));
    findings
}

/// Returns whether the proxy's process may connect to what its slots lead to, asked with its own user and groups.
fn slots(context: &Context, driver: Driver, pid: u32) -> Option<Finding> {
    let layout = &context.layout;
    // The process that connects: a main process with workers is root.
    let pid = if driver.reloads_in_background() { loaded::workers(pid).into_iter().next()? } else { pid };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
    let first = |name| field(name).split_whitespace().next().unwrap_or("0");
    let groups = field("Groups:").split_whitespace().collect::<Vec<_>>().join(",");
    let held = live::known(layout).into_keys().filter(|name| slot::count(layout, name).is_ok_and(|count| count > 0));
    let paths: Vec<_> = held.flat_map(|name| slot::first(layout, &name)).map(Utf8PathBuf::into_string).collect();
    if paths.is_empty() {
        return None;
    }
    // Below a root of its own it must find them by the same paths.
    if let Some(path) = paths.iter().find(|path| fs::symlink_metadata(format!("/proc/{pid}/root{path}")).is_err()) {
        let remedy = format!("systemctl restart {}; its chroot must be /var/lib/haproxy, or none", driver.name());
        return Some(bad(format!("{} does not see {path}", driver.title()), remedy));
    }
    let refused = paths.iter().find(|path| {
        let mut test = Command::new("setpriv");
        let own = groups.is_empty();
        let groups = if own { "--clear-groups".to_owned() } else { format!("--groups={groups}") };
        test.args([format!("--reuid={}", first("Uid:")), format!("--regid={}", first("Gid:")), groups]);
        test.args(["test", "-w", path]).stdin(Stdio::null()).stderr(Stdio::null());
        !test.status().is_ok_and(|status| status.success())
    });
    Some(match refused {
        None => good(format!("{} may connect to the services' slots", driver.title())),
        Some(path) => bad(
            format!("{} may not connect to {path}", driver.title()),
            match driver.user(layout) {
                None => format!(
                    "systemctl restart {}: it runs without the group {PROXY_GROUP}; else look at `namei -l {path}`",
                    driver.name()
                ),
                Some(user) => format!(
                    "systemctl reload {}: the user {user} is not let in; else look at `getfacl {path}`",
                    driver.name()
                ),
            },
        ),
    })
}

/// Checks that local users cannot reconfigure the proxy through one of the ports at which it listens.
fn administration(driver: Driver, pid: u32) -> Option<Finding> {
    let Administration { path, is_answer, remedy } = driver.administration()?;
    let ports = listener::of_process(pid).ok()?;
    let open = ports
        .iter()
        .find(|address| route::ask_tcp(**address, &address.to_string(), path).is_ok_and(|answer| is_answer(&answer)));
    Some(match open {
        None => good(format!("only root and its own user administer {}", driver.title())),
        Some(address) => bad(format!("every local user can reconfigure {} at {address}", driver.title()), remedy),
    })
}
