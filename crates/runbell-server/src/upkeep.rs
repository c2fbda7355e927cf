//! A server's upkeep: seals secrets again with the current key, and prunes old deliveries and runs.

use std::time::Duration;

use tokio::time::sleep;

use crate::state::App;

/// How many deliveries are pruned at a time: few enough that no event waits for it.
const BATCH: usize = 200;

/// The pause between two batches of pruning.
const BREATH: Duration = Duration::from_millis(100);

/// The pause after a batch that pruned nothing.
const REST: Duration = Duration::from_secs(600);

pub(crate) async fn keep_up(app: App, retention: Duration) {
    match app.dispatcher.reseal().await {
        Ok((0, 0)) => {}
        Ok((resealed, 0)) => tracing::info!(resealed, "secrets were sealed again with the current key"),
        Ok((resealed, closed)) => {
            tracing::error!(resealed, closed, "some secrets cannot be opened: their keys are missing")
        }
        Err(error) => tracing::error!(%error, "secrets cannot be sealed again"),
    }
    loop {
        match app.dispatcher.store().prune(retention, BATCH).await {
            Ok(0) => sleep(REST).await,
            Ok(_) => sleep(BREATH).await,
            Err(error) => {
                tracing::warn!(%error, "old deliveries cannot be pruned now");
                sleep(REST).await;
            }
        }
    }
}
