//! A notification made ready to be decided and sent: kind found, secrets resolved, params merged and checked, sender built,
//! condition compiled. Done once for a notifier's own notifications, and with each run for those inside it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use runbell_core::{
    BuildContext, Error, ErrorKind, Finding, FindingCode, Findings, Flow, FlowKey, Layer, Level, Limits, Look, MASK,
    Map, Notification, REDACTED, RegisteredKind, Registry, Result, SecretValues, Sender, Value, schema,
};
use runbell_jinja::{Condition, TemplateValue};

use crate::secrets;

/// A notification made ready to be decided and sent.
#[derive(Debug)]
pub(crate) struct ReadyNotification {
    pub(crate) notification: Arc<Notification>,
    pub(crate) name: Arc<str>,
    pub(crate) own_text: Arc<str>,
    /// The notification as templates, previews and logs may see it.
    pub(crate) shown: Arc<Value>,
    pub(crate) condition: Condition,
    pub(crate) secrets: SecretValues,
    pub(crate) sender: Arc<dyn Sender>,
    pub(crate) limits: Limits,
    /// The flow of its deliveries.
    pub(crate) flow: Flow,
    /// The look of its messages: MLRun's or Runbell's.
    pub(crate) look: Look,
    /// The kind by its own name, whatever alias was written.
    pub(crate) kind: &'static str,
    pub(crate) yields_to: &'static [&'static str],
    /// Whether there is a display for it here.
    pub(crate) is_active: bool,
    /// Warnings about the configuration, noted in every report.
    pub(crate) warnings: Vec<Finding>,
    template: OnceLock<TemplateValue>,
}

impl ReadyNotification {
    /// The notification as templates see it, converted once.
    pub(crate) fn template(&self) -> &TemplateValue {
        self.template.get_or_init(|| TemplateValue::new(&self.shown))
    }
}

/// The inputs to make notifications ready.
#[derive(Debug, Clone)]
pub(crate) struct Preparer {
    pub(crate) registry: Registry,
    pub(crate) cx: BuildContext,
    pub(crate) layers: Vec<Arc<dyn Layer>>,
    /// Default params by kind, for notifications that leave them out.
    pub(crate) defaults: Arc<std::collections::BTreeMap<String, Map>>,
    /// Makes flows of limits.
    pub(crate) flow_key: FlowKey,
}

/// The error of a kind that panics over a notification's params.
const PANICKED: &str = "the kind panicked while it was made ready";

impl Preparer {
    /// Makes a notification ready.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownKind`], [`ErrorKind::SecretNotFound`], or [`ErrorKind::ParamsInvalid`] with every fault; and
    /// [`ErrorKind::Internal`] when the kind panicked, which must not take others with it.
    pub(crate) fn prepare(&self, notification: Notification, look: Look) -> Result<ReadyNotification> {
        catch_unwind(AssertUnwindSafe(|| self.make_ready(notification, look)))
            .unwrap_or_else(|_panic| Err(Error::new(ErrorKind::Internal, PANICKED)))
    }

    fn make_ready(&self, notification: Notification, look: Look) -> Result<ReadyNotification> {
        let kind = self.registry.get(&notification.kind)?;
        let params = self.merge(&notification, kind)?;
        let mut found = Findings::default();
        found.extend_below("params", kind.check(&params, &self.cx));
        let warnings = found.warnings().cloned().collect();
        found.into_result()?;
        let mut sender = kind.build(&params, &self.cx)?;
        for layer in &self.layers {
            sender = layer.layer(sender);
        }
        let secrets = kind.secret_values(&params);
        let mut shown = shown(&notification, kind);
        // A message or a condition may repeat what is secret in the params.
        secrets.redact(&mut shown);
        let limits = sender.limits();
        Ok(ReadyNotification {
            name: notification.name.as_str().into(),
            own_text: secrets.mask(&notification.message, REDACTED).into(),
            shown: Arc::new(shown),
            condition: Condition::compile(&notification.condition),
            secrets,
            flow: self.flow_key.flow(&limits),
            limits,
            look,
            kind: kind.registration().kind,
            yields_to: kind.registration().yields_to,
            is_active: (kind.registration().is_active)(&self.cx),
            sender,
            warnings,
            template: OnceLock::new(),
            notification: Arc::new(notification),
        })
    }

