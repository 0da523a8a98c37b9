//! CGI programs of Debian's packages in their real use, as functions behind Caddy and beside the same programs under
//! Apache's mod_cgi. Each row has a directory below tests/machine/programs: the function, Apache's configuration, what
//! `prepare` makes before, and what a `client` of the program does.

use std::fmt;
use std::path::Path;

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;

scenarios!("functions" with Programs:
    debian_programs_pooled(|m: &mut Machine| all(m, "pooled")),
    debian_programs_isolated(|m: &mut Machine| all(m, "isolated")),
);

struct Program {
    name: &'static str,
    asks: &'static [Ask],
    /// The last line of what its `client` prints.
    client: Option<&'static str>,
}

/// A request, and what its answer has.
struct Ask {
    path: &'static str,
    /// Options of curl(1).
    options: &'static str,
    status: u32,
    kind: &'static str,
    text: &'static str,
    /// Why Apache's type or body is another one.
    differs: Option<&'static str>,
}

const fn get(path: &'static str, kind: &'static str, text: &'static str) -> Ask {
    Ask { path, options: "", status: 200, kind, text, differs: None }
}

impl Ask {
    const fn with(self, options: &'static str) -> Self {
        Self { options, ..self }
    }

    const fn status(self, status: u32) -> Self {
        Self { status, ..self }
    }

    const fn differs(self, reason: &'static str) -> Self {
        Self { differs: Some(reason), ..self }
    }
}

const HTML: &str = "text/html";
const HTML_UTF8: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const PNG: &str = "image/png";
const CHARSET: &str = "Caddy names the character set of a file, Apache does not";
const LANG: &str = "the locale names the character set: systemd sets LANG, Apache does not";
const LOGIN: &str = "--user anna:secret --header 'Host: login.localhost'";

/// Enables a host's notifications, by nagios' pipe.
const COMMAND: &str = "--user anna:secret --header 'Host: login.localhost' --cookie NagFormId=abcd \
                       --data 'nagFormId=abcd&cmd_typ=24&cmd_mod=2&host=localhost'";
const OTHER_LOGIN: &str = "--user bert:secret --header 'Host: login.localhost'";

