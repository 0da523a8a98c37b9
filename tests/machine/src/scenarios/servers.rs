//! Servers of Debian's packages, as examples/ declares them: each is updated, scaled, rolled back and killed while its own
//! clients call, and removed.

use std::time::Duration;

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use super::callers::Callers;
use crate::scenario::scenarios;

const EXAMPLES: &str = "/usr/share/doc/conductor/examples";
const SECOND: Duration = Duration::from_secs(1);

const WEB: &str = "it is updated, scaled and rolled back under load, killed, and removed";
const NO_REQUEST_FAILS: &str = "no request fails; nothing is left";
const PORT: &str = "it is updated and rolled back while its own clients call, killed, removed, and declared again";
const NO_CALL_FAILS: &str = "no call fails; its data is there; nothing else is left";

scenarios!("servers" with Servers:
    tomcat(|m| Server::web("tomcat").tried(m)): WEB => NO_REQUEST_FAILS,
    django: WEB => "no request fails; nothing is left but its database",
    gunicorn(|m| Server::web("gunicorn").tried(m)): WEB => NO_REQUEST_FAILS,
    uvicorn(|m| Server::web("uvicorn").tried(m)): WEB => NO_REQUEST_FAILS,
    flask(|m| Server::web("flask").tried(m)): WEB => NO_REQUEST_FAILS,
    node(|m| Server::web("node").tried(m)): WEB => NO_REQUEST_FAILS,
    puma(|m| Server::web("puma").tried(m)): WEB => NO_REQUEST_FAILS,
    php(|m| Server::web("php").tried(m)): WEB => NO_REQUEST_FAILS,
    starman(|m| Server::web("starman").tried(m)): WEB => NO_REQUEST_FAILS,
    node_exporter(|m| Server::web("node-exporter").at("/metrics").tried(m)): WEB => NO_REQUEST_FAILS,
    registry(|m| Server::web("registry").at("/v2/").tried(m)): WEB => NO_REQUEST_FAILS,
    balance(|m| Server::web("balance").tried(m)): WEB => NO_REQUEST_FAILS,
    lighttpd(|m| Server::web("static").at("/version.txt").tried(m)): WEB => NO_REQUEST_FAILS,
    apache(|m| Server::web("apache").at("/version.txt").tried(m)): WEB => NO_REQUEST_FAILS,
    caddy(|m| Server::web("files").at("/version.txt").tried(m)): WEB => NO_REQUEST_FAILS,
    nginx(|m| Server::web("pages").at("/version.txt").tried(m)): WEB => NO_REQUEST_FAILS,
    busybox(|m| Server::web("busybox").at("/version.txt").tried(m)): WEB => NO_REQUEST_FAILS,
    redis(|m| Server::port("redis-data", REDIS).keeping_data().tried(m)): PORT => NO_CALL_FAILS,
    postgresql(|m| Server { before: PASSWORD, variables: PG, ..Server::port("pg", PSQL) }.keeping_data().tried(m)): PORT => NO_CALL_FAILS,
    mariadb(|m| Server { before: PASSWORD, ..Server::port("maria", MARIADB) }.keeping_data().tried(m)): PORT => NO_CALL_FAILS,
    beanstalkd(|m| Server::port("queue", BEANSTALK).keeping_data().tried(m)): PORT => NO_CALL_FAILS,
    cache(|m| Server::port("cache", PING).tried(m)): PORT => NO_CALL_FAILS,
    memcached(|m| Server::port("memcache", MEMCACHE).tried(m)): PORT => NO_CALL_FAILS,
    mosquitto(|m| Server::port("mqtt", MQTT).tried(m)): PORT => NO_CALL_FAILS,
    nats(|m| Server::port("bus", NATS).tried(m)): PORT => NO_CALL_FAILS,
    openssh(|m| Server::port("login", SSH).tried(m)): PORT => NO_CALL_FAILS,
    rsync(|m| Server::port("mirror", RSYNC).tried(m)): PORT => NO_CALL_FAILS,
    git(|m| Server { before: REPOSITORY, ..Server::port("repos", GIT) }.tried(m)): PORT => NO_CALL_FAILS,
);

const REDIS: Client =
    Client { first: "redis-cli set greeting 'good morning'", call: "redis-cli get greeting", answer: "good morning" };

/// The password of databases, a credential.
const PASSWORD: &str =
    "umask 077; mkdir -p /etc/credstore; cd /etc/credstore; printf secret | tee pg-password >maria-password";
