//! Drivers: how each reverse proxy takes the routing table.
//!
//! A driver refuses what it cannot express, renders a table to files, names the command that validates a candidate,
//! explains the proxy's words, and gives `conductor doctor` what is particular to it.

use camino::{Utf8Path, Utf8PathBuf};

use super::routing::{FunctionRoute, RoutingTable};
use super::verdict::{Note, Refusal};
use super::{caddy, haproxy, nginx, snippet};
use crate::layout::{LIBRARY, Layout};
use crate::model::route::Route;

/// A reverse proxy that Conductor configures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    Caddy,
    Nginx,
    Haproxy,
}

/// A command that validates a candidate configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Validation {
    pub(crate) program: &'static str,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Whether the candidate is in the place of what is published while the command runs, as root in a unit of its own.
    /// Else it runs as the proxy's own user.
    pub(crate) is_in_place: bool,
}

/// The administration of a proxy over HTTP.
#[derive(Debug)]
pub(crate) struct Administration {
    /// A path that only it answers.
    pub(crate) path: &'static str,
    /// Returns whether an answer is its own.
    pub(crate) is_answer: fn(&str) -> bool,
    /// What to do if every local user can reach it.
    pub(crate) remedy: &'static str,
}

impl Driver {
    /// All drivers, in the order in which one that is installed is chosen.
    pub(crate) const ALL: [Self; 3] = [Self::Caddy, Self::Nginx, Self::Haproxy];

