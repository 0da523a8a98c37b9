//! Parses the header of a CGI program's response, RFC 3875 section 6. Pure functions over bytes.
//!
//! httparse splits the lines, which may end with a bare line feed as well. This file gives them their meaning.

use std::fmt;

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::{StatusCode, Uri};

/// Bytes of the largest header.
const MAX_BYTES: usize = 64 << 10;
const MAX_FIELDS: usize = 256;

/// A response without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    /// The text after the status code, None if the program wrote none.
    pub(crate) reason: Option<String>,
    pub(crate) headers: HeaderMap,
}

/// The outcome of parsing the first bytes of a program's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The bytes do not have the blank line yet.
    Partial,
    /// A response, and the length of its header in bytes, where its body begins.
    Head(Head, usize),
    /// A local redirect to another path, section 6.2.2.
    Local(Uri),
}

/// Why the output is not a response, for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

/// Parses the header of a CGI response, section 6.2.
///
/// # Errors
/// If the bytes, whatever follows them, are not such a header.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let (length, fields) = match httparse::parse_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(complete)) => complete,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_BYTES => return Ok(Parsed::Partial),
        Ok(httparse::Status::Partial) => return Err(Malformed("the program's header does not end within 64 KiB")),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("the program's header has more than 256 fields")),
        Err(_) => {
            return Err(Malformed(
                "the program's output does not begin with a header: lines of `Name: value`, then a blank line",
            ));
        }
    };
    let mut status = None;
    let mut reason = None;
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        if field.name.eq_ignore_ascii_case("status") {
            if status.is_some() {
                return Err(Malformed("the program's header has two Status fields"));
            }
            let (code, text) = status_field(field.value)?;
            (status, reason) = (Some(code), text);
        } else {
            append(&mut headers, field)?;
        }
    }
    let has_location = headers.contains_key(LOCATION);
    if status.is_none() && !has_location && !headers.contains_key(CONTENT_TYPE) {
        return Err(Malformed("the program's header lacks Content-Type, Location and Status"));
    }
    if status.is_none()
        && headers.len() == 1
        && let Some(local) = headers.get(LOCATION).and_then(local)
    {
        return Ok(Parsed::Local(local));
    }
    let default = if has_location { StatusCode::FOUND } else { StatusCode::OK };
    Ok(Parsed::Head(Head { status: status.unwrap_or(default), reason, headers }, length))
}

/// Parses the status line and header of an HTTP response, which a non-parsed-header program writes, section 5.
///
/// # Errors
/// If the bytes, whatever follows them, are not such a response.
pub(crate) fn parse_nph(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_BYTES => return Ok(Parsed::Partial),
        Ok(httparse::Status::Partial) => return Err(Malformed("the program's header does not end within 64 KiB")),
        Err(_) => return Err(Malformed("the program is named nph-… and did not write an HTTP response")),
    };
    let status = final_status(response.code.unwrap_or(0))?;
    let reason = response.reason.filter(|reason| !reason.is_empty()).map(str::to_owned);
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for field in response.headers.iter() {
        append(&mut headers, field)?;
    }
    Ok(Parsed::Head(Head { status, reason, headers }, length))
}

/// Parses the value of a Status field, section 6.3.3: `404 Not Found`. The text is optional.
fn status_field(value: &[u8]) -> Result<(StatusCode, Option<String>), Malformed> {
    let value = std::str::from_utf8(value).map_err(|_| Malformed("the program's Status is not UTF-8"))?;
    let (code, reason) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    let code = code
        .parse()
        .ok()
        .filter(|_| is_code)
        .ok_or(Malformed("the program's Status does not begin with three digits"))?;
    let reason = reason.trim();
    Ok((final_status(code)?, (!reason.is_empty()).then(|| reason.to_owned())))
}

/// Returns a status that ends an exchange: those below 200 do not, RFC 9110 section 15.2.
fn final_status(code: u16) -> Result<StatusCode, Malformed> {
    let status = StatusCode::from_u16(code).ok().filter(|status| (200..600).contains(&status.as_u16()));
    status.ok_or(Malformed("the program's status is not between 200 and 599"))
}

