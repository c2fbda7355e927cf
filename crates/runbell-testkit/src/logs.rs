//! Sees every log line of the process, at the lowest level.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing_subscriber::filter::LevelFilter;

static LOGS: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static INSTALLED: OnceLock<()> = OnceLock::new();

fn lock() -> MutexGuard<'static, Vec<u8>> {
    LOGS.lock().unwrap_or_else(PoisonError::into_inner)
}

struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For crates that log with `log`, HTTP clients among them.
struct LogRecords;

impl log::Log for LogRecords {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        lock().extend_from_slice(format!("{}: {}\n", record.target(), record.args()).as_bytes());
    }

    fn flush(&self) {}
}

/// Starts to listen, once for the process: senders may log from threads of their own.
pub(crate) fn listen() {
    INSTALLED.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(LevelFilter::TRACE)
            .with_writer(|| LogWriter)
            .finish();
        tracing::subscriber::set_global_default(subscriber)
            .expect("the contract sets tracing's global subscriber, to see every log line; do not set another");
        log::set_logger(&LogRecords).expect("the contract sets the logger of `log`; do not set another");
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Everything logged so far, by all tests of the process: look for something that is yours alone.
pub(crate) fn text() -> String {
    String::from_utf8_lossy(&lock()).into_owned()
}
