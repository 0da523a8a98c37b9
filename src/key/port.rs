//! `[[port]]`: addresses at which callers reach a service without a reverse proxy.

use crate::key::description::{Default, Digest, KEY, Key, Kind};

const OF_PORT: Key = Key { digest: Some(Digest::Settings), reported_as: "port", ..KEY };
const OF_PASSED_PORT: Key = Key { digest: Some(Digest::Generation), reported_as: "port.pass", ..KEY };

pub(crate) const PORT: &[Key] = &[
    Key {
        name: "listen",
        kind: Kind::Text("an address"),
        default: Default::Required,
        example: "\"127.0.0.1:5432\"",
        meaning: "The address at which systemd listens: `\"5432\"`, `\"127.0.0.1:5432\"`, `\"[::1]:5432\"`, \
                  `\"/run/db.sock\"` or `\"vsock:2:5432\"`.",
        systemd: "`ListenStream=`, or `ListenDatagram=`",
        ..OF_PORT
    },
    Key {
        name: "pass",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        meaning: "`true` passes systemd's own socket to every deployment, of the old and the new generation side by \
                  side: no relay stands between callers and the process, which sees their addresses. The process \
                  takes the socket from systemd, `sd_listen_fds(3)`, also with [`type = \"none\"`](#listen) in \
                  `[listen]`.",
        systemd: "`Sockets=`",
        ..OF_PASSED_PORT
    },
    Key {
        name: "datagram",
        needs: "port = [{ listen = \"53\", pass = true }]",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        meaning: "`true` listens for datagrams: UDP. It needs `pass = true`.",
        systemd: "`ListenDatagram=`",
        ..OF_PASSED_PORT
    },
    Key {
        name: "proxy_protocol",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        meaning: "`true` begins each connection to the process with the caller's address, in version 1 of the PROXY \
                  protocol. A server behind the relay needs it to see that address.",
        digest: Some(Digest::Generation),
        reported_as: "port.proxy_protocol",
        ..OF_PORT
    },
    Key {
        name: "name",
        needs: "port = [{ listen = \"53\", pass = true }]",
        kind: Kind::Text("a name"),
        example: "\"dns\"",
        meaning: "The name of a passed socket in `$LISTEN_FDNAMES`, by which processes with several sockets tell them \
                  apart. Without it, the name is that of the socket's unit.",
        systemd: "`FileDescriptorName=`",
        ..OF_PASSED_PORT
    },
    Key {
        name: "listener",
        needs: "listen.metrics = { type = \"tcp\" }",
        default: Default::Words("that of `[listen]` itself"),
        example: "\"metrics\"",
        meaning: "The [further listener](#listenname) that the port leads to.",
        reported_as: "port.listener",
        ..OF_PORT
    },
];
