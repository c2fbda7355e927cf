//! Access control: tokens and their projects; without tokens only callers on this machine.

use std::net::IpAddr;

use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runbell_core::text;

use crate::answer::{Answer, Problem};
use crate::state::App;
use crate::tokens::Caller;

/// The longest name in a path, in bytes.
const LONGEST: usize = 253;

/// Refuses requests of web pages while no token is required: those with a foreign `Origin`, or with a `Host` that is another
/// name for this machine.
pub(crate) async fn only_this_machine(State(app): State<App>, request: Request, next: Next) -> Answer<Response> {
    if app.is_local || app.asks_for_tokens() {
        return Ok(next.run(request).await);
    }
    let headers = request.headers();
    let forbidden = |what: &str| {
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("{what} is not this machine's; without access tokens the server answers this machine alone"),
        ))
    };
    // Of two Host headers a proxy may look at one and this server at the other (RFC 9112 section 3.2).
    let mut hosts: Vec<&str> =
        headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default()).collect();
    if hosts.len() > 1 {
        return Err(Problem::bad("Host: is given twice"));
    }
    hosts.extend(request.uri().host());
    if hosts.is_empty() || !hosts.iter().all(|host| is_loopback(host)) {
        return forbidden("the Host header");
    }
    // A browser's word for a request that a page of another site caused (W3C Fetch Metadata); it comes without an Origin, too.
    if headers.get_all("sec-fetch-site").iter().any(|site| site == "cross-site" || site == "same-site") {
        return forbidden("the page that sends this");
    }
    for origin in headers.get_all(header::ORIGIN) {
        let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        if !host.is_some_and(is_loopback) {
            return forbidden("the Origin header");
        }
    }
    Ok(next.run(request).await)
}

/// Whether a host, with or without a port, is a loopback address or name of this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, "")) => v6,
        Some((v6, port)) if is_port(port) => v6,
        Some(_) => return false,
        None => match host.rsplit_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Identifies the caller, and checks that its token may use the project in the path.
pub(crate) async fn projects(
    State(app): State<App>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let caller = app.caller(request.headers())?;
    for (name, value) in &params {
        let wrong =
            value.is_empty() || value.len() > LONGEST || value.chars().any(char::is_control) || value.contains('/');
        if wrong {
            return Err(Problem::bad(format!(
                "{name}: must be a text of 1 to {LONGEST} bytes without slashes and control characters"
            )));
        }
        if name == "project" {
            if value.starts_with('_') && !caller.admin {
                return Err(Problem::bad("project: must not begin with an underscore"));
            }
            if !caller.may_use(value) {
                return Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    format!("the token is not for project `{}`", text::one_line(value, 80)),
                ));
            }
        }
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Refuses callers other than administrators.
pub(crate) async fn administrators(State(app): State<App>, request: Request, next: Next) -> Answer<Response> {
    if app.caller(request.headers())?.admin {
        return Ok(next.run(request).await);
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "the token is not an administrator's"))
}

impl App {
    /// Whether every request needs a token.
    fn asks_for_tokens(&self) -> bool {
        self.needs_tokens || self.tokens.are_used()
    }

    fn caller(&self, headers: &HeaderMap) -> Answer<Caller> {
        if self.is_local || !self.asks_for_tokens() {
            return Ok(Caller::trusted());
        }
        let unauthorized = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
        let token = token_of(headers).ok_or_else(|| {
            unauthorized("an access token is required, as Bearer or as the password of Basic authentication")
        })?;
        self.tokens.caller(&token).ok_or_else(|| unauthorized("the access token is not known, or was revoked"))
    }
}

/// The token in the Authorization header: MLRun's SDK sends it as Bearer, or as the password of Basic.
fn token_of(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_few_names() {
        for good in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:8080"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "10.0.0.1",
            "[::2]:80",
            "localhost:",
            "localhost:x",
            "[::1]x",
            "0.0.0.0",
            "::1:x",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[test]
    fn a_token_is_a_bearer_or_a_password() {
        let of = |value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().expect("a header"))]);
            token_of(&headers)
        };
        assert_eq!(of("Bearer rbt_1").as_deref(), Some("rbt_1"));
        assert_eq!(of("bearer  rbt_1").as_deref(), Some("rbt_1"));
        assert_eq!(of(&format!("Basic {}", STANDARD.encode("user:a:b"))).as_deref(), Some("a:b"));
        for bad in ["rbt_1", "Digest x", "Basic !", &format!("Basic {}", STANDARD.encode("user"))] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
