//! Drivers: how each reverse proxy takes the routing table.
//!
//! A driver refuses what it cannot express, renders a table to files, names the command that validates a candidate,
//! explains the proxy's words, and gives `conductor doctor` what is particular to it.

use camino::{Utf8Path, Utf8PathBuf};

use super::caddy;
use super::routing::RoutingTable;
use crate::layout::LIBRARY;
use crate::model::Route;

/// A reverse proxy that Conductor configures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    Caddy,
}

/// A command that validates a candidate configuration, to be run as the proxy's own user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Validation {
    pub(crate) program: &'static str,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// What the proxy's checker printed, for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The checker's own words without its log lines.
    pub(crate) words: String,
    /// The remedy, if it is known.
    pub(crate) help: Option<String>,
}

/// A finding of `conductor doctor` about the administrator's own configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) finding: String,
    pub(crate) remedy: &'static str,
}

impl Driver {
    /// Returns the driver of this host's proxy.
    pub(crate) fn of_host() -> Self {
        Self::Caddy
    }

    /// Returns the driver's name: in conductor.toml, and of its directory below `proxy/`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caddy => "caddy",
        }
    }

    /// Returns the proxy's name, for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Caddy => "Caddy",
        }
    }

    /// Returns the unit of Debian's package.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Caddy => "caddy.service",
        }
    }

    /// Returns the key of a route that the proxy cannot express, and why; None if it can express all.
    pub(crate) fn unsupported(self, route: &Route) -> Option<(&'static str, String)> {
        match self {
            Self::Caddy => caddy::unsupported(route),
        }
    }

    /// Renders a table to files, by their paths below the driver's directory.
    pub(crate) fn render(self, table: &RoutingTable) -> Vec<(Utf8PathBuf, Vec<u8>)> {
        match self {
            Self::Caddy => caddy::render(table),
        }
    }

    /// Returns the command that validates the files in `candidate` together with the administrator's own.
    pub(crate) fn validation(self, candidate: &Utf8Path) -> Validation {
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
            },
        }
    }

    /// Explains what the checker printed of a candidate that it refused.
    pub(crate) fn explain(self, output: &str) -> Refusal {
        match self {
            Self::Caddy => {
                // Caddy's log is JSON, a line each.
                let lines: Vec<_> = output.lines().filter(|line| !line.trim_start().starts_with('{')).collect();
                Refusal { words: lines.join("\n"), help: caddy::explain(output) }
            }
        }
    }

    /// Returns the files of the administrator's own configuration that `note` is asked about.
    pub(crate) fn own_configuration(self) -> &'static Utf8Path {
        match self {
            Self::Caddy => Utf8Path::new("/etc/caddy/Caddyfile"),
        }
    }

    /// Returns the name of the file with `options`, in a directory that the proxy includes before all else.
    pub(crate) fn options_file(self) -> &'static str {
        match self {
            Self::Caddy => "options.caddy",
        }
    }

    /// Returns options that let nobody else administer the proxy; None if the administrator's own configuration may have
    /// options, beside which there can be no others.
    pub(crate) fn options(self, own: &str) -> Option<&'static str> {
        match self {
            Self::Caddy => (!caddy::may_have_options(own)).then_some(caddy::PRIVATE_ADMINISTRATION),
        }
    }

    /// Returns a path that only the proxy's administration answers.
    pub(crate) fn administration(self) -> &'static str {
        match self {
            Self::Caddy => "/config/",
        }
    }

    /// Returns whether an answer is that of the proxy's administration.
    pub(crate) fn is_administration(self, answer: &str) -> bool {
        match self {
            Self::Caddy => caddy::is_configuration(answer),
        }
    }

    /// Returns the remedy for an administration that is open to every local user.
    pub(crate) fn administration_remedy(self) -> &'static str {
        match self {
            Self::Caddy => {
                "systemctl restart caddy; where /etc/caddy/Caddyfile has options of its own, add \
                 `admin unix//run/caddy/admin.sock` to them first"
            }
        }
    }

    /// Returns the finding about the administrator's own configuration, given its text.
    pub(crate) fn note(self, text: &str) -> Option<Note> {
        match self {
            Self::Caddy => caddy::has_every_host(text).then(|| Note {
                finding: format!("{} has a site {}", self.own_configuration(), caddy::EVERY_HOST),
                remedy: "remove it, if it is Debian's example: functions, and routes without a host, are on that site",
            }),
        }
    }
}
