//! The sections at the end of each page: EXIT STATUS, ENVIRONMENT, FILES, EXAMPLES, SEE ALSO.

/// What ends a page.
struct Ending {
    /// The page's name and its section.
    page: &'static str,
    /// What its exit codes mean beside those of all commands.
    codes: &'static str,
    /// Its variables, of a page that is not about a command.
    variables: &'static str,
    /// How the paths of its `FILES` begin.
    files: &'static [&'static str],
    /// What each command does, and the command.
    examples: &'static [(&'static str, &'static str)],
    /// Pages of other projects.
    related: &'static str,
}

const CODES: &str = "\
| code | |
| --- | --- |
| 0 | The command has done what it says. |
| 1 | It failed: the message says why. |
| 2 | The arguments are wrong. |
| 3 | A declaration or a manifest does not compile: the messages say in which file, line and column. |
";

const VARIABLES: &str = "\
| variable | |
| --- | --- |
| `NO_COLOR`, `CLICOLOR_FORCE` | Switch colours off, or on where the output is no terminal. |
| `SYSTEMD_PAGER`, `SYSTEMD_LESS` | Are for journalctl(1), which shows logs. |
| `XDG_CONFIG_HOME`, `XDG_RUNTIME_DIR`, `XDG_DATA_HOME`, `HOME` | With `--user`: where declarations, sockets and stored files of the user are. |
| `CONTAINERS_CONF`, `CONTAINERS_CONF_OVERRIDE`, `PATH` | Are for podman(1), and name its runtime. |
";

/// Files that pages name: path and content.
const FILES: &[(&str, &str)] = &[
    ("/etc/conductor/conductor.toml", "The defaults of the host, conductor.toml(5)."),
    (
        "/etc/conductor/services",
        "Declarations, service.toml(5), and `NAME.d` with drop-ins over them; also in `/run/conductor/services`, \
         `/usr/local/lib/conductor/services` and `/usr/lib/conductor/services`.",
    ),
    (
        "/etc/conductor/functions",
        "Functions by their IDs, function.toml(5); also in `/run/conductor/functions`, `/usr/local/lib/conductor/functions` \
         and `/usr/lib/conductor/functions`.",
    ),
    ("/etc/conductor/aliases", "Links from the aliases of functions to their sockets."),
    ("/run/conductor/generations", "Snapshots of everything that runs."),
    ("/run/conductor/deployments", "A directory for each deployment, `$CONDUCTOR_DEPLOYMENT_DIR`."),
    ("/run/conductor/slots", "The upstreams of the reverse proxy, links to sockets of deployments."),
    ("/run/conductor/proxy", "The published configuration of the reverse proxy."),
    ("/run/systemd/generator", "Compiled units, and the proxy's configuration below `conductor`."),
    ("/var/lib/conductor/generations", "The last five generations of each service, with their files."),
    ("/usr/lib/systemd/system-generators/conductor-generator", "The generator."),
    (
        "/usr/share/bash-completion/completions/conductor",
        "The installed completions of bash; those of fish are in `/usr/share/fish/vendor_completions.d`, those of zsh in \
         `/usr/share/zsh/vendor-completions`.",
    ),
    ("/usr/share/conductor/schemas", "JSON Schemas of the three files that people write."),
    ("/usr/share/doc/conductor/examples", "Declarations that work as they are."),
];

