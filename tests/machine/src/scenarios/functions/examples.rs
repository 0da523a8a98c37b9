//! The examples of functions, each by the client that people have for it.

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{curl, get, ready};

scenarios!("functions":
    examples,
    git_push,
);

/// Each example by the client that people have for it.
fn examples(m: &mut Machine) {
    ready(m);
    m.run(
        "git init --quiet --bare /srv/git/hello.git; git clone --quiet /srv/git/hello.git /root/work 2>/dev/null; cd /root/work
        git config user.name t; git config user.email t@localhost
        head -c 3000000 /dev/urandom >large; echo readable >README; git add .; git commit --quiet --message 'First words'
        git push --quiet origin HEAD:master",
    );
    for example in ["shell", "python", "git", "cgit"] {
        m.run(&format!("conductor cgi declare /usr/share/doc/conductor/examples/functions/{example}"));
    }
    assert_eq!(get(m, "/hello/you"), (200, "Hello you\n".into()));
    assert_eq!(curl(m, "/words", "--data 'a b b'"), (200, "{\"b\": 2, \"a\": 1}".into()));
    assert_eq!(get(m, "/words").0, 405);
    // On a busy machine Caddy 2.6 cuts off the answer to a POST now and then, and a clone with it: its journal says "use of
    // closed network connection" of the function's socket.
    m.run(
        "for i in 1 2 3 4 5; do
            rm -rf /root/clone; git clone --quiet --branch master http://localhost/git/hello.git /root/clone && break
        done; cmp /root/work/large /root/clone/large",
    );
    let (status, page) = get(m, "/cgit/");
    assert!(status == 200 && page.contains("hello.git"), "{page}");
    let (status, page) = get(m, "/cgit/hello.git/log/?h=master");
    assert!(status == 200 && page.contains("First words"), "{page}");
}

/// Pushed by git's own client, into a repository that allows it, as the user whose it is.
fn git_push(m: &mut Machine) {
    ready(m);
    m.run(
        "useradd --system --home-dir /srv/git git; git init --quiet --bare /srv/git/open.git; git init --quiet --bare /srv/git/closed.git
        git -C /srv/git/open.git config http.receivepack true; chown -R git: /srv/git
        git init --quiet /root/work; cd /root/work; git config user.name t; git config user.email t@localhost
        head -c 3000000 /dev/urandom >large; git add .; git commit --quiet --message 'First words'",
    );
    m.run("conductor cgi declare /usr/share/doc/conductor/examples/functions/git USER=git");
    // Larger than git's http.postBuffer: it is sent in chunks. For Caddy 2.6 see `examples`.
    let push = "cd /root/work; for i in 1 2 3 4 5; do git push --quiet http://localhost/git/open.git HEAD:master && break; done";
    m.run(push);
    let (ours, theirs) = ("git -C /root/work rev-parse HEAD", "git -C /srv/git/open.git rev-parse master");
    assert_eq!(m.run(ours), m.run(&format!("su git -s /bin/sh -c '{theirs}'")));
    m.run("cd /root/work; echo more >more; git add .; git commit --quiet --message 'More words'");
    m.run(push);
    m.run("su git -s /bin/sh -c 'git -C /srv/git/open.git fsck --strict'");
    let refused = m.try_run("cd /root/work; git push http://localhost/git/closed.git HEAD:master");
    assert!(!refused.success() && refused.stderr.contains("403"), "{refused}");
    assert_eq!(m.run("find /srv/git ! -user git"), "");
}
