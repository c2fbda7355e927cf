//! Metrics for operators, in Prometheus' text format. No label holds a project, a run or a target.

use std::time::Duration;

use prometheus::{
    Encoder as _, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, exponential_buckets,
};
use runbell_runtime::{AttemptResult, Attempted};
use runbell_store::Backlog;

/// All metrics of a server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: Histogram,
    attempts: IntCounterVec,
    attempt_seconds: HistogramVec,
    sent_seconds: Histogram,
    failed: IntCounterVec,
    waiting: IntGaugeVec,
    oldest: Gauge,
    store_up: IntGauge,
}

impl Metrics {
    /// # Errors
    /// When two metrics have the same name, which a test would find.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("runbell".to_owned()), None)?;
        // From half a millisecond to about a minute; and from a millisecond to about a day.
        let (short, long) = (exponential_buckets(0.000_5, 2.5, 14)?, exponential_buckets(0.001, 4.0, 14)?);
        let metrics = Metrics {
            requests: IntCounterVec::new(
                Opts::new("http_requests_total", "Requests answered."),
                &["method", "route", "status"],
            )?,
            request_seconds: Histogram::with_opts(
                HistogramOpts::new("http_request_seconds", "Time from a request to its answer.").buckets(short.clone()),
            )?,
            attempts: IntCounterVec::new(
                Opts::new("attempts_total", "Attempts to deliver, by their outcome."),
                &["kind", "outcome", "error"],
            )?,
            attempt_seconds: HistogramVec::new(
                HistogramOpts::new("attempt_seconds", "Duration of an attempt.").buckets(short),
                &["kind"],
            )?,
            sent_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "accepted_to_sent_seconds",
                    "Time from the acceptance of a delivery to the target's answer.",
                )
                .buckets(long),
            )?,
            failed: IntCounterVec::new(
                Opts::new("deliveries_failed_total", "Deliveries that failed for good."),
                &["kind"],
            )?,
            waiting: IntGaugeVec::new(Opts::new("deliveries_waiting", "Unfinished deliveries."), &["status"])?,
            oldest: Gauge::new("oldest_waiting_seconds", "Age of the oldest unfinished delivery.")?,
            store_up: IntGauge::new("store_up", "Whether the store answers.")?,
            registry,
        };
        let Metrics { registry, .. } = &metrics;
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.request_seconds.clone()))?;
        registry.register(Box::new(metrics.attempts.clone()))?;
        registry.register(Box::new(metrics.attempt_seconds.clone()))?;
        registry.register(Box::new(metrics.sent_seconds.clone()))?;
        registry.register(Box::new(metrics.failed.clone()))?;
        registry.register(Box::new(metrics.waiting.clone()))?;
        registry.register(Box::new(metrics.oldest.clone()))?;
        registry.register(Box::new(metrics.store_up.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let mut digits = [0; 3];
        self.requests.with_label_values(&[method, route, status_text(status, &mut digits)]).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn attempted(&self, attempted: &Attempted) {
        let Attempted { kind, outcome, error, took, since_accepted } = *attempted;
        let word = match outcome {
            AttemptResult::Sent => "sent",
            AttemptResult::Retry => "retry",
            AttemptResult::Failed => "failed",
            AttemptResult::Superseded => "superseded",
        };
        let error = error.map_or("", |error| error.as_str());
        self.attempts.with_label_values(&[kind, word, error]).inc();
        self.attempt_seconds.with_label_values(&[kind]).observe(took.as_secs_f64());
        match outcome {
            AttemptResult::Sent => self.sent_seconds.observe(since_accepted.as_secs_f64()),
            AttemptResult::Failed => self.failed.with_label_values(&[kind]).inc(),
            AttemptResult::Retry | AttemptResult::Superseded => {}
        }
    }

    /// All metrics as text; `backlog` is `None` when the store does not answer.
    pub(crate) fn text(&self, backlog: Option<Backlog>) -> prometheus::Result<Vec<u8>> {
        self.store_up.set(i64::from(backlog.is_some()));
        if let Some(Backlog { pending, leased, retry, oldest }) = backlog {
            for (status, count) in [("pending", pending), ("leased", leased), ("retry", retry)] {
                self.waiting.with_label_values(&[status]).set(count);
            }
            self.oldest.set(oldest.unwrap_or_default().as_secs_f64());
        }
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(out)
    }
}

/// A status of three digits as text, without an allocation for every request.
fn status_text(status: u16, digits: &mut [u8; 3]) -> &str {
    let digit = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
    *digits = [digit(status / 100), digit(status / 10), digit(status)];
    std::str::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_text_with_help_and_type() {
        let metrics = Metrics::new().expect("names of their own");
        metrics.answered("GET", "/x", 204, Duration::from_millis(1));
        let backlog = Backlog { pending: 3, ..Backlog::default() };
        let text = String::from_utf8(metrics.text(Some(backlog)).expect("text")).expect("UTF-8");
        for line in [
            "# TYPE runbell_http_requests_total counter",
            r#"runbell_http_requests_total{method="GET",route="/x",status="204"} 1"#,
            r#"runbell_deliveries_waiting{status="pending"} 3"#,
            "runbell_store_up 1",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