    /// Defaults < secret params < params; the environment fills in what is then still missing.
    fn merge(&self, notification: &Notification, kind: &RegisteredKind) -> Result<Map> {
        let mut params = self.defaults.get(kind.registration().kind).cloned().unwrap_or_default();
        params.extend(secrets::resolve(notification, self.cx.env.as_ref())?);
        params.extend(notification.params.iter().map(|(name, value)| (name.clone(), value.clone())));
        kind.complete(&mut params, &self.cx);
        Ok(params)
    }

    /// All faults and warnings of a notification, each with its field's path. A kind that panics over it is a fault too.
    pub(crate) fn check(&self, notification: &Notification) -> Findings {
        catch_unwind(AssertUnwindSafe(|| self.find_faults(notification))).unwrap_or_else(|_panic| {
            let mut found = Findings::default();
            found.fault_of(FindingCode::KindPanicked, "", PANICKED);
            found
        })
    }

    fn find_faults(&self, notification: &Notification) -> Findings {
        let mut found = Findings::default();
        let condition = Condition::compile(&notification.condition);
        if let Some(fault) = condition.fault() {
            let cause = fault.cause;
            let message = format!("is ignored, so the notification is always sent ({cause}: {fault})");
            found.warning_of(FindingCode::ConditionIgnored, "condition", message);
        }
        let kind = match self.registry.get(&notification.kind) {
            Ok(kind) => kind,
            Err(error) => {
                found.push(Finding::of_error(Level::Fault, &error));
                return found;
            }
        };
        match self.merge(notification, kind) {
            // The sending process may know the secret although this one does not; MLRun skips the params then too.
            Err(error) => found.push(Finding::of_error(Level::Warning, &error)),
            Ok(params) => {
                for finding in kind.check(&params, &self.cx).iter() {
                    // Point at the map the field was written in.
                    let stands_in = |map: &Map| map.keys().any(|field| finding.is_about(field));
                    let is_secret = !stands_in(&notification.params) && stands_in(&notification.secret_params);
                    let map = if is_secret { "secret_params" } else { "params" };
                    let mut one = Findings::default();
                    one.push(finding.clone());
                    found.extend_below(map, one);
                }
            }
        }
        for (name, _) in &notification.params {
            if schema::property(kind.schema(), name).is_some_and(schema::holds_secret) {
                let message = "is secret; move it to secret_params, which are never shown";
                found.warning_of(FindingCode::ExposedSecret, format!("params.{name}"), message);
            }
        }
        found
    }
}

/// What MLRun's object has of a notification, without the params.
pub(crate) fn fields(notification: &Notification) -> Map {
    let when = notification.when.iter().map(|state| Value::from(state.as_str())).collect::<Vec<_>>();
    Map::from_iter([
        ("kind".to_owned(), Value::from(notification.kind.as_str())),
        ("name".to_owned(), Value::from(notification.name.as_str())),
        ("message".to_owned(), Value::from(notification.message.as_str())),
        ("severity".to_owned(), Value::from(notification.severity.as_str())),
        ("when".to_owned(), Value::from(when)),
        ("condition".to_owned(), Value::from(notification.condition.as_str())),
    ])
}

/// The notification with every secret masked.
fn shown(notification: &Notification, kind: &RegisteredKind) -> Value {
    let secret_params: Map = notification.secret_params.keys().map(|key| (key.clone(), Value::from(MASK))).collect();
    let mut shown = fields(notification);
    if !notification.params.is_empty() {
        shown.insert("params".to_owned(), kind.masked(&notification.params, MASK).into());
    }
    if !secret_params.is_empty() {
        shown.insert("secret_params".to_owned(), secret_params.into());
    }
    Value::Map(shown)
}

/// A notification with an invalid configuration, with the data to report it.
#[derive(Debug, Clone)]
pub(crate) struct Unusable {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) error: Arc<Error>,
    /// Its secrets, as far as they are known.
    #[cfg(feature = "durable")]
    pub(crate) secrets: SecretValues,
}

impl Unusable {
    pub(crate) fn new(name: &str, kind: &str, error: Error) -> Self {
        Unusable {
            name: name.to_owned(),
            kind: kind.to_owned(),
            error: Arc::new(error),
            #[cfg(feature = "durable")]
            secrets: SecretValues::default(),
        }
    }

    /// A notification whose document cannot be read.
    pub(crate) fn unreadable(name: &str, kind: &str, found: Findings) -> Self {
        let unread = || Error::new(ErrorKind::Internal, "a notification without faults cannot be read");
        Self::new(name, kind, found.into_result().err().unwrap_or_else(unread))
    }
}
