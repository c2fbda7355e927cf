//! The server's configuration, from its file and the command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use runbell_core::value::decode;
use runbell_core::{Map, RetryPolicy, Value};
use schemars::JsonSchema;
use serde::Deserialize;

/// The configuration of a server. Every setting has a default.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port to listen on. Default `127.0.0.1:8080`; port 0 takes a free one. An address other than loopback needs
    /// an access token in the store.
    pub listen: Option<String>,
    /// The store: `sqlite://FILE`, or the file's path. Default `sqlite://runbell.db`.
    pub store: Option<String>,
    /// Certificate and key, for HTTPS.
    pub tls: Option<TlsSettings>,
    /// The UI that messages link to: `{ui_url}/projects/{project}/jobs/monitor-jobs/{name}/{uid}/overview`.
    pub ui_url: Option<String>,
    /// SMTP defaults: params of the `mail` kind for notifications that leave them out, such as `server_host`, `server_port`,
    /// `sender_address`, `username`, `password`; and `secret_dir`, a folder with a file for each, as Kubernetes mounts a
    /// secret. The environment (`RUNBELL_MAIL_SERVER_HOST`, …) overrides the folder, this file overrides both.
    #[schemars(with = "Option<std::collections::BTreeMap<String, serde_json::Value>>")]
    pub mail: Option<Map>,
    /// The keys that seal secrets.
    pub secrets: Secrets,
    /// Networks that notifications may reach although they are private, such as `10.1.0.0/16`. Default none; a server that
    /// listens on loopback allows loopback.
    pub allow_networks: Vec<String>,
    /// A proxy for all HTTP requests to targets. Default none; the environment's proxy variables are ignored.
    pub proxy: Option<String>,
    /// A PEM file of certificate authorities to trust in addition to the system's. Default: the file named by `RUNBELL_CA_FILE`.
    pub ca_file: Option<PathBuf>,
    /// The retries of deliveries.
    pub retry: RetrySettings,
    /// The number of days that finished deliveries and ended runs are kept. Default 30.
    pub retention_days: Option<u32>,
    /// Notifications to the operator about deliveries that failed for good, in the same form as those of a run.
    #[schemars(with = "Vec<std::collections::BTreeMap<String, serde_json::Value>>")]
    pub on_failure: Vec<Value>,
    /// Limits on requests and attempts.
    pub limits: ServerLimits,
}

/// Certificate and key, for HTTPS.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file of the certificate and its chain.
    pub cert: PathBuf,
    /// PEM file of the certificate's key.
    pub key: PathBuf,
}

/// The keys that seal secrets.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// A file of keys, a line for each: an id of 1 to 16 characters and 32 bytes in Base64. The first key seals, all keys
    /// open; to replace a key, add a new first line. Default: the store's file name with `.key`; made with mode 0600 on the
    /// first start. `RUNBELL_SECRET_KEYS`, the same lines separated by commas, overrides the file.
    pub key_file: Option<PathBuf>,
}

/// The retries of deliveries.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySettings {
    /// Seconds to wait after the first, second, … failed attempt; one more attempt than waits is made. Default 5, 30, 120,
    /// 600, 3600, 10800, 21600, 43200.
    pub waits_secs: Option<Vec<f64>>,
    /// The random deviation of a wait, as a fraction from 0 to 1. Default 0.2.
    pub jitter: Option<f64>,
    /// The longest Retry-After that is obeyed, in seconds; a longer one ends the delivery. Default 86400.
    pub longest_wait_secs: Option<f64>,
}

/// Limits on requests and attempts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerLimits {
    /// The largest body, in bytes. Default 4194304.
    pub body_bytes: usize,
    /// The most items on a page. Default 1000.
    pub page_size: usize,
    /// The time limit of a request, in seconds; a backup has none. Default 30.
    pub request_secs: u64,
    /// The most attempts at once, over all destinations. Default 256.
    pub attempts_at_once: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits { body_bytes: 4 * 1024 * 1024, page_size: 1_000, request_secs: 30, attempts_at_once: 256 }
    }
}

/// How long a finished delivery is kept.
const RETENTION_DAYS: u32 = 30;

/// The longest wait that can be configured: a year.
const LONGEST: f64 = 366.0 * 86_400.0;

impl Config {
    /// Reads a configuration from a document.
    ///
    /// # Errors
    /// With the first invalid field and the remedy. Values are not quoted: they may be secrets.
    pub fn read(document: &Value) -> anyhow::Result<Self> {
        let Some(map) = document.as_map() else {
            bail!("must be a mapping with fields such as `listen` and `store`, not {}", document.type_name());
        };
        let known = crate::config_schema();
        let known: Vec<&str> =
            known["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        if let Some(unknown) = map.keys().find(|name| !known.contains(&name.as_str())) {
            bail!("{}: is not known; known: {}", runbell_core::text::one_line(unknown, 40), known.join(", "));
        }
        decode(map).map_err(|error| anyhow::anyhow!("{}: {}", error.path, error.fault))
    }

