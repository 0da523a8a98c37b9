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
use crate::proxy::driver::Driver;
use crate::proxy::publish;
use crate::proxy::published;

/// The proxy, and whether it gets through to the deployments.
pub(super) fn proxy(context: &Context, host: &Host) -> Vec<Finding> {
    let (manager, driver) = (context.manager, Driver::of_host());
    let (name, title) = (driver.name(), driver.title());
    let routed = host.services.values().any(|compiled| !compiled.service.routes.is_empty());
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
        let remedy = format!("apt-get install {name}; services with [[route]] are not reached without it");
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
    let mut findings = vec![good(format!("{title} runs, with the routes of services"))];
    let uncountable = publish::uncountable(manager);
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
    findings.extend(driver.note(&own).map(|it| note(it.finding, it.remedy)));
    findings.extend(slots(context, driver, pid));
    findings
}

/// Returns whether the proxy's process may connect to what its slots lead to, asked with its own user and groups.
fn slots(context: &Context, driver: Driver, pid: u32) -> Option<Finding> {
    let layout = &context.layout;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
    let first = |name| field(name).split_whitespace().next().unwrap_or("0");
    let groups = field("Groups:").split_whitespace().collect::<Vec<_>>().join(",");
    let held = live::known(layout).into_keys().filter(|name| slot::count(layout, name).is_ok_and(|count| count > 0));
    let paths: Vec<_> = held.flat_map(|name| slot::first(layout, &name)).map(Utf8PathBuf::into_string).collect();
    if paths.is_empty() {
        return None;
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
            format!(
                "systemctl restart {}: it runs without the group {PROXY_GROUP}; else look at `namei -l {path}`",
                driver.name()
            ),
        ),
    })
}

/// Checks that local users cannot reconfigure the proxy through one of the ports at which it listens.
fn administration(driver: Driver, pid: u32) -> Option<Finding> {
    let ports = listener::of_process(pid).ok()?;
    let open = ports.iter().find(|address| {
        route::ask_tcp(**address, &address.to_string(), driver.administration())
            .is_ok_and(|answer| driver.is_administration(&answer))
    });
    Some(match open {
        None => good(format!("only root and its own user administer {}", driver.title())),
        Some(address) => bad(
            format!("every local user can reconfigure {} at {address}", driver.title()),
            driver.administration_remedy(),
        ),
    })
}
