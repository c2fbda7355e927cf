//! A store with its dispatcher.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use runbell_core::{BuildContext, CA_FILE, Egress, Findings, Map, Notification, Place, Registry, Value, text};
use runbell_runtime::{Dispatcher, DispatcherOptions};
use runbell_store::Store;
use runbell_store::seal::KeyRing;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::state::{App, Inner};
use crate::tokens::Tokens;
use crate::{keys, smtp};

/// A store with its dispatcher: opened by one process at a time.
pub struct Instance {
    pub(crate) app: App,
}

/// The purpose of opening a store by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To read and manage its content. A missing store is not made, and its keys are not needed.
    Tend,
    /// To add content that needs no key, such as the first access token. A missing store is made.
    Begin,
    /// To seal secrets. A missing store is made; keys are made for a store without secrets.
    Seal,
}

/// How an instance is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It delivers, and answers requests at this address.
    Serving(SocketAddr),
    /// It only reads and changes the content, for the owner of the file.
    AtRest(Purpose),
}

impl Instance {
    /// Opens the configured store to read and change its content, without delivering. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When the configuration is wrong, another process has the store, or it is missing and must not be made.
    pub async fn open(config: &Config, registry: Registry, purpose: Purpose) -> anyhow::Result<Self> {
        Self::open_for(config, registry, Use::AtRest(purpose)).await
    }

    pub(crate) async fn open_for(config: &Config, registry: Registry, used: Use) -> anyhow::Result<Self> {
        let limits = config.checked_limits()?.clone();
        let (retry, file) = (config.retry_policy()?, config.store_file()?);
        let cx = BuildContext::server();
        cx.shared.set(egress(config, used)?);
        let mail = smtp_defaults(config, &registry, &cx)?;
        if used == Use::AtRest(Purpose::Tend) && !file.exists() {
            bail!("store: {} is not there; its server makes it on the first start", file.display());
        }
        let store = runbell_store::open(&format!("sqlite://{}", file.display()), Arc::clone(&cx.clock)).await?;
        let keys = keys_for(config, &file, store.as_ref(), used).await?;
        let tokens = Tokens::default();
        tokens.load(store.as_ref()).await?;
        let metrics = Arc::new(Metrics::new()?);
        let observed = Arc::clone(&metrics);
        let mail = (!mail.is_empty()).then_some(mail);
        let options = DispatcherOptions {
            retry,
            at_once: limits.attempts_at_once,
            ui_url: config.ui_url.clone().unwrap_or_default(),
            defaults: mail.iter().map(|mail| ("mail".to_owned(), mail.clone())).collect(),
            on_failure: on_failure(&config.on_failure)?,
            observer: Some(Arc::new(move |attempted| observed.attempted(attempted))),
        };
        let alarms = options.on_failure.clone();
        let clock = Arc::clone(&cx.clock);
        let dispatcher = Dispatcher::at_rest(store, registry.clone(), cx, keys, options).await?;
        check_alarms(&alarms, &dispatcher, &registry)?;
        let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let needs_tokens = matches!(used, Use::Serving(address) if !address.ip().is_loopback());
        if needs_tokens && !tokens.are_used() {
            bail!(
                "listen: without access tokens a server listens on loopback only; make the first with `runbell tokens create \
                 NAME --admin --store {}`, or listen on 127.0.0.1",
                file.display()
            );
        }
        Ok(Instance {
            app: App(Arc::new(Inner {
                dispatcher,
                clock,
                tokens,
                needs_tokens,
                is_local: matches!(used, Use::AtRest(_)),
                metrics,
                limits,
                ui_url: config.ui_url.clone(),
                folder,
            })),
        })
    }

    /// Starts no more attempts, and waits up to `deadline` for those under way.
    pub async fn stop(&self, deadline: Duration) {
        self.app.dispatcher.stop(deadline).await;
    }
}

