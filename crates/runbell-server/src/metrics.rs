//! Figures for operators, in the OpenMetrics text format. No label holds a project, a run or a target.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use runbell_core::Timestamp;
use runbell_runtime::{Attempted, Outcome};
use runbell_store::Backlog;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    kind: &'static str,
    outcome: &'static str,
    error: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All figures of a server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    attempts: Family<AttemptLabels, Counter>,
    attempt_seconds: Histograms<KindLabels>,
    sent_seconds: Histogram,
    failed: Family<KindLabels, Counter>,
    waiting: Family<StatusLabels, Gauge>,
    oldest: Gauge<f64, AtomicU64>,
    store_up: Gauge,
}

/// From half a millisecond to about a minute.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.5, 14))
}

/// From a millisecond to about a day.
fn long_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 14))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("runbell");
        let metrics = Metrics {
            requests: Family::default(),
            request_seconds: seconds(),
            attempts: Family::default(),
            attempt_seconds: Family::new_with_constructor(seconds),
            sent_seconds: long_seconds(),
            failed: Family::default(),
            waiting: Family::default(),
            oldest: Gauge::default(),
            store_up: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register_with_unit(
            "http_request",
            "Time from a request to its answer",
            Unit::Seconds,
            metrics.request_seconds.clone(),
        );
        registry.register("attempts", "Attempts to deliver, by how they ended", metrics.attempts.clone());
        registry.register_with_unit("attempt", "Time an attempt took", Unit::Seconds, metrics.attempt_seconds.clone());
        registry.register_with_unit(
            "accepted_to_sent",
            "Time from a delivery's being promised to its being sent",
            Unit::Seconds,
            metrics.sent_seconds.clone(),
        );
        registry.register("deliveries_failed", "Deliveries that failed for good", metrics.failed.clone());
        registry.register("deliveries_waiting", "Deliveries that are not finished", metrics.waiting.clone());
        registry.register_with_unit(
            "oldest_waiting",
            "How long ago the oldest unfinished delivery was promised",
            Unit::Seconds,
            metrics.oldest.clone(),
        );
        registry.register("store_up", "Whether the store answered just now", metrics.store_up.clone());
        Metrics { registry, ..metrics }
    }

    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = RequestLabels { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn attempted(&self, attempted: &Attempted) {
        let Attempted { kind, outcome, error, took, since_accepted } = *attempted;
        let outcome_word = match outcome {
            Outcome::Sent => "sent",
            Outcome::Retry => "retry",
            Outcome::Failed => "failed",
        };
        let error = error.map_or("", |error| error.as_str());
        self.attempts.get_or_create(&AttemptLabels { kind, outcome: outcome_word, error }).inc();
        self.attempt_seconds.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
        match outcome {
            Outcome::Sent => self.sent_seconds.observe(since_accepted.as_secs_f64()),
            Outcome::Failed => {
                self.failed.get_or_create(&KindLabels { kind }).inc();
            }
            Outcome::Retry => {}
        }
    }

    /// Everything as text; `backlog` is what waits now, or nothing when the store does not say.
    pub(crate) fn text(&self, backlog: Option<Backlog>, now: Timestamp) -> Result<String, std::fmt::Error> {
        self.store_up.set(i64::from(backlog.is_some()));
        if let Some(Backlog { pending, leased, retry, oldest }) = backlog {
            for (status, count) in [("pending", pending), ("leased", leased), ("retry", retry)] {
                self.waiting.get_or_create(&StatusLabels { status }).set(count);
            }
            let age = oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64());
            self.oldest.set(age.max(0.0));
        }
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}
