//! A notification in the form in which it is registered at a server.

use runbell_core::{BuildContext, Map, Notification, Place, Registry, Result, SECRET_KEY, SecretValues, schema};

/// A notification in the form in which it is registered at a server, and its secrets.
#[derive(Debug, Clone)]
pub struct Registrable {
    /// The notification, with the params that its kind takes from the environment.
    pub notification: Notification,
    /// Where its kind may be sent from.
    pub place: Place,
    /// The secrets to redact in its runs.
    pub secrets: SecretValues,
}

/// Fills in what the kind takes from the environment, which a server does not read. What its schema marks secret
/// becomes a secret param.
///
/// A reference to a stored secret stays one: the server has that secret and the other missing params.
///
/// # Errors
/// [`ErrorKind::UnknownKind`](runbell_core::ErrorKind::UnknownKind).
pub fn register(mut notification: Notification, registry: &Registry, cx: &BuildContext) -> Result<Registrable> {
    let kind = registry.get(&notification.kind)?;
    let place = kind.registration().place;
    if notification.secret_reference().is_some() {
        let secrets = kind.secret_values(&notification.params);
        return Ok(Registrable { notification, place, secrets });
    }
    notification.secret_params.shift_remove(SECRET_KEY);
    let mut given: Map = notification.secret_params.clone();
    given.extend(notification.params.iter().map(|(name, value)| (name.clone(), value.clone())));
    let mut all = given.clone();
    kind.complete(&mut all, cx);
    let secrets = kind.secret_values(&all);
    for (name, value) in all {
        if given.get(&name) == Some(&value) {
            continue;
        }
        if schema::property(kind.schema(), &name).is_some_and(schema::holds_secret) {
            // An empty param would win over it.
            notification.params.shift_remove(&name);
            notification.secret_params.insert(name, value);
        } else {
            notification.params.insert(name, value);
        }
    }
    Ok(Registrable { notification, place, secrets })
}
