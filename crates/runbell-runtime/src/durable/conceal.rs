//! Conceals secret params when a notification is registered, and finds them again for one send.

use std::sync::Arc;

use runbell_core::value::{self, python_json};
use runbell_core::{Error, ErrorKind, Map, Notification, Result, SECRET_KEY, Value, text};
use runbell_store::seal::KeyRing;
use runbell_store::{Registered, SealedSecret, Store};
use sha2::{Digest as _, Sha224};

use crate::prepared::fields;

/// What the names of concealed secrets begin with, as in MLRun. Users can neither read nor make such names.
const PREFIX: &str = "mlrun.notifications.";

/// Where secrets are: sealed in the store, opened with the operator's keys.
#[derive(Clone)]
pub(super) struct Vault {
    store: Arc<dyn Store>,
    keys: KeyRing,
}

impl Vault {
    pub(super) fn new(store: Arc<dyn Store>, keys: KeyRing) -> Self {
        Vault { store, keys }
    }

    /// The notification as it is registered, its secret params sealed apart. A reference to a project's secret stays one.
    ///
    /// # Errors
    /// When a secret cannot be sealed.
    pub(super) fn conceal(
        &self,
        project: &str,
        notification: &Notification,
    ) -> Result<(Registered, Option<SealedSecret>)> {
        let mut concealed = None;
        let mut secret_params = notification.secret_params.clone();
        if notification.secret_reference().is_none() {
            secret_params.shift_remove(SECRET_KEY);
            if !secret_params.is_empty() {
                let name = secret_name(&secret_params);
                let sealed = self.keys.seal(project, &name, &python_json(&Value::Map(secret_params)))?;
                secret_params = Map::from([(SECRET_KEY.to_owned(), Value::from(name.as_str()))]);
                concealed = Some(SealedSecret { name, sealed });
            }
        }
        let secret = secret_params.get(SECRET_KEY).and_then(Value::as_str).map(str::to_owned);
        let registered = Registered {
            name: notification.name.clone(),
            kind: notification.kind.clone(),
            document: document(notification, secret_params).to_json(),
            secret,
        };
        Ok((registered, concealed))
    }

    /// The notification with its secret params in clear.
    ///
    /// # Errors
    /// [`ErrorKind::SecretNotFound`] when the secret is not there or cannot be opened; [`ErrorKind::Unreachable`] when the
    /// store does not answer.
    pub(super) async fn reveal(&self, project: &str, registered: &Registered) -> Result<Notification> {
        let broken = || Error::new(ErrorKind::Internal, "a registered notification cannot be read any more");
        let document = value::read(&registered.document).map_err(|_| broken())?;
        let mut notification = Notification::parse(&document).0.ok_or_else(broken)?;
        let Some(name) = &registered.secret else { return Ok(notification) };
        let missing = |what: &str| {
            let name = text::one_line(name, 80);
            Error::new(ErrorKind::SecretNotFound, format!("secret_params.secret: the project's secret `{name}` {what}"))
        };
        let sealed = self.store.secret(project, name).await.map_err(|error| {
            Error::new(ErrorKind::Unreachable, "the store does not answer").caused_by(error).retry()
        })?;
        let opened = self.keys.open(project, name, &sealed.ok_or_else(|| missing("is not there"))?)?;
        notification.secret_params = match value::read(&opened) {
            Ok(Value::Map(params)) => params,
            _ => return Err(missing("does not hold a JSON object of params")),
        };
        Ok(notification)
    }
}

/// MLRun's formula: the hash of the params as Python writes them with sorted keys, so that equal params share a secret.
fn secret_name(params: &Map) -> String {
    let text = python_json(&sorted(&Value::Map(params.clone())));
    let digits: String = Sha224::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{digits}")
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Map(map) => {
            let mut pairs: Vec<(String, Value)> = map.iter().map(|(key, item)| (key.clone(), sorted(item))).collect();
            pairs.sort_by(|left, right| left.0.cmp(&right.0));
            pairs.into_iter().collect::<Map>().into()
        }
        Value::List(list) => list.iter().map(sorted).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// The object as it is stored and given back.
fn document(notification: &Notification, secret_params: Map) -> Value {
    let mut document = fields(notification);
    document.insert("params".to_owned(), notification.params.clone().into());
    document.insert("secret_params".to_owned(), secret_params.into());
    Value::Map(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_mlruns() {
        let file = value::read(include_str!("../../tests/vectors/secret_keys.json")).expect("JSON");
        let cases = file.get("cases").and_then(Value::as_list).expect("cases");
        for case in cases {
            let params = case.at(&["input", "secret_params"]).or_else(|| case.get("input"));
            let params = params.and_then(Value::as_map).expect("params");
            let expected = case.at(&["expected", "key"]).or_else(|| case.get("expected")).and_then(Value::as_str);
            assert_eq!(Some(secret_name(params).as_str()), expected, "{}", case.to_json());
        }
        assert!(cases.len() > 5);
    }
}
