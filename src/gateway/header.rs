//! Parses the header of a CGI program's response, RFC 3875 section 6. Pure functions over bytes.
//!
//! httparse splits the lines, which may end with a bare line feed as well. This file gives them their meaning.

use std::borrow::Cow;
use std::fmt;

use hyper::ext::ReasonPhrase;
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, SERVER};
use hyper::{StatusCode, Uri};

/// Bytes of the largest header.
const MAX_BYTES: usize = 64 << 10;
const MAX_FIELDS: usize = 256;
/// The line before the fields that a CGI program does not write: httparse reads folded lines and white space before a colon
/// only in complete responses.
const STATUS_LINE: &[u8] = b"HTTP/1.1 200 OK\r\n";
/// Fields of which an answer has one: of several the last counts, as with Apache. A program must not write more, RFC 3875
/// section 6.3 and RFC 9110 section 5.3.
const SINGLE: &[&str] = &[
    "content-type",
    "location",
    "content-location",
    "content-range",
    "date",
    "etag",
    "expires",
    "last-modified",
    "retry-after",
];

/// A response without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    /// The text after the status code, None if the program wrote none.
    pub(crate) reason: Option<ReasonPhrase>,
    pub(crate) headers: HeaderMap,
    /// Whether the body is written in chunks.
    pub(crate) is_chunked: bool,
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

/// Parses the header of a CGI response, section 6.2. As for Apache, it need not have a field.
///
/// # Errors
/// If the bytes, whatever follows them, are not such a header.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let malformed = "the program's output does not begin with a header: lines of `Name: value`, then a blank line";
    let response = [STATUS_LINE, bytes].concat();
    parse_response(&response, malformed, |response, length| {
        let mut status = None;
        let mut reason = None;
        let mut headers = HeaderMap::with_capacity(response.headers.len());
        // A field without a value is one that was not sent, section 6.3.
        for field in response.headers.iter().filter(|field| !field.value.trim_ascii().is_empty()) {
            if field.name.eq_ignore_ascii_case("status") {
                let (code, text) = status_field(field.value)?;
                (status, reason) = (Some(code), text);
            } else {
                append(&mut headers, field)?;
            }
        }
        if status.is_none()
            && headers.len() == 1
            && let Some(local) = headers.get(LOCATION).and_then(local)
        {
            return Ok(Parsed::Local(local));
        }
        let default = if headers.contains_key(LOCATION) { StatusCode::FOUND } else { StatusCode::OK };
        let head = Head { status: status.unwrap_or(default), reason, headers, is_chunked: false };
        Ok(Parsed::Head(head, length - STATUS_LINE.len()))
    })
}

/// Parses the status line and header of an HTTP response, which a non-parsed-header program writes, section 5.
///
/// # Errors
/// If the bytes, whatever follows them, are not such a response.
pub(crate) fn parse_nph(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let malformed = "the program is named nph-… and did not write an HTTP response";
    parse_response(bytes, malformed, |response, length| {
        let status = final_status(response.code.unwrap_or(0))?;
        let reason = response.reason.and_then(|reason| reason_phrase(reason.as_bytes()));
        let mut headers = HeaderMap::with_capacity(response.headers.len());
        for field in response.headers.iter() {
            append(&mut headers, field)?;
        }
        let is_chunked = is_chunked(response.headers)?;
        if is_chunked {
            headers.remove(CONTENT_LENGTH); // RFC 9112 section 6.3
        }
        Ok(Parsed::Head(Head { status, reason, headers, is_chunked }, length))
    })
}

/// Parses a status line and fields, and has them interpreted when they are complete. Joins folded lines and ignores white space
/// before a colon, as a gateway does: RFC 9112 sections 5.1 and 5.2.
fn parse_response(
    bytes: &[u8],
    malformed: &'static str,
    interpret: impl FnOnce(&httparse::Response<'_, '_>, usize) -> Result<Parsed, Malformed>,
) -> Result<Parsed, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let mut config = httparse::ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true).allow_spaces_after_header_name_in_responses(true);
    match config.parse_response(&mut response, bytes) {
        Ok(httparse::Status::Complete(length)) => interpret(&response, length),
        Ok(httparse::Status::Partial) if bytes.len() < MAX_BYTES => Ok(Parsed::Partial),
        Ok(httparse::Status::Partial) => Err(Malformed("the program's header does not end within 64 KiB")),
        Err(httparse::Error::TooManyHeaders) => Err(Malformed("the program's header has more than 256 fields")),
        Err(_) => Err(Malformed(malformed)),
    }
}

fn is_chunked(fields: &[httparse::Header]) -> Result<bool, Malformed> {
    let mut codings = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
    let Some(coding) = codings.next() else { return Ok(false) };
    if codings.next().is_some() || !coding.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Err(Malformed("the program's Transfer-Encoding is not chunked"));
    }
    Ok(true)
}

/// Parses the value of a Status field, section 6.3.3: `404 Not Found`. The text is optional.
fn status_field(value: &[u8]) -> Result<(StatusCode, Option<ReasonPhrase>), Malformed> {
    let value = unfold(value);
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (code, reason) = value.split_at(end);
    let is_code = code.len() == 3 && code.iter().all(u8::is_ascii_digit);
    let code = std::str::from_utf8(code).ok().filter(|_| is_code).and_then(|code| code.parse().ok());
    let code = code.ok_or(Malformed("the program's Status does not begin with three digits"))?;
    Ok((final_status(code)?, reason_phrase(reason)))
}

/// Returns a reason phrase; None if there is none, or HTTP does not allow it.
fn reason_phrase(text: &[u8]) -> Option<ReasonPhrase> {
    let text = text.trim_ascii();
    ReasonPhrase::try_from(text).ok().filter(|_| !text.is_empty())
}

