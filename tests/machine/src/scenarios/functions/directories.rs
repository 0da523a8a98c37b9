//! Directories of programs, files beside them, and PHP.

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{ACT, DIR, curl, declare, get, ready, try_declare};

scenarios!("functions":
    directory,
);

/// A file with an interpreter: it need not be executable.
const PAGE: &str = "import os\nprint('Content-Type: text/plain\\n')\n\
                    print(*(os.environ.get(it, '-') for it in ('SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'SCRIPT_FILENAME', 'REDIRECT_STATUS')), os.getcwd())\n";

const MANIFEST: &str = r#"aliases = ["/tree"]
directory = "/srv/programs"
interpreter = { py = ["python3"] }
index = ["none.py", "index.py"]
[exec]
"#;

fn with_static(files: &str) -> String {
    MANIFEST.replace(
        "[exec]",
        &format!("static = {{ \"/tree/css\" = \"{files}\", \"/robots.txt\" = \"{files}/robots.txt\" }}\n[exec]"),
    )
}

fn write_tree(m: &Machine) {
    m.write_executable("/srv/programs/act", ACT);
    m.write_executable("/srv/programs/.hidden", ACT);
    m.write("/srv/programs/data.txt", "not a program");
    for path in ["index.py", "sub/page.py", "css/made.py"] {
        m.write(&format!("/srv/programs/{path}"), PAGE);
    }
    m.write_executable("/srv/outside", ACT);
    m.run("ln -s act /srv/programs/link; ln -s ../outside /srv/programs/out; ln -s / /srv/programs/root; mkdir /srv/programs/bare");
    for number in ["1", "2"] {
        m.write(&format!("/srv/files{number}/style.css"), &format!("body {{ order: {number} }}\n"));
        m.write(&format!("/srv/files{number}/made.py"), "SECRET = 1\n");
        m.write(&format!("/srv/files{number}/.htpasswd"), "secret");
        m.write(&format!("/srv/files{number}/robots.txt"), &format!("# {number}\n"));
    }
}

fn directory(m: &mut Machine) {
    ready(m);
    write_tree(m);
    let id = declare(m, "tree", ACT, &with_static("/srv/files1"));
    assert_programs_are_found(m, &id, "/tree");
    assert_programs_are_found(m, &id, &format!("/cgi/{id}"));
    assert_files_are_served(m, "1");

    // The addresses of files move to a newer version of the function, and others have no right to them.
    let newer = declare(m, "tree", ACT, &with_static("/srv/files2"));
    assert_files_are_served(m, "2");
    let thief =
        try_declare(m, "thief", ACT, "static = { \"/robots.txt\" = \"/srv\" }\n[exec]\ncommand = [\"./act\"]\n");
    assert!(thief.status == 3 && thief.stderr.contains("belongs to the function \"tree\""), "{thief}");
    m.run(&format!("conductor cgi rm {id}"));
    assert_files_are_served(m, "2");
    m.run(&format!("conductor cgi rm {newer}"));
    for path in ["/tree/act", "/robots.txt", "/tree/css/style.css"] {
        // Without a function there is no site.
        assert!(
            ["404", "000"].contains(
                &m.run(&format!(
                    "curl --silent --output /dev/null --write-out '%{{http_code}}' http://localhost{path} || true"
                ))
                .as_str()
            ),
            "{path}"
        );
    }

    // A directory beside the manifest is part of the function; each request may have a unit of its own.
    m.write_executable(&format!("{DIR}/own/programs/act"), ACT);
    let own = declare(m, "own", ACT, "aliases = [\"/own\"]\nmode = \"isolated\"\ndirectory = \"./programs\"\n[exec]\n");
    assert_eq!(get(m, "/own/act/x"), (200, "here /x\n".into()));
    assert_eq!(get(m, "/own/none").0, 404);
    let (_, env) = get(m, "/own/act/env");
    assert!(env.contains(&format!("SCRIPT_FILENAME=/etc/conductor/functions/{own}/programs/act\n")), "{env}");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn assert_programs_are_found(m: &Machine, id: &str, home: &str) {
    assert_eq!(get(m, &format!("{home}/act/a%20b")), (200, "here /a b\n".into()));
    assert_eq!(get(m, &format!("{home}/link")), (200, "here \n".into()));
    let (_, env) = get(m, &format!("{home}/act/env"));
    for line in
        [format!("SCRIPT_NAME={home}/act"), "SCRIPT_FILENAME=/srv/programs/act".into(), "PWD=/srv/programs".into()]
    {
        assert!(env.lines().any(|it| it == line), "{line}: {env}");
    }
    let page = format!("{home}/sub/page.py /x a=b /srv/programs/sub/page.py 200 /srv/programs/sub\n");
    assert_eq!(get(m, &format!("{home}/sub/page.py/x?a=b")), (200, page));
    let index = format!("{home}/index.py   /srv/programs/index.py 200 /srv/programs\n");
    assert_eq!(get(m, &format!("{home}/")), (200, index));
    let (status, moved) = curl(m, &format!("{home}?q=1"), "--include");
    assert!(status == 301 && moved.to_lowercase().contains(&format!("location: {home}/?q=1")), "{moved}");
    for path in ["none", ".hidden", "out", "root/srv/outside", "bare", "bare/", "%2e%2e/outside", "act%00"] {
        let (status, body) = curl(m, &format!("{home}/{path}"), "--path-as-is");
        assert!(matches!(status, 400 | 404) && !body.contains("here"), "{path}: {status} {body}");
    }
    assert_eq!(get(m, &format!("{home}/data.txt")).0, 403);
    let log = m.run(&format!("journalctl --sync; journalctl CONDUCTOR_FUNCTION={id} --output=cat"));
    assert!(log.contains("data.txt is not executable, and its suffix has no interpreter"), "{log}");
}

/// The proxy serves what is there, and neither what is hidden nor the text of programs.
fn assert_files_are_served(m: &Machine, number: &str) {
    let (status, style) = curl(m, "/tree/css/style.css", "--include");
    assert!(status == 200 && style.contains("text/css") && style.contains(&format!("order: {number}")), "{style}");
    assert_eq!(get(m, "/robots.txt"), (200, format!("# {number}\n")));
    let made = "/tree/css/made.py   /srv/programs/css/made.py 200 /srv/programs/css\n";
    assert_eq!(get(m, "/tree/css/made.py"), (200, made.into()), "the function's own program");
    for path in ["/tree/css/none.css", "/tree/css/.htpasswd", "/tree/css/", "/robots.txt/x", "/tree/css/../../outside"]
    {
        let (status, body) = curl(m, path, "--path-as-is");
        assert!(status == 404 && !body.contains("secret"), "{path}: {status} {body}");
    }
    assert_eq!(curl(m, "/tree/css/style.css", "--data x").0, 404, "a file takes no posts");
}