const PROGRAMS: &[Program] = &[
    Program {
        name: "gitweb",
        asks: &[
            get("/gitweb/?p=hello.git;a=summary", HTML_UTF8, "First words"),
            get(
                "/gitweb/index.cgi/hello.git/blob_plain/HEAD:/greeting.txt",
                "text/plain; charset=ISO-8859-1",
                "Hello, world",
            ),
            get("/gitweb/static/gitweb.css", CSS, "body").differs(CHARSET),
            get("/gitweb/?p=none.git", HTML_UTF8, "404 - No such project").status(404),
        ],
        client: None,
    },
    Program {
        name: "awstats",
        asks: &[
            get(
                "/cgi-bin/awstats.pl?config=shop.example&year=2020&month=02&update=1&framename=mainright",
                HTML_UTF8,
                "apples.html",
            ),
            get("/cgi-bin/awstats.pl?config=none", HTML_UTF8, "SiteDomain parameter not defined"),
            get("/awstats-icon/other/vu.png", PNG, "PNG"),
        ],
        client: None,
    },
    Program {
        name: "munin",
        asks: &[get("/munin-cgi/munin-cgi-graph/localdomain/localhost.localdomain/load-day.png", PNG, "PNG")
            .differs("a graph has the second in which it was drawn")],
        client: None,
    },
    Program {
        name: "smokeping",
        asks: &[
            get("/smokeping/smokeping.cgi", HTML_UTF8, "Network Latency Grapher"),
            get("/smokeping/smokeping.cgi?target=Local.LocalMachine", HTML_UTF8, "This host"),
        ],
        client: Some("image/png"),
    },
    Program {
        name: "nagios",
        asks: &[
            get("/cgi-bin/nagios4/status.cgi?host=all", HTML_UTF8, "anna").with(LOGIN),
            get("/cgi-bin/nagios4/config.cgi?type=commands", HTML_UTF8, "check_ping").with(LOGIN),
            get("/cgi-bin/nagios4/config.cgi?type=commands", HTML_UTF8, "do not have permission").with(OTHER_LOGIN),
            get("/cgi-bin/nagios4/cmd.cgi", HTML_UTF8, "successfully submitted").with(COMMAND),
            get("/nagios4/stylesheets/status.css", CSS, "font").differs(CHARSET),
        ],
        client: None,
    },
    Program {
        name: "mapserv",
        asks: &[
            get("/mapserv?map=/srv/maps/square.map&mode=map", PNG, "PNG"),
            get(
                "/mapserv?map=/srv/maps/square.map&SERVICE=WMS&REQUEST=GetCapabilities&VERSION=1.3.0",
                "text/xml; charset=UTF-8",
                "A square",
            ),
        ],
        client: None,
    },
    Program {
        name: "fossil",
        asks: &[
            get("/fossil/timeline", HTML_UTF8, "First words").differs("a nonce in each answer"),
            get("/fossil/raw?ci=trunk&filename=greeting.txt", "text/plain; charset=utf-8", "Hello, world"),
        ],
        client: Some("1"),
    },
    Program {
        name: "hgweb",
        asks: &[
            get("/hg", "text/html; charset=UTF-8", "hello").differs(LANG),
            get("/hg/hello/log", "text/html; charset=UTF-8", "First words").differs(LANG),
            get("/hg/hello/raw-file/tip/greeting.txt", "application/binary", "Hello, world"),
        ],
        client: Some("1"),
    },
    Program {
        name: "man2html",
        asks: &[
            get("/cgi-bin/man/man2html", HTML, "Manual Pages"),
            get("/cgi-bin/man/man2html?greet+1", "text/html; charset=UTF-8", "say hello"),
            get("/cgi-bin/man/man2html/usr/share/man/man1/greet.1.gz", "text/html; charset=UTF-8", "say hello"),
            get("/cgi-bin/man/mansec?query=1", "text/html; charset=UTF-8", "greet"),
        ],
        client: None,
    },
    Program {
        name: "php",
        asks: &[
            get("/php/?q=seven", "text/html; charset=UTF-8", "GET seven"),
            get("/php/index.php/a%20b?q=x", "text/html; charset=UTF-8", "PATH_INFO=/a b"),
            get("/php/index.php", "text/html; charset=UTF-8", "POST  Anna").with("--data name=Anna"),
            get("/php/upload.php", "text/plain;charset=UTF-8", "upload 1000000 ")
                .with("--form file=@/root/upload")
                .status(201),
            get("/php/moved.php", "text/html; charset=UTF-8", "").status(302),
        ],
        client: None,
    },
    Program {
        name: "dokuwiki",
        asks: &[
            get("/dokuwiki/doku.php?id=start", HTML_UTF8, "Trial wiki"),
            get("/dokuwiki/lib/exe/css.php?t=dokuwiki", "text/css; charset=utf-8", "dokuwiki"),
            get("/dokuwiki/lib/images/license/badge/cc-by.png", PNG, "PNG"),
        ],
        client: Some("1"),
    },
    Program {
        name: "uploads",
        asks: &[
            get("/uploads/a/b?name=Anna", "text/plain; charset=utf-8", "GET /uploads /a/b Anna"),
            get("/uploads", "text/plain; charset=utf-8", "upload 1b977e9f84f1")
                .with("--form name=Anna --form file=@/root/upload"),
        ],
        client: None,
    },
    Program {
        name: "wsgiref",
        asks: &[
            get("/wsgi/a%20b?q=1", "text/plain; charset=utf-8", "/wsgi/a%20b?q=1"),
            get("/wsgi/", "text/plain; charset=utf-8", "\n1000000\n").with("--data-binary @/root/upload"),
        ],
        client: None,
    },
    // The other one is an application that dies: the suite wants 500, and a program without a header is 502 here.
    Program { name: "plack", asks: &[], client: Some("35 of 36") },
    Program { name: "push", asks: &[], client: Some("refused") },
    Program {
        name: "cgit",
        asks: &[
            get("/cgit/", "text/html; charset=UTF-8", "hello.git"),
            get("/cgit/hello.git/log/?h=master", "text/html; charset=UTF-8", "First words"),
            get("/cgit/hello.git/plain/greeting.txt", "text/plain; charset=UTF-8", "Hello, world"),
            get("/cgit-css/cgit.css", CSS, "cgit").differs(CHARSET),
        ],
        client: None,
    },
    Program {
        name: "rrdcgi",
        asks: &[get("/rrd?host=machine", HTML, "Load of machine"), get("/graphs/load.png", PNG, "PNG")],
        client: None,
    },
    Program {
        name: "info2www",
        asks: &[
            get("/cgi-bin/info2www?(greet)", HTML, "How to say hello"),
            get("/cgi-bin/info2www?(greet)Words", HTML, "Hello, world"),
        ],
        client: None,
    },
    Program {
        name: "cachemgr",
        asks: &[
            get("/cgi-bin/cachemgr.cgi", HTML, "Cache Manager Interface"),
            get("/cgi-bin/cachemgr.cgi?host=localhost&port=3128&operation=info", HTML, "Connection refused"),
        ],
        client: None,
    },
];

const DIR: &str = "/root/programs";
const OURS: (&str, &str) = ("conductor", "80");
const APACHE: (&str, &str) = ("apache", "8080");

