//! The user of a request, whom the proxy has authenticated: RFC 3875 sections 4.1.1 and 4.1.11.
//!
//! Only the proxy can connect to a function's socket. Its routes that conductor writes refuse requests that have the fields,
//! so that only a site of the administrator's own can set them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::gateway::fault::Fault;
use crate::model::function::RemoteUser;
use crate::names::{AUTH_TYPE_FIELD, USER_FIELD};

/// Checks whether a request may, or must, name a user.
///
/// # Errors
/// 403 if it must not name one or has to; 400 if it names two.
pub(crate) fn check(headers: &HeaderMap, wanted: RemoteUser) -> Result<(), Fault> {
    let forbidden = |reason: &str| Err(Fault::new(StatusCode::FORBIDDEN, reason));
    if headers.get_all(USER_FIELD).iter().count() > 1 || headers.get_all(AUTH_TYPE_FIELD).iter().count() > 1 {
        return Err(Fault::client("the request names two users"));
    }
    match (user(headers), wanted) {
        (Some(_), RemoteUser::None) => forbidden("the request names a user: remote_user = \"optional\" would take one"),
        (None, RemoteUser::Required) => forbidden("the request names no user: remote_user = \"required\""),
        _ => Ok(()),
    }
}

fn user(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(USER_FIELD).filter(|user| !user.is_empty())
}

/// Returns REMOTE_USER and AUTH_TYPE of a request that names a user. Where the proxy does not tell the type, it is the
/// scheme of the client's credentials.
pub(crate) fn variables(headers: &HeaderMap) -> Vec<(OsString, OsString)> {
    let Some(user) = user(headers) else { return Vec::new() };
    let scheme = |value: &HeaderValue| value.as_bytes().split(|byte| *byte == b' ').next().map(<[u8]>::to_vec);
    let told = headers.get(AUTH_TYPE_FIELD).map(|value| value.as_bytes().to_vec());
    let kind = told.or_else(|| headers.get(AUTHORIZATION).and_then(scheme)).filter(|kind| !kind.is_empty());
    let set = |name: &str, value: Vec<u8>| (OsString::from(name), OsString::from_vec(value));
    let user = set("REMOTE_USER", user.as_bytes().to_vec());
    [user].into_iter().chain(kind.map(|kind| set("AUTH_TYPE", kind))).collect()
}

/// Returns whether a field names the user; programs get it as REMOTE_USER and AUTH_TYPE alone.
pub(crate) fn is_of_user(name: &HeaderName) -> bool {
    name == USER_FIELD || name == AUTH_TYPE_FIELD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    }

    #[test]
    fn a_user_is_taken_where_the_manifest_says_so() {
        let named = headers(&[(USER_FIELD, "admin")]);
        let anonymous = [headers(&[]), headers(&[(USER_FIELD, "")]), headers(&[(AUTH_TYPE_FIELD, "Basic")])];
        let status = |headers: &HeaderMap, wanted| check(headers, wanted).err().map(|fault| fault.status.as_u16());
        assert_eq!(
            [RemoteUser::None, RemoteUser::Optional, RemoteUser::Required].map(|it| status(&named, it)),
            [Some(403), None, None]
        );
        for headers in &anonymous {
            assert_eq!(
                [RemoteUser::None, RemoteUser::Optional, RemoteUser::Required].map(|it| status(headers, it)),
                [None, None, Some(403)]
            );
            assert!(variables(headers).is_empty());
        }
        let two = headers(&[(USER_FIELD, "a"), (USER_FIELD, "b")]);
        assert_eq!(status(&two, RemoteUser::Required), Some(400));
    }

    #[test]
    fn the_type_of_a_login_is_what_the_proxy_says_or_the_clients_scheme() {
        let kind = |fields: &[(&'static str, &'static str)]| {
            let mut all = vec![(USER_FIELD, "a")];
            all.extend(fields);
            let variables = variables(&headers(&all));
            let kind = variables.iter().find(|(name, _)| name == "AUTH_TYPE");
            kind.map(|(_, value)| value.to_str().expect("UTF-8").to_owned())
        };
        assert_eq!(kind(&[]), None);
        assert_eq!(kind(&[("authorization", "Basic YTpi")]).as_deref(), Some("Basic"));
        assert_eq!(kind(&[("authorization", "Basic YTpi"), (AUTH_TYPE_FIELD, "Digest")]).as_deref(), Some("Digest"));
    }
}
