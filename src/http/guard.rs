//! Who may speak to the HTTP port: what keeps a web page from elsewhere, a name that was bent to
//! this box, and a stranger on the network from doing what only people at the plant may do.

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;
// The trait of a router; it is tower's.
use tonic::codegen::Service as _;

use crate::audit::Entry;
use crate::message::{Origin, Peer};
use crate::settings::{HttpSettings, Listen};

/// A token that could be guessed is none.
const SHORTEST_TOKEN: usize = 16;

/// What everyone may see, and only some may change.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Names, beside loopback's and addresses, under which browsers may reach this port.
    pub hosts: Vec<String>,
    /// Whoever changes something must bring it.
    pub token: Option<String>,
    /// The port is reachable from this machine alone.
    pub loopback: bool,
}

impl Guard {
    /// Reads the token's file, if the settings name one.
    pub fn prepare(settings: &HttpSettings) -> Result<Self, TokenError> {
        let token = settings.token_file.as_ref().map(read_token).transpose()?;
        let loopback = settings.listen.as_ref().is_none_or(Listen::is_local);
        Ok(Self { hosts: settings.hosts.clone(), token, loopback })
    }

    /// `authority` is the host that HTTP/2 names in place of the header.
    fn check(
        &self,
        method: &Method,
        authority: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<(), Denied> {
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).or(authority);
        let host = host.ok_or(Denied::Host(String::new()))?;
        if !self.knows(host) {
            return Err(Denied::Host(host.to_owned()));
        }
        if method.is_safe() {
            return Ok(());
        }
        if let Some(origin) = headers.get(header::ORIGIN)
            && !same_origin(origin, host)
        {
            return Err(Denied::Origin);
        }
        let site = headers.get(HeaderName::from_static("sec-fetch-site"));
        if site.is_some_and(|site| site != "same-origin" && site != "none") {
            return Err(Denied::Origin);
        }
        match (&self.token, self.loopback) {
            (None, true) => Ok(()),
            (None, false) => Err(Denied::ReadOnly),
            (Some(token), _) if bears(headers, token) => Ok(()),
            (Some(_), _) => Err(Denied::Token),
        }
    }

    /// Addresses cannot be bent to another machine by a name server; names can.
    fn knows(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host();
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
        address.is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Takes out of a request who sent it.
#[derive(Clone, Debug)]
pub struct Caller(pub Origin);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let unknown = || Self(Origin::Http { peer: Peer::Unknown, token: false });
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(unknown))
    }
}

/// The file of `http.token_file` holds no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token in {} cannot be read: {error}", file.display())]
    Unreadable { file: PathBuf, error: std::io::Error },
    #[error("the token in {} has fewer than {SHORTEST_TOKEN} characters", file.display())]
    Short { file: PathBuf },
}

fn read_token(file: &PathBuf) -> Result<String, TokenError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| TokenError::Unreadable { file: file.clone(), error })?;
    let token = text.trim();
    if token.len() < SHORTEST_TOKEN {
        return Err(TokenError::Short { file: file.clone() });
    }
    Ok(token.to_owned())
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Denied {
    #[error("`{0}` is not a name of this box: add it to `http.hosts`")]
    Host(String),
    #[error("pages of another site may not change anything here")]
    Origin,
    #[error("this needs the token of `http.token_file` as `Authorization: Bearer …`")]
    Token,
    #[error("the port is open to the network and has no `http.token_file`: it is read-only")]
    ReadOnly,
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Origin | Self::ReadOnly => StatusCode::FORBIDDEN,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

fn same_origin(origin: &HeaderValue, host: &str) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) == Some(host)
}