const PG: &str = "PG=$(ls /usr/lib/postgresql)";
const PSQL: Client = Client {
    first: r#"PGPASSWORD=secret psql -h 127.0.0.1 -U postgres -c "create table word as select 'hello' as word""#,
    call: "PGPASSWORD=secret psql -h 127.0.0.1 -U postgres -A -t -c 'select word from word'",
    answer: "hello",
};
const MARIADB: Client = Client {
    first: r#"mariadb -h 127.0.0.1 -psecret -e "create database words; create table words.word as select 'hello' as word""#,
    call: "mariadb -h 127.0.0.1 -psecret --skip-column-names -e 'select word from words.word'",
    answer: "hello",
};

const BEANSTALK: Client = Client {
    first: r"printf 'use jobs\r\nput 1 0 60 5\r\nhello\r\nquit\r\n' | nc 127.0.0.1 11300 | grep INSERTED",
    call: r"printf 'use jobs\r\npeek-ready\r\nquit\r\n' | nc 127.0.0.1 11300",
    answer: "hello",
};
const PING: Client = Client { first: "", call: "redis-cli ping", answer: "PONG" };
const MEMCACHE: Client =
    Client { first: "", call: r"printf 'version\r\nquit\r\n' | nc 127.0.0.1 11211", answer: "VERSION 1." };
const MQTT: Client = Client {
    first: "mosquitto_sub -h 127.0.0.1 -t greeting -C 1 >heard & sleep 0.5
            mosquitto_pub -h 127.0.0.1 -t greeting -m hello; wait; grep -x hello heard",
    call: "mosquitto_pub -h 127.0.0.1 -q 1 -t greeting -m hello && echo published",
    answer: "published",
};
const NATS: Client = Client {
    first: "",
    call: r"{ printf 'CONNECT {}\r\nPING\r\n'; sleep 0.2; } | nc -N 127.0.0.1 4222",
    answer: "PONG",
};
const SSH: Client = Client {
    first: "ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519; cp .ssh/id_ed25519.pub .ssh/authorized_keys",
    call: "ssh -o StrictHostKeyChecking=no -p 2222 root@127.0.0.1 echo logged in",
    answer: "logged in",
};
const RSYNC: Client = Client { first: "", call: "rsync rsync://127.0.0.1/files/", answer: "file.txt" };
const REPOSITORY: &str = "git init --quiet --bare /srv/git/hello.git";
const GIT: Client = Client {
    first: "git clone --quiet /srv/git/hello.git work; cd work
            git -c user.name=me -c user.email=me@localhost commit --quiet --allow-empty -m one; git push --quiet",
    call: "git ls-remote git://127.0.0.1/hello.git",
    answer: "refs/heads/",
};

/// An example, and how it is called.
struct Server {
    /// Its directory in examples/.
    name: &'static str,
    /// The service that scales and that a process of is killed: itself, or a part.
    service: &'static str,
    /// Words behind the directory.
    variables: &'static str,
    /// Commands before it is declared.
    before: &'static str,
    calls: Calls,
    keeps_data: bool,
}

enum Calls {
    /// Through Caddy at NAME.localhost and this path; the answer has the variable VERSION.
    Http(&'static str),
    Client(Client),
}

/// What a client of it runs.
struct Client {
    /// Once, before all others.
    first: &'static str,
    call: &'static str,
    /// What `call` prints, if it goes well.
    answer: &'static str,
}

impl Server {
    fn web(name: &'static str) -> Self {
        Self { name, service: name, variables: "", before: "", calls: Calls::Http("/"), keeps_data: false }
    }

    fn port(name: &'static str, client: Client) -> Self {
        Self { calls: Calls::Client(client), ..Self::web(name) }
    }

    fn at(self, path: &'static str) -> Self {
        Self { calls: Calls::Http(path), ..self }
    }

    fn keeping_data(self) -> Self {
        Self { keeps_data: true, ..self }
    }

    fn tried(&self, m: &Machine) {
        m.run(&format!("cd /root; {}", self.before));
        let before = remains(m, self.name);
        self.declare(m, "seven");
        if let Calls::Client(client) = &self.calls {
            m.run(&format!("cd /root; {}", client.first));
        }
        self.answers(m, "seven");
        self.changes(m);
        self.kill(m);
        m.run(&format!("conductor service rm {}", self.name));
        // systemd drops a slice soon after its last process.
        m.until("nothing is left", 10 * SECOND, || {
            let after = remains(m, self.name);
            let left: Vec<_> = after.lines().filter(|line| !before.lines().any(|before| before == *line)).collect();
            if !left.is_empty() {
                println!("{}: {left:?}", self.name);
            }
            left.is_empty()
        });
        if self.keeps_data {
            self.declare(m, "seven");
            self.answers(m, "seven");
        }
    }

