//! Target URLs.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use runbell_core::{BuildContext, Findings, HeaderValue, HttpRequest};
use runbell_http::TargetUrl;

fn fault(text: &str) -> Option<String> {
    let mut found = Findings::default();
    TargetUrl::new(text).validate("url", &BuildContext::here(), &mut found);
    found.faults().next().map(|finding| finding.message.clone())
}

#[test]
fn faults_give_the_remedy_and_never_quote_the_url() {
    for (text, expected) in [
        ("", "is required"),
        ("  ", "is required"),
        ("CANARY", "no scheme"),
        ("/CANARY", "no scheme"),
        ("//host/CANARY", "no scheme"),
        ("hooks.example/CANARY", "no scheme"),
        ("hooks.example:443/CANARY", "not supported"),
        ("ftp://hooks.example/CANARY", "not supported"),
        ("file:///CANARY", "not supported"),
        ("javascript:CANARY", "not supported"),
        ("http://", "no host"),
        ("https://:443/CANARY", "no host"),
        ("http://host:CANARY/", "port"),
        ("http://host:99999/CANARY", "port"),
        ("http://[CANARY/", "absolute"),
        ("http://a b/CANARY", "absolute"),
        ("http://1.2.3.4.5/CANARY", "absolute"),
    ] {
        let said = fault(text).expect(text);
        assert!(said.contains(expected) && !said.contains("CANARY"), "{text}: {said}");
        let target = TargetUrl::new(text);
        assert_eq!((&*target.destination(), target.is_https()), ("", false));
    }
}

#[test]
fn urls_are_normalised() {
    for (text, destination, url, authorization) in [
        ("http://h", "h:80", "http://h/", None),
        (" HTTPS://Hooks.Example/A?b=c#d\n", "hooks.example:443", "https://hooks.example/A?b=c", None),
        ("https://h:8443/x", "h:8443", "https://h:8443/x", None),
        ("http://127.1:80/x", "127.0.0.1:80", "http://127.0.0.1/x", None),
        ("http://[::1]:8080/", "[::1]:8080", "http://[::1]:8080/", None),
        ("http://bücher.example/", "xn--bcher-kva.example:80", "http://xn--bcher-kva.example/", None),
        ("http://user@h/", "h:80", "http://h/", Some("Basic dXNlcjo=")),
        ("http://user:pass@h/", "h:80", "http://h/", Some("Basic dXNlcjpwYXNz")),
        ("http://:p%40ss%zz@h/", "h:80", "http://h/", Some("Basic OnBAc3Mleno=")),
    ] {
        assert_eq!(fault(text), None, "{text}");
        let target = TargetUrl::new(text);
        assert_eq!(&*target.destination(), destination);
        let HttpRequest { url: found, headers, .. } = target.request("POST", "{}");
        assert_eq!(found.reveal(), url);
        let found = headers.iter().find(|header| header.name == "Authorization").map(|header| match &header.value {
            HeaderValue::Secret(value) => value.reveal().as_str(),
            other => panic!("{other:?}"),
        });
        assert_eq!(found, authorization, "{text}");
        assert_eq!(format!("{target:?}"), "***");
    }
}

#[test]
fn params_with_a_target_are_marked_secret() {
    let schema = schemars::schema_for!(TargetUrl).to_value();
    for (key, value) in [("type", "string"), ("format", "uri")] {
        assert_eq!(schema.get(key).and_then(|found| found.as_str()), Some(value));
    }
    assert!(schema["x-secret"] == true && schema["writeOnly"] == true);
    let target: TargetUrl = serde_json::from_str(r#""not a url""#).expect("any text deserializes");
    assert_eq!(&*target.destination(), "");
    assert!(serde_json::from_str::<TargetUrl>("5").is_err());
}