    /// The retry policy.
    ///
    /// # Errors
    /// When a number is no valid time.
    pub fn retry_policy(&self) -> anyhow::Result<RetryPolicy> {
        let seconds = |field: &str, seconds: f64| match seconds {
            good if good.is_finite() && (0.0..=LONGEST).contains(&good) => Ok(Duration::from_secs_f64(good)),
            _ => bail!("retry.{field}: must be a number of seconds, from 0 to a year"),
        };
        let mut policy = RetryPolicy::server();
        if let Some(waits) = &self.retry.waits_secs {
            policy.waits = waits.iter().map(|wait| seconds("waits_secs", *wait)).collect::<Result<_, _>>()?;
        }
        if let Some(jitter) = self.retry.jitter {
            if !(0.0..=1.0).contains(&jitter) {
                bail!("retry.jitter: must be a fraction from 0 to 1");
            }
            policy.jitter = jitter;
        }
        if let Some(longest) = self.retry.longest_wait_secs {
            policy.longest_wait = seconds("longest_wait_secs", longest)?;
        }
        Ok(policy)
    }

    /// The private networks that notifications may reach.
    ///
    /// # Errors
    /// When an entry is no network.
    pub fn networks(&self) -> anyhow::Result<Vec<IpNet>> {
        let network = |(index, text): (usize, &String)| {
            let text = text.trim();
            let single = || text.parse::<std::net::IpAddr>().map(IpNet::from);
            text.parse::<IpNet>().or_else(|_| single()).map_err(|_| {
                anyhow::anyhow!(
                    "allow_networks[{index}]: must be a network such as 10.1.0.0/16 or an address such as ::1"
                )
            })
        };
        self.allow_networks.iter().enumerate().map(network).collect()
    }

    /// How long finished deliveries are kept.
    pub fn retention(&self) -> Duration {
        Duration::from_secs(u64::from(self.retention_days.unwrap_or(RETENTION_DAYS)) * 86_400)
    }

    /// The store's file.
    ///
    /// # Errors
    /// For another kind of store.
    pub fn store_file(&self) -> anyhow::Result<PathBuf> {
        store_file(self.store.as_deref().unwrap_or("sqlite://runbell.db"))
    }

    /// The limits.
    ///
    /// # Errors
    /// When a limit is 0.
    pub fn checked_limits(&self) -> anyhow::Result<&ServerLimits> {
        let ServerLimits { body_bytes, page_size, request_secs, attempts_at_once } = self.limits;
        let all = [body_bytes, page_size, attempts_at_once, usize::try_from(request_secs).unwrap_or(usize::MAX)];
        if all.contains(&0) {
            bail!("limits: must all be above 0");
        }
        Ok(&self.limits)
    }
}

/// The file of a store's URL or path.
fn store_file(name: &str) -> anyhow::Result<PathBuf> {
    let file = match name.split_once("://") {
        Some(("sqlite", file)) => file,
        Some((scheme, _)) => {
            let scheme = runbell_core::text::one_line(scheme, 20);
            bail!("store: `{scheme}://` is not known; a store is sqlite://FILE")
        }
        None => name.strip_prefix("sqlite:").unwrap_or(name),
    };
    if file.is_empty() {
        bail!("store: names no file; write sqlite://FILE");
    }
    let file = PathBuf::from(file);
    std::path::absolute(&file).with_context(|| format!("store: {}", file.display()))
}

#[cfg(test)]
mod tests {
    use runbell_core::value::read;

    use super::*;

    fn config(text: &str) -> anyhow::Result<Config> {
        Config::read(&read(text).expect("JSON"))
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        let config = config("{}").expect("valid");
        assert_eq!(config.retry_policy().expect("valid"), RetryPolicy::server());
        assert_eq!(config.retention(), Duration::from_secs(30 * 86_400));
        assert!(config.store_file().expect("a file").ends_with("runbell.db"));
        assert!(config.checked_limits().is_ok() && config.networks().expect("none").is_empty());
    }

    #[test]
    fn faults_name_the_field_and_never_the_value() {
        for (text, part) in [
            (r#"{"liste": "CANARY"}"#, "liste: is not known; known: listen, store"),
            (r#"{"listen": ["CANARY"]}"#, "listen: must be"),
            (r#"{"tls": {"cert": "CANARY"}}"#, "tls.key: is required"),
            (r#"{"limits": {"pages": 1}}"#, "limits"),
            (r#"["CANARY"]"#, "must be a mapping"),
        ] {
            let message = format!("{:#}", config(text).expect_err(text));
            assert!(message.contains(part) && !message.contains("CANARY"), "{text}: {message}");
        }
        for (text, part) in [
            (r#"{"retry": {"waits_secs": [1, -1]}}"#, "retry.waits_secs: must be"),
            (r#"{"retry": {"jitter": 2}}"#, "retry.jitter: must be"),
        ] {
            let message = config(text).expect("well-formed").retry_policy().expect_err(text).to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
        let message = config(r#"{"allow_networks": ["10.0.0.0/8", "x"]}"#).expect("well-formed").networks();
        assert!(message.expect_err("no network").to_string().starts_with("allow_networks[1]: must be"));
    }

    #[test]
    fn stores_are_files() {
        for (name, file) in [("sqlite:///a/b.db", "/a/b.db"), ("sqlite:/a/b.db", "/a/b.db"), ("/a/b.db", "/a/b.db")] {
            assert_eq!(store_file(name).expect(name), PathBuf::from(file));
        }
        for (name, part) in [("postgres://u:CANARY@h/d", "`postgres://` is not known"), ("sqlite://", "names no file")]
        {
            let message = store_file(name).expect_err(name).to_string();
            assert!(message.contains(part) && !message.contains("CANARY"), "{message}");
        }
    }
}
