//! Redacts secrets in run documents, before senders and templates see them.

use runbell_core::{Map, REDACTED, Registry, SECRET_KEY, SecretValues, Value};

/// Redacts a run document in place: what its own notifications keep secret, and every secret value wherever it
/// stands. A reference to a stored secret is no secret and stays, as in MLRun; and so does which run it is.
pub(crate) fn redact(document: &mut Value, registry: &Registry, secrets: &SecretValues) {
    if let Some(notifications) = notifications_of(document) {
        for notification in notifications {
            if let Value::Map(notification) = notification {
                redact_notification(notification, registry);
            }
        }
    }
    secrets.redact_run(document);
}

fn notifications_of(document: &mut Value) -> Option<&mut Vec<Value>> {
    let Value::Map(run) = document else { return None };
    let Some(Value::Map(spec)) = run.get_mut("spec") else { return None };
    match spec.get_mut("notifications") {
        Some(Value::List(list)) => Some(list),
        _ => None,
    }
}

fn redact_notification(notification: &mut Map, registry: &Registry) {
    let kind = notification.get("kind").and_then(Value::as_str).unwrap_or("slack").to_owned();
    match notification.get_mut("secret_params") {
        Some(Value::Map(params)) => {
            let concealed = params.len() == 1
                && params.get(SECRET_KEY).and_then(Value::as_str).is_some_and(|name| !name.is_empty());
            if !concealed {
                params.values_mut().for_each(|value| *value = Value::from(REDACTED));
            }
        }
        Some(Value::Null) | None => {}
        Some(malformed) => *malformed = Value::from(REDACTED),
    }
    match notification.get_mut("params") {
        Some(Value::Map(params)) => match registry.get(&kind) {
            Ok(kind) => {
                let unknown: Vec<(String, Value)> = params
                    .iter()
                    .filter(|(name, _)| runbell_core::schema::property(kind.schema(), name).is_none())
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                *params = kind.masked(params, REDACTED);
                // A param the kind does not know is not secret by its schema; the run goes out as handed in.
                params.extend(unknown);
            }
            // Without the kind's schema all of them may be secret.
            Err(_) => params.values_mut().for_each(|value| *value = Value::from(REDACTED)),
        },
        Some(Value::Null) | None => {}
        Some(malformed) => *malformed = Value::from(REDACTED),
    }
}

#[cfg(test)]
mod tests {
    use runbell_core::value::read;

    use super::*;

    #[test]
    fn the_identity_of_a_run_stays() {
        let mut run =
            read(r#"{"metadata": {"project": "nightly-builds", "uid": "0123456789", "name": "x 0123456789"}}"#)
                .expect("json");
        let mut secrets = SecretValues::default();
        secrets.add(&Value::from("https://h.example/nightly-builds/0123456789"));
        redact(&mut run, &Registry::default(), &secrets);
        assert_eq!(
            run.to_json(),
            r#"{"metadata":{"project":"nightly-builds","uid":"0123456789","name":"x REDACTED"}}"#
        );
    }

    #[test]
    fn secret_params_go_and_references_stay() {
        let mut run = read(
            r#"{"metadata": {"x": "see CANARY-12345"}, "spec": {"notifications": [
                {"kind": "nosuch", "secret_params": {"url": "CANARY"}, "params": {"a": 1}},
                {"secret_params": {"secret": "NAME"}},
                {"secret_params": "CANARY"}, "odd"]}}"#,
        )
        .expect("json");
        let mut secrets = SecretValues::default();
        secrets.add(&Value::from("CANARY-12345"));
        redact(&mut run, &Registry::default(), &secrets);
        assert_eq!(
            run.to_json(),
            r#"{"metadata":{"x":"see REDACTED"},"spec":{"notifications":[{"kind":"nosuch","secret_params":{"url":"REDACTED"},"params":{"a":"REDACTED"}},{"secret_params":{"secret":"NAME"}},{"secret_params":"REDACTED"},"odd"]}}"#
        );
    }
}
