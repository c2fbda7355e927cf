//! Passes a command's standard error on, and keeps its last lines.

use std::collections::VecDeque;
use std::io::{PipeReader, Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runbell::text::{self, Unit};
use tokio::sync::oneshot;

/// The longest line that is shown, in characters.
const LINE: usize = 4096;

/// The longest line that is kept, in bytes: longer than shown, so that a secret at the cut is masked as a whole.
const KEPT: usize = 4 * LINE;

/// The wait for the rest after the command ended. A program that it left running may hold the stream open.
const REST: Duration = Duration::from_millis(500);

/// The last lines of a forwarded stream.
#[derive(Debug)]
pub(super) struct Tail {
    kept: Arc<Mutex<Lines>>,
    ended: oneshot::Receiver<()>,
}

impl Tail {
    /// Copies on its own thread, because a slow or missing reader of standard error may delay the command only: a slow
    /// one makes the pipe run full, and one that is gone closes it, as without a pipe in between.
    pub(super) fn follow(mut stream: PipeReader, lines: usize) -> std::io::Result<Self> {
        let kept = Arc::new(Mutex::new(Lines { limit: lines, done: VecDeque::new(), open: Vec::new() }));
        let keeping = Arc::clone(&kept);
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("tail".to_owned()).spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                keeping.lock().unwrap_or_else(PoisonError::into_inner).add(&buffer[..count]);
                if std::io::stderr().write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            drop(stream);
            // The receiver is gone when the run has ended first.
            let _ = end.send(());
        })?;
        Ok(Tail { kept, ended })
    }

    /// The last lines, once the stream has ended or the command has been gone for a while.
    pub(super) async fn finish(self) -> String {
        let _ = tokio::time::timeout(REST, self.ended).await;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).text()
    }
}

/// Cuts every line to [`LINE`] characters. After masking, so that no part of a secret is left.
pub(super) fn cut(text: &str) -> String {
    text.lines().map(|line| text::cut(line, LINE, Unit::Characters)).collect::<Vec<_>>().join("\n")
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
            let room = KEPT.saturating_sub(self.open.len());
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
            // A progress bar overwrites its line; only its last state is kept.
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
        lines.add(&[b'x'; 100_000]);
        let text = lines.text();
        assert_eq!(text.lines().last().map(str::len), Some(KEPT));
        let shown = cut(&text);
        let last = shown.lines().last().expect("a line");
        assert!(last.chars().count() == LINE && last.ends_with('…'), "{} characters", last.chars().count());
    }
}
