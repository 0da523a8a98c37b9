//! FastCGI: which program answers for a path, and what it is told.

use camino::Utf8Path;

use super::field;
use crate::model::route::HeaderChanges;

/// What a program is told of a request, RFC 3875, section 4.1, beside its fields.
const PARAMETERS: [(&str, &str); 20] = [
    ("CONTENT_LENGTH", "$content_length"),
    ("CONTENT_TYPE", "$content_type"),
    ("DOCUMENT_URI", "$conductor_script"),
    ("GATEWAY_INTERFACE", "CGI/1.1"),
    ("HTTPS", "$https if_not_empty"),
    // A field `Proxy` would be taken for a variable of the environment.
    ("HTTP_PROXY", "\"\""),
    ("PATH_INFO", "$conductor_rest"),
    ("QUERY_STRING", "$args"),
    ("REDIRECT_STATUS", "200"),
    ("REMOTE_ADDR", "$remote_addr"),
    ("REMOTE_PORT", "$remote_port"),
    ("REMOTE_USER", "$remote_user if_not_empty"),
    ("REQUEST_METHOD", "$request_method"),
    ("REQUEST_SCHEME", "$scheme"),
    ("REQUEST_URI", "$request_uri"),
    ("SCRIPT_NAME", "$conductor_script"),
    ("SERVER_ADDR", "$server_addr"),
    ("SERVER_NAME", "$host"),
    ("SERVER_PORT", "$server_port"),
    ("SERVER_SOFTWARE", "nginx"),
];

/// Returns the directives that find the program of a path: its own file, else `index.php` of its directory, else that of the
/// root. `before` is a pattern of what the path has before that of the programs.
pub(super) fn program(root: &Utf8Path, before: &str) -> Vec<String> {
    [
        "set $conductor_script /index.php;".to_owned(),
        "set $conductor_rest \"\";".to_owned(),
        "set $conductor_found /.none;".to_owned(),
        "set $conductor_directory /.none;".to_owned(),
        format!("if ($uri ~ \"^{before}(/(?:.*/)?)$\") {{ set $conductor_found $1index.php; }}"),
        format!("if ($uri ~ \"^{before}(/.*[^/])$\") {{ set $conductor_directory $1; }}"),
        format!("if (-f {root}$conductor_directory/index.php) {{ return 308 $conductor_path/$is_args$args; }}"),
        format!("if ($uri ~ \"^{before}(/.*?\\.php)(/.*)?$\") {{ set $conductor_found $1; set $conductor_after $2; }}"),
        format!("if (-f {root}$conductor_found) {{ set $conductor_script $conductor_found; set $conductor_rest $conductor_after; }}"),
    ]
    .into()
}

/// Returns the parameters of a program below a root.
pub(super) fn parameters(
    root: &Utf8Path,
    changes: &HeaderChanges,
    others: &[(String, String)],
    is_own: impl Fn(&str) -> bool,
) -> Vec<String> {
    let own = [("DOCUMENT_ROOT", root.to_string()), ("SCRIPT_FILENAME", format!("{root}$conductor_script"))];
    let own = own.into_iter().map(|(name, value)| format!("fastcgi_param {name} {value};"));
    let told = PARAMETERS.into_iter().map(|(name, value)| format!("fastcgi_param {name} {value};"));
    let is_for_programs = |(name, _): &(&str, &str)| !name.starts_with("conductor-");
    let fields = field::changed(field::of_message().filter(is_for_programs), changes, others, is_own);
    let fields = fields.into_iter().map(|(name, value)| {
        let name = name.to_ascii_uppercase().replace('-', "_");
        format!("fastcgi_param HTTP_{name} {value};")
    });
    own.chain(told).chain(fields).collect()
}
