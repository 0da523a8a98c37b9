//! `[[route]]`: which requests come to a service, and what is done with them.

use crate::key::description::{Default, Digest, Entries, KEY, Key, Kind};

const OF_ROUTE: Key = Key { digest: Some(Digest::Routes), reported_as: "route", ..KEY };

pub(crate) const ROUTE: &[Key] = &[
    Key {
        name: "host",
        kind: Kind::List("strings"),
        default: Default::Words("every host"),
        example: "[\"www.example.com\"]",
        meaning: "The DNS names of the route; the first label may be `*`.",
        ..OF_ROUTE
    },
    Key {
        name: "path",
        kind: Kind::Text(""),
        default: Default::Value("\"/\""),
        example: "\"/api\"",
        meaning: "The prefix of the route's paths, or an array of several: `\"/api\"` is `/api` and everything below \
                  `/api/`.",
        ..OF_ROUTE
    },
    Key {
        name: "exact",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        meaning: "`true`: the route is its paths alone, and nothing below them.",
        ..OF_ROUTE
    },
    Key {
        name: "suffix",
        kind: Kind::Text(""),
        default: Default::Words("any"),
        example: "\".png\"",
        meaning: "The end of the route's paths, or an array of several ends.",
        ..OF_ROUTE
    },
    Key {
        name: "methods",
        kind: Kind::List("strings"),
        default: Default::Words("all"),
        example: "[\"GET\", \"HEAD\"]",
        meaning: "The methods of the route's requests.",
        ..OF_ROUTE
    },
    Key {
        name: "headers",
        kind: Kind::Table(Entries::Strings),
        default: Default::None,
        example: "{ X-Beta = \"1\" }",
        meaning: "Header fields with the values that the route's requests must have.",
        ..OF_ROUTE
    },
    Key {
        name: "tls",
        kind: Kind::Words(&[
            (
                "auto",
                "HTTPS, with the certificate of `certificate` or one that the proxy gets itself; callers by plain HTTP are redirected.",
            ),
            ("off", "Plain HTTP."),
        ]),
        default: Default::Value("\"auto\""),
        example: "\"off\"",
        needs: "route = [{ host = [\"www.example.com\"] }]",
        meaning: "HTTPS, or plain HTTP; all routes of a host have the same setting, and the same certificates.",
        ..OF_ROUTE
    },
    Key {
        name: "certificate",
        kind: Kind::Text("a file in PEM"),
        default: Default::Words("the proxy gets one itself"),
        example: "\"/etc/ssl/example.pem\"",
        needs: "route = [{ host = [\"www.example.com\"], certificate = \"/etc/ssl/example.pem\", certificate_key = \"/etc/ssl/example.key\" }]",
        meaning: "The host's certificate, followed by the intermediate ones.",
        ..OF_ROUTE
    },
    Key {
        name: "certificate_key",
        kind: Kind::Text("a file in PEM"),
        default: Default::None,
        example: "\"/etc/ssl/example.key\"",
        needs: "route = [{ host = [\"www.example.com\"], certificate = \"/etc/ssl/example.pem\", certificate_key = \"/etc/ssl/example.key\" }]",
        meaning: "The private key of `certificate`. The proxy must be able to read it.",
        ..OF_ROUTE
    },
    Key {
        name: "client_ca",
        kind: Kind::Text("a file in PEM"),
        default: Default::Words("clients need no certificate"),
        example: "\"/etc/ssl/clients.pem\"",
        needs: "route = [{ host = [\"www.example.com\"] }]",
        meaning: "The authorities of the certificates that clients must show.",
        ..OF_ROUTE
    },
    Key {
        name: "listener",
        kind: Kind::Text(""),
        default: Default::Words("that of `[listen]` itself"),
        example: "\"metrics\"",
        needs: "listen.metrics = { type = \"tcp\" }",
        meaning: "The [further listener](#listenname) that the route leads to.",
        ..OF_ROUTE
    },
    Key {
        name: "redirect",
        kind: Kind::Text("an address"),
        default: Default::None,
        example: "\"https://www.example.com{uri}\"",
        meaning: "The proxy redirects to this address instead of asking the service; [`{host}`, `{path}`, `{uri}` and \
                  others](#values-of-a-request) stand for those of the request.",
        ..OF_ROUTE
    },
    Key {
        name: "respond",
        kind: Kind::Text(""),
        default: Default::None,
        example: "\"Back at noon\"",
        meaning: "The proxy answers with this text instead of asking the service, for example during maintenance.",
        ..OF_ROUTE
    },
    Key {
        name: "status",
        kind: Kind::Number(200, 599),
        default: Default::Words("308 of a redirect, 200 of a text"),
        example: "503",
        needs: "route = [{ respond = \"Back at noon\" }]",
        meaning: "The status of `redirect` or `respond`.",
        ..OF_ROUTE
    },
    Key {
        name: "static",
        kind: Kind::Text("a directory"),
        default: Default::None,
        example: "\"/srv/www\"",
        meaning: "The proxy itself serves files below this directory, by their paths below the route's; [requests for \
                  other paths](#files-of-a-route) go to the service.",
        ..OF_ROUTE
    },
    Key {
        name: "fallback",
        kind: Kind::Text(""),
        default: Default::Words("what is no file goes to the service"),
        example: "\"/index.html\"",
        needs: "route = [{ static = \"/srv/www\" }]",
        meaning: "The file below `static` that answers for what is no file, as applications of one page want it.",
        ..OF_ROUTE
    },
    Key {
        name: "clients",
        kind: Kind::List("addresses"),
        default: Default::Words("everybody may call"),
        example: "[\"10.0.0.0/8\"]",
        meaning: "Addresses and networks of the clients that may call; others are answered by 403.",
        ..OF_ROUTE
    },
    Key {
        name: "strip_prefix",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        needs: "route = [{ path = \"/api\" }]",
        meaning: "`true`: the service gets the path without the route's prefix.",
        ..OF_ROUTE
    },
    Key {
        name: "set_request_headers",
        kind: Kind::Table(Entries::Strings),
        default: Default::None,
        example: "{ X-Robots-Tag = \"none\" }",
        meaning: "The service gets requests with these fields instead of those of the same name; [values of the request](#values-of-a-request) may stand in them.",
        ..OF_ROUTE
    },
    Key {
        name: "add_request_headers",
        kind: Kind::Table(Entries::Strings),
        default: Default::None,
        example: "{ Via = \"1.1 www\" }",
        meaning: "The service gets requests with these fields beside those of the same name.",
        ..OF_ROUTE
    },
    Key {
        name: "remove_request_headers",
        kind: Kind::List("strings"),
        default: Default::None,
        example: "[\"Accept-Encoding\"]",
        meaning: "The service gets requests without these fields.",
        ..OF_ROUTE
    },
    Key {
        name: "set_response_headers",
        kind: Kind::Table(Entries::Strings),
        default: Default::None,
        example: "{ X-Robots-Tag = \"none\" }",
        meaning: "Callers get answers with these fields instead of those of the same name; [values of the request](#values-of-a-request) may stand in them.",
        ..OF_ROUTE
    },
    Key {
        name: "add_response_headers",
        kind: Kind::Table(Entries::Strings),
        default: Default::None,
        example: "{ Via = \"1.1 www\" }",
        meaning: "Callers get answers with these fields beside those of the same name.",
        ..OF_ROUTE
    },
    Key {
        name: "remove_response_headers",
        kind: Kind::List("strings"),
        default: Default::None,
        example: "[\"Server\"]",
        meaning: "Callers get answers without these fields.",
        ..OF_ROUTE
    },
    Key {
        name: "max_body",
        kind: Kind::Text("a size such as `16M`"),
        default: Default::Words("any"),
        example: "\"16M\"",
        meaning: "The largest body of a request; a larger one gets 413.",
        ..OF_ROUTE
    },
    Key {
        name: "read_timeout",
        kind: Kind::TimeSpan,
        default: Default::Words("none"),
        example: "\"1min\"",
        meaning: "The longest wait for the next part of the service's answer; then callers get 504.",
        ..OF_ROUTE
    },
    Key {
        name: "write_timeout",
        kind: Kind::TimeSpan,
        default: Default::Words("none"),
        example: "\"1min\"",
        meaning: "The longest wait until the service takes the next part of a request.",
        ..OF_ROUTE
    },
    Key {
        name: "affinity",
        kind: Kind::Words(&[("cookie", "A cookie of the proxy."), ("source", "The client's address.")]),
        default: Default::Words("requests go round"),
        example: "\"cookie\"",
        meaning: "How the proxy recognizes a client, to send all its requests to one deployment as long as that runs.",
        ..OF_ROUTE
    },
    Key {
        name: "compress",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        meaning: "`true`: the proxy compresses answers for callers that accept it.",
        ..OF_ROUTE
    },
    Key {
        name: "basic_auth",
        kind: Kind::Text("a file"),
        default: Default::Words("everybody may call"),
        example: "\"/etc/conductor/htpasswd\"",
        meaning: "Callers must log in as one of this file's users, [`htpasswd -B`](#login).",
        ..OF_ROUTE
    },
    Key {
        name: "forward_auth",
        kind: Kind::Text("an address"),
        default: Default::Words("everybody may call"),
        example: "\"http://127.0.0.1:9091/api/verify\"",
        meaning: "A server that the proxy [asks about each request](#login): the request passes if the server answers \
                  with 2xx.",
        ..OF_ROUTE
    },
    Key {
        name: "forward_auth_headers",
        kind: Kind::List("strings"),
        default: Default::None,
        example: "[\"Remote-User\"]",
        needs: "route = [{ forward_auth = \"http://127.0.0.1:9091/api/verify\" }]",
        meaning: "Header fields of that answer which the service gets, and which callers cannot set.",
        ..OF_ROUTE
    },
    Key {
        name: "access_log",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        meaning: "`true`: the proxy logs a line for each request, with the service's name; with Caddy the name is the \
                  answer's field `Conductor-Service`.",
        ..OF_ROUTE
    },
    Key {
        name: "error_pages",
        kind: Kind::Table(Entries::Strings),
        default: Default::None,
        example: "{ 404 = \"/srv/www/404.html\" }",
        meaning: "Files that replace the bodies of answers with these statuses: the service's, and the proxy's own \
                  502, 503 and 504 when the service does not answer.",
        ..OF_ROUTE
    },
    Key {
        name: "keepalive",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        meaning: "`true`: the proxy uses connections to a deployment for [more than one request](#connections).",
        ..OF_ROUTE
    },
    Key {
        name: "snippet",
        kind: Kind::Table(Entries::Strings),
        default: Default::None,
        example: "{ caddy = \"header X-A b\" }",
        meaning: "Lines for the proxy's own configuration of the route, by [driver](proxies.md).",
        ..OF_ROUTE
    },
];
