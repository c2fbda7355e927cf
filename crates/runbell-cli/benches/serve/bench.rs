//! What all parts share.

use std::path::Path;

use crate::goals::Goals;
use crate::sink::Sink;
use crate::sizes::Sizes;

/// The sink of healthy deliveries, the sizes of the parts, and the goals so far.
pub(crate) struct Bench {
    pub(crate) sink: Sink,
    pub(crate) sizes: Sizes,
    pub(crate) goals: Goals,
}

/// Creates a folder on the disk that a store would be on; `/tmp` may be memory.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a folder")
}