const ENDINGS: &[Ending] = &[
    Ending {
        page: "conductor.1",
        codes: "",
        variables: "",
        files: &[
            "/etc/conductor/conductor.toml",
            "/etc/conductor/services",
            "/etc/conductor/functions",
            "/usr/share/doc",
        ],
        examples: &[
            ("Create a service, start it, and roll out another version of it:", "conductor new hello"),
            ("", "conductor service declare hello"),
            ("", "conductor service declare hello VERSION=2"),
            ("Look at everything that runs:", "conductor status"),
        ],
        related: "systemctl(1), journalctl(1), podman(1)",
    },
    Ending {
        page: "conductor-service.1",
        codes: "",
        variables: "",
        files: &["/etc/conductor/services", "/var/lib/conductor/generations"],
        examples: &[
            ("Declare a version from a directory:", "conductor service declare ./shop VERSION=5"),
            (
                "Declare it on two hosts, one after the other:",
                "conductor service declare --host one,two ./shop VERSION=5",
            ),
            ("List the generations that have served:", "conductor service history shop"),
            ("Roll back to the previous one:", "conductor service rollback shop"),
            ("Override a value, and remove the override:", "conductor service set shop config.LOG_LEVEL=debug"),
            ("", "conductor service set shop config.LOG_LEVEL="),
            ("Follow the log of one generation:", "conductor service logs shop --generation 1f0c2d3e4f50 --follow"),
            ("Show which file gave each value:", "conductor service show shop --sources"),
        ],
        related: "systemctl(1), journalctl(1)",
    },
    Ending {
        page: "conductor-deployment.1",
        codes: "",
        variables: "",
        files: &["/run/conductor/deployments", "/run/conductor/slots"],
        examples: &[
            ("List the deployments of a service:", "conductor deployment list shop"),
            ("Show the environment of one:", "conductor deployment env shop-1f0c2d3e4f50@1.service"),
        ],
        related: "systemctl(1), journalctl(1)",
    },
    Ending {
        page: "conductor-cgi.1",
        codes: "",
        variables: "",
        files: &["/etc/conductor/functions", "/etc/conductor/aliases"],
        examples: &[
            ("Create a function and declare it:", "conductor new greet --cgi"),
            ("", "conductor cgi declare greet"),
            ("Show the last lines of its log, by an alias:", "conductor cgi logs /greet --lines 20"),
            ("Remove it:", "conductor cgi rm /greet"),
        ],
        related: "journalctl(1), podman(1)",
    },
    Ending {
        page: "conductor-check.1",
        codes: "",
        variables: "",
        files: &["/etc/conductor/services", "/etc/conductor/functions"],
        examples: &[
            (
                "Validate a directory before it is declared, with a variable of its templates:",
                "conductor check ./shop VERSION=5",
            ),
            ("Validate everything that is declared on this host:", "conductor check"),
        ],
        related: "systemd-analyze(1)",
    },
    Ending {
        page: "conductor-completions.1",
        codes: "",
        variables: "",
        files: &["/usr/share/bash-completion"],
        examples: &[("Load the completions of bash:", ". <(conductor completions bash)")],
        related: "bash(1), fish(1), zsh(1)",
    },
    Ending {
        page: "conductor-daemon-reload.1",
        codes: "",
        variables: "",
        files: &["/etc/conductor/services", "/run/systemd/generator", "/run/conductor/generations"],
        examples: &[("Show what would happen, then let it happen:", "conductor plan"), ("", "conductor daemon-reload")],
        related: "systemctl(1), systemd.generator(7)",
    },
    Ending {
        page: "conductor-doctor.1",
        codes: "Exit code 1 also says that the doctor has found a problem.",
        variables: "",
        files: &["/run/conductor/proxy"],
        examples: &[
            ("Check this host:", "conductor doctor"),
            ("Print the problems alone, by jq(1):", "conductor doctor --json | jq '.[] | select(.verdict == \"bad\")'"),
        ],
        related: "systemctl(1)",
    },
    Ending {
        page: "conductor-explain.1",
        codes: "",
        variables: "",
        files: &["/etc/conductor/services"],
        examples: &[
            ("Show what each key of a directory becomes:", "conductor explain ./shop VERSION=5"),
            ("Show it of a service as it is declared:", "conductor explain shop"),
        ],
        related: "systemd.unit(5)",
    },
    Ending {
        page: "conductor-import.1",
        codes: "",
        variables: "",
        files: &["/usr/share/conductor/schemas"],
        examples: &[
            (
                "Translate a compose file into a new directory, and validate it:",
                "conductor import compose.yaml --name shop",
            ),
            ("", "conductor check ./shop"),
            ("Print what a unit becomes:", "conductor import /etc/systemd/system/shop.service -o -"),
        ],
        related: "podman-systemd.unit(5), systemd.unit(5)",
    },
    Ending {
        page: "conductor-metrics.1",
        codes: "",
        variables: "",
        files: &["/run/conductor/generations", "/run/conductor/slots"],
        examples: &[(
            "Write the figures for the textfile collector of Prometheus' node exporter:",
            "conductor metrics > /var/lib/prometheus/node-exporter/conductor.prom",
        )],
        related: "systemd.timer(5)",
    },
    Ending {
        page: "conductor-diff.1",
        codes: "",
        variables: "",
        files: &["/etc/conductor/services", "/var/lib/conductor/generations"],
        examples: &[
            ("Show what the declaration changes of what serves:", "conductor diff shop"),
            ("Show how two generations differ:", "conductor diff shop 1f0c2d 77dbc7"),
        ],
        related: "diff(1)",
    },
    Ending {
        page: "conductor-new.1",
        codes: "",
        variables: "",
        files: &["/usr/share/doc", "/usr/share/conductor/schemas"],
        examples: &[
            ("Create a web server in Python:", "conductor new hello"),
            ("Create a CGI function below another directory:", "conductor new greet --cgi --directory /srv"),
        ],
        related: "",
    },
    Ending {
        page: "conductor-plan.1",
        codes: "With `--exit-code`, exit code 4 says that something would change.",
        variables: "",
        files: &["/etc/conductor/services", "/run/conductor/generations"],
        examples: &[
            ("Show what daemon-reload would do to each service, and why:", "conductor plan"),
            ("Let a script know whether something would change:", "conductor plan --exit-code shop"),
        ],
        related: "systemctl(1)",
    },
    Ending {
        page: "conductor-render.1",
        codes: "",
        variables: "",
        files: &["/run/systemd/generator"],
        examples: &[
            ("Show the units and routes of a directory:", "conductor render ./shop VERSION=5"),
            (
                "Show them for another proxy and another systemd:",
                "conductor render ./shop VERSION=5 --proxy nginx --target-systemd 257",
            ),
            ("Write everything that is declared below a directory:", "conductor render --output /tmp/rendered"),
            (
                "Write objects of Kubernetes:",
                "conductor render --target kubernetes ./shop VERSION=5 --image debian:13 -o out",
            ),
            (
                "Print resources of a Pacemaker cluster:",
                "conductor render --target pacemaker --nodes n1,n2,n3 --address 192.0.2.10/24",
            ),
        ],
        related: "systemd.unit(5)",
    },
    Ending {
        page: "conductor-run.1",
        codes: "The exit code is that of the command that was run. Codes 1 to 3 may also be those of Conductor.",
        variables: "",
        files: &["/etc/conductor/services"],
        examples: &[
            ("List the commands of a service:", "conductor run shop"),
            ("Run one beside a deployment, with an argument:", "conductor run shop manage showmigrations"),
            ("Start a job now:", "conductor run shop nightly"),
        ],
        related: "systemd-run(1), systemd.timer(5)",
    },
    Ending {
        page: "conductor-status.1",
        codes: "The exit code is 0 also if a service has failed or its declaration does not compile: the page says so. \
                `conductor doctor` exits with 1 then.",
        variables: "",
        files: &["/run/conductor/generations"],
        examples: &[
            ("Show all services, jobs and functions:", "conductor status"),
            (
                "Print the services that have fewer deployments than declared, by jq(1):",
                "conductor status --json | jq '.services[] | select(.ready < .concurrency) | .name'",
            ),
        ],
        related: "systemctl(1), systemd-cgtop(1)",
    },
    Ending {
        page: "service.toml.5",
        codes: "Commands that read a declaration with an error exit with 3.",
        variables: "",
        files: &[
            "/etc/conductor/services",
            "/etc/conductor/conductor.toml",
            "/usr/share/conductor/schemas",
            "/usr/share/doc",
        ],
        examples: &[
            ("Create a commented declaration:", "conductor new hello"),
            ("Validate it, and show what each key becomes:", "conductor check hello"),
            ("", "conductor explain hello"),
        ],
        related: "systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.resource-control(5), systemd.time(7), \
                  podman-systemd.unit(5)",
    },
    Ending {
        page: "function.toml.5",
        codes: "Commands that read a manifest with an error exit with 3.",
        variables: "The section INTERFACES lists the variables of programs.",
        files: &[
            "/etc/conductor/functions",
            "/etc/conductor/aliases",
            "/usr/share/conductor/schemas",
            "/usr/share/doc",
        ],
        examples: &[
            ("Create a function and validate it:", "conductor new greet --cgi"),
            ("", "conductor check greet"),
            ("Print its ID, and do nothing else:", "conductor cgi identify greet"),
        ],
        related: "systemd.exec(5), systemd.resource-control(5)",
    },
    Ending {
        page: "conductor.toml.5",
        codes: "Commands that read the file with an error exit with 3.",
        variables: "`XDG_CONFIG_HOME`, `XDG_RUNTIME_DIR` and `XDG_DATA_HOME` say where the file is for `--user`.",
        files: &["/etc/conductor/conductor.toml"],
        examples: &[
            ("Show which services a change of the file rolls, then apply it:", "conductor plan"),
            ("", "conductor daemon-reload"),
            ("Show which values of a service come from it:", "conductor service show shop --sources"),
        ],
        related: "",
    },
    Ending {
        page: "conductor.7",
        codes: CODES,
        variables: "`conductor`(1) lists the variables of commands, `service.toml`(5) those of processes, hooks and commands of a service.",
        files: &[
            "/etc/conductor/services",
            "/run/conductor/generations",
            "/run/conductor/slots",
            "/run/conductor/proxy",
            "/run/systemd/generator",
            "/var/lib/conductor/generations",
        ],
        examples: &[
            ("Show the units that a declaration compiles to:", "conductor render hello"),
            ("Show which change would roll it:", "conductor plan hello"),
            ("Show failures of today:", "journalctl MESSAGE_ID=5d0c7e3a86cb4a7b9f4a1e2d7c60b8f1 --since=today"),
        ],
        related: "systemd(1), systemd.unit(5), systemd.generator(7)",
    },
    Ending {
        page: "conductor-generator.8",
        codes: "The generator exits with 0 also if a declaration does not compile, so that systemd loads the units of all others. \
                It exits with 1 if it cannot write units.",
        variables: "systemd sets `SYSTEMD_IN_INITRD` and `SYSTEMD_SCOPE`, systemd.generator(7). For a user's manager, `XDG_CONFIG_HOME`, `XDG_RUNTIME_DIR` and `XDG_DATA_HOME` say where declarations are.",
        files: &["/usr/lib/systemd", "/etc/conductor/services", "/run/conductor/generations", "/run/systemd/generator"],
        examples: &[
            ("Run it by systemd, then apply what has changed:", "conductor daemon-reload"),
            ("Show what it writes:", "conductor render"),
        ],
        related: "systemd.generator(7), systemctl(1)",
    },
];

