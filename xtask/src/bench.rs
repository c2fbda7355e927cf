//! Speed and memory, against baselines of the same run.

use anyhow::Result;

pub(crate) fn bench() -> Result<()> {
    Ok(())
}
