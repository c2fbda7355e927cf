//! Reads run documents from a file or standard input, in parallel with their processing.
//!
//! A separate thread reads and parses. **Invariant:** its lead over the processing is bounded, whatever the length of the
//! input; complete documents are handed over before the next read, which may block.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use tokio::sync::mpsc;

use crate::documents::shown;
use crate::runs::{Document, Splitter};

/// The bytes of one read.
const CHUNK: usize = 64 << 10;

/// The number of chunks whose documents may wait.
const AHEAD: usize = 2;

/// A stream of run documents.
pub(crate) struct Source {
    name: String,
    chunks: mpsc::Receiver<io::Result<Vec<Document>>>,
    ready: std::vec::IntoIter<Document>,
}

impl Source {
    /// Opens a file, or standard input for `-`, and begins to read.
    ///
    /// # Errors
    /// When the file cannot be opened, or no thread can be started.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = shown(path);
        let input: Box<dyn Read + Send> = match path == Path::new("-") {
            true => {
                crate::output::say_what_is_read();
                Box::new(io::stdin())
            }
            false => Box::new(File::open(path).with_context(|| format!("{name}: cannot be read"))?),
        };
        let (sender, chunks) = mpsc::channel(AHEAD);
        std::thread::Builder::new().name("documents".to_owned()).spawn(move || read_all(input, &sender))?;
        Ok(Source { name, chunks, ready: Vec::new().into_iter() })
    }

    /// The next document; `None` at the end of the input. Safe to cancel.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub(crate) async fn next(&mut self) -> Option<anyhow::Result<Document>> {
        loop {
            if let Some(document) = self.ready.next() {
                return Some(Ok(document));
            }
            match self.chunks.recv().await? {
                Ok(documents) => self.ready = documents.into_iter(),
                Err(error) => return Some(Err(anyhow!(error).context(format!("{}: cannot be read", self.name)))),
            }
        }
    }

    /// The fault of an input without any document.
    pub(crate) fn is_empty_fault(&self) -> anyhow::Error {
        anyhow!("{}: holds no run document; expected JSON or JSON Lines", self.name)
    }
}

fn read_all(mut input: impl Read, sender: &mpsc::Sender<io::Result<Vec<Document>>>) {
    let (mut splitter, mut buffer) = (Splitter::default(), vec![0; CHUNK]);
    let mut is_over = false;
    while !is_over {
        let mut documents = Vec::new();
        match input.read(&mut buffer) {
            Ok(0) => {
                splitter.finish(&mut documents);
                is_over = true;
            }
            Ok(count) => {
                splitter.feed(&buffer[..count], &mut documents);
                is_over = splitter.is_closed();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // Without a receiver the reason is not needed.
                let _ = sender.blocking_send(Err(error));
                return;
            }
        }
        if !documents.is_empty() && sender.blocking_send(Ok(documents)).is_err() {
            return;
        }
    }
}