/// Returns the names of all pages, with their sections.
pub(crate) fn pages() -> impl Iterator<Item = &'static str> {
    ENDINGS.iter().map(|ending| ending.page)
}

/// Returns the sections at the end of a page, as Markdown.
///
/// # Panics
/// If the page has no ending: each has one.
pub(crate) fn of(page: &str) -> String {
    let ending = ENDINGS.iter().find(|ending| ending.page == page).unwrap_or_else(|| panic!("no ending of {page}"));
    let is_command = page.ends_with(".1");
    let codes = if is_command { format!("{CODES}\n{}", ending.codes) } else { ending.codes.to_owned() };
    let mut text = format!("## Exit status\n\n{codes}\n\n");
    let variables = if is_command { VARIABLES } else { ending.variables };
    if !variables.is_empty() {
        text += &format!("## Environment\n\n{variables}\n\n");
    }
    let files = FILES.iter().filter(|(path, _)| ending.files.iter().any(|begin| path.starts_with(begin)));
    let files: String = files.map(|(path, content)| format!("| `{path}` | {content} |\n")).collect();
    if !files.is_empty() {
        text += &format!("## Files\n\n| path | |\n| --- | --- |\n{files}\n");
    }
    text += "## Examples\n\n";
    for (number, (what, command)) in ending.examples.iter().enumerate() {
        let end = if ending.examples.get(number + 1).is_some_and(|(what, _)| what.is_empty()) { "" } else { "```\n\n" };
        let begin = if what.is_empty() { String::new() } else { format!("{what}\n\n```\n") };
        text += &format!("{begin}{command}\n{end}");
    }
    let mut own: Vec<_> = pages().filter(|other| *other != page).filter_map(|other| other.rsplit_once('.')).collect();
    own.sort_by_key(|(name, section)| (*section, *name));
    let own = own.into_iter().map(|(name, section)| format!("`{name}`({section})"));
    let related = Some(ending.related.to_owned()).filter(|related| !related.is_empty());
    text + &format!("## See also\n\n{}\n", own.chain(related).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_commands_that_exist() {
        for (_, example) in ENDINGS.iter().flat_map(|ending| ending.examples) {
            let command = example
                .split(['|', '>'])
                .next()
                .expect("a command")
                .trim_end()
                .trim_start_matches(". <(")
                .trim_end_matches(')');
            let Some(words) = command.strip_prefix("conductor ") else { continue };
            let words = ["conductor"].into_iter().chain(words.split(' '));
            conductor::cli::command().try_get_matches_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }

    #[test]
    fn files_of_pages_are_known() {
        for begin in ENDINGS.iter().flat_map(|ending| ending.files) {
            assert!(FILES.iter().any(|(path, _)| path.starts_with(begin)), "{begin}");
        }
    }
}
