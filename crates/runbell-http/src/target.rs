//! The URL a kind sends to: a secret, parsed once.

use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use runbell_core::{BuildContext, Egress, Findings, HeaderValue, HttpRequest, Secret};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use url::Url;

/// The URL a kind sends to. A secret as a whole: to know a hook's URL is to be able to post to it.
///
/// Any text deserializes; [`validate`](Self::validate) says what is wrong with it. White space around it is dropped.
/// A user name and password in it become Basic authentication (RFC 7617).
#[derive(Clone)]
pub struct TargetUrl(Result<Arc<Target>, &'static str>);

struct Target {
    url: Url,
    text: String,
    authorization: Option<String>,
    destination: Arc<str>,
}

impl TargetUrl {
    /// Takes any text; see [`validate`](Self::validate).
    pub fn new(text: &str) -> Self {
        TargetUrl(parse(text).map(Arc::new))
    }

    /// Adds a fault at `path` unless this is an absolute `http` or `https` URL, or when it leads to an address that
    /// the [`Egress`] in `cx.shared` refuses. Never quotes the URL.
    ///
    /// Names are not resolved here: under a guard their addresses are checked when they are connected to.
    pub fn validate(&self, path: &str, cx: &BuildContext, found: &mut Findings) {
        match &self.0 {
            Err(fault) => found.fault(path, *fault),
            Ok(target) => {
                let host = target.url.host_str().unwrap_or_default();
                if let Err(refused) = cx.shared.get_or_init(Egress::default).check_host(host) {
                    found.fault(path, refused);
                }
            }
        }
    }

    /// Whom it leads to, as `host:port`; empty when it is no URL.
    pub fn destination(&self) -> Arc<str> {
        self.0.as_ref().map_or_else(|_| "".into(), |target| Arc::clone(&target.destination))
    }

    /// The URL as requests carry it: a secret, without user name and password; empty when it is no URL. A target that
    /// counts by hook has it as its [bucket](runbell_core::Limits::bucket).
    pub fn reveal(&self) -> &str {
        self.0.as_ref().map_or("", |target| &target.text)
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.url().is_some_and(|url| url.scheme() == "https")
    }

    /// A request to this URL, with the `Authorization` header that a user name in it asks for.
    pub fn request(&self, method: impl Into<String>, body: impl Into<Bytes>) -> HttpRequest {
        let mut request = HttpRequest {
            method: method.into(),
            url: Secret::new(String::new()),
            headers: Vec::new(),
            body: body.into(),
        };
        if let Ok(target) = &self.0 {
            request.url = Secret::new(target.text.clone());
            if let Some(authorization) = &target.authorization {
                request.set_header("Authorization", HeaderValue::Secret(Secret::new(authorization.clone())));
            }
        }
        request
    }

    /// The URL without user name and password.
    pub(crate) fn url(&self) -> Option<&Url> {
        self.0.as_ref().ok().map(|target| &target.url)
    }

    /// The parsed URL, when `text` is this target's.
    pub(crate) fn parsed(&self, text: &str) -> Option<&Url> {
        self.0.as_ref().ok().filter(|target| target.text == text).map(|target| &target.url)
    }
}

fn parse(text: &str) -> Result<Target, &'static str> {
    const EXPECTED: &str = "must be an absolute http or https URL, such as https://host/path";
    let mut url = Url::parse(text.trim()).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase if text.trim().is_empty() => "is required and must not be empty",
        url::ParseError::RelativeUrlWithoutBase => {
            "has no scheme; it must be a URL that starts with https:// or http://"
        }
        url::ParseError::EmptyHost => "has no host; it must be a URL such as https://host/path",
        url::ParseError::InvalidPort => "has a port that is no number from 0 to 65535",
        _ => EXPECTED,
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("has a scheme that is not supported; it must start with https:// or http://");
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(EXPECTED)?;
    let destination = format!("{host}:{}", url.port_or_known_default().unwrap_or(443)).into();
    let authorization = authorization(&url);
    // Neither can fail for a URL that has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    Ok(Target { text: url.as_str().to_owned(), authorization, destination, url })
}

/// The header for a user name and password inside a URL.
fn authorization(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut plain: Vec<u8> = percent_decode_str(url.username()).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(url.password().unwrap_or_default()));
    Some(format!("Basic {}", STANDARD.encode(plain)))
}

impl Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(runbell_core::MASK)
    }
}

impl<'de> Deserialize<'de> for TargetUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer).map(|text| TargetUrl::new(&text))
    }
}

impl JsonSchema for TargetUrl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TargetUrl".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uri", "writeOnly": true, "x-secret": true })
    }
}
