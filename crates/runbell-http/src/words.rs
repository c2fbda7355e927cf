//! The words of an answer that refuses: what a person needs to mend the notification.

use runbell_core::{HeaderValue, HttpRequest, REDACTED, SecretValues, SendContext, Value, text, value};

/// The longest quotation, in characters: with the message and the status around it a reason stays within its 255.
const LONGEST: usize = 180;

/// The fields that services put their explanation into, the best first: GitHub and Discord, many APIs, RFC 9457 and FastAPI,
/// OAuth (RFC 6749), Slack-compatible ones.
const FIELDS: [&str; 7] = ["message", "error", "detail", "error_description", "reason", "text", "title"];

/// The answer's own words on one line, without any secret of the notification or the request; `None` when it has none that a
/// person could use.
pub(crate) fn words(body: &[u8], request: &HttpRequest, cx: &SendContext<'_>) -> Option<String> {
    let said = match value::read(std::str::from_utf8(body).ok()?) {
        Ok(document) => of_document(&document)?,
        Err(_) => of_text(body)?,
    };
    let mut own = SecretValues::default();
    own.add(&Value::from(request.url.reveal().as_str()));
    for header in &request.headers {
        if let HeaderValue::Secret(value) = &header.value {
            own.add(&Value::from(value.reveal().as_str()));
        }
    }
    // Masked before it is cut, so that no part of a secret is left at the end.
    let said = cx.mask(&own.mask(&said, REDACTED)).into_owned();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = text::one_line(&own.mask(&said, REDACTED), LONGEST);
    (!said.trim().is_empty()).then(|| said.trim().to_owned())
}

/// The explanation in a JSON answer: a text in one of the known fields, with what is wrong with each field of the request.
fn of_document(document: &Value) -> Option<String> {
    let said = match document {
        Value::String(said) => return Some(said.clone()),
        Value::List(list) => return of_document(list.first()?),
        Value::Map(_) => FIELDS.iter().find_map(|field| match document.get(field)? {
            Value::String(said) if !said.trim().is_empty() => Some(said.clone()),
            inner @ (Value::Map(_) | Value::List(_)) => of_document(inner),
            _ => None,
        }),
        _ => None,
    };
    let faults: Vec<String> =
        document.get("errors").and_then(Value::as_list).into_iter().flatten().filter_map(fault).collect();
    match (said, faults.is_empty()) {
        (said, true) => said,
        (None, false) => Some(faults.join(", ")),
        (Some(said), false) => Some(format!("{said}: {}", faults.join(", "))),
    }
}

/// One entry of `errors`, as GitHub has them: a text, or the field and a code.
fn fault(fault: &Value) -> Option<String> {
    if let Value::String(said) = fault {
        return Some(said.clone());
    }
    let word = |name: &str| fault.get(name).and_then(Value::as_str).filter(|word| !word.is_empty());
    let what = word("message").or_else(|| word("code")).or_else(|| word("detail"))?;
    Some(word("field").map_or_else(|| what.to_owned(), |field| format!("{field} {what}")))
}

/// A plain text; of a web page nothing.
fn of_text(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    (!text.starts_with(['<', '{', '['])).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    use runbell_core::{DeliveryKey, Secret, Timestamp};

    use super::*;

    fn said(body: &str) -> Option<String> {
        let written = AtomicBool::new(false);
        let mut secrets = SecretValues::default();
        secrets.add(&Value::from("notification-canary"));
        let deadline = Instant::now() + Duration::from_secs(1);
        let cx = SendContext::new(DeliveryKey::of(&["k"]), 1, deadline, Timestamp::UNIX_EPOCH, &written);
        let cx = cx.with_secrets(&secrets);
        let mut request = HttpRequest {
            method: "POST".to_owned(),
            url: Secret::new("https://hooks.example/path-7-canary?key=query-canary".to_owned()),
            headers: Vec::new(),
            body: "{}".into(),
        };
        request.set_header("Authorization", HeaderValue::Secret(Secret::new("Bearer header-canary".to_owned())));
        words(body.as_bytes(), &request, &cx)
    }

    #[test]
    fn the_words_of_services() {
        let some = |text: &str| Some(text.to_owned());
        for (body, expected) in [
            (r#"{"message": "Cannot send an empty message", "code": 50006}"#, some("Cannot send an empty message")),
            (
                r#"{"message":"Validation Failed","errors":[{"resource":"Issue","field":"body","code":"missing_field"}]}"#,
                some("Validation Failed: body missing_field"),
            ),
            (r#"{"message":"Validation Failed","errors":["is too long"]}"#, some("Validation Failed: is too long")),
            (r#"{"error": {"code": 400, "message": "bad chat"}}"#, some("bad chat")),
            (r#"{"error": "invalid_auth"}"#, some("invalid_auth")),
            (r#"{"detail": [{"loc": ["body"], "msg": "x", "message": "field required"}]}"#, some("field required")),
            (r#"{"title": "Forbidden", "status": 403, "detail": "no route"}"#, some("no route")),
            ("invalid_payload\n", some("invalid_payload")),
            ("a\r\nb\u{1b}[31m\tc", some("a b [31m c")),
            ("<html><title>Sign in</title>", None),
            (r#"{"code": 5}"#, None),
            ("{broken", None),
            ("", None),
            ("42", None),
        ] {
            assert_eq!(said(body), expected, "{body}");
        }
        let long = said(&"word ".repeat(1_000)).expect("words");
        assert!(long.chars().count() <= LONGEST, "{long}");
    }

    #[test]
    fn no_secret_is_quoted_and_no_part_of_one() {
        let all = "path-7-canary query-canary header-canary notification-canary";
        assert!(!said(all).expect("words").contains("canary"), "{:?}", said(all));
        for at in 0..LONGEST + 30 {
            let echo = format!("{}notification-canary header-canary", "x".repeat(at));
            let quoted = said(&echo).expect("words");
            assert!(!quoted.contains("notif") && !quoted.contains("head"), "{at}: {quoted}");
        }
    }
}
