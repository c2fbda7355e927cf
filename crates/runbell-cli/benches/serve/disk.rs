//! The disk alone: what one durable commit costs at least.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A file that only grows, as a write-ahead log does.
pub(crate) struct Disk(File);

impl Disk {
    pub(crate) fn new(folder: &Path) -> Self {
        Disk(File::create(folder.join("sync")).expect("a file"))
    }

    /// The time that 4 KiB take to be appended and on the disk.
    pub(crate) fn fdatasync(&mut self) -> Duration {
        let started = Instant::now();
        self.0.write_all(&[7; 4096]).expect("written");
        self.0.sync_data().expect("synced");
        started.elapsed()
    }
}
