//! Passes a command's standard error on, and keeps its last lines.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;

/// The longest line that is kept, in bytes.
const LINE: usize = 4096;

/// How long to wait for the rest after the command ended. A program it left behind may hold the stream open.
const REST: Duration = Duration::from_millis(500);

/// The last lines of a stream that is being passed on.
#[derive(Debug)]
pub(super) struct Tail {
    kept: Arc<Mutex<Lines>>,
    copying: JoinHandle<()>,
}

impl Tail {
    pub(super) fn follow(mut stream: ChildStderr, lines: usize) -> Self {
        let kept = Arc::new(Mutex::new(Lines { limit: lines, done: VecDeque::new(), open: Vec::new() }));
        let keeping = Arc::clone(&kept);
        let copying = tokio::spawn(async move {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                // The command's own output goes first, whatever becomes of ours.
                let _ = std::io::stderr().write_all(&buffer[..count]);
                keeping.lock().unwrap_or_else(PoisonError::into_inner).add(&buffer[..count]);
            }
        });
        Tail { kept, copying }
    }

    /// The last lines, once the stream has ended or the command has been gone for a while.
    pub(super) async fn finish(self) -> String {
        let _ = tokio::time::timeout(REST, self.copying).await;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).text()
    }
}

#[derive(Debug)]
struct Lines {
    limit: usize,
    done: VecDeque<Vec<u8>>,
    open: Vec<u8>,
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = LINE.saturating_sub(self.open.len());
            self.open.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.push();
            }
        }
    }

    fn push(&mut self) {
        if self.done.len() == self.limit {
            self.done.pop_front();
        }
        self.done.push_back(std::mem::take(&mut self.open));
    }

    fn text(&mut self) -> String {
        if !self.open.is_empty() {
            self.push();
        }
        let lines = self.done.iter().map(|line| {
            let text = String::from_utf8_lossy(line);
            // A progress bar overwrites its line; the last state is what was seen.
            text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_whole_or_cut() {
        let mut lines = Lines { limit: 2, done: VecDeque::new(), open: Vec::new() };
        lines.add(b"one\ntw");
        lines.add(b"o\nthree\r\n10%\r20%");
        assert_eq!(lines.text(), "three\n20%");
        lines.add(&[b'x'; 10_000]);
        assert_eq!(lines.text().lines().last().map(str::len), Some(LINE));
    }
}
