//! The history of runs and deliveries.

use std::time::Duration;

use runbell_core::RunState;
use runbell_store::{DeliveryFilter, DeliveryState, RegisteredNotification, RunFacts, RunFilter, SealedSecret};

use super::bench::{StoreBench, at, fails_for, key, registered, sent, transition};

pub(super) async fn lists_and_pages(bench: &StoreBench) {
    let store = &bench.store;
    let check = bench.check("lists and pages");
    for index in 0..7 {
        let uid = if index % 2 == 0 { "even" } else { "odd" };
        let run = format!("{uid}-{index}");
        bench.intake(transition(&run, None, RunState::Completed, &["a", "b"], index)).await;
    }
    let list = async |filter: DeliveryFilter, limit| store.deliveries(&filter, limit).await.expect("read");
    let all = list(DeliveryFilter::default(), 100).await;
    check.equal("all", &all.len(), &14);
    check.ensure(all.is_sorted_by(|left, right| left.id > right.id), || "the youngest is not first".to_owned());
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = list(DeliveryFilter { before, ..DeliveryFilter::default() }, 5).await;
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.into_iter().map(|one| one.id));
    }
    check.equal("page by page", &seen, &all.iter().map(|one| one.id).collect());
    for (what, filter, count) in [
        ("of a project", DeliveryFilter { project: Some("p".to_owned()), ..DeliveryFilter::default() }, 14),
        ("of another", DeliveryFilter { project: Some("q".to_owned()), ..DeliveryFilter::default() }, 0),
        ("of a run", DeliveryFilter { uid: Some("odd-3".to_owned()), ..DeliveryFilter::default() }, 2),
        ("of a notification", DeliveryFilter { notification: Some("b".to_owned()), ..DeliveryFilter::default() }, 7),
        ("in a state", DeliveryFilter { status: Some(DeliveryState::Pending), ..DeliveryFilter::default() }, 14),
        ("in another", DeliveryFilter { status: Some(DeliveryState::Sent), ..DeliveryFilter::default() }, 0),
    ] {
        check.equal(what, &list(filter, 100).await.len(), &count);
    }
    check.equal("a delivery of another project", &store.delivery("q", all[0].id).await.expect("read"), &None);
}

pub(super) async fn pruning(bench: &StoreBench) {
    let store = &bench.store;
    let check = bench.check("pruning");
    let secret = "mlrun.notifications.0123";
    let mut first = transition("u", None, RunState::Running, &["a"], 0);
    first.notifications = Some(vec![RegisteredNotification { secret: Some(secret.to_owned()), ..registered("a") }]);
    first.secrets = vec![SealedSecret { name: secret.to_owned(), sealed: vec![7] }];
    bench.intake(first).await;
    bench.intake(transition("v", None, RunState::Running, &["a"], 0)).await;
    let leased = bench.claim(0).await;
    for lease in &leased {
        let outcome = if lease.run == Some(key("u")) { sent() } else { fails_for(8_990) };
        bench.complete(lease, outcome, 10).await;
    }
    // What was finished before `seconds` is old.
    let prune = async |seconds: i64| {
        bench.at(seconds + 5);
        store.prune(Duration::from_secs(5), 100).await.expect("pruned")
    };
    check.equal("what is too young", &prune(10).await, &0);
    // The list that refers to the secret is replaced, and its delivery pruned: then no list or delivery needs it.
    let mut replaced = transition("u", Some(1), RunState::Completed, &[], 11);
    replaced.notifications = Some(vec![registered("b")]);
    bench.intake(replaced).await;
    check.equal("the secret while a delivery is kept", &store.secret("p", secret).await.expect("read"), &Some(vec![7]));
    check.equal("what is old", &prune(11).await, &1);
    check.equal("the secret afterwards", &store.secret("p", secret).await.expect("read"), &None);
    let left = store.deliveries(&DeliveryFilter::default(), 100).await.expect("read");
    check.equal(
        "what waits is kept",
        &left.iter().map(|one| one.run.clone()).collect::<Vec<_>>(),
        &vec![Some(key("v"))],
    );
    check.equal("the run is kept", &store.run(&key("u")).await.expect("read").map(|run| run.version), &Some(2));
}

pub(super) async fn verdicts_and_latest_deliveries(bench: &StoreBench) {
    let store = &bench.store;
    let check = bench.check("verdicts and latest deliveries");
    bench.intake(transition("u", None, RunState::Running, &["a", "b"], 0)).await;
    for lease in bench.claim(0).await {
        bench.complete(&lease, sent(), 1).await;
    }
    bench.intake(transition("u", Some(1), RunState::Completed, &["a"], 2)).await;
    let verdicts = store.verdicts(&key("u"), 10).await.expect("read");
    let seen: Vec<(&str, RunState, Option<DeliveryState>)> = verdicts
        .iter()
        .map(|one| (one.notification.as_str(), one.state, one.delivery.as_ref().map(|(_, status, _)| *status)))
        .collect();
    let expected = vec![
        ("a", RunState::Completed, Some(DeliveryState::Pending)),
        ("b", RunState::Running, Some(DeliveryState::Sent)),
        ("a", RunState::Running, Some(DeliveryState::Sent)),
    ];
    check.equal("the verdicts", &seen, &expected);
    check.equal("a page of them", &store.verdicts(&key("u"), 1).await.expect("read").len(), &1);
    let latest = store.latest(&key("u")).await.expect("read");
    let latest: Vec<(&str, RunState)> = latest.iter().map(|one| (one.notification.as_str(), one.state)).collect();
    check.equal("the latest", &latest, &vec![("b", RunState::Running), ("a", RunState::Completed)]);
    let backlog = store.backlog().await.expect("read");
    check.equal("the backlog", &(backlog.pending, backlog.leased, backlog.retry), &(1, 0, 0));
    bench.at(7);
    let backlog = store.backlog().await.expect("read");
    check.equal("for how long", &backlog.oldest, &Some(Duration::from_secs(5)));
    // Why a condition was ignored is kept as cause and words.
    let mut ignored = transition("u", Some(2), RunState::Error, &["a"], 8);
    let verdict = &mut ignored.verdicts[0];
    (verdict.reason, verdict.detail) = ("condition_ignored", Some("syntax".to_owned()));
    verdict.why = Some("unexpected end".to_owned());
    bench.intake(ignored).await;
    let last = store.verdicts(&key("u"), 1).await.expect("read").remove(0);
    let expected = (Some("syntax".to_owned()), Some("unexpected end".to_owned()), true);
    check.equal("an ignored condition", &(last.detail, last.why, last.delivery.is_some()), &expected);
}

