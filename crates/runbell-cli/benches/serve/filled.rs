//! A store's file that has seen much.

use std::path::Path;

use rusqlite::Connection;

/// Adds finished deliveries, each with its run, notification, verdict and attempt, as the server leaves them.
pub(crate) fn fill(file: &Path, count: i64) {
    let mut connection = Connection::open(file).expect("opened");
    connection.pragma_update(None, "synchronous", "off").expect("faster");
    connection.pragma_update(None, "cache_size", -200_000).expect("faster");
    let now = runbell::Clock::now(&runbell::SystemClock).as_microsecond();
    let document = "x".repeat(700);
    let transaction = connection.transaction().expect("begun");
    transaction
        .execute_batch(&format!(
            "CREATE TEMP TABLE numbers AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
                 SELECT i FROM n;
             INSERT INTO runs (id, project, uid, iteration, version, generation, document, name, state, created_at, updated_at)
                 SELECT i, 'old', lower(hex(randomblob(16))), 0, 1, 1, '{document}', 'train', 'completed', {now}, {now} FROM numbers;
             INSERT INTO notifications (id, run_id, generation, position, name, kind, document, project)
                 SELECT i, i, 1, 0, 'hook', 'webhook', substr('{document}', 1, 200), 'old' FROM numbers;
             INSERT INTO deliveries (id, key, run_id, notification_id, name, state, at, look, status, flow_id, attempts, created_at,
                     finished_at, last_number, last_started_at, last_ended_at, last_outcome, last_reason, last_ambiguous)
                 SELECT i, 'rb_' || lower(hex(randomblob(16))), i, i, 'hook', 'completed', {now}, 'own', 'sent', 0, 1, {now},
                     {now}, 1, {now}, {now}, 'sent', '200', 0 FROM numbers;
             INSERT INTO verdicts (run_id, notification, state, reason, at, delivery_id)
                 SELECT i, 'hook', 'completed', 'matched', {now}, i FROM numbers;"
        ))
        .expect("filled");
    transaction.commit().expect("committed");
}
