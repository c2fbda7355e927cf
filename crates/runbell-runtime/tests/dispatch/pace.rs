//! Pace: never more than so many sends in any period, however they come.

use std::time::Duration;

use futures_util::future::join_all;

use runbell_runtime::Status;

use crate::scripted::{Stage, Step, done, run};

#[tokio::test(start_paused = true)]
async fn no_period_holds_more_than_the_pace_allows() {
    let stage = Stage::new();
    let notifier = stage.notifier([stage.notification("paced")]);
    // Some at once, then some while those still wait.
    let burst = join_all((0..7).map(|index| notifier.run_changed(&done(&format!("u{index}")))));
    let late = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        join_all((7..10).map(|index| notifier.run_changed(&done(&format!("u{index}"))))).await
    };
    tokio::join!(burst, late);
    let times = stage.times();
    assert_eq!(times, [0, 0, 0, 100, 100, 100, 200, 200, 200, 300]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_destination_owes_no_wait_and_others_are_not_slowed() {
    let stage = Stage::new();
    let notifier = stage.notifier([stage.notification("paced"), stage.notification("other")]);
    for (index, wait) in [0, 8, 8, 8, 1].into_iter().enumerate() {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        notifier.run_changed(&done(&format!("u{index}"))).await;
    }
    assert_eq!(stage.times(), [0, 0, 80, 80, 160, 160, 240, 240, 250, 250]);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_pace_uses_up_no_time_for_trying_again() {
    let stage = Stage::new();
    let notifier = stage.notifier([stage.notification("paced")]);
    // The last four wait 40 s for their turn, longer than failures are tried again for.
    stage.script("paced", (0..12).map(|_| Step::Ok).chain([Step::Down, Step::Down]));
    let reports = join_all((0..13).map(|index| {
        let notifier = &notifier;
        async move { notifier.run_changed(&done(&format!("u{index}"))).await }
    }))
    .await;
    assert!(reports.iter().all(|report| report.is_ok()), "{reports:?}");
    assert_eq!(stage.sent().last().map(String::as_str), Some("paced completed 3"));
}

#[tokio::test(start_paused = true)]
async fn a_new_list_supersedes_a_delivery_that_waits_for_its_pace() {
    let stage = Stage::new();
    let notifier = stage.notifier([]);
    let changed = |state: &str, version: u8| {
        let mut run = run("u", state);
        let params = serde_json::json!({ "target": "paced", "version": version });
        run["spec"] = serde_json::json!({ "notifications":
            [{ "kind": "scripted", "name": "own", "when": ["running", "completed"], "params": params }] });
        run
    };
    // Three others use the pace up.
    for index in 0..3 {
        let mut other = changed("completed", 0);
        other["metadata"]["uid"] = serde_json::json!(format!("other-{index}"));
        notifier.run_changed(&other).await;
    }
    let waiting = tokio::spawn(notifier.run_changed(&changed("running", 0)));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let newer = tokio::spawn(notifier.run_changed(&changed("completed", 1)));
    let line = waiting.await.expect("no panic").lines.remove(0);
    assert_eq!(stage.elapsed(), Duration::from_secs(4), "it is reported without waiting for its turn");
    assert_eq!((line.status, line.reason.as_str(), line.attempts), (Status::Skipped, "superseded", 0), "{line:?}");
    assert_eq!(newer.await.expect("no panic").lines[0].status, Status::Sent);
    // The superseded delivery took no place in the pace.
    assert_eq!(stage.sent().len(), 4);
    assert_eq!(stage.elapsed(), Duration::from_secs(10));
}
