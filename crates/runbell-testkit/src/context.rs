//! Surroundings for a sender under test: a clock that stands still, an environment made of a table, output that is
//! kept.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runbell_core::{BuildContext, Clock, Output, Shared, Site, Timestamp};

use crate::samples::SAMPLE_TIME;

/// A clock that shows what it was set to. Clones show the same.
#[derive(Debug, Clone)]
pub struct FixedClock(Arc<Mutex<Timestamp>>);

impl FixedClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        FixedClock(Arc::new(Mutex::new(now)))
    }

    fn lock(&self) -> MutexGuard<'_, Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets it.
    pub fn set(&self, now: Timestamp) {
        *self.lock() = now;
    }

    /// Moves it forward.
    ///
    /// # Panics
    /// Beyond the year 9999.
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        *now = now.checked_add(by).expect("a time before the year 10000");
    }
}

impl Default for FixedClock {
    /// Shows [`SAMPLE_TIME`].
    fn default() -> Self {
        FixedClock::new(SAMPLE_TIME)
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *self.lock()
    }
}

/// Keeps what is written to it. Clones write to the same place.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<u8>>>);

impl Recorder {
    /// An output that writes here: no colour, no width.
    pub fn output(&self) -> Output {
        Output::to(self.clone())
    }

    /// Everything written so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Takes everything written so far.
    pub fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An output whose reader is gone, as in `… | head`.
#[derive(Debug, Clone, Copy, Default)]
pub struct BrokenOutput;

impl Write for BrokenOutput {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

/// The context to build a sender in a test. [`build`](Self::build) gives the [`BuildContext`].
///
/// ```
/// # use runbell_testkit::TestContext;
/// let test = TestContext::here().env("SLACK_WEBHOOK", "https://hooks.example/x");
/// let cx = test.build();
/// cx.output.print("hello").unwrap();
/// assert_eq!(test.recorder.text(), "hello");
/// ```
#[derive(Debug, Clone)]
pub struct TestContext {
    /// The clock.
    pub clock: FixedClock,
    /// The printed text.
    pub recorder: Recorder,
    site: Site,
    env: HashMap<String, String>,
    colour: bool,
    width: Option<u16>,
}

impl TestContext {
    /// The runner's process, with an empty environment.
    pub fn here() -> Self {
        TestContext {
            clock: FixedClock::default(),
            recorder: Recorder::default(),
            site: Site::Here,
            env: HashMap::new(),
            colour: false,
            width: None,
        }
    }

    /// A server.
    pub fn server() -> Self {
        TestContext { site: Site::Server, ..TestContext::here() }
    }

    /// Sets an environment variable. The process's own environment is neither read nor changed.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Makes the output a terminal of this width, with or without colour.
    #[must_use]
    pub fn terminal(mut self, width: u16, colour: bool) -> Self {
        self.width = Some(width);
        self.colour = colour;
        self
    }

    /// Surroundings to build with. Each has shared values of its own, so no client is shared between two.
    pub fn build(&self) -> BuildContext {
        BuildContext {
            clock: Arc::new(self.clock.clone()),
            site: self.site,
            output: self.recorder.output().with_colour(self.colour).with_width(self.width),
            env: Arc::new(self.env.clone()),
            shared: Shared::default(),
        }
    }
}
