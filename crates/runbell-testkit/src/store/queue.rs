//! The queue: intake, leases, order, endings, replays.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use runbell_core::delivery::Next;
use runbell_core::{Flow, Notification, RunState, Subject};
use runbell_store::{
    Claim, Deliver, DeliveryFilter, DeliveryState, FollowUp, Recorded, RegisteredNotification, RunChange, RunKey,
    SealedSecret, StoreError,
};

use super::bench::{
    LEASE, StoreBench, at, completion, everything, fails, fails_for, flow, held_for, job, key, leases as leases_of,
    made, registered, sent, transition,
};

pub(super) async fn runs_and_versions(bench: &StoreBench) {
    let store = &bench.store;
    let check = bench.check("runs and versions");
    check.equal("an unknown run", &store.run(&key("u")).await.expect("read"), &None);
    let first = bench.intake(transition("u", None, RunState::Running, &["a"], 0)).await;
    check.equal("the first version", &first.version, &1);
    let run = store.run(&key("u")).await.expect("read").expect("it is there");
    check.equal("the document", &run.document.as_str(), &r#"{"state":"running"}"#);
    check.equal("its generation", &(run.version, run.generation), &(1, 1));
    check.equal("its notifications", &run.notifications, &vec![registered("a")]);
    for (what, expected) in
        [("made again", None), ("decided for an old version", Some(0)), ("for a later one", Some(2))]
    {
        let refused = bench.try_intake(transition("u", expected, RunState::Completed, &["a"], 1)).await;
        check.ensure(refused == Err(StoreError::Conflict), || format!("{what}: {refused:?}"));
    }
    check.equal("the deliveries", &store.deliveries(&DeliveryFilter::default(), 10).await.expect("read").len(), &1);
    let second = bench.intake(transition("u", Some(1), RunState::Completed, &["a"], 1)).await;
    check.equal("the next version", &second.version, &2);
    let other = RunKey { iteration: 1, ..key("u") };
    check.equal("another iteration", &store.run(&other).await.expect("read"), &None);
    store.check().await.expect("it takes writes");
}

pub(super) async fn same_key_same_news(bench: &StoreBench) {
    let check = bench.check("same key, same news");
    bench.intake(transition("u", None, RunState::Completed, &["a", "b"], 0)).await;
    let again = bench.intake(transition("u", Some(1), RunState::Completed, &["a", "b"], 1)).await;
    check.equal("what was made again", &made(&again), &Vec::new());
    check.equal("the leases", &bench.claim(2).await.len(), &2);
}

pub(super) async fn lists_of_notifications(bench: &StoreBench) {
    let store = &bench.store;
    let check = bench.check("lists of notifications");
    bench.intake(transition("u", None, RunState::Running, &["a"], 0)).await;
    let mut other = transition("u", Some(1), RunState::Completed, &["b"], 1);
    other.notifications = Some(vec![RegisteredNotification { secret: Some("s".to_owned()), ..registered("b") }]);
    other.secrets = vec![SealedSecret { name: "s".to_owned(), sealed: vec![1, 2, 3] }];
    bench.intake(other).await;
    let run = store.run(&key("u")).await.expect("read").expect("it is there");
    check.equal("the generation", &run.generation, &2);
    check.equal("its names", &run.notifications.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), &vec!["b"]);
    check.equal("a secret", &store.secret("p", "s").await.expect("read"), &Some(vec![1, 2, 3]));
    check.equal("another project's", &store.secret("q", "s").await.expect("read"), &None);
    // The new list takes the place of what was not yet delivered for the old one.
    let names: Vec<String> = bench.claim(2).await.into_iter().map(|lease| lease.notification.name).collect();
    check.equal("the leases", &names, &vec!["b".to_owned()]);
    let old = DeliveryFilter { notification: Some("a".to_owned()), ..DeliveryFilter::default() };
    let old = store.deliveries(&old, 10).await.expect("read");
    check.equal("the old promise", &old[0].status, &DeliveryState::Superseded);
}