/// Returns whether a field belongs to one connection, RFC 9110 section 7.6.1. The gateway sets its own ones.
pub(crate) fn is_hop_by_hop(name: &str) -> bool {
    const NAMES: &[&str] =
        &["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn append(headers: &mut HeaderMap, field: &httparse::Header) -> Result<(), Malformed> {
    if is_hop_by_hop(field.name) {
        return Ok(());
    }
    let name = HeaderName::from_bytes(field.name.as_bytes())
        .map_err(|_| Malformed("the program's header has a field whose name HTTP does not allow"))?;
    let value = HeaderValue::from_bytes(field.value)
        .map_err(|_| Malformed("the program's header has a field with a control character"))?;
    if name == CONTENT_LENGTH {
        if length(&value).is_none() {
            return Err(Malformed("the program's Content-Length is not a number"));
        }
        if headers.get(&name).is_some_and(|former| former != value) {
            return Err(Malformed("the program's header has two different Content-Lengths"));
        }
        headers.insert(name, value);
        return Ok(());
    }
    headers.append(name, value);
    Ok(())
}

/// Parses a Content-Length, in bytes.
pub(crate) fn length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Parses the Location of a local redirect, a path on this server.
fn local(value: &HeaderValue) -> Option<Uri> {
    let text = value.to_str().ok()?;
    (text.starts_with('/') && !text.starts_with("//")).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(text: &str) -> Head {
        match parse(text.as_bytes()) {
            Ok(Parsed::Head(head, length)) if length == text.len() => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn headers_of_cgi_programs() {
        assert_eq!(head("Content-Type: text/plain\r\n\r\n").status, StatusCode::OK);
        assert_eq!(head("content-type: a/b\n\n").headers[CONTENT_TYPE], "a/b");
        let gone = head("Status: 410 Nobody home\nContent-Type: a/b\n\n");
        assert_eq!((gone.status, gone.reason.as_deref()), (StatusCode::GONE, Some("Nobody home")));
        assert_eq!(head("Location: http://x/\n\n").status, StatusCode::FOUND);
        assert_eq!(head("Location: /x\nStatus: 303\n\n").status, StatusCode::SEE_OTHER);
        assert_eq!(head("Location: /x\nContent-Type: a/b\n\n").status, StatusCode::FOUND);
        assert_eq!(parse(b"Location: /x?y\n\n"), Ok(Parsed::Local("/x?y".parse().unwrap())));
        assert_eq!(head("Content-Type: a/b\nTransfer-Encoding: chunked\nConnection: close\n\n").headers.len(), 1);
        assert_eq!(
            head("Content-Type: a/b\nSet-Cookie: a\nSet-Cookie: b\n\n").headers.get_all("set-cookie").iter().count(),
            2
        );
    }

    #[test]
    fn malformed_headers_are_refused() {
        for text in [
            "\n\n",
            "hello\n\n",
            "X: y\n\n",
            "Status: no\n\n",
            "Status: 99\n\n",
            "Status: 100 Continue\n\n",
            "Status: 600\n\n",
            "Status: 200\nStatus: 200\n\n",
            "Content-Type: a\nContent-Length: x\n\n",
            "Content-Length: +1\nStatus: 200\n\n",
            "Content-Length: 1\nContent-Length: 2\nStatus: 200\n\n",
            "A b: c\nStatus: 200\n\n",
            "HTTP/1.1 200 OK\n\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?} {:?}", parse(text.as_bytes()));
        }
        assert!(parse(&vec![b'a'; MAX_BYTES]).is_err());
        assert_eq!(parse(b""), Ok(Parsed::Partial));
        assert_eq!(parse(b"Status: 200"), Ok(Parsed::Partial));
    }

    #[test]
    fn responses_of_nph_programs() {
        let text = b"HTTP/1.0 404 Gone fishing\r\nX: y\r\n\r\nbody";
        let Ok(Parsed::Head(head, length)) = parse_nph(text) else { panic!("{:?}", parse_nph(text)) };
        assert_eq!((head.status, head.reason.as_deref()), (StatusCode::NOT_FOUND, Some("Gone fishing")));
        assert_eq!(&text[length..], b"body");
        assert!(parse_nph(b"Status: 200\n\n").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for parse in [parse, parse_nph] {
                if let Ok(Parsed::Head(_, length)) = parse(&bytes) {
                    prop_assert!(length <= bytes.len());
                }
            }
        }

        #[test]
        fn bytes_like_a_header_are_parsed_or_refused(text in "((Status|Location|Content-Length|X-Y): ?[ -~é\t]{0,12}(\r?\n)){0,5}(\r?\n)?[a-z]{0,3}") {
            if let Ok(Parsed::Head(head, length)) = parse(text.as_bytes()) {
                prop_assert!(text.is_char_boundary(length));
                prop_assert!((200..600).contains(&head.status.as_u16()));
                // A complete header stays the same, whatever follows.
                let longer = format!("{text}more\n\n");
                prop_assert_eq!(parse(longer.as_bytes()), Ok(Parsed::Head(head, length)));
            }
        }

        #[test]
        fn a_beginning_is_never_an_error_of_a_good_header(value in "[a-z/]{1,20}", cut in 0usize..60) {
            let text = format!("Content-Type: {value}\r\nX-Other: {value}\r\n\r\n");
            let cut = cut.min(text.len() - 1);
            prop_assert_eq!(parse(&text.as_bytes()[..cut]), Ok(Parsed::Partial));
        }
    }
}