    /// Returns the driver's name: in conductor.toml, and of its directory below `proxy/`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caddy => "caddy",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Returns the proxy's name, for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Caddy => "Caddy",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
        }
    }

    /// Returns the unit of Debian's package.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Caddy => "caddy.service",
            Self::Nginx => "nginx.service",
            Self::Haproxy => "haproxy.service",
        }
    }

    /// Returns the key of a route that the proxy cannot express, and why; None if it can express all.
    pub(crate) fn unsupported(self, route: &Route) -> Option<(&'static str, String)> {
        match self {
            Self::Caddy => snippet::mistake(route, "caddy"),
            Self::Nginx => nginx::unsupported(route),
            Self::Haproxy => haproxy::unsupported(route),
        }
    }

    /// Returns why the proxy cannot serve an address of a function, and what to write; None if it can. On the site of a
    /// service that one has the certificate.
    pub(crate) fn refuses(self, route: &FunctionRoute, is_on_site: bool) -> Option<(String, &'static str)> {
        let has_files = route.has_files() && self == Self::Haproxy;
        if self != Self::Caddy && route.is_automatic() && !is_on_site {
            let remedy = "write tls = \"off\" in function.toml, or use Caddy";
            return Some((format!("{} gets no certificates", self.title()), remedy));
        }
        let remedy = "take `static` out of function.toml, or use another proxy";
        has_files.then(|| (format!("{} serves no files", self.title()), remedy))
    }

    /// Returns whether connections that the proxy keeps to deployments end only when it loads its configuration again. The
    /// others use one for a while, or for so many requests.
    #[cfg(feature = "cli")]
    pub(crate) fn retires_by_reload(self) -> bool {
        self == Self::Caddy
    }

    /// Renders a table to files, by their paths below the driver's directory.
    pub(crate) fn render(self, layout: &Layout, table: &RoutingTable) -> Vec<(Utf8PathBuf, Vec<u8>)> {
        match self {
            Self::Caddy => caddy::render(table),
            Self::Nginx => nginx::render(layout, table),
            Self::Haproxy => haproxy::render(layout, table),
        }
    }

    /// Returns why the files of a candidate cannot be served beside the administrator's own configuration, which the
    /// proxy's checker does not tell.
    pub(crate) fn conflict<'a>(self, layout: &Layout, texts: impl Iterator<Item = &'a str>) -> Option<Refusal> {
        match self {
            Self::Caddy => None,
            Self::Nginx => nginx::conflict(layout, texts),
            Self::Haproxy => haproxy::conflict(layout, texts),
        }
    }

    /// Returns the variable that the proxy's commands have in their environment, by the administrator's own configuration
    /// and the published texts.
    pub(crate) fn environment<'a>(
        self,
        own: &str,
        texts: impl Iterator<Item = &'a str>,
    ) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Caddy => caddy::environment(own, texts),
            Self::Nginx | Self::Haproxy => None,
        }
    }

    /// Returns the command that validates the files in `candidate` together with the administrator's own.
    pub(crate) fn validation(self, candidate: &Utf8Path) -> Validation {
        let in_place = |program, arguments: &[&str]| Validation {
            program,
            arguments: arguments.iter().copied().map(str::to_owned).collect(),
            environment: Vec::new(),
            is_in_place: true,
        };
        match self {
            // `adapt` rather than `validate`: that one would also open log files and make certificates.
            Self::Caddy => Validation {
                program: "caddy",
                arguments: ["adapt", "--adapter", "caddyfile", "--config"]
                    .map(str::to_owned)
                    .into_iter()
                    .chain([format!("{LIBRARY}/Caddyfile")])
                    .collect(),
                environment: vec![("CONDUCTOR_PROXY_DIR", candidate.to_string())],
                is_in_place: false,
            },
            Self::Nginx => in_place("/usr/sbin/nginx", &["-t"]),
            Self::Haproxy => {
                let files = ["/etc/haproxy/haproxy.cfg", "/run/conductor/proxy/haproxy", "/run/conductor/proxy/users"];
                let arguments = ["-Ws", "-c", "-q"].into_iter().chain(files.into_iter().flat_map(|file| ["-f", file]));
                in_place("/usr/sbin/haproxy", &arguments.collect::<Vec<_>>())
            }
        }
    }

    /// Returns what the checker warns of in a candidate that it takes, if the routes are not served so.
    pub(crate) fn warning(self, output: &str) -> Option<Refusal> {
        match self {
            Self::Caddy | Self::Haproxy => None,
            Self::Nginx => nginx::warning(output),
        }
    }

    /// Explains what the checker printed of a candidate that it refused, or what the proxy logged.
    pub(crate) fn explain(self, output: &str) -> Refusal {
        let (is_noise, help): (fn(&str) -> bool, _) = match self {
            // Caddy's log is JSON, a line each.
            Self::Caddy => (|line| line.trim_start().starts_with('{'), caddy::explain(output)),
            Self::Nginx => (|line| line.contains(" test failed"), nginx::explain(output)),
            Self::Haproxy => (|line| line.starts_with("[NOTICE]"), haproxy::explain(output)),
        };
        let lines: Vec<_> = output.lines().filter(|line| !is_noise(line)).collect();
        Refusal { words: lines.join("\n"), help }
    }

    /// Returns the file in which the proxy logs why it has not reloaded; None: its unit's journal.
    pub(crate) fn log(self) -> Option<&'static Utf8Path> {
        match self {
            Self::Caddy | Self::Haproxy => None,
            Self::Nginx => Some(Utf8Path::new("/var/log/nginx/error.log")),
        }
    }

    /// Returns the user as whom the proxy connects, if its unit does not give it the group of the sockets.
    pub(crate) fn user(self, layout: &Layout) -> Option<String> {
        match self {
            Self::Caddy => None,
            Self::Nginx => Some(nginx::user(layout)),
            Self::Haproxy => haproxy::user(layout),
        }
    }

    /// Returns the files of the administrator's own configuration.
    pub(crate) fn own_configuration(self) -> &'static Utf8Path {
        Utf8Path::new(match self {
            Self::Caddy => "/etc/caddy/Caddyfile",
            Self::Nginx => "/etc/nginx/nginx.conf",
            Self::Haproxy => haproxy::OWN,
        })
    }

    /// Returns the name of a file in a directory that the proxy includes before all else, with options that let nobody
    /// else administer the proxy. There are none if the administrator's own configuration may have options, beside which
    /// there can be no others.
    pub(crate) fn options(self, own: &str) -> Option<(&'static str, Option<&'static str>)> {
        match self {
            Self::Caddy => {
                let text = (!caddy::may_have_options(own)).then_some(caddy::PRIVATE_ADMINISTRATION);
                Some(("options.caddy", text))
            }
            Self::Nginx | Self::Haproxy => None,
        }
    }

    /// Returns the administration that the proxy may have on a port.
    pub(crate) fn administration(self) -> Option<Administration> {
        match self {
            Self::Caddy => Some(Administration {
                path: "/config/",
                is_answer: caddy::is_configuration,
                remedy: "systemctl restart caddy; where /etc/caddy/Caddyfile has options of its own, add \
                         `admin unix//run/caddy/admin.sock` to them first",
            }),
            Self::Nginx | Self::Haproxy => None,
        }
    }

    /// Returns whether a reload has only been asked for when its command ends.
    pub(crate) fn reloads_in_background(self) -> bool {
        match self {
            Self::Caddy => false,
            Self::Nginx | Self::Haproxy => true,
        }
    }

    /// Returns the host by which the proxy tells on port 80 which configuration it has loaded, and that one's mark in a
    /// published text.
    pub(crate) fn mark(self, published: &str) -> Option<(&'static str, &str)> {
        match self {
            Self::Caddy | Self::Nginx => None,
            Self::Haproxy => haproxy::mark(published),
        }
    }

    /// Returns the finding about the administrator's own configuration.
    pub(crate) fn note(self, layout: &Layout, own: &str) -> Option<Note> {
        match self {
            Self::Caddy => caddy::has_every_host(own).then(|| Note {
                finding: format!("{} has a site {}", self.own_configuration(), caddy::EVERY_HOST),
                remedy: "remove it, if it is Debian's example: functions, and routes without a host, are on that site",
            }),
            Self::Nginx => nginx::note(layout, own),
            Self::Haproxy => haproxy::note(own),
        }
    }
}
