//! The queue: bounded, never blocking, flushed with a deadline.

use std::time::Duration;

use runbell_core::{ErrorKind, Run};
use runbell_runtime::Status;

use crate::scripted::{Stage, Step, done};

#[tokio::test(start_paused = true)]
async fn a_full_queue_says_so_at_once() {
    let stage = Stage::new();
    stage.script("t", [Step::Slow(5), Step::Slow(5)]);
    let notifier = stage.builder().notification(stage.notification("t")).queue(2).build().expect("valid");
    assert!(notifier.enqueue(&done("u1")).is_ok() && notifier.enqueue(&done("u2")).is_ok());
    let error = notifier.enqueue(&done("u3")).expect_err("full");
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::QueueFull, "the queue is full [capacity=2]"));
    assert!(stage.elapsed().is_zero());
    let report = notifier.shutdown(Duration::from_secs(6)).await;
    assert_eq!(report.lines.iter().map(|line| line.status).collect::<Vec<_>>(), [Status::Sent, Status::Sent]);
    assert_eq!(notifier.enqueue(&done("u4")).expect_err("closed").to_string(), "the notifier is shut down");
}

#[tokio::test(start_paused = true)]
async fn deliveries_not_sent_by_the_deadline_are_given_up_and_reported() {
    let stage = Stage::new();
    stage.script("t", [Step::Down, Step::Hang]);
    let notifier = stage.notifier([stage.notification("t"), stage.notification("fine")]);
    notifier.enqueue(&done("u1")).expect("room");
    let report = notifier.shutdown(Duration::from_secs(4)).await;
    assert_eq!(stage.elapsed().as_secs(), 4);
    let shown: Vec<_> =
        report.lines.iter().map(|line| (line.notification.as_str(), line.status, line.attempts)).collect();
    assert_eq!(shown, [("t", Status::Error, 2), ("fine", Status::Sent, 1)]);
    assert_eq!(report.lines[0].reason, "timeout: shut down before it was sent");
}

#[tokio::test(start_paused = true)]
async fn a_guard_tells_the_end_whatever_happens() {
    let stage = Stage::new();
    let notifier = stage.notifier([stage.notification("t")]);
    notifier.start(Run::new("a", "u1")).completed();
    notifier.start(Run::new("b", "u2")).failed("no memory");
    drop(notifier.start(Run::new("c", "u3")));
    notifier.shutdown(Duration::from_secs(1)).await;
    let mut sent = stage.sent();
    sent.sort();
    assert_eq!(sent, ["t aborted 1", "t completed 1", "t failed 1", "t running 1", "t running 1", "t running 1"]);
}

#[test]
fn other_threads_may_enqueue_into_the_runtime_the_notifier_was_built_in() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stage = Stage::new();
    let notifier = runtime.block_on(async { stage.notifier([stage.notification("t")]) });
    let remote = notifier.clone();
    std::thread::spawn(move || remote.enqueue(&done("u1"))).join().expect("no panic").expect("room");
    let report = runtime.block_on(notifier.shutdown(Duration::from_secs(5)));
    assert_eq!(report.lines.len(), 1);
    let outside = Stage::new();
    let orphan = outside.notifier([outside.notification("t")]);
    let error = orphan.enqueue(&done("u1")).expect_err("no runtime");
    assert_eq!(error.to_string(), "enqueue needs a tokio runtime; build the notifier inside one");
}