pub(super) async fn a_list_replaces_unfinished_deliveries(bench: &StoreBench) {
    let check = bench.check("what a list takes the place of");
    let again = |expected, name: &str, state| RunChange {
        notifications: Some(vec![registered(name)]),
        deliver: Deliver::IfReplaced(state),
        ..transition("v", Some(expected), state, &[name], 3)
    };
    bench.intake(transition("v", None, RunState::Running, &["a"], 2)).await;
    let running = bench.only(&check, 2).await;
    bench.complete(&running, sent(), 2).await;
    let nothing = bench.intake(again(1, "b", RunState::Running)).await;
    check.equal("after all was sent", &(nothing.superseded, nothing.jobs.len()), &(0, 0));
    bench.intake(transition("v", Some(2), RunState::Completed, &["b"], 3)).await;
    let other = bench.intake(again(3, "c", RunState::Error)).await;
    check.equal("of another state", &(other.superseded, other.jobs.len()), &(1, 0));
    bench.intake(transition("v", Some(4), RunState::Completed, &["c"], 3)).await;
    let same = bench.intake(again(5, "d", RunState::Completed)).await;
    check.equal("of the same state", &(same.superseded, same.jobs.len()), &(1, 1));
}

pub(super) async fn leases(bench: &StoreBench) {
    let store = &bench.store;
    let check = bench.check("leases");
    bench.intake(transition("u", None, RunState::Completed, &["a", "b", "c"], 10)).await;
    check.equal("what is due earlier", &bench.claim(9).await.len(), &0);
    check.equal("the next time", &bench.next(9).await, &Some(Duration::from_secs(1)));
    let two = bench.claim_with(10, Claim { limit: 2, ..everything() }).await.deliveries;
    let rest = bench.claim_with(10, Claim { limit: 2, ..everything() }).await.deliveries;
    check.equal("what each got", &(two.len(), rest.len()), &(2, 1));
    check.equal("what is left", &bench.claim(20).await.len(), &0);
    let lease = &two[0];
    check.equal(
        "what it holds",
        &(lease.lease.progress.attempts, lease.state, lease.at, lease.lease.progress.last_chance),
        &(1, RunState::Completed, at(10), false),
    );
    check.equal("its run", &lease.run, &Some(key("u")));
    check.equal("the document", &lease.document.as_deref(), &Some(r#"{"state":"completed"}"#));
    // All three leases run out, and are leased to somebody else.
    let again = bench.claim(36).await;
    check.equal("what ran out", &again.len(), &3);
    check.equal("the attempt's number", &again[0].lease.progress.attempts, &2);
    let late = bench.complete(lease, fails(), 37).await;
    check.equal("a lost lease", &late, &Recorded::Lost);
    let held = again.iter().find(|other| other.lease.id == lease.lease.id).expect("it is there");
    let done = bench.complete(held, sent(), 38).await;
    check.equal("the new one", &done, &Recorded::Done { next: Next::Sent });
    let twice = bench.complete(held, sent(), 39).await;
    check.equal("a second end", &twice, &Recorded::Lost);
    let (record, attempts) = store.delivery("p", lease.lease.id).await.expect("read").expect("it is there");
    check.equal("the state", &record.status, &DeliveryState::Sent);
    let outcomes: Vec<(u32, &str, bool)> =
        attempts.iter().map(|attempt| (attempt.number, attempt.outcome.as_str(), attempt.ambiguous)).collect();
    check.equal("the attempts", &outcomes, &vec![(1, "lost", true), (2, "sent", false)]);
}

pub(super) async fn leases_from_the_start(bench: &StoreBench) {
    let check = bench.check("leases from the start");
    let at_once = |expected, state, seconds| {
        let mut intake = transition("u", expected, state, &["a", "b"], seconds);
        intake.jobs.iter_mut().for_each(|new| new.lease = Some(LEASE));
        intake
    };
    let first = bench.intake(at_once(None, RunState::Running, 0)).await;
    let (ids, leased) = (made(&first), leases_of(&first));
    check.equal("what is leased", &leased.iter().map(|lease| lease.id).collect(), &ids);
    check.equal("what is left to claim", &bench.claim(1).await.len(), &0);
    let done = bench.complete_with(completion(leased[0], sent(), flow(1)), 1).await;
    check.equal("its end", &done, &Recorded::Done { next: Next::Sent });
    // What waits behind older news is not leased.
    let newer = bench.intake(at_once(Some(1), RunState::Completed, 2)).await;
    let (ids, leased) = (made(&newer), leases_of(&newer));
    check.equal("what is leased then", &leased.iter().map(|lease| lease.id).collect::<Vec<_>>(), &vec![ids[0]]);
    check.equal("the other", &bench.status(ids[1]).await, &DeliveryState::Pending);
    // The leases run out like any other.
    let again = bench.claim(30).await;
    let attempts = again.iter().map(|leased| leased.lease.progress.attempts).collect::<Vec<_>>();
    check.equal("what ran out", &attempts, &vec![2, 2]);
}

pub(super) async fn the_run_as_it_was(bench: &StoreBench) {
    let store = &bench.store;
    let check = bench.check("the run as it was");
    let states = [RunState::Running, RunState::Completed];
    bench.intake(transition("u", None, states[0], &["a", "b"], 0)).await;
    bench.intake(transition("u", Some(1), states[1], &["a", "b"], 1)).await;
    // A change that is no news.
    let mut silent = transition("u", Some(2), states[1], &[], 2);
    silent.document = r#"{"state":"completed","note":"later"}"#.to_owned();
    bench.intake(silent).await;
    let mut reported = Vec::new();
    for seconds in [3, 4] {
        for lease in bench.claim(seconds).await {
            bench.complete(&lease, sent(), seconds).await;
            reported.push(lease);
        }
    }
    check.equal("how many were reported", &reported.len(), &4);
    // Reported again it is the same news, under the same key as under a new one.
    for (lease, new_key) in reported.clone().iter().zip([false, true, false, true]) {
        bench.at(5);
        store.replay("p", lease.lease.id, new_key).await.expect("replayed").expect("it was finished");
        let again = bench.only(&check, 5).await;
        bench.complete(&again, sent(), 6).await;
        reported.push(again);
    }
    for lease in reported {
        check.equal("the document", &lease.document, &Some(format!(r#"{{"state":"{}"}}"#, lease.state)));
    }
    let run = store.run(&key("u")).await.expect("read").expect("it is there");
    check.equal("the present one", &run.document.as_str(), &r#"{"state":"completed","note":"later"}"#);
}

pub(super) async fn older_news_goes_first(bench: &StoreBench) {
    let check = bench.check("older news goes first");
    bench.intake(transition("u", None, RunState::Running, &["a"], 0)).await;
    bench.intake(transition("u", Some(1), RunState::Completed, &["a"], 1)).await;
    let older = bench.only(&check, 2).await;
    check.equal("what goes first", &older.state, &RunState::Running);
    // What waits behind it is not due before its lease ends.
    check.equal("when to look again", &bench.next(2).await, &Some(Duration::from_secs(25)));
    // It fails, with newer news behind it: once more, at once, and then it is old news.
    bench.complete(&older, fails_for(500 - 3), 3).await;
    let again = bench.only(&check, 3).await;
    check.equal("what is tried again", &(again.lease.id, again.lease.progress.last_chance), &(older.lease.id, true));
    let done = bench.complete(&again, fails_for(500 - 4), 4).await;
    check.equal("what follows it", &done, &Recorded::Done { next: Next::Superseded });
    check.equal("the older", &bench.status(older.lease.id).await, &DeliveryState::Superseded);
    let newer = bench.only(&check, 4).await;
    check.equal("what follows", &(newer.state, newer.lease.progress.attempts), &(RunState::Completed, 1));
}

pub(super) async fn newer_news_hurries_a_retry(bench: &StoreBench) {
    let check = bench.check("newer news hurries a retry");
    bench.intake(transition("v", None, RunState::Running, &["a"], 10)).await;
    let older = bench.only(&check, 10).await;
    bench.complete(&older, fails_for(900 - 11), 11).await;
    check.equal("what is due", &bench.claim(12).await.len(), &0);
    bench.intake(transition("v", Some(1), RunState::Completed, &["a"], 13)).await;
    let hurried = bench.only(&check, 13).await;
    check.equal("what is tried", &(hurried.lease.id, hurried.lease.progress.last_chance), &(older.lease.id, true));
    bench.complete(&hurried, sent(), 14).await;
    check.equal("the older", &bench.status(older.lease.id).await, &DeliveryState::Sent);
    check.equal("what follows", &bench.only(&check, 14).await.state, &RunState::Completed);
}

pub(super) async fn endings(bench: &StoreBench) {
    let store = &bench.store;
    let check = bench.check("endings");
    bench.intake(transition("u", None, RunState::Completed, &["a"], 0)).await;
    let lease = bench.only(&check, 0).await;
    bench.complete(&lease, held_for(60 - 1), 1).await;
    check.equal("deferred", &bench.status(lease.lease.id).await, &DeliveryState::Pending);
    check.equal("when it is due", &bench.next(2).await, &Some(Duration::from_secs(58)));
    let lease = bench.only(&check, 60).await;
    check.equal("no attempt is counted", &lease.lease.progress.attempts, &1);
    bench.complete(&lease, fails_for(70 - 61), 61).await;
    let (record, _) = store.delivery("p", lease.lease.id).await.expect("read").expect("it is there");
    check.equal("the state", &record.status, &DeliveryState::Retry);
    check.equal("the reason", &record.reason.as_deref(), &Some("unreachable: down"));
    check.equal("what is due before", &bench.claim(69).await.len(), &0);
    let lease = bench.only(&check, 70).await;
    check.equal("the attempt", &lease.lease.progress.attempts, &2);
    bench.complete(&lease, fails(), 71).await;
    let (record, attempts) = store.delivery("p", lease.lease.id).await.expect("read").expect("it is there");
    check.equal(
        "the end",
        &(record.status, record.due_at, record.finished_at),
        &(DeliveryState::Failed, None, Some(at(71))),
    );
    check.equal("the attempts", &attempts.len(), &2);
    check.equal("what is due after", &bench.next(9_000).await, &None);
}

pub(super) async fn replay_and_cancel(bench: &StoreBench) {
    let (store, check) = (&bench.store, bench.check("replay and cancel"));
    let id = made(&bench.intake(transition("u", None, RunState::Completed, &["a"], 0)).await)[0];
    let replay = async |project, seconds| {
        bench.at(seconds);
        store.replay(project, id, false).await.expect("answered")
    };
    let cancel = async |project, seconds| {
        bench.at(seconds);
        store.cancel(project, id).await.expect("answered")
    };
    check.equal("a replay of a waiting one", &replay("p", 1).await, &None);
    check.ensure(!cancel("q", 1).await, || "another project cancels it".to_owned());
    check.ensure(cancel("p", 1).await, || "it is not cancelled".to_owned());
    check.equal("cancelled", &bench.status(id).await, &DeliveryState::Superseded);
    check.equal("a replay by another project", &replay("q", 1).await, &None);
    check.equal("a replay", &replay("p", 2).await, &Some(id));
    let lease = bench.only(&check, 2).await;
    let expected = job("p", "u", "a", RunState::Completed, at(0)).key.to_string();
    check.equal("its key and attempt", &(lease.key.as_str(), lease.lease.progress.attempts), &(expected.as_str(), 1));
    check.ensure(!cancel("p", 3).await, || "a leased one is cancelled".to_owned());
    bench.complete(&lease, fails(), 3).await;
    check.equal("a replay of a failed one", &replay("p", 4).await, &Some(id));
    let lease = bench.only(&check, 4).await;
    check.equal("the schedule begins again", &lease.lease.progress.attempts, &1);
    check.equal("from then on", &lease.lease.progress.age, &Duration::ZERO);
    bench.complete(&lease, sent(), 5).await;
    let (_, attempts) = store.delivery("p", id).await.expect("read").expect("it is there");
    check.equal("every attempt is kept", &attempts.iter().map(|one| one.number).collect::<Vec<_>>(), &vec![1, 2]);
}

pub(super) async fn newer_news_that_is_cancelled_hurries_nothing(bench: &StoreBench) {
    let (store, check) = (&bench.store, bench.check("newer news that is cancelled hurries nothing"));
    bench.intake(transition("u", None, RunState::Running, &["a"], 0)).await;
    let older = bench.only(&check, 0).await;
    let newer = bench.intake(transition("u", Some(1), RunState::Completed, &["a"], 1)).await;
    bench.at(2);
    check.ensure(store.cancel("p", made(&newer)[0]).await.expect("answered"), || "it is not cancelled".to_owned());
    let done = bench.complete(&older, fails_for(50), 3).await;
    let next = Next::Retry { after: Duration::from_secs(50), last_chance: false };
    check.equal("what follows", &done, &Recorded::Done { next });
    // And one that is cancelled in front lets the one behind it go.
    let newest = made(&bench.intake(transition("u", Some(2), RunState::Error, &["a"], 4)).await)[0];
    bench.at(4);
    check.ensure(store.cancel("p", older.lease.id).await.expect("answered"), || "it is not cancelled".to_owned());
    check.equal("what goes", &bench.only(&check, 4).await.lease.id, &newest);
}

pub(super) async fn a_replay_takes_its_old_place(bench: &StoreBench) {
    let (store, check) = (&bench.store, bench.check("a replay takes its old place"));
    bench.intake(transition("u", None, RunState::Running, &["a"], 0)).await;
    let older = bench.only(&check, 0).await;
    bench.complete(&older, fails(), 0).await;
    let newer = made(&bench.intake(transition("u", Some(1), RunState::Completed, &["a"], 1)).await)[0];
    bench.at(2);
    store.replay("p", older.lease.id, false).await.expect("replayed").expect("it was finished");
    let first = bench.only(&check, 2).await;
    check.equal("what goes first", &first.lease.id, &older.lease.id);
    bench.complete(&first, sent(), 3).await;
    check.equal("what goes then", &bench.only(&check, 3).await.lease.id, &newer);
}

pub(super) async fn many_at_once(bench: &StoreBench) {
    let check = bench.check("many at once");
    let mut intakes = tokio::task::JoinSet::new();
    for index in 0..200 {
        let store = Arc::clone(&bench.store);
        // Every tenth is refused; the others of its group are not.
        let expected = (index % 10 == 0).then_some(5);
        let intake = transition(&format!("u{index}"), expected, RunState::Completed, &["a"], 0);
        intakes.spawn(async move { store.intake(intake).await.is_ok() });
    }
    let accepted = intakes.join_all().await.into_iter().filter(|ok| *ok).count();
    check.equal("what was accepted", &accepted, &180);
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let store = Arc::clone(&bench.store);
        let claim = Claim { limit: 7, ..everything() };
        claims.spawn(async move { store.claim(claim).await.expect("claimed").deliveries });
    }
    let leased: Vec<i64> = claims.join_all().await.into_iter().flatten().map(|leased| leased.lease.id).collect();
    check.equal("what was leased", &leased.len(), &180);
    check.equal("each once", &leased.iter().collect::<HashSet<_>>().len(), &180);
}

pub(super) async fn two_handles(bench: &StoreBench) {
    let check = bench.check("two handles");
    // A store that one process owns has no second handle.
    let Some(second) = &bench.second else { return };
    for index in 0..20 {
        bench.intake(transition(&format!("u{index}"), None, RunState::Completed, &["a"], 0)).await;
    }
    let claim = || Claim { limit: 10, ..everything() };
    let (one, other) = tokio::join!(bench.store.claim(claim()), second.claim(claim()));
    let all = one.expect("claimed").deliveries.into_iter().chain(other.expect("claimed").deliveries);
    let ids: Vec<i64> = all.map(|leased| leased.lease.id).collect();
    check.equal("each once", &ids.iter().collect::<HashSet<_>>().len(), &ids.len());
}

pub(super) async fn steps_travel(bench: &StoreBench) {
    let check = bench.check("the steps of a workflow travel");
    let steps = r#"[{"metadata":{"name":"step"}}]"#;
    let with_steps =
        RunChange { steps: Some(steps.to_owned()), ..transition("u", None, RunState::Completed, &["a"], 0) };
    bench.intake(with_steps).await;
    // The run changes afterwards; the delivery reports on it as it was.
    bench.intake(transition("u", Some(1), RunState::Error, &[], 1)).await;
    let leased = bench.only(&check, 2).await;
    check.equal("the steps", &leased.steps.as_deref(), &Some(steps));
    check.equal("the document", &leased.document.as_deref(), &Some(r#"{"state":"completed"}"#));
}

pub(super) async fn jobs_without_a_run(bench: &StoreBench) {
    let (store, check) = (&bench.store, bench.check("jobs without a run"));
    let secret = "mlrun.notifications.4567";
    let alarm = |project: &str| {
        let mut job = job("_ops", "none", "ops", RunState::Error, at(0));
        (job.lane, job.subject, job.notification) =
            (None, Subject::none(), Arc::new(Notification::new("webhook", "ops")));
        FollowUp {
            job,
            project: project.to_owned(),
            notification: RegisteredNotification { secret: Some(secret.to_owned()), ..registered("ops") },
            secret: Some(SealedSecret { name: secret.to_owned(), sealed: vec![4] }),
        }
    };
    bench.intake(transition("u", None, RunState::Completed, &["a", "b"], 0)).await;
    let two = bench.claim(0).await;
    // Only a failure for good is followed by them.
    for (leased, outcome) in two.iter().zip([fails_for(100_000), fails()]) {
        let follow_ups = vec![alarm("_ops"), alarm("_ops")];
        bench
            .complete_with(runbell_store::Completion { follow_ups, ..completion(leased.lease, outcome, flow(1)) }, 0)
            .await;
    }
    let due = bench.claim(0).await;
    check.equal("how many are due", &due.len(), &2);
    let first = &due[0];
    check.equal("its subject", &(&first.run, &first.document, first.flow), &(&None, &None, Flow::default()));
    check.equal("its owner", &(first.project.as_str(), first.notification.name.as_str()), &("_ops", "ops"));
    check.equal("its secret", &first.sealed, &Some(vec![4]));
    // They keep no order: one that fails holds no other up.
    bench.complete(first, fails_for(100), 1).await;
    bench.complete(&due[1], fails(), 1).await;
    let all = DeliveryFilter { project: Some("_ops".to_owned()), ..DeliveryFilter::default() };
    let listed = store.deliveries(&all, 10).await.expect("read");
    check.equal(
        "how they are listed",
        &listed.iter().map(|one| (&one.run, one.status)).collect::<Vec<_>>(),
        &vec![(&None, DeliveryState::Failed), (&None, DeliveryState::Retry)],
    );
    bench.at(2);
    store.replay("_ops", listed[0].id, false).await.expect("answered").expect("it was finished");
    let again = bench.only(&check, 2).await;
    bench.complete(&again, sent(), 3).await;
    bench.at(1_000);
    check.equal("what is pruned", &store.prune(Duration::from_secs(500), 100).await.expect("pruned"), &2);
    check.equal("its secret while one is left", &store.secret("_ops", secret).await.expect("read"), &Some(vec![4]));
    let last = bench.claim(1_000).await.into_iter().find(|one| one.project == "_ops").expect("the one that waited");
    bench.complete(&last, sent(), 1_000).await;
    bench.at(2_000);
    store.prune(Duration::from_secs(500), 100).await.expect("pruned");
    check.equal("its secret afterwards", &store.secret("_ops", secret).await.expect("read"), &None);
}

pub(super) async fn wakeups(bench: &StoreBench) {
    let check = bench.check("wake-ups");
    let mut wakeups = bench.store.wakeups();
    bench.intake(transition("u", None, RunState::Completed, &["a"], 0)).await;
    wakeups.next().await;
    let leased = bench.only(&check, 0).await;
    bench.complete(&leased, held_for(5), 1).await;
    wakeups.next().await;
    let again = bench.only(&check, 6).await;
    bench.complete(&again, sent(), 7).await;
    bench.at(8);
    bench.store.replay("p", again.lease.id, false).await.expect("answered").expect("it was finished");
    wakeups.next().await;
}
