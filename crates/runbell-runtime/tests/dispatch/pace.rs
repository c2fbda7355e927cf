//! Pace: never more than so many sends in any period, however they come.

use std::time::Duration;

use futures_util::future::join_all;

use crate::scripted::{Stage, Step, done};

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