    /// An update, another number of deployments and the way back, while clients call.
    fn changes(&self, m: &Machine) {
        let Self { name, service, .. } = self;
        match &self.calls {
            Calls::Http(path) => {
                let (host, path) = (format!("{name}.localhost"), (*path).into());
                let load = m.load(Load { host, path, post: false, clients: 4, pause_ms: 5, ..Load::default() });
                self.declare(m, "eight");
                self.answers(m, "eight");
                m.run(&format!("conductor service scale {service} 3"));
                self.back(m);
                self.answers(m, "seven");
                let seen = load.stop();
                assert_eq!(seen.failed, 0, "{seen}");
                m.note(seen);
            }
            Calls::Client(Client { call, answer, .. }) => {
                let callers = Callers::start(m, call, answer);
                m.run(&format!("conductor service restart {name}"));
                self.answers(m, "");
                self.back(m);
                let seen = callers.stop(m);
                assert_eq!(seen.failed, 0, "{seen}");
                m.note(seen);
            }
        }
    }

    fn declare(&self, m: &Machine, version: &str) {
        let Self { name, variables, .. } = self;
        let version = if matches!(self.calls, Calls::Http(_)) { format!("VERSION={version}") } else { String::new() };
        m.run(&format!("conductor service declare {EXAMPLES}/{name} {variables} {version}"));
    }

    /// The declaration of parts is one for several generations: it is declared as it was.
    fn back(&self, m: &Machine) {
        if self.service == self.name {
            m.run(&format!("conductor service rollback {}", self.name));
        } else {
            self.declare(m, "seven");
        }
    }

    #[track_caller]
    fn answers(&self, m: &Machine, version: &str) {
        let said = self.call(m);
        let is_answer = match &self.calls {
            Calls::Http(_) => said.contains(version),
            Calls::Client(client) => said.contains(client.answer),
        };
        assert!(is_answer, "{version}: {said}");
    }

    fn call(&self, m: &Machine) -> String {
        match &self.calls {
            Calls::Http(path) => {
                let url = format!("http://{}.localhost{path}", self.name);
                m.try_run(&format!("curl --silent --show-error --fail --include --max-time 5 {url}")).to_string()
            }
            Calls::Client(client) => m.try_run(&format!("cd /root; timeout 20 {}", sh(client.call))).to_string(),
        }
    }

    /// Kills the main process of the first deployment: systemd starts another one.
    fn kill(&self, m: &Machine) {
        let units = format!("systemctl list-units --plain --no-legend '{}-????????????@1.service'", self.service);
        let unit = m.run(&format!("{units} | cut -d ' ' -f 1")).trim().to_owned();
        let before = m.prop(&unit, "InvocationID");
        m.run(&format!("systemctl kill --kill-whom=main --signal=KILL {unit}"));
        m.until("it is back", 60 * SECOND, || {
            m.prop(&unit, "InvocationID") != before && m.prop(&unit, "ActiveState") == "active"
        });
        self.answers(m, "seven");
        assert_eq!(m.failed_units(), Vec::<String>::new());
    }
}

/// A command as one word of `sh -c`.
fn sh(command: &str) -> String {
    format!("sh -c '{}'", command.replace('\'', r"'\''"))
}

/// All units, processes, sockets and users of the machine, and the files with this name: what a service must not leave.
fn remains(m: &Machine, name: &str) -> String {
    m.run(&format!(
        "systemctl list-units --all --plain --no-legend --no-pager | awk '{{ print $1, $3 }}' | grep -v -e '^conductor.slice ' -e ^run-credentials-systemd | sort
        ps -e -o user:40,comm --no-headers | grep -v -e ' ps$' -e ' sh$' -e ' timeout$' -e ' grep$' -e ' sort$' | sort
        ss --no-header --listening --numeric --tcp --udp --unix | awk '{{ print $1, $5 }}' | grep -v ^u_dgr | sort
        getent passwd conductor-{name} || true
        find /run/conductor /run/systemd /run/credentials /etc/conductor /etc/systemd /var/lib/conductor /tmp /var/tmp \
            -name '*{name}*' ! -path '/run/systemd/journal/*' | sort"
    ))
}

/// Two parts, one database: what is posted comes into it through the queue and the worker.
fn django(m: &mut Machine) {
    let key = "umask 077; mkdir -p /etc/credstore; head -c 32 /dev/urandom | base64 >/etc/credstore/django-key";
    // Its broker is another service, which stays.
    m.run(&format!("conductor service declare {EXAMPLES}/redis-data; redis-cli ping"));
    let django = Server { service: "django.web", before: key, ..Server::web("django") };
    django.tried(m);
}
