//! Conceals secret params when a notification is registered, and reveals them for one attempt.

use std::collections::BTreeMap;
use std::sync::Arc;

use runbell_core::value::{self, python_json};
use runbell_core::{
    Error, ErrorKind, FlowKey, Map, Notification, REDACTED, Result, SECRET_KEY, SecretValues, Value, text,
};
use runbell_store::seal::KeyRing;
use runbell_store::{INTERNAL, RegisteredNotification, SealedSecret, Store, StoreError};
use sha2::{Digest as _, Sha224};

use super::fault::EventError;
use crate::ready::fields;

/// Where the key of destinations is sealed.
const OWN_PROJECT: &str = "_runbell";
const FLOW_KEY: &str = "flow-key";

/// How many secrets are sealed again at a time.
const BATCH: usize = 100;

/// The secrets: sealed in the store, opened with the operator's keys.
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
    /// Secrets (`known` ones and its own) in its message and its condition are redacted: neither would see them in clear
    /// anyway.
    ///
    /// # Errors
    /// When a secret cannot be sealed.
    pub(super) fn conceal(
        &self,
        project: &str,
        notification: &Notification,
        known: &SecretValues,
    ) -> Result<(RegisteredNotification, Option<SealedSecret>)> {
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
        let mut secrets = known.clone();
        if concealed.is_some() {
            secrets.add(&Value::Map(notification.secret_params.clone()));
        }
        let secret = secret_params.get(SECRET_KEY).and_then(Value::as_str).map(str::to_owned);
        let registered = RegisteredNotification {
            name: notification.name.clone(),
            kind: notification.kind.clone(),
            document: document(notification, secret_params, &secrets).to_json(),
            secret,
        };
        Ok((registered, concealed))
    }

    /// The notification with its secret params in clear.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`ErrorKind::Unreachable`] when the store does not answer.
    pub(super) async fn reveal(&self, project: &str, registered: &RegisteredNotification) -> Result<Notification> {
        let sealed = match &registered.secret {
            None => None,
            Some(name) => self.store.secret(project, name).await.map_err(no_answer)?,
        };
        self.open(project, registered, sealed.as_deref())
    }

    /// The notification with its secret params in clear, given the sealed text.
    ///
    /// # Errors
    /// [`ErrorKind::SecretNotFound`] when the secret is not there or cannot be opened.
    pub(super) fn open(
        &self,
        project: &str,
        registered: &RegisteredNotification,
        sealed: Option<&[u8]>,
    ) -> Result<Notification> {
        let broken = || Error::new(ErrorKind::Internal, "a registered notification cannot be read any more");
        let document = value::read(&registered.document).map_err(|_| broken())?;
        let mut notification = Notification::parse(&document).0.ok_or_else(broken)?;
        let Some(name) = &registered.secret else { return Ok(notification) };
        let missing = |what: &str| {
            let name = text::one_line(name, 80);
            Error::new(ErrorKind::SecretNotFound, format!("secret_params.secret: the project's secret `{name}` {what}"))
        };
        let opened = self.keys.open(project, name, sealed.ok_or_else(|| missing("is not there"))?)?;
        notification.secret_params = match value::read(&opened) {
            Ok(Value::Map(params)) => params,
            _ => return Err(missing("does not hold a JSON object of params")),
        };
        Ok(notification)
    }

    /// Keeps a project's own secrets.
    pub(super) async fn put(&self, project: &str, secrets: &BTreeMap<String, String>) -> Result<(), EventError> {
        let mut sealed = Vec::with_capacity(secrets.len());
        for (name, text) in secrets {
            let made = self.keys.seal(project, name, text).map_err(EventError::Internal)?;
            sealed.push(SealedSecret { name: name.clone(), sealed: made });
        }
        Ok(self.store.put_secrets(project, sealed).await?)
    }

    /// Seals again what another key than the first has sealed.
    pub(super) async fn reseal(&self) -> Result<(usize, usize)> {
        let (mut resealed, mut closed, mut after) = (0, 0, None);
        loop {
            let batch = self.store.secrets(after.take(), BATCH).await.map_err(no_answer)?;
            let Some(last) = batch.last() else { return Ok((resealed, closed)) };
            after = Some((last.project.clone(), last.secret.name.clone()));
            for old in batch.into_iter().filter(|old| !self.keys.is_current(&old.secret.sealed)) {
                let (project, name) = (old.project.as_str(), old.secret.name.as_str());
                let Ok(text) = self.keys.open(project, name, &old.secret.sealed) else {
                    closed += 1;
                    continue;
                };
                let sealed = self.keys.seal(project, name, &text)?;
                resealed += usize::from(self.store.reseal(old, sealed).await.map_err(no_answer)?);
            }
        }
    }
}

impl Vault {
    /// The key that destinations are hashed with. One that no key of the ring opens is replaced by another; the destinations
    /// of unfinished deliveries are unknown then until their senders are built.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn flow_key(&self) -> Result<FlowKey> {
        let seal = |key: &[u8; 32]| self.keys.seal(OWN_PROJECT, FLOW_KEY, &text::hex(key));
        let fresh = random()?;
        if self.keys.is_empty() {
            // Without keys nothing is sealed, and nothing is delivered.
            return Ok(FlowKey::new(fresh));
        }
        let kept = self.store.flow_key(seal(&fresh)?).await.map_err(no_answer)?;
        let opened = self.keys.open(OWN_PROJECT, FLOW_KEY, &kept).ok();
        let Some(key) = opened.as_deref().and_then(bytes_of) else {
            tracing::warn!("the key of stored destinations cannot be opened; a new one replaces it");
            self.store.put_flow_key(seal(&fresh)?, true).await.map_err(no_answer)?;
            return Ok(FlowKey::new(fresh));
        };
        if !self.keys.is_current(&kept) {
            self.store.put_flow_key(seal(&key)?, false).await.map_err(no_answer)?;
        }
        Ok(FlowKey::new(key))
    }
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| Error::new(ErrorKind::Internal, "the system gives no randomness"))?;
    Ok(bytes)
}

fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn no_answer(error: StoreError) -> Error {
    Error::new(ErrorKind::Unreachable, "the store does not answer").caused_by(error).retry()
}

/// MLRun's formula: the hash of the params as Python writes them with sorted keys, so that equal params share a secret.
fn secret_name(params: &Map) -> String {
    let json = python_json(&sorted(&Value::Map(params.clone())));
    format!("{INTERNAL}{}", text::hex(&Sha224::digest(json.as_bytes())))
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

/// The object in the form that is stored and returned.
fn document(notification: &Notification, secret_params: Map, secrets: &SecretValues) -> Value {
    let mut document = fields(notification);
    for (field, text) in [("message", &notification.message), ("condition", &notification.condition)] {
        document.insert(field.to_owned(), Value::from(secrets.mask(text, REDACTED).as_ref()));
    }
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
