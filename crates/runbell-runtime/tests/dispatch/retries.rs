//! Attempts: how many, when, and what they come to.

use std::sync::{Arc, Mutex};

use runbell_core::RetryPolicy;
use runbell_runtime::Status;

use crate::scripted::{Stage, Step, done};

#[tokio::test(start_paused = true)]
async fn each_failure_comes_to_its_own_end() {
    use Step::{Down, Hang, HangBeforeWriting, Refused, SlowDown};
    for (steps, status, attempts, reason, ambiguous) in [
        (vec![], Status::Sent, 1, "matched", false),
        (vec![Down], Status::Sent, 2, "matched", false),
        (vec![Down, Down], Status::Sent, 3, "matched", false),
        (vec![Down, Down, Down], Status::Error, 3, "unreachable: down", false),
        (vec![Refused], Status::Error, 1, "rejected: refused [status=400]", false),
        (vec![SlowDown(3)], Status::Sent, 2, "matched", false),
        (vec![SlowDown(60)], Status::Error, 1, "rate_limited: slow down", false),
        (vec![SlowDown(20), SlowDown(20)], Status::Error, 2, "rate_limited: slow down", false),
        (vec![Hang, Down, Refused], Status::Error, 3, "rejected: refused [status=400]", false),
        (vec![Hang], Status::Sent, 2, "matched", false),
        // The third attempt gets what is left of the 30 seconds.
        (vec![Hang, Hang, Hang], Status::Error, 3, "timeout: no answer in time", true),
        (
            vec![HangBeforeWriting, HangBeforeWriting, HangBeforeWriting],
            Status::Error,
            3,
            "timeout: no answer in time",
            false,
        ),
    ] {
        let stage = Stage::new();
        let shown = format!("{steps:?}");
        stage.script("t", steps);
        let notifier = stage.notifier([stage.notification("t")]);
        let report = notifier.run_changed(&done("u")).await;
        let line = &report.lines[0];
        assert_eq!((line.status, line.attempts, line.ambiguous), (status, attempts, ambiguous), "{shown}");
        assert!(line.reason.starts_with(reason), "{shown}: {}", line.reason);
        assert!(stage.elapsed().as_secs() <= 30, "{shown} took {:?}", stage.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn waits_are_one_and_four_seconds_give_or_take_a_fifth() {
    let stage = Stage::new();
    stage.script("t", [Step::Down, Step::Down]);
    let notifier = stage.notifier([stage.notification("t")]);
    notifier.run_changed(&done("u")).await;
    let times = stage.times();
    assert!((8..=12).contains(&(times[1] - times[0])), "{times:?}");
    assert!((32..=48).contains(&(times[2] - times[1])), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_not_undercut() {
    let stage = Stage::new();
    stage.script("t", [Step::SlowDown(7)]);
    let notifier = stage.notifier([stage.notification("t")]);
    notifier.run_changed(&done("u")).await;
    assert_eq!(stage.times()[1] - stage.times()[0], 70);
}

#[tokio::test(start_paused = true)]
async fn a_broken_target_delays_no_other() {
    let stage = Stage::new();
    stage.script("hole", std::iter::repeat_n(Step::Hang, 1000));
    let order = Arc::new(Mutex::new(Vec::new()));
    let reported = Arc::clone(&order);
    let notifier = stage
        .builder()
        .notifications([stage.notification("hole"), stage.notification("healthy")])
        .retry(RetryPolicy::once())
        .on_report(move |line| reported.lock().unwrap().push((line.notification.clone(), line.status)))
        .build()
        .expect("valid");
    let started = tokio::time::Instant::now();
    for number in 0..200 {
        notifier.enqueue(&done(&format!("u{number}"))).expect("room");
    }
    // All healthy ones are through before any of the hanging ones has run into its timeout.
    while order.lock().unwrap().len() < 200 {
        tokio::task::yield_now().await;
    }
    assert!(started.elapsed().is_zero(), "no time has passed");
    assert!(order.lock().unwrap().iter().all(|(name, status)| name == "healthy" && *status == Status::Sent));
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_not_held_while_waiting_for_a_retry() {
    let stage = Stage::new();
    stage.script("t", [Step::SlowDown(20)]);
    let notifier = stage.builder().notification(stage.notification("t")).concurrency(1).build().expect("valid");
    let first = notifier.run_changed(&done("u1"));
    let second = notifier.run_changed(&done("u2"));
    tokio::join!(first, second);
    assert_eq!(stage.sent(), ["t completed 1", "t completed 1", "t completed 2"]);
    assert_eq!(stage.times(), [0, 0, 200]);
}
