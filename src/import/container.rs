//! What files of containers have in common: images, published ports, volumes.

use camino::Utf8Path;

use crate::import::declaration::{Declaration, Section, Service};
use crate::import::input::Input;
use crate::import::text::Text;

/// Images whose port nobody writes down, and that port.
const PORTS: &[(&str, u16)] = &[
    ("postgres", 5432),
    ("postgis", 5432),
    ("pgvector", 5432),
    ("timescaledb", 5432),
    ("mysql", 3306),
    ("mariadb", 3306),
    ("redis", 6379),
    ("valkey", 6379),
    ("mongo", 27017),
    ("memcached", 11211),
    ("rabbitmq", 5672),
    ("elasticsearch", 9200),
    ("opensearch", 9200),
    ("nginx", 80),
    ("httpd", 80),
    ("caddy", 80),
    ("traefik", 80),
    ("wordpress", 80),
    ("nextcloud", 80),
    ("phpmyadmin", 80),
    ("minio", 9000),
    ("adminer", 8080),
    ("mailhog", 8025),
    ("zookeeper", 2181),
    ("cassandra", 9042),
    ("influxdb", 8086),
    ("grafana", 3000),
    ("prometheus", 9090),
    ("vault", 8200),
    ("consul", 8500),
    ("nats", 4222),
    ("clickhouse-server", 8123),
    ("neo4j", 7687),
    ("couchdb", 5984),
];

/// Writes the registry that docker means into an image's name, because podman has none of its own.
pub(crate) fn image(name: &str) -> String {
    let name = name.trim().strip_prefix("docker://").unwrap_or(name.trim());
    let first = name.split('/').next().unwrap_or_default();
    let has_registry = name.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    match (has_registry, name.contains('/')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("docker.io/{name}"),
        (false, false) => format!("docker.io/library/{name}"),
    }
}

/// Writes the registry into a text whose beginning is an image's name.
pub(crate) fn image_text(text: Text) -> Text {
    let shown = text.shown();
    let begins_with_variable =
        text.split('/').first().is_some_and(|first| first.literal().is_none() && shown.contains('/'));
    if begins_with_variable {
        return text;
    }
    let full = image(&shown);
    let prefix = full.strip_suffix(shown.trim()).unwrap_or_default().to_owned();
    let mut out = Text::from(prefix);
    out.push(text);
    out
}

/// The port on which programs of a well-known image listen.
pub(crate) fn port_of_image(image: &str) -> Option<u16> {
    let name = image.rsplit('/').next()?.split([':', '@']).next()?;
    PORTS.iter().find(|(known, _)| *known == name).map(|(_, port)| *port)
}

/// A port that a container publishes on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    /// The address and port of the host, as `[[port]]` has them; None for any free port.
    pub(crate) host: Option<Text>,
    pub(crate) container: u16,
    pub(crate) is_udp: bool,
}

impl Published {
    /// Reads `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, in which ports may be ranges.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn parse(text: &Text) -> Result<Vec<Self>, String> {
        let shown = text.shown();
        let unreadable = || format!("{shown:?} is no port that can be published");
        // An address of IPv6 has colons of its own.
        let (before, rest) = match shown.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
            Some((address, _)) => {
                let rest = Text::from(shown[address.len() + 3..].to_owned());
                (Some(Text::from(format!("[{address}]"))), rest)
            }
            None => (None, text.clone()),
        };
        let mut parts = rest.split(':');
        let last = parts.pop().and_then(|last| last.with_defaults()).ok_or_else(unreadable)?;
        let (container, protocol) = last.split_once('/').unwrap_or((&last, "tcp"));
        let is_udp = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => false,
            "udp" => true,
            _ => return Err(format!("conductor listens for TCP and UDP, not for {protocol}")),
        };
        let host = parts.pop().filter(|host| host.literal() != Some(""));
        let address = match (before, parts.is_empty()) {
            (Some(address), _) => Some(address),
            (None, true) => None,
            (None, false) => Some(Text::joined(&parts, ":")),
        };
        let address = address.filter(|address| !matches!(address.literal(), Some("0.0.0.0" | "" | "[::]")));
        let (first, last) = range(container).ok_or_else(unreadable)?;
        if last - first > 31 {
            return Err("a range of more than 32 ports".to_owned());
        }
        let host_first = match (&host, first == last) {
            (None, _) | (Some(_), true) => None,
            (Some(host), false) => Some(range(&host.with_defaults().ok_or_else(unreadable)?).ok_or_else(unreadable)?.0),
        };
        Ok((first..=last)
            .map(|container| {
                let host = match host_first {
                    Some(host_first) => {
                        Some(Text::from((u32::from(host_first) + u32::from(container - first)).to_string()))
                    }
                    None => host.clone(),
                };
                let host = host.map(|host| match &address {
                    Some(address) => Text::joined(&[address.clone(), host], ":"),
                    None => host,
                });
                Self { host, container, is_udp }
            })
            .collect())
    }

    /// The port of the host, if it is a number.
    fn host_port(&self) -> Option<u16> {
        self.host.as_ref()?.with_defaults()?.rsplit(':').next()?.parse().ok()
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

/// Sets the ports of a container or pod, whose section is `engine`: the first one is that of `[listen]`, others are further
/// listeners. `host` is the name of a route. Returns what is approximated, if anything is.
pub(crate) fn publish(service: &mut Service, engine: &str, host: &str, ports: &[Published]) -> Option<&'static str> {
    let mut told = None;
    for published in ports.iter().filter(|published| !published.is_udp) {
        let listener = listener(service, engine, published.container);
        let of_proxy = matches!(published.host_port(), Some(80 | 443)) && !matches!(published.container, 443 | 8443);
        match &published.host {
            Some(address) if !of_proxy => {
                let mut port = Section::default();
                port.set("listen", address.clone());
                if let Some(listener) = listener {
                    port.set("listener", listener);
                }
                service.ports.push(port);
            }
            _ => {
                told = Some(
                    "callers of this host reach it over the reverse proxy: [[route]], whose host is to be changed",
                );
                route(service, host, listener.as_deref());
            }
        }
    }
    told
}

