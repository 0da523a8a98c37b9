//! What programs see of a request, and what callers get of what programs write.

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{ACT, EXEC, curl, declare, direct, get, ready};

scenarios!("functions":
    meta_variables,
    headers_of_answers,
    bodies,
);

const NPH: &str = "#!/bin/sh\nprintf 'HTTP/1.1 203 My own words\\r\\nX-Own: yes\\r\\n\\r\\nnph\\n'\n";

fn meta_variables(m: &mut Machine) {
    ready(m);
    let id = declare(
        m,
        "act",
        ACT,
        &format!("aliases = [\"/act\"]\npath_info_strip = 0\n{EXEC}environment = {{ OWN = \"it's %h $HOME\" }}\n"),
    );
    let options =
        "--header 'Proxy: evil' --header 'X-Two: 1' --header 'X-Two: 2' --header 'Content-Type: a/b' --data hello";
    let (status, env) = curl(m, "/act/env?a=b&c", options);
    assert_eq!(status, 200, "{env}");
    let has = |line: &str| assert!(env.lines().any(|it| it == line), "{line} is missing:\n{env}");
    for line in [
        "GATEWAY_INTERFACE=CGI/1.1",
        "SERVER_PROTOCOL=HTTP/1.1",
        "SERVER_NAME=localhost",
        "SERVER_PORT=80",
        "REQUEST_METHOD=POST",
        "SCRIPT_NAME=/act",
        "PATH_INFO=/env",
        "QUERY_STRING=a=b&c",
        "REQUEST_URI=/act/env?a=b&c",
        "CONTENT_LENGTH=5",
        "CONTENT_TYPE=a/b",
        "HTTP_X_TWO=1, 2",
        "HTTP_HOST=localhost",
        "OWN=it's %h $HOME",
    ] {
        has(line);
    }
    has(&format!("PATH_TRANSLATED=/etc/conductor/functions/{id}/env"));
    assert!(env.contains("REMOTE_ADDR=127.0.0.1") || env.contains("REMOTE_ADDR=::1"), "{env}");
    assert!(!env.contains("evil") && !env.contains("LISTEN_"), "{env}");

    let strips = declare(m, "strips", ACT, &format!("path_info_strip = 2\n{EXEC}"));
    let (_, env) = get(m, &format!("/cgi/{strips}/a/b/env"));
    assert!(env.contains(&format!("SCRIPT_NAME=/cgi/{strips}/a/b\n")) && env.contains("PATH_INFO=/env\n"), "{env}");
}

fn headers_of_answers(m: &mut Machine) {
    ready(m);
    let id = declare(m, "act", ACT, EXEC);
    let home = format!("/cgi/{id}");
    let headers = curl(m, &format!("{home}/status"), "--include").1;
    assert!(
        headers.starts_with("HTTP/1.1 418")
            && headers.to_lowercase().contains("x-kind: teapot")
            && headers.ends_with("tea\n"),
        "{headers}"
    );
    let (status, local) = curl(m, &format!("{home}/local"), "--data ignored");
    assert!(
        status == 200 && local.contains("QUERY_STRING=from=local") && local.contains("REQUEST_METHOD=GET"),
        "{local}"
    );
    assert!(local.contains("CONTENT_LENGTH=\n"), "{local}");
    assert_eq!(get(m, &format!("{home}/circle")).0, 502);
    let client = curl(m, &format!("{home}/client"), "--include").1;
    assert!(
        client.starts_with("HTTP/1.1 302") && client.to_lowercase().contains("location: http://elsewhere.example/"),
        "{client}"
    );
    let head = curl(m, &format!("{home}/env"), "--head").1;
    assert!(head.starts_with("HTTP/1.1 200") && !head.contains("GATEWAY"), "{head}");

    // Two requests on one connection.
    let reused =
        m.run(&format!("curl --silent --verbose --unix-socket /run/conductor/cgi/{id} http://x/1 http://x/2 2>&1"));
    assert!(reused.contains("Re-using existing") && reused.contains("here /2"), "{reused}");

    let nph = declare(m, "nph", NPH, "[exec]\ncommand = [\"./nph-own\"]\n");
    let own = direct(m, &nph, "/", "--include").1;
    assert!(
        own.starts_with("HTTP/1.1 203 My own words") && own.contains("x-own: yes") && own.ends_with("nph\n"),
        "{own}"
    );
}

fn bodies(m: &mut Machine) {
    ready(m);
    let id = declare(m, "act", ACT, &format!("max_body = \"10M\"\n{EXEC}"));
    let home = format!("/cgi/{id}");
    // Bodies of any length, with one that is told and without. Not through Caddy 2.6, which now and then cuts off the answer
    // to a POST on a busy machine.
    for size in [0usize, 1, 4096, 65536, 65537, 10_000_000] {
        m.run(&format!("head -c {size} /dev/zero >/root/body"));
        for options in ["", "--header 'Transfer-Encoding: chunked'"] {
            let (status, text) = direct(
                m,
                &id,
                &format!("{home}/count"),
                &format!("--request POST --data-binary @/root/body {options}"),
            );
            assert_eq!((status, text), (200, format!("{size} {size}\n")), "{size} {options}");
        }
    }
    m.run("head -c 10000000 /dev/urandom >/root/body");
    let options = "--data-binary @/root/body --output /root/answer";
    assert_eq!(direct(m, &id, &format!("{home}/cat"), options).0, 200);
    m.run("cmp /root/body /root/answer");
}
