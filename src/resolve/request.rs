//! The request of a health check, and what cannot be in it.

/// Header fields that control how a request is sent, RFC 9110 and 9112: a declaration cannot set them.
const FRAMING: &[&str] = &["connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"];

/// What is wrong with a part of a request, and what to write instead.
pub(crate) struct Mistake {
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl Mistake {
    fn new(message: impl Into<String>, remedy: impl Into<String>) -> Option<Self> {
        Some(Self { message: message.into(), remedy: remedy.into() })
    }
}

/// Checks the name of a header field, RFC 9110.
pub(crate) fn mistake_of_name(name: &str) -> Option<Mistake> {
    let ok = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(ok) {
        return Mistake::new("not a name of a header", "write one such as Authorization or X-Probe");
    }
    let frames = FRAMING.contains(&name.to_ascii_lowercase().as_str());
    frames.then(|| Mistake::new("this header controls how the request is sent", "remove it: conductor sends it"))?
}

/// Checks the value of a header field, RFC 9110.
pub(crate) fn mistake_of_value(value: &str) -> Option<Mistake> {
    let ok = value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) && value.trim() == value;
    let remedy = "write printable ASCII characters, and no space at either end";
    if ok { None } else { Mistake::new("a header cannot have this value", remedy) }
}

/// Checks the path of a request line, RFC 3986.
pub(crate) fn mistake_of_path(path: &str) -> Option<Mistake> {
    let ok = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/%?".contains(c);
    if path.contains("://") {
        return Mistake::new("a check has no scheme and host", "write the path alone, such as \"/healthz\"");
    }
    if !path.starts_with('/') {
        return Mistake::new(format!("{path:?} does not start with /"), format!("write \"/{path}\""));
    }
    let bad = path.chars().find(|c| !ok(*c))?;
    let encoded: String = bad.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    Mistake::new(format!("{bad:?} cannot be in a URL's path"), format!("write {encoded} for it"))
}