/// Joins the lines of a folded value with spaces, and removes the white space around it.
fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'\n') {
        return Cow::Borrowed(value.trim_ascii());
    }
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    Cow::Owned(lines.collect::<Vec<_>>().join(&b' '))
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
    // Server is the server's own field: Caddy's would stand beside it.
    if is_hop_by_hop(field.name) || field.name.eq_ignore_ascii_case(SERVER.as_str()) {
        return Ok(());
    }
    let name = HeaderName::from_bytes(field.name.as_bytes())
        .map_err(|_| Malformed("the program's header has a field whose name HTTP does not allow"))?;
    let value = HeaderValue::from_bytes(&unfold(field.value))
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
    if SINGLE.contains(&name.as_str()) {
        headers.insert(name, value);
    } else {
        headers.append(name, value);
    }
    Ok(())
}

/// Parses a Content-Length, in bytes.
pub(crate) fn length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Parses the Location of a local redirect: a path on this server, perhaps with a query. A fragment is for the client.
fn local(value: &HeaderValue) -> Option<Uri> {
    let text = value.to_str().ok()?;
    (text.starts_with('/') && !text.starts_with("//") && !text.contains('#')).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::CONTENT_TYPE;
    use proptest::prelude::*;

    fn head(text: &str) -> Head {
        match parse(text.as_bytes()) {
            Ok(Parsed::Head(head, length)) if length == text.len() => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn reason(head: &Head) -> Option<String> {
        head.reason.as_ref().map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned())
    }

    #[test]
    fn headers_of_cgi_programs() {
        assert_eq!(head("Content-Type: text/plain\r\n\r\n").status, StatusCode::OK);
        assert_eq!(head("content-type: a/b\n\n").headers[CONTENT_TYPE], "a/b");
        let gone = head("Status: 410 Nobody home\nContent-Type: a/b\n\n");
        assert_eq!((gone.status, reason(&gone)), (StatusCode::GONE, Some("Nobody home".into())));
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
    fn headers_without_a_type_are_taken() {
        assert_eq!((head("\n").status, head("\r\n").headers.len()), (StatusCode::OK, 0));
        assert_eq!(head("X: y\n\n").headers["x"], "y");
        assert_eq!(head("Status: 404\n\n").status, StatusCode::NOT_FOUND);
    }

    #[test]
    fn a_field_without_a_value_is_none() {
        let empty = head("Status:\nContent-Type: \t\nLocation:\nX: y\n\n");
        assert_eq!((empty.status, empty.headers.len()), (StatusCode::OK, 1));
        assert_eq!(parse(b"Location: /x\nContent-Type:\n\n"), Ok(Parsed::Local("/x".parse().unwrap())));
    }

    #[test]
    fn of_single_fields_the_last_counts() {
        let two = head(
            "Status: 404 Gone\nContent-Type: a/b\nETag: 1\nContent-Type: c/d\nETag: 2\nStatus: 410\nX: 1\nX: 2\n\n",
        );
        assert_eq!((two.status, reason(&two)), (StatusCode::GONE, None));
        let all = |name: &str| two.headers.get_all(name).iter().map(|it| it.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((all("content-type"), all("etag"), all("x")), (vec!["c/d"], vec!["2"], vec!["1", "2"]));
        assert_eq!(head("Server: mine\nserver: too\nX: y\n\n").headers.len(), 1);
    }

    #[test]
    fn folded_and_spaced_lines_are_read() {
        let folded = head("X-Long: a\r\n\t b\r\n  c\r\nContent-Type :  text/plain  \nStatus:\t404 \t Not\n here\n\n");
        assert_eq!(folded.headers["x-long"], "a b c");
        assert_eq!(folded.headers["content-type"], "text/plain");
        assert_eq!((folded.status, reason(&folded)), (StatusCode::NOT_FOUND, Some("Not here".into())));
        let latin = parse(b"Status: 200 \xe9\n\n");
        let Ok(Parsed::Head(latin, _)) = latin else { panic!("{latin:?}") };
        assert_eq!(latin.reason.expect("a reason").as_bytes(), b"\xe9");
    }

    #[test]
    fn only_a_path_and_query_are_a_local_redirect() {
        for location in ["/x#part", "/x?y#part", "//host/x", "http://h/x#part", "x", "/é"] {
            let head = head(&format!("Location: {location}\n\n"));
            assert_eq!((head.status, head.headers[LOCATION].as_bytes()), (StatusCode::FOUND, location.as_bytes()));
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        for text in [
            "hello\n\n",
            " X: y\n\n",
            "Status: no\n\n",
            "Status: 4040\n\n",
            "Status: 99\n\n",
            "Status: 100 Continue\n\n",
            "Status: 600\n\n",
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
        assert_eq!((head.status, reason(&head)), (StatusCode::NOT_FOUND, Some("Gone fishing".into())));
        assert_eq!(&text[length..], b"body");
        assert!(parse_nph(b"Status: 200\n\n").is_err());
        let chunked = parse_nph(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 3\r\n\r\n");
        let Ok(Parsed::Head(head, _)) = chunked else { panic!("{chunked:?}") };
        assert!(head.is_chunked && head.headers.is_empty());
        for coding in ["gzip, chunked", "identity", "chunked\r\nTransfer-Encoding: chunked"] {
            let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n");
            assert!(parse_nph(text.as_bytes()).is_err(), "{coding}");
        }
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
        fn bytes_like_a_header_are_parsed_or_refused(text in "((Status|Location|Content-Length|X-Y) ?: ?[ -~é\t]{0,12}(\r?\n( [a-z]{0,2}\r?\n)?)){0,5}(\r?\n)?[a-z]{0,3}") {
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
