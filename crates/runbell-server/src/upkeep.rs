//! What a server does beside its work: seals secrets with the present key, and forgets what is old.

use std::time::Duration;

use tokio::time::sleep;

use crate::app::App;

/// How many deliveries are forgotten at a time: few enough that nobody waits for it.
const BATCH: usize = 200;

/// How long others have the store to themselves between two batches.
const BREATH: Duration = Duration::from_millis(100);

/// How long nothing is looked for when nothing was old.
const REST: Duration = Duration::from_secs(600);

pub(crate) async fn keep_up(app: App, retention: Duration) {
    match app.dispatcher.reseal().await {
        Ok((0, 0)) => {}
        Ok((resealed, 0)) => tracing::info!(resealed, "secrets were sealed anew with the present key"),
        Ok((resealed, closed)) => tracing::error!(resealed, closed, "some secrets are of keys that are gone"),
        Err(error) => tracing::error!(%error, "secrets cannot be sealed anew"),
    }
    loop {
        let before = app.clock.now().checked_sub(retention).unwrap_or(runbell_core::Timestamp::MIN);
        match app.dispatcher.store().prune(before, BATCH).await {
            Ok(0) => sleep(REST).await,
            Ok(_) => sleep(BREATH).await,
            Err(error) => {
                tracing::warn!(%error, "what is old cannot be forgotten now");
                sleep(REST).await;
            }
        }
    }
}
