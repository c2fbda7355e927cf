//! How large the parts are. Environment variables make them smaller, for trying out.

use std::time::Duration;

/// How many requests the bare client of `load` has under way.
pub(crate) const BARE: usize = 64;

/// Sizes and lengths. The default is the full size, which alone proves a goal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// `load`: events; also the requests of the bare client.
    pub(crate) events: usize,
    /// `load`: finished deliveries in a file that has seen much.
    pub(crate) finished: usize,
    /// `dead-port`, `healing`: deliveries that wait for the refusing port.
    pub(crate) refused: usize,
    /// `dead-port`, `healing`: deliveries that wait for the black hole.
    pub(crate) hole: usize,
    /// `dead-many`: dead destinations.
    pub(crate) destinations: usize,
    /// `dead-many`: deliveries for each dead destination.
    pub(crate) each: usize,
    /// `healing`: runs with a running and a completed delivery, out of `refused`.
    pub(crate) lanes: usize,
    /// `dead-*`: length of the healthy flow before anything dead is known.
    pub(crate) alone: Duration,
    /// `dead-*`: length of the healthy flow beside the dead destinations.
    pub(crate) window: Duration,
    /// `dead-port`: length of a burst that measures the intake rate.
    pub(crate) burst: Duration,
    /// `idle`, `dead-*`: length of the measurement of CPU at rest.
    pub(crate) rest: Duration,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes {
            events: 20_000,
            finished: 1_000_000,
            refused: 100_000,
            hole: 20_000,
            destinations: 10_000,
            each: 10,
            lanes: 10_000,
            alone: Duration::from_secs(30),
            window: Duration::from_secs(120),
            burst: Duration::from_secs(5),
            rest: Duration::from_secs(60),
        }
    }
}

impl Sizes {
    /// Reads the variables; a variable that is not set leaves its full size.
    ///
    /// # Errors
    /// When a variable is not a whole number above 0, leaves the bare client too few requests, or asks for more lanes than there are deliveries.
    pub(crate) fn from_environment() -> Result<Self, String> {
        let mut sizes = Sizes::default();
        for (name, size) in [
            ("RUNBELL_BENCH_EVENTS", &mut sizes.events),
            ("RUNBELL_BENCH_FINISHED", &mut sizes.finished),
            ("RUNBELL_BENCH_REFUSED", &mut sizes.refused),
            ("RUNBELL_BENCH_HOLE", &mut sizes.hole),
            ("RUNBELL_BENCH_DESTINATIONS", &mut sizes.destinations),
            ("RUNBELL_BENCH_EACH", &mut sizes.each),
            ("RUNBELL_BENCH_LANES", &mut sizes.lanes),
        ] {
            if let Some(number) = number(name)? {
                *size = usize::try_from(number).map_err(|_| format!("{name}: is too large; make it smaller"))?;
            }
        }
        for (name, length) in [
            ("RUNBELL_BENCH_ALONE_SECS", &mut sizes.alone),
            ("RUNBELL_BENCH_WINDOW_SECS", &mut sizes.window),
            ("RUNBELL_BENCH_BURST_SECS", &mut sizes.burst),
            ("RUNBELL_BENCH_REST_SECS", &mut sizes.rest),
        ] {
            if let Some(number) = number(name)? {
                *length = Duration::from_secs(number);
            }
        }
        if sizes.events < BARE {
            return Err(format!("RUNBELL_BENCH_EVENTS: is below {BARE}, one for each of the bare client's loops"));
        }
        if sizes.lanes * 2 > sizes.refused {
            return Err("RUNBELL_BENCH_LANES: is more than half of RUNBELL_BENCH_REFUSED; make it smaller".to_owned());
        }
        Ok(sizes)
    }
}

fn number(name: &str) -> Result<Option<u64>, String> {
    let Some(text) = std::env::var_os(name) else { return Ok(None) };
    let number = text.to_str().and_then(|text| text.parse::<u64>().ok()).filter(|number| *number > 0);
    number.map(Some).ok_or_else(|| format!("{name}: is not a whole number above 0; write one, or unset it"))
}
