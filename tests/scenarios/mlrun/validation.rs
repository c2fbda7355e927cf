//! What is accepted and what is refused, and for which field.

use runbell::{Notification, NotifierBuilder, Registry, Value};

use super::{Case, Difference, cases};

fn builder() -> NotifierBuilder {
    let registry = Registry::collect(runbell::BUILTINS.iter().copied()).expect("no duplicates");
    // No environment: a developer's SLACK_WEBHOOK must not decide.
    runbell::Notifier::builder(registry).context(runbell::BuildContext::server())
}

/// The reasons to differ, by rule.
fn difference(case: &Case) -> Option<Difference> {
    let notification = case.at(&["input", "notification"]).or_else(|| case.at(&["input"]))?;
    let kind = notification.get("kind").and_then(Value::as_str).unwrap_or("slack");
    let empty = |field: &str| !notification.get(field).is_some_and(Value::is_truthy);
    let url = ["url", "webhook"].iter().find_map(|name| {
        ["params", "secret_params"].iter().find_map(|map| notification.at(&[map, name]).and_then(Value::as_str))
    });
    let severity = notification.get("severity").and_then(Value::as_str).unwrap_or("info");
    if case.text(&["check"]) == "params"
        && matches!(kind, "console" | "ipython")
        && empty("params")
        && empty("secret_params")
    {
        Some(Difference::ConsoleNeedsNoParams)
    } else if case.text(&["check"]) == "params"
        && notification.at(&["secret_params", "secret"]).is_none()
        && url.is_some_and(|url| !url.is_empty() && !url.contains("://"))
    {
        Some(Difference::AbsoluteUrls)
    } else if kind == "mail"
        && notification.at(&["params", "email_addresses"]).and_then(Value::as_str).is_some_and(|all| all.contains(' '))
    {
        Some(Difference::AddressesAreTrimmed)
    } else if severity != severity.to_lowercase() {
        Some(Difference::Severities)
    } else if notification.get("when").and_then(Value::as_list).is_some_and(|when| {
        when.iter().any(|state| state.as_str().is_none_or(|state| state.parse::<runbell::RunState>().is_err()))
    }) {
        Some(Difference::UnknownStates)
    } else {
        None
    }
}

/// Whether the notifications are accepted, and the findings.
fn judge(case: &Case) -> (bool, String) {
    let input = case.at(&["input"]).expect("input");
    let found = match case.text(&["check"]) {
        "construct" => {
            let mut document = input.clone();
            if let (Value::Map(map), Some(length)) = (&mut document, input.get("len").and_then(Value::as_i64)) {
                let text = "a".repeat(usize::try_from(length).expect("a length"));
                map.insert(
                    "secret_params".to_owned(),
                    Value::Map([("k".to_owned(), Value::from(text))].into_iter().collect()),
                );
            }
            let (notification, mut found) = Notification::parse(&document);
            // MLRun knows its kinds when it constructs; here the registry does.
            if let Some(notification) = notification {
                for fault in builder().check_one(&notification).faults().filter(|fault| fault.path == "kind") {
                    found.fault("kind", fault.message.clone());
                }
            }
            found
        }
        "params" => {
            let (notification, mut found) = Notification::parse(input.get("notification").expect("a notification"));
            if let Some(notification) = notification {
                let mut builder = builder();
                for (kind, defaults) in input.get("default_params").and_then(Value::as_map).into_iter().flatten() {
                    builder = builder.default_params(kind, defaults.as_map().expect("params").clone());
                }
                found.extend_below("", builder.check_one(&notification));
            }
            found
        }
        "uniqueness" => {
            let names = input.get("names").and_then(Value::as_list).expect("names");
            let list = names.iter().map(|name| {
                Value::Map(
                    [("kind".to_owned(), Value::from("console")), ("name".to_owned(), name.clone())]
                        .into_iter()
                        .collect(),
                )
            });
            Notification::parse_list(&Value::List(list.collect())).1
        }
        other => panic!("unknown check {other}"),
    };
    let shown = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    (!found.has_faults(), shown)
}

#[test]
fn every_notification_is_accepted_or_refused_for_the_same_field() {
    let mut differing = std::collections::HashSet::new();
    for case in cases(include_str!("../../vectors/validation.json")) {
        let (accepted, found) = judge(&case);
        let expected = case.at(&["expected", "ok"]) == Some(&Value::Bool(true));
        match difference(&case) {
            Some(reason) => {
                assert_ne!(accepted, expected, "{}: {reason:?} makes no difference: {found}", case.id);
                differing.insert(reason);
            }
            None => {
                assert_eq!(accepted, expected, "{}: {found}", case.id);
                // The wording is ours; the field is the same.
                let message = case.text(&["expected", "error", "message"]);
                if let Some(field) = message.strip_prefix("Parameter '").and_then(|rest| rest.split('\'').next()) {
                    assert!(found.contains(&format!("params.{field}")), "{}: {message}: {found}", case.id);
                }
            }
        }
    }
    assert_eq!(differing.len(), 5, "{differing:?}");
}