pub(super) async fn replays_under_a_new_key(bench: &StoreBench) {
    let (store, check) = (&bench.store, bench.check("replays under a new key"));
    bench.intake(transition("u", None, RunState::Completed, &["a", "b"], 0)).await;
    for lease in bench.claim(0).await {
        bench.complete(&lease, sent(), 1).await;
    }
    bench.at(6);
    let failed = DeliveryFilter { status: Some(DeliveryState::Sent), ..DeliveryFilter::default() };
    let copies = store.replay_all(&failed, 1, true).await.expect("replayed");
    check.equal("how many", &copies.len(), &1);
    let (copy, _) = store.delivery("p", copies[0]).await.expect("read").expect("it is there");
    check.ensure(copy.key.starts_with("rb_") && copy.key.len() == 35, || format!("a key like {}", copy.key));
    let both = store.replay_all(&failed, 10, false).await.expect("replayed");
    check.equal("under the old keys", &both.len(), &2);
    check.ensure(!both.contains(&copies[0]), || "the copy was replayed too".to_owned());
}

pub(super) async fn lists_of_runs(bench: &StoreBench) {
    let store = &bench.store;
    let check = bench.check("lists of runs");
    for (index, state) in [RunState::Running, RunState::Completed, RunState::Error].into_iter().enumerate() {
        let seconds = i64::try_from(index).expect("small");
        let names: &[&str] = if index == 0 { &[] } else { &["a"] };
        let mut intake = transition(&format!("u{index}"), None, state, names, seconds);
        intake.facts = RunFacts { name: format!("Train-{index}"), ..intake.facts };
        intake.notifications = intake.notifications.filter(|list| !list.is_empty());
        bench.intake(intake).await;
    }
    let filter = || RunFilter { project: "p".to_owned(), ..RunFilter::default() };
    for (what, filter, expected) in [
        ("all", filter(), vec!["u2", "u1", "u0"]),
        ("another project", RunFilter { project: "q".to_owned(), ..filter() }, vec![]),
        ("uids", RunFilter { uids: vec!["u0".to_owned(), "u2".to_owned()], ..filter() }, vec!["u2", "u0"]),
        ("a name", RunFilter { name: Some("Train-1".to_owned()), ..filter() }, vec!["u1"]),
        ("a part of a name", RunFilter { name: Some("~tRAIN".to_owned()), ..filter() }, vec!["u2", "u1", "u0"]),
        ("states", RunFilter { states: vec!["error".to_owned()], ..filter() }, vec!["u2"]),
        ("registered", RunFilter { with_notifications: true, ..filter() }, vec!["u2", "u1"]),
        ("started from", RunFilter { started_from: Some(at(1)), ..filter() }, vec!["u2", "u1"]),
        ("started to", RunFilter { started_to: Some(at(1)), ..filter() }, vec!["u1", "u0"]),
        ("changed from", RunFilter { updated_from: Some(at(2)), ..filter() }, vec!["u2"]),
    ] {
        let found = store.runs(&filter, 10).await.expect("read");
        let uids: Vec<&str> = found.iter().map(|one| one.key.uid.as_str()).collect();
        check.equal(what, &uids, &expected);
    }
    let first = store.runs(&filter(), 2).await.expect("read");
    let rest = store.runs(&RunFilter { before: Some(first[1].id), ..filter() }, 2).await.expect("read");
    check.equal("page by page", &(first.len(), rest.len(), rest[0].key.uid.as_str()), &(2, 1, "u0"));
    check.equal("with its list", &first[0].run.notifications, &vec![registered("a")]);
    check.ensure(store.heartbeat(&key("u0")).await.expect("answered"), || "no heartbeat".to_owned());
    check.ensure(!store.heartbeat(&key("unknown")).await.expect("answered"), || "a ghost's".to_owned());
    check.ensure(store.delete_run(&key("u1")).await.expect("answered"), || "it is not deleted".to_owned());
    check.ensure(!store.delete_run(&key("u1")).await.expect("answered"), || "it is deleted twice".to_owned());
    check.equal("what is deleted", &store.run(&key("u1")).await.expect("read"), &None);
    let left: Vec<String> = bench.claim(9).await.into_iter().filter_map(|leased| Some(leased.run?.uid)).collect();
    check.equal("what is delivered", &left, &vec!["u2".to_owned()]);
}
