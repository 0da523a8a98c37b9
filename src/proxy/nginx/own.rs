//! The administrator's own nginx configuration, as far as routes depend on it.

use camino::{Utf8Path, Utf8PathBuf};

use crate::layout::Layout;
use crate::listing;
use crate::proxy::ipv6;
use crate::source::read;

/// The main file.
const MAIN: &str = "/etc/nginx/nginx.conf";
/// The directories that Debian's main file includes, in order.
const INCLUDED: [&str; 2] = ["/etc/nginx/conf.d", "/etc/nginx/sites-enabled"];
/// The user that Debian's packages are built for.
const USER: &str = "www-data";
/// The statements of the site that Debian's package enables, an example.
const EXAMPLE: [&str; 8] = [
    "server",
    "listen 80 default_server",
    "listen [::]:80 default_server",
    "root /var/www/html",
    "index index.html index.htm index.nginx-debian.html",
    "server_name _",
    "location /",
    "try_files $uri $uri/ =404",
];

/// What routes depend on.
pub(super) struct Own {
    pub(super) user: String,
    pub(super) has_ipv6: bool,
    /// Ports with a default server of the administrator's, with its file.
    default_servers: Vec<(u16, Utf8PathBuf)>,
}

impl Own {
    /// Reads the main file and what Debian's includes. What cannot be read is nginx's to judge.
    pub(super) fn read(layout: &Layout) -> Self {
        let mut own = Self { user: USER.to_owned(), has_ipv6: ipv6::is_there(layout), default_servers: Vec::new() };
        let main = Utf8PathBuf::from(MAIN);
        for path in [main].into_iter().chain(INCLUDED.iter().flat_map(|dir| files(layout, Utf8Path::new(dir)))) {
            let Ok(text) = read::text(&layout.at(&path), &path) else { continue };
            own.take(path, &statements(&text));
        }
        own
    }

    fn take(&mut self, path: Utf8PathBuf, statements: &[String]) {
        if let Some(user) = statements.iter().find_map(|it| it.strip_prefix("user ")) {
            self.user = user.split(' ').next().unwrap_or(USER).to_owned();
        }
        if *statements != EXAMPLE {
            let ports = statements.iter().filter_map(|it| default_port(it));
            self.default_servers.extend(ports.map(|port| (port, path.clone())));
        }
    }

    /// Returns the file with the default server of a port, if that is not Debian's example.
    pub(super) fn default_server(&self, port: u16) -> Option<&Utf8Path> {
        self.default_servers.iter().find(|(known, _)| *known == port).map(|(_, path)| path.as_path())
    }
}

fn files(layout: &Layout, dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let names = listing::list(&layout.at(dir)).unwrap_or_default();
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    names.filter(|name| !name.starts_with('.')).map(|name| dir.join(name)).collect()
}

/// Splits a text at `;`, `{` and `}` into its statements, each with single spaces, without comments.
fn statements(text: &str) -> Vec<String> {
    let without_comments = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let text = without_comments.collect::<Vec<_>>().join("\n");
    let statements = text.split([';', '{', '}']).map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|it| !it.is_empty()).collect()
}

/// Returns the port of a `listen` that is the default of all addresses.
fn default_port(statement: &str) -> Option<u16> {
    let mut words = statement.strip_prefix("listen ")?.split(' ');
    let address = words.next()?;
    if !words.any(|word| word == "default_server" || word == "default") {
        return None;
    }
    address.strip_prefix("*:").or_else(|| address.strip_prefix("0.0.0.0:")).unwrap_or(address).parse().ok()
}

/// Returns whether the main file includes a file: by its name, or by a pattern for its directory.
pub(super) fn includes(main: &str, file: &Utf8Path) -> bool {
    let dir = file.parent().unwrap_or(file);
    let pattern = |text: &str| text == file || text == dir.join("*.conf") || text == dir.join("*");
    let absolute = |text: &str| Utf8Path::new("/etc/nginx").join(text);
    statements(main).iter().filter_map(|it| it.strip_prefix("include ")).any(|it| pattern(absolute(it).as_str()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DEBIAN: &str = "# Example\nserver {\n\tlisten 80 default_server;\n\tlisten [::]:80 default_server;\n\n\
        \t# listen 443 ssl default_server;\n\troot /var/www/html;\n\tindex index.html index.htm index.nginx-debian.html;\n\
        \tserver_name _;\n\tlocation / {\n\t\ttry_files $uri $uri/ =404;\n\t}\n}\n";

    fn own(main: &str, site: &str) -> Own {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::system(Utf8Path::from_path(scratch.path()).unwrap());
        let write = |path: &str, text: &str| {
            let path = layout.at(path.into());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(MAIN, main);
        write("/etc/nginx/sites-enabled/default", site);
        Own::read(&layout)
    }

    #[test]
    fn default_servers_are_found_unless_they_are_debians_example() {
        assert!(own("", DEBIAN).default_server(80).is_none());
        let edited = own("user web web;\n", &DEBIAN.replace("/var/www/html", "/srv/www"));
        assert_eq!(edited.default_server(80).map(Utf8Path::as_str), Some("/etc/nginx/sites-enabled/default"));
        assert_eq!((edited.user.as_str(), edited.default_server(443)), ("web", None));
        for (listen, port) in [("443 ssl default_server", 443), ("*:80 default_server", 80), ("0.0.0.0:80 default", 80)]
        {
            assert!(own("", &format!("server {{ listen {listen}; }}")).default_server(port).is_some(), "{listen}");
        }
        for listen in ["80", "127.0.0.1:80 default_server", "[::]:80 default_server"] {
            assert!(own("", &format!("server {{ listen {listen}; }}")).default_server(80).is_none(), "{listen}");
        }
    }

    #[test]
    fn the_include_line_is_found() {
        let file = Utf8Path::new("/etc/nginx/conf.d/conductor.conf");
        for main in
            ["http { include /etc/nginx/conf.d/*.conf; }", "include conf.d/*;", "include conf.d/conductor.conf;"]
        {
            assert!(includes(main, file), "{main}");
        }
        assert!(!includes("http {\n# include /etc/nginx/conf.d/*.conf;\n}", file));
    }
}
