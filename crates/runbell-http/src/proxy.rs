//! Proxies, from the environment handed in or set on purpose. Never from the process's own environment.

use reqwest::{NoProxy, Proxy};
use runbell_core::{Env, Error, ErrorKind, Result};

/// The proxy variables, as they stand. Part of the key of a cached client; never printed.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct ProxyVars {
    http: Option<String>,
    https: Option<String>,
    all: Option<String>,
    none: Option<String>,
}

impl ProxyVars {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; the lower-case spelling wins, as in curl.
    pub(crate) fn read(env: &dyn Env) -> Self {
        let one = |name: &str| env.var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let both = |lower: &str, upper: &str| one(lower).or_else(|| one(upper));
        // In a CGI program a request header `Proxy:` becomes HTTP_PROXY, so it cannot be trusted there.
        let cgi = env.var("REQUEST_METHOD").is_some();
        ProxyVars {
            http: if cgi { one("http_proxy") } else { both("http_proxy", "HTTP_PROXY") },
            https: both("https_proxy", "HTTPS_PROXY"),
            all: both("all_proxy", "ALL_PROXY"),
            none: both("no_proxy", "NO_PROXY"),
        }
    }

    /// Whether any proxy is set.
    pub(crate) fn any(&self) -> bool {
        self.http.is_some() || self.https.is_some() || self.all.is_some()
    }

    /// The proxies in the order they are asked: the scheme's own before the one for all.
    ///
    /// # Errors
    /// [`ErrorKind::ParamsInvalid`] naming the variable that holds no proxy's URL.
    pub(crate) fn proxies(&self) -> Result<Vec<Proxy>> {
        let none = self.none.as_deref().and_then(NoProxy::from_string);
        let mut proxies = Vec::new();
        for (name, value, make) in [
            ("HTTP_PROXY", &self.http, (|url| Proxy::http(url)) as fn(&str) -> reqwest::Result<Proxy>),
            ("HTTPS_PROXY", &self.https, |url| Proxy::https(url)),
            ("ALL_PROXY", &self.all, |url| Proxy::all(url)),
        ] {
            let Some(value) = value else { continue };
            let proxy = supported(value)
                .and_then(|()| make(value).map_err(drop))
                .map_err(|()| Error::new(ErrorKind::ParamsInvalid, format!("{name} must hold an http or https URL")))?;
            proxies.push(proxy.no_proxy(none.clone()));
        }
        Ok(proxies)
    }
}

/// A proxy for everything.
pub(crate) fn all(url: &str) -> Result<Proxy, ()> {
    supported(url.trim())?;
    Proxy::all(url.trim()).map_err(drop)
}

/// Refuses schemes that would only fail when connecting. A bare `host:port` is fine.
fn supported(value: &str) -> Result<(), ()> {
    match value.split_once("://") {
        Some((scheme, _)) if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") => Err(()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn vars(all: &[(&str, &str)]) -> ProxyVars {
        let env: HashMap<String, String> =
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ProxyVars::read(&env)
    }

    #[test]
    fn variables_are_read_in_both_spellings_and_checked() {
        let proxies = |all: &[(&str, &str)]| vars(all).proxies().map(|found| found.len()).map_err(|e| e.to_string());
        assert_eq!(proxies(&[]), Ok(0));
        assert_eq!(proxies(&[("HTTP_PROXY", "http://p:1"), ("all_proxy", "p:2"), ("NO_PROXY", "*")]), Ok(2));
        assert_eq!(proxies(&[("HTTPS_PROXY", "  ")]), Ok(0));
        assert_eq!(proxies(&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://p:1")]), Ok(0));
        for secret in ["socks5://user:CANARY@p:1", "http://user:CANARY@[", "ftp://CANARY"] {
            let error = proxies(&[("ALL_PROXY", secret)]).expect_err(secret);
            assert_eq!(error, "ALL_PROXY must hold an http or https URL");
        }
    }
}
