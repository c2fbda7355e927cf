//! Order: of one run and one notification, older news goes first or not at all.

use futures_util::FutureExt as _;
use runbell_core::{Note, NoteCode, RunState};
use runbell_runtime::Status;

use crate::scripted::{Stage, Step, done, run};

#[tokio::test(start_paused = true)]
async fn newer_news_waits_for_an_attempt_under_way() {
    let stage = Stage::new();
    stage.script("t", [Step::Slow(5)]);
    let notifier = stage.notifier([stage.notification("t")]);
    let (running, completed) = (notifier.run_changed(&run("u", "running")), notifier.run_changed(&done("u")));
    // Polled in the wrong order on purpose: the order of calls counts.
    let (completed, running) = tokio::join!(completed, running);
    assert_eq!((running.lines[0].status, completed.lines[0].status), (Status::Sent, Status::Sent));
    assert_eq!(stage.sent(), ["t running 1", "t completed 1"]);
}

#[tokio::test(start_paused = true)]
async fn old_news_that_failed_is_tried_once_more_at_once() {
    let stage = Stage::new();
    stage.script("t", [Step::Down]);
    let notifier = stage.notifier([stage.notification("t")]);
    let (running, completed) = (notifier.run_changed(&run("u", "running")), notifier.run_changed(&done("u")));
    let (running, completed) = tokio::join!(running, completed);
    assert_eq!((running.lines[0].status, completed.lines[0].status), (Status::Sent, Status::Sent));
    assert_eq!(stage.sent(), ["t running 1", "t running 2", "t completed 1"]);
    assert!(stage.elapsed().is_zero(), "neither waited");
}

#[tokio::test(start_paused = true)]
async fn old_news_that_fails_again_is_superseded() {
    let stage = Stage::new();
    stage.script("t", [Step::SlowDownfall(1), Step::Down]);
    let notifier = stage.notifier([stage.notification("t")]);
    let (running, completed) = (notifier.run_changed(&run("u", "running")), notifier.run_changed(&done("u")));
    let (running, completed) = tokio::join!(running, completed);
    let line = &running.lines[0];
    assert_eq!((line.status, line.reason.as_str(), line.attempts), (Status::Skipped, "superseded", 2));
    let note = Note::new(NoteCode::Superseded, "given up for newer news after: unreachable: down");
    assert_eq!(line.notes, [note]);
    assert_eq!(completed.lines[0].status, Status::Sent);
    assert_eq!(stage.sent(), ["t running 1", "t running 2", "t completed 1"]);
}

#[tokio::test(start_paused = true)]
async fn newer_news_cuts_a_wait_short() {
    let stage = Stage::new();
    stage.script("t", [Step::SlowDown(25)]);
    let notifier = stage.notifier([stage.notification("t")]);
    let running = tokio::spawn(notifier.run_changed(&run("u", "running")));
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    notifier.run_changed(&done("u")).await;
    assert_eq!(running.await.expect("no panic").lines[0].status, Status::Sent);
    assert_eq!(stage.times(), [0, 30, 30]);
}

#[tokio::test(start_paused = true)]
async fn other_runs_and_other_notifications_do_not_wait() {
    let stage = Stage::new();
    stage.script("slow", [Step::Slow(9), Step::Slow(9)]);
    let notifier = stage.notifier([stage.notification("slow"), stage.notification("fast")]);
    let (one, other) = (notifier.run_changed(&run("u1", "running")), notifier.run_changed(&done("u2")));
    tokio::join!(one, other);
    assert_eq!(stage.times(), [0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_dispatch_frees_its_place() {
    let stage = Stage::new();
    stage.script("t", [Step::Hang]);
    let notifier = stage.notifier([stage.notification("t")]);
    let mut running = Box::pin(notifier.run_changed(&run("u", "running")));
    assert!((&mut running).now_or_never().is_none(), "it hangs");
    drop(running);
    assert_eq!(notifier.run_changed(&done("u")).await.lines[0].status, Status::Sent);
}

#[tokio::test(start_paused = true)]
async fn news_that_is_skipped_overtakes_nothing() {
    let stage = Stage::new();
    stage.script("t", [Step::Down, Step::Down]);
    let notifier = stage.notifier([stage.notification("t").when([RunState::Running])]);
    let (running, completed) = (notifier.run_changed(&run("u", "running")), notifier.run_changed(&done("u")));
    let (completed, running) = tokio::join!(completed, running);
    assert_eq!(completed.lines[0].reason, "state_not_in_when");
    assert_eq!((running.lines[0].status, running.lines[0].attempts), (Status::Sent, 3), "{:?}", running.lines);
}

#[tokio::test(start_paused = true)]
async fn skipped_or_dropped_news_hurries_no_older_news() {
    for dropped in [false, true] {
        let stage = Stage::new();
        stage.script("t", [Step::Slow(5)]);
        let when = [RunState::Running, RunState::Completed];
        let notifier = stage.notifier([stage.notification("t").when(when)]);
        let first = tokio::spawn(notifier.run_changed(&run("u", "running")));
        tokio::task::yield_now().await;
        let between = notifier.run_changed(&run("u", if dropped { "completed" } else { "error" }));
        let last = notifier.run_changed(&done("u"));
        if dropped {
            drop(between);
        } else {
            assert_eq!(between.await.lines[0].reason, "state_not_in_when");
        }
        assert_eq!(last.await.lines[0].status, Status::Sent);
        assert!(first.is_finished(), "the first was through before the last was sent");
        assert_eq!(stage.sent(), ["t running 1", "t completed 1"]);
    }
}