/// Makes a container or pod listen on a port. Returns the name of the listener if it is a further one.
pub(crate) fn listener(service: &mut Service, engine: &str, port: u16) -> Option<String> {
    match service.get(engine, "port") {
        None => {
            service.set(engine, "port", i64::from(port));
            None
        }
        Some(main) if *main == i64::from(port).into() => None,
        Some(_) => {
            let name = format!("p{port}");
            let section = service.section(&format!("listen.{name}"));
            section.set("type", "tcp").set("port", i64::from(port));
            Some(name)
        }
    }
}

/// Adds a route without TLS for a host of this machine, unless there is one.
pub(crate) fn route(service: &mut Service, host: &str, listener: Option<&str>) {
    let of_same = |route: &&Section| route.get("listener") == listener.map(Into::into).as_ref();
    if service.routes.iter().any(|route| of_same(&route)) {
        return;
    }
    let mut route = Section::default();
    let label = listener.map_or_else(String::new, |listener| format!("{listener}."));
    route.set_with("host", vec![format!("{label}{host}.localhost")], "write the host's DNS name");
    route.set_with("tls", "off", "remove it for HTTPS");
    if let Some(listener) = listener {
        route.set("listener", listener);
    }
    service.routes.push(route);
}

/// What became of a volume.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mounted {
    Same,
    /// It was copied into the declaration, and is read-only.
    Copied,
    /// It stays at this path of the host.
    Outside(String),
}

/// The place of a volume in a container.
pub(crate) struct Mount<'a> {
    pub(crate) source: Text,
    pub(crate) target: Text,
    /// With commas between them.
    pub(crate) options: &'a str,
}

/// Adds a volume to a container. A source that is relative to `input` becomes a file of the declaration if it is read-only
/// or a single file; a directory that is written to stays where it is.
pub(crate) fn mount(service: &mut Service, declaration: &mut Declaration, input: &Input, mount: Mount<'_>) -> Mounted {
    let Mount { source, target, options } = mount;
    let of_host = ["cached", "delegated", "consistent", "rw", "nocopy", ""];
    let mut options: Vec<_> = options.split(',').filter(|option| !of_host.contains(option)).collect();
    let name = source.with_defaults().unwrap_or_else(|| source.shown());
    let is_relative = name.starts_with("./") || name.starts_with("../") || matches!(name.as_str(), "." | "..");
    let is_read_only = options.contains(&"ro");
    let (source, mounted) = if is_relative {
        let relative = name.trim_start_matches("../").trim_start_matches("./").trim_matches('/');
        let clean = Utf8Path::new(relative).components().all(|step| !matches!(step.as_str(), "." | ".."));
        let may_copy = (is_read_only || input.is_file(&name)) && clean && !relative.is_empty();
        let place = declaration.place(&service.name, relative);
        if may_copy && input.copy(&name, Utf8Path::new(&place), declaration) {
            if !is_read_only {
                options.push("ro");
            }
            (Text::from(format!("./{place}")), if is_read_only { Mounted::Same } else { Mounted::Copied })
        } else {
            let outside = input.absolute(&name).to_string();
            (Text::from(outside.clone()), Mounted::Outside(outside))
        }
    } else if let Some(rest) = name.strip_prefix("~/") {
        let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
        let outside = format!("{home}/{rest}");
        (Text::from(outside.clone()), Mounted::Outside(outside))
    } else {
        (source, Mounted::Same)
    };
    let mut parts = vec![source, target];
    if !options.is_empty() {
        parts.push(Text::from(options.join(",")));
    }
    service.push("container", "volume", Text::joined(&parts, ":"));
    if !options.contains(&"ro") {
        // docker and podman stop a container before they start its successor.
        let comment = "two deployments never write the same volume";
        service.set_with("deploy", "strategy", "recreate", comment);
    }
    mounted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_registries() {
        for (name, full) in [
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("example/web", "docker.io/example/web"),
            ("ghcr.io/example/web", "ghcr.io/example/web"),
            ("localhost/web", "localhost/web"),
            ("registry:5000/web", "registry:5000/web"),
        ] {
            assert_eq!(image(name), full);
        }
    }

    #[test]
    fn published_ports_are_read() {
        let read = |text: &str| {
            Published::parse(&text.into()).map(|all| {
                let show = |one: Published| {
                    let host = one.host.map_or_else(|| "-".to_owned(), |host| host.shown());
                    format!("{host}>{}{}", one.container, if one.is_udp { "u" } else { "" })
                };
                all.into_iter().map(show).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(read("80"), Ok("->80".to_owned()));
        assert_eq!(read("8080:80"), Ok("8080>80".to_owned()));
        assert_eq!(read("127.0.0.1:8080:80/tcp"), Ok("127.0.0.1:8080>80".to_owned()));
        assert_eq!(read("0.0.0.0:53:53/udp"), Ok("53>53u".to_owned()));
        assert_eq!(read("[::1]:8080:80"), Ok("[::1]:8080>80".to_owned()));
        assert_eq!(read("9000-9001:8000-8001"), Ok("9000>8000 9001>8001".to_owned()));
        assert!(read("web").is_err() && read("1-60000").is_err() && read("80/sctp").is_err());
    }
}
