//! function.toml above its sections.

use crate::key::description::{Default, Entries, KEY, Key, Kind};

const ENGINE: Key = Key { kind: Kind::Section, default: Default::Words("one of the two"), ..KEY };

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "name",
        kind: Kind::Text("1 to 80 characters"),
        default: Default::Required,
        example: "\"thumbnail\"",
        meaning: "The function's name for people; its aliases belong to this name.",
        ..KEY
    },
    Key {
        name: "aliases",
        kind: Kind::List("strings"),
        example: "[\"img.example.com/t\"]",
        meaning: "[The addresses at which the function is reached beside its ID](#aliases).",
        ..KEY
    },
    Key {
        name: "address",
        kind: Kind::Boolean,
        default: Default::Value("true"),
        example: "false",
        meaning: "Whether the proxy serves the function at `/cgi/ID`; with `false` only at its aliases.",
        ..KEY
    },
    Key {
        name: "remote_user",
        kind: Kind::Words(&[
            ("none", "A request that names a user is refused."),
            ("optional", "A request may name a user."),
            ("required", "A request that names no user is refused."),
        ]),
        default: Default::Value("\"none\""),
        example: "\"required\"",
        meaning: "[Whether requests name a user whom the proxy has authenticated](#authentication): `REMOTE_USER`.",
        ..KEY
    },
    Key {
        name: "tls",
        kind: Kind::Words(&[("auto", "The proxy's automatic HTTPS."), ("off", "Plain HTTP.")]),
        default: Default::Value("\"auto\""),
        example: "\"off\"",
        meaning: "The proxy's automatic HTTPS, or plain HTTP, for aliases with a host.",
        ..KEY
    },
    Key {
        name: "interface",
        kind: Kind::Words(&[
            ("cgi", "RFC 3875: a process for each request."),
            ("http", "HTTP/1.1, on stdin and stdout or on a socket that is passed."),
        ]),
        default: Default::Value("\"cgi\""),
        example: "\"http\"",
        meaning: "[The protocol of the program](#interfaces).",
        ..KEY
    },
    Key {
        name: "listen",
        kind: Kind::Words(&[
            ("stdio", "On stdin and stdout, one request after the other."),
            ("socket", "On connections that it accepts from file descriptor 3, sd_listen_fds(3)."),
        ]),
        default: Default::Value("\"stdio\""),
        example: "\"socket\"",
        needs: "interface = \"http\"",
        meaning: "Where an `http` program reads requests.",
        ..KEY
    },
    Key {
        name: "mode",
        kind: Kind::Words(&[
            ("pooled", "One unit for all requests, started by the first."),
            ("isolated", "One unit for each request."),
        ]),
        default: Default::Value("\"pooled\""),
        example: "\"isolated\"",
        meaning: "[One unit for all requests, or one for each](#modes).",
        ..KEY
    },
    Key {
        name: "preload",
        kind: Kind::Number(0, 512),
        default: Default::Varies("0", "isolated 1, an isolated container 0"),
        example: "2",
        needs: "interface = \"http\"\nmax_concurrency = 512",
        meaning: "The number of `http` workers that the gateway keeps warm, or of isolated units that [stand \
                  by](#modes) for the next request, while the function is not idle.",
        ..KEY
    },
    Key {
        name: "max_requests",
        kind: Kind::Number(1, u32::MAX),
        default: Default::Value("1000"),
        example: "500",
        meaning: "The number of requests after which the gateway replaces an `http` worker on stdin and stdout.",
        ..KEY
    },
    Key {
        name: "max_concurrency",
        kind: Kind::Number(1, 16384),
        default: Default::Varies("64", "an isolated container 8"),
        example: "16",
        meaning: "The number of requests that have a process, or a unit, at a time.",
        ..KEY
    },
    Key {
        name: "max_queue",
        kind: Kind::Number(0, 16384),
        default: Default::Value("1024"),
        example: "100",
        meaning: "The number of requests that may wait for a process; a further one gets 503.",
        ..KEY
    },
    Key {
        name: "queue_timeout",
        kind: Kind::TimeSpan,
        default: Default::Value("\"5min\""),
        example: "\"30s\"",
        meaning: "The time that a request may wait for a process, or its body for room; then it gets 503.",
        ..KEY
    },
    Key {
        name: "max_body",
        kind: Kind::Text("a size in bytes, or with K, M or G"),
        default: Default::Value("\"64M\""),
        example: "\"16M\"",
        meaning: "The largest body of a request; a larger one gets 413.",
        ..KEY
    },
    Key {
        name: "timeout",
        kind: Kind::TimeSpan,
        default: Default::Value("\"30s\""),
        example: "\"5s\"",
        meaning: "The time limit of a request, from the start of its program to the last byte of its answer.",
        ..KEY
    },
    Key {
        name: "idle_timeout",
        kind: Kind::TimeSpan,
        default: Default::Value("\"5min\""),
        example: "\"1h\"",
        meaning: "The time without a request after which all processes of the function end.",
        ..KEY
    },
    Key {
        name: "path_info_strip",
        kind: Kind::Number(0, 64),
        default: Default::Value("0"),
        example: "1",
        meaning: "The number of segments of the path that belong to `SCRIPT_NAME` instead of `PATH_INFO`.",
        ..KEY
    },
    Key {
        name: "network",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        meaning: "Whether the processes have the machine's network; otherwise they have none.",
        ..KEY
    },
    Key {
        name: "files",
        kind: Kind::List("strings"),
        example: "[\"./templates\"]",
        meaning: "Files and directories beside the manifest that are part of the function; files that words of the \
                  command name with `./` are part of it anyway.",
        ..KEY
    },
    Key {
        name: "directory",
        kind: Kind::Text("a path"),
        example: "\"/usr/lib/cgi-bin\"",
        meaning: "[The directory of the programs](#directories), in place of `command`: absolute, or `./…` beside the \
                  manifest.",
        ..KEY
    },
    Key {
        name: "interpreter",
        kind: Kind::Table(Entries::Commands),
        example: "{ php = [\"php-cgi\"] }",
        meaning: "The programs that run files of the directory, by the files' suffixes: each program gets the file's \
                  path as its last argument.",
        ..KEY
    },
    Key {
        name: "index",
        kind: Kind::List("strings"),
        example: "[\"index.php\"]",
        meaning: "The files that answer for a directory: the first of these that the directory has.",
        ..KEY
    },
    Key {
        name: "static",
        kind: Kind::Table(Entries::Paths),
        example: "{ \"/nagios/css\" = \"/usr/share/nagios4/htdocs/stylesheets\" }",
        meaning: "[Files and directories that the proxy serves itself](#static-files), by addresses like those of `aliases`.",
        ..KEY
    },
    Key {
        name: "state",
        kind: Kind::Text("a relative path"),
        example: "\"awstats\"",
        meaning: "A directory below /var/lib that the processes [may write](#writing); `STATE_DIRECTORY` has its path.",
        ..KEY
    },
    Key {
        name: "cache",
        kind: Kind::Text("a relative path"),
        example: "\"munin\"",
        meaning: "A directory below /var/cache that the processes may write; `CACHE_DIRECTORY` has its path.",
        ..KEY
    },
    Key {
        name: "logs",
        kind: Kind::Text("a relative path"),
        example: "\"smokeping\"",
        meaning: "A directory below /var/log that the processes may write; `LOGS_DIRECTORY` has its path.",
        ..KEY
    },
    Key {
        name: "read_write",
        kind: Kind::List("paths"),
        example: "[\"/srv/git\"]",
        meaning: "Paths that the sandbox leaves writable; the function's user needs the right to write there, too.",
        ..KEY
    },
    Key {
        name: "groups",
        kind: Kind::List("strings"),
        example: "[\"www-data\"]",
        meaning: "Groups of the processes beside that of their user.",
        ..KEY
    },
    Key { name: "exec", meaning: "[The program](#exec).", ..ENGINE },
    Key { name: "container", meaning: "[An image that has the program](#container).", ..ENGINE },
    Key {
        name: "resources",
        kind: Kind::Directives(Entries::Scalars),
        example: "{ memory_max = \"64M\" }",
        meaning: "Limits of all processes of the function: directives of its slice in snake case, as in service.toml.",
        ..KEY
    },
    Key {
        name: "systemd",
        kind: Kind::Section,
        default: Default::Words(""),
        meaning: "`[systemd.service]`: [directives that Conductor passes on](#writing).",
        ..KEY
    },
];

pub(crate) const SYSTEMD: &[Key] = &[Key {
    name: "service",
    kind: Kind::Directives(Entries::Lines),
    example: "{ LimitCORE = 0 }",
    meaning: "`[systemd.service]`: directives of the units that run the function's programs.",
    ..KEY
}];