/// Checks the operator's notifications.
fn check_alarms(alarms: &[Notification], dispatcher: &Dispatcher, registry: &Registry) -> anyhow::Result<()> {
    for (index, alarm) in alarms.iter().enumerate() {
        let mut found = Findings::default();
        found.extend_below(&format!("on_failure[{index}]"), dispatcher.check(alarm));
        if let Some(fault) = found.faults().next() {
            bail!("{fault}");
        }
        if registry.get(&alarm.kind).is_ok_and(|kind| kind.registration().place == Place::HereOnly) {
            bail!("on_failure[{index}].kind: `{}` prints in the process of a run; a server cannot send it", alarm.kind);
        }
    }
    Ok(())
}

fn key_file(config: &Config, store: &Path) -> std::path::PathBuf {
    config.secrets.key_file.clone().unwrap_or_else(|| {
        let mut name = store.as_os_str().to_owned();
        name.push(".key");
        name.into()
    })
}

/// The keys of a store's secrets, if the use needs them.
async fn keys_for(config: &Config, file: &Path, store: &dyn Store, used: Use) -> anyhow::Result<KeyRing> {
    if matches!(used, Use::AtRest(Purpose::Tend | Purpose::Begin)) {
        return Ok(KeyRing::none());
    }
    let some = store.secrets(None, 1).await?;
    let keys = keys::load(&key_file(config, file), some.is_empty())?;
    // A server logs secrets that it cannot open, and goes on; for a verb by hand the likely cause is a wrong key.
    if used == Use::AtRest(Purpose::Seal)
        && some.iter().any(|one| keys.open(&one.project, &one.secret.name, &one.secret.sealed).is_err())
    {
        bail!(
            "secrets: these keys do not open the store's secrets, so its server could not open a new one; use the server's key file"
        );
    }
    Ok(keys)
}

/// The addresses that notifications may reach, and the proxy. A server on loopback may reach its own machine.
fn egress(config: &Config, used: Use) -> anyhow::Result<Egress> {
    let allowed = config.networks()?;
    let serves_itself = match used {
        Use::Serving(address) => address.ip().is_loopback(),
        Use::AtRest(_) => true,
    };
    let mut egress = Egress::guarded(allowed);
    if serves_itself {
        egress = egress.with_own_machine();
    }
    if let Some(proxy) = &config.proxy {
        let scheme = proxy.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("http" | "https")) {
            bail!("proxy: must be a URL such as http://proxy.example:3128");
        }
        egress = egress.with_proxy(proxy);
    }
    let authorities = config.ca_file.clone().or_else(|| std::env::var_os(CA_FILE).map(Into::into));
    if let Some(file) = authorities {
        let pem = std::fs::read_to_string(&file)
            .map_err(|error| anyhow::anyhow!("{}: {}", file.display(), error.kind()))
            .context("ca_file")?;
        egress = egress.with_ca(&pem);
    }
    Ok(egress)
}

/// The SMTP defaults, checked.
fn smtp_defaults(config: &Config, registry: &Registry, cx: &BuildContext) -> anyhow::Result<Map> {
    let kind = registry.get("mail").ok().map(Arc::as_ref);
    let mail = smtp::defaults(config.mail.as_ref(), kind, |name| std::env::var(name).ok())?;
    if let Some(kind) = kind.filter(|_| !mail.is_empty())
        && let Some(fault) = smtp::check(kind, &mail, cx).faults().next()
    {
        bail!("{fault}");
    }
    Ok(mail)
}

fn on_failure(list: &[Value]) -> anyhow::Result<Vec<Notification>> {
    let (notifications, parsed) = Notification::parse_list(&Value::from(list.to_vec()));
    let mut found = Findings::default();
    found.extend_below("on_failure", parsed);
    if let Some(fault) = found.faults().next() {
        bail!("{fault}");
    }
    let notifications: Vec<Notification> = notifications.into_iter().map(|(_, notification)| notification).collect();
    if let Some(one) = notifications.iter().find(|one| one.secret_reference().is_some()) {
        let name = text::one_line(&one.name, 80);
        bail!(
            "on_failure: `{name}` refers to a project's secret; give its secret_params here, as ${{ENV}} or file:PATH"
        );
    }
    Ok(notifications)
}
