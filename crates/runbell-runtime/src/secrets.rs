//! Looks up `{"secret": "NAME"}` in the environment of the process.

use runbell_core::{Env, Error, ErrorKind, Map, Notification, Result, Value, text, value};

/// The prefix under which MLRun mounts project secrets into the environment of its pods.
const PROJECT_SECRET_PREFIX: &str = "MLRUN_K8S_SECRET__";

/// The secret params of a notification, a reference resolved.
///
/// A reference is looked up as the variable `NAME`, then as `MLRUN_K8S_SECRET__NAME` (upper case too, as MLRun
/// mounts it); its value is a JSON object.
///
/// # Errors
/// [`ErrorKind::SecretNotFound`] when there is no such variable, or its value is not a JSON object.
pub(crate) fn resolve(notification: &Notification, env: &dyn Env) -> Result<Map> {
    let Some(name) = notification.secret_reference() else {
        let mut params = notification.secret_params.clone();
        // An empty reference is none, as in MLRun.
        params.shift_remove(runbell_core::SECRET_KEY);
        return Ok(params);
    };
    let fault = |what: &str| {
        let name = text::one_line(name, 80);
        Err(Error::new(ErrorKind::SecretNotFound, format!("environment variable `{name}` {what}"))
            .at("secret_params.secret"))
    };
    let mounted = [format!("{PROJECT_SECRET_PREFIX}{name}"), format!("{PROJECT_SECRET_PREFIX}{}", name.to_uppercase())];
    let found = env.var(name).or_else(|| mounted.iter().find_map(|variable| env.var(variable)));
    match found.as_deref().map(value::read) {
        None => fault("is not set, nor is it with the prefix MLRUN_K8S_SECRET__; set it to a JSON object of params"),
        Some(Ok(Value::Map(params))) => Ok(params),
        Some(_) => fault("does not hold a JSON object of params such as {\"webhook\": \"https://…\"}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_reference_is_looked_up_under_three_names() {
        let reference = Notification::new("slack", "n").secret_param("secret", "hook");
        for variable in ["hook", "MLRUN_K8S_SECRET__hook", "MLRUN_K8S_SECRET__HOOK"] {
            let env = HashMap::from([(variable.to_owned(), r#"{"webhook": "w"}"#.to_owned())]);
            let params = resolve(&reference, &env).expect(variable);
            assert_eq!(params.get("webhook"), Some(&Value::from("w")));
        }
    }

    #[test]
    fn missing_or_malformed_secrets_are_named_without_their_values() {
        let reference = Notification::new("slack", "n").secret_param("secret", "HOOK");
        for (value, part) in
            [(None, "is not set"), (Some("CANARY"), "JSON object"), (Some("[\"CANARY\"]"), "JSON object")]
        {
            let env: HashMap<String, String> =
                value.map(|value| ("HOOK".to_owned(), value.to_owned())).into_iter().collect();
            let error = resolve(&reference, &env).expect_err("no secret");
            assert_eq!(error.kind(), ErrorKind::SecretNotFound);
            assert!(error.to_string().contains(part) && !error.to_string().contains("CANARY"), "{error}");
        }
    }
}