/// Runs all programs in one of the modes, and tells at the end which failed.
fn all(m: &Machine, mode: &str) {
    m.copy_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("programs"), DIR);
    m.run(&format!(
        "sed -i 's/^aliases/mode = \"{mode}\"\\n&/' {DIR}/*/function.toml
        echo 127.0.0.1 login.localhost >>/etc/hosts
        hash=$(htpasswd -nbBC 5 '' secret | tr -d ':\\n')
        printf 'anna:%s\\nbert:%s\\n' \"$hash\" \"$hash\" >{DIR}/users
        sed \"s|HASH|$hash|\" {DIR}/Caddyfile >/etc/caddy/Caddyfile
        systemctl reload caddy
        chmod o+x /root"
    ));
    let unconfined = m.try_run(&format!("grep --files-with-matches sandbox {DIR}/*/function.toml"));
    assert_eq!(unconfined.stdout, "", "each in the default sandbox");
    let mut failures = Vec::new();
    for Program { name, .. } in PROGRAMS {
        let prepare = format!("cd {DIR}/{name}; if [ -e prepare ]; then sh -eu prepare; fi");
        for step in [prepare, format!("conductor cgi declare {DIR}/{name}")] {
            let output = m.try_run(&step);
            if !output.success() {
                failures.push(format!("{name}: {step}: {output}"));
            }
        }
    }
    m.run(&format!("mkdir -p /run/apache2; apache2 -f {DIR}/apache.conf"));
    for program in PROGRAMS {
        failures.extend(program.failures(m).into_iter().map(|failure| format!("{}: {failure}", program.name)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(m.failed_units(), Vec::<String>::new());
    m.note(format!("{} programs", PROGRAMS.len()));
}

impl Program {
    fn failures(&self, m: &Machine) -> Vec<String> {
        let has_apache = m.try_run(&format!("test -e {DIR}/{}/apache.conf", self.name)).success();
        let mut failures: Vec<_> = self.asks.iter().flat_map(|ask| ask.failures(m, has_apache)).collect();
        let servers = if has_apache { &[OURS, APACHE][..] } else { &[OURS] };
        for (server, port) in servers.iter().filter(|_| self.client.is_some()) {
            let output = m.try_run(&format!("sh -eu {DIR}/{}/client {server} {port}", self.name));
            if !output.success() || output.stdout.lines().last() != self.client {
                failures.push(format!("client of {server}: {output}"));
            }
        }
        failures
    }
}

impl Ask {
    fn failures(&self, m: &Machine, has_apache: bool) -> Vec<String> {
        let ours = self.answer(m, OURS.1);
        let mut failures = Vec::new();
        if ours.status != self.status || ours.kind != self.kind || !ours.body.contains(self.text) {
            failures.push(format!("{}: {ours}", self.path));
        }
        if has_apache {
            let theirs = self.answer(m, APACHE.1);
            if ours.status != theirs.status || self.differs.is_none() && ours.kind != theirs.kind {
                failures.push(format!("{}: {ours}\nApache: {theirs}", self.path));
            } else if self.differs.is_none() {
                failures.extend(difference(&ours.body, &theirs.body).map(|it| format!("{}: {it}", self.path)));
            }
        }
        failures
    }

    fn answer(&self, m: &Machine, port: &str) -> Answer {
        let Self { path, options, .. } = self;
        let host = if options.contains("Host:") { "" } else { "--header 'Host: localhost'" };
        let curl = format!("curl --silent --max-time 60 --dump-header /tmp/header {host} {options}");
        let text = m.run(&format!("{curl} 'http://localhost:{port}{path}' || true; printf '\\n\\n'; cat /tmp/header"));
        let (body, header) = text.rsplit_once("\n\nHTTP/1.1 ").unwrap_or((&text, ""));
        let kind = header.lines().find_map(|line| line.split_once(": ").filter(|(name, _)| is_kind(name)));
        Answer {
            status: header.get(..3).and_then(|status| status.parse().ok()).unwrap_or(0),
            kind: kind.map_or("", |(_, kind)| kind.trim()).to_owned(),
            body: body.to_owned(),
        }
    }
}

fn is_kind(name: &str) -> bool {
    name.eq_ignore_ascii_case("Content-Type")
}

struct Answer {
    status: u32,
    kind: String,
    body: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: String = self.body.chars().take(600).collect();
        write!(out, "{} {}: {body}", self.status, self.kind)
    }
}

/// The first lines that are not the same, apart from their numbers: times, sizes, ports.
fn difference(ours: &str, theirs: &str) -> Option<String> {
    let mut lines = ours.lines().zip(theirs.lines());
    if let Some((ours, theirs)) = lines.find(|(ours, theirs)| without_numbers(ours) != without_numbers(theirs)) {
        return Some(format!("{ours}\nApache: {theirs}"));
    }
    let (ours, theirs) = (ours.lines().count(), theirs.lines().count());
    (ours != theirs).then(|| format!("{ours} lines, Apache {theirs}"))
}

fn without_numbers(line: &str) -> String {
    line.split(|letter: char| letter.is_ascii_digit()).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("0")
}