fn bears(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    // Every byte is looked at, so that the time tells nothing about where they differ.
    let differing = given.bytes().zip(token.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == token.len() && differing == 0
}

/// Gives `request` of `peer` to `router` if it may be. This is no layer of the router: axum would
/// clone and box that one for every request.
pub(super) async fn admit(
    guard: Arc<Guard>,
    peer: Peer,
    mut request: Request,
    mut router: Router,
) -> Response {
    let authority = request.uri().authority().map(Authority::as_str);
    let verdict = guard.check(request.method(), authority, request.headers());
    let changes = !request.method().is_safe();
    let token = changes && guard.token.is_some() && verdict.is_ok();
    let from = Origin::Http { peer, token };
    let mut response = match verdict {
        Ok(()) => {
            request.extensions_mut().insert(Caller(from));
            let Ok(response) = router.call(request).await;
            response
        }
        Err(denied) => {
            if changes {
                let object = format!("{} {}", request.method(), request.uri().path());
                let entry = Entry { action: "request", object: &object, by: None, from: &from };
                entry.refused(&denied);
            }
            denied.into_response()
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
        ),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn check(
        guard: &Guard,
        method: &Method,
        pairs: &[(&'static str, &'static str)],
    ) -> Result<(), Denied> {
        guard.check(method, None, &headers(pairs))
    }

    #[test]
    fn a_name_that_was_bent_to_this_box_is_refused() {
        let guard = Guard { hosts: vec!["box7".into()], loopback: true, ..Guard::default() };
        for host in ["localhost:9187", "127.0.0.1:9187", "[::1]:9187", "box7", "BOX7:80"] {
            assert_eq!(
                guard.check(
                    &Method::GET,
                    None,
                    &HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap(),)])
                ),
                Ok(()),
                "{host}"
            );
        }
        for host in ["evil.example", "localhost.evil.example:9187", ""] {
            assert_eq!(
                guard.check(
                    &Method::GET,
                    None,
                    &HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap(),)])
                ),
                Err(Denied::Host(host.into()))
            );
        }
        assert_eq!(check(&guard, &Method::GET, &[]), Err(Denied::Host(String::new())));
        let http2 = |name| guard.check(&Method::POST, Some(name), &HeaderMap::new());
        assert_eq!(http2("localhost:9187"), Ok(()), "HTTP/2 names the host outside the headers");
        assert_eq!(http2("evil.example"), Err(Denied::Host("evil.example".into())));
    }

    #[test]
    fn a_token_that_is_missing_or_short_is_told_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("http.token");
        let prepare = || {
            let settings =
                HttpSettings { token_file: Some(file.clone()), ..HttpSettings::default() };
            Guard::prepare(&settings)
        };
        assert!(matches!(prepare(), Err(TokenError::Unreadable { .. })));
        std::fs::write(&file, "fifteen letters\n").unwrap();
        let error = prepare().unwrap_err().to_string();
        assert!(error.ends_with("http.token has fewer than 16 characters"), "{error}");
        std::fs::write(&file, "sixteen  letters\n").unwrap();
        assert_eq!(prepare().unwrap().token.as_deref(), Some("sixteen  letters"));
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let guard = Guard { loopback: true, ..Guard::default() };
        let post = |pairs: &[(&'static str, &'static str)]| check(&guard, &Method::POST, pairs);
        assert_eq!(post(&[("host", "localhost:1")]), Ok(()));
        assert_eq!(post(&[("host", "localhost:1"), ("origin", "http://localhost:1")]), Ok(()));
        for origin in ["http://evil.example", "null", "http://localhost:2", "localhost:1"] {
            assert_eq!(
                post(&[("host", "localhost:1"), ("origin", origin)]),
                Err(Denied::Origin),
                "{origin}"
            );
        }
        let cross = [("host", "localhost:1"), ("sec-fetch-site", "cross-site")];
        assert_eq!(post(&cross), Err(Denied::Origin));
        assert_eq!(check(&guard, &Method::GET, &cross), Ok(()));
    }

    #[test]
    fn an_open_port_is_read_only_without_a_token() {
        let host = ("host", "192.0.2.7:9187");
        let open = Guard::default();
        assert_eq!(check(&open, &Method::GET, &[host]), Ok(()));
        assert_eq!(check(&open, &Method::POST, &[host]), Err(Denied::ReadOnly));
        let guarded = Guard { token: Some("s3cret".into()), ..Guard::default() };
        let bearer = |value| check(&guarded, &Method::POST, &[host, ("authorization", value)]);
        assert_eq!(bearer("Bearer s3cret"), Ok(()));
        for wrong in ["Bearer s3cre", "Bearer s3crets", "Bearer ", "s3cret", "Basic s3cret"] {
            assert_eq!(bearer(wrong), Err(Denied::Token), "{wrong}");
        }
        assert_eq!(check(&guarded, &Method::POST, &[host]), Err(Denied::Token));
    }
}
