//! Durations: percentiles, and the CPU time of this thread.

use std::time::Duration;

/// The value below which `percent` of all values lie; sorts them. There must be one at least.
pub(crate) fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The CPU time that the calling thread has used, kernel included.
pub(crate) fn thread_cpu() -> Duration {
    ran("/proc/thread-self/schedstat").expect("Linux")
}

/// The CPU time in a `schedstat` file; `None` when the thread is gone.
pub(crate) fn ran(schedstat: impl AsRef<std::path::Path>) -> Option<Duration> {
    let text = std::fs::read_to_string(schedstat).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
