//! The contract of a store: nothing is lost, nothing is done twice, and what came first goes first.

mod keep;

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use runbell_core::{RunState, Timestamp};
use runbell_store::{
    Completion, Deliver, DeliveryFilter, DeliveryState, Ending, Intake, Lease, NewDelivery, NewVerdict, Recorded,
    Registered, RunFacts, RunKey, SealedSecret, Store, StoreError,
};

use crate::check::Check;
use crate::samples::SAMPLE_TIME;

const CONTRACT: &str = "store_contract";

/// How long a lease lasts here.
const LEASE: Duration = Duration::from_secs(25);

/// Proves what [`Store`] promises; `make` makes an empty store, a new one for each check.
///
/// # Panics
/// When a check fails, naming it.
pub async fn store_contract<S: Store, F: Future<Output = S>>(make: impl Fn() -> F) {
    runs_and_versions(&make().await).await;
    same_key_same_news(&make().await).await;
    lists_of_notifications(&make().await).await;
    leases(&make().await).await;
    leases_from_the_start(&make().await).await;
    the_run_as_it_was(&make().await).await;
    order(&make().await).await;
    endings(&make().await).await;
    replay_and_cancel(&make().await).await;
    lists_and_pages(&make().await).await;
    pruning(&make().await).await;
    keep::verdicts_and_latest(&make().await).await;
    keep::runs(&make().await).await;
    keep::secrets(&make().await).await;
    keep::tokens_projects_tasks(&make().await).await;
    many_at_once(Arc::new(make().await)).await;
}

fn check(name: &str) -> Check {
    Check::new(CONTRACT, name)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(SAMPLE_TIME.as_second() + seconds).expect("near the sample's time")
}

fn key(uid: &str) -> RunKey {
    RunKey { project: "p".to_owned(), uid: uid.to_owned(), iteration: 0 }
}

fn registered(name: &str) -> Registered {
    Registered {
        name: name.to_owned(),
        kind: "webhook".to_owned(),
        document: format!(r#"{{"name":"{name}"}}"#),
        secret: None,
    }
}

/// A run's entering `state`, told by `names`.
fn transition(uid: &str, expected: Option<i64>, state: RunState, names: &[&str], seconds: i64) -> Intake {
    Intake {
        run: key(uid),
        document: format!(r#"{{"state":"{state}"}}"#),
        facts: RunFacts { name: "train".to_owned(), state: state.to_string(), started_at: Some(at(seconds)) },
        expected,
        notifications: expected.is_none().then(|| names.iter().map(|name| registered(name)).collect()),
        secrets: Vec::new(),
        verdicts: names
            .iter()
            .map(|name| NewVerdict { notification: (*name).to_owned(), state, reason: "matched", detail: None })
            .collect(),
        deliveries: names
            .iter()
            .map(|name| NewDelivery {
                key: format!("{uid}/{name}/{state}"),
                notification: (*name).to_owned(),
                state,
                at: at(seconds),
                lease: None,
            })
            .collect(),
        deliver: Deliver::Always,
        now: at(seconds),
    }
}

fn ended(lease: &Lease, ending: Ending, seconds: i64) -> Completion {
    Completion {
        id: lease.id,
        fence: lease.fence,
        ending,
        reason: "unreachable: down".to_owned(),
        ambiguous: false,
        started: at(seconds),
        ended: at(seconds),
    }
}

async fn claim<S: Store>(store: &S, seconds: i64) -> Vec<Lease> {
    store.claim(at(seconds), 100, LEASE).await.expect("claimed").leases
}

/// When to look again, for somebody who takes what is due by then.
async fn next_due<S: Store>(store: &S, seconds: i64) -> Option<Timestamp> {
    store.claim(at(seconds), 100, LEASE).await.expect("claimed").next_due
}

async fn only<S: Store>(check: &Check, store: &S, seconds: i64) -> Lease {
    let mut leased = claim(store, seconds).await;
    check.equal("the number of leases", &leased.len(), &1);
    leased.pop().expect("one")
}

async fn status<S: Store>(store: &S, id: i64) -> DeliveryState {
    store.delivery("p", id).await.expect("read").expect("it is there").0.status
}

async fn runs_and_versions<S: Store>(store: &S) {
    let check = check("runs and versions");
    check.equal("an unknown run", &store.run(&key("u")).await.expect("read"), &None);
    let first = store.intake(transition("u", None, RunState::Running, &["a"], 0)).await.expect("taken in");
    check.equal("the first version", &first.version, &1);
    let run = store.run(&key("u")).await.expect("read").expect("it is there");
    check.equal("the document", &run.document.as_str(), &r#"{"state":"running"}"#);
    check.equal("its generation", &(run.version, run.generation), &(1, 1));
    check.equal("its notifications", &run.notifications, &vec![registered("a")]);
    for (what, expected) in
        [("made again", None), ("decided for an old version", Some(0)), ("for a later one", Some(2))]
    {
        let refused = store.intake(transition("u", expected, RunState::Completed, &["a"], 1)).await;
        check.ensure(refused == Err(StoreError::Conflict), || format!("{what}: {refused:?}"));
    }
    check.equal("the deliveries", &store.deliveries(&DeliveryFilter::default(), 10).await.expect("read").len(), &1);
    let second = store.intake(transition("u", Some(1), RunState::Completed, &["a"], 1)).await.expect("taken in");
    check.equal("the next version", &second.version, &2);
    let other = RunKey { iteration: 1, ..key("u") };
    check.equal("another iteration", &store.run(&other).await.expect("read"), &None);
    store.check().await.expect("it takes writes");
}

async fn same_key_same_news<S: Store>(store: &S) {
    let check = check("same key, same news");
    store.intake(transition("u", None, RunState::Completed, &["a", "b"], 0)).await.expect("taken in");
    let again = store.intake(transition("u", Some(1), RunState::Completed, &["a", "b"], 1)).await.expect("taken in");
    check.equal("what was made again", &again.deliveries, &Vec::new());
    check.equal("the leases", &claim(store, 2).await.len(), &2);
}

async fn lists_of_notifications<S: Store>(store: &S) {
    let check = check("lists of notifications");
    store.intake(transition("u", None, RunState::Running, &["a"], 0)).await.expect("taken in");
    let mut other = transition("u", Some(1), RunState::Completed, &["b"], 1);
    other.notifications = Some(vec![Registered { secret: Some("s".to_owned()), ..registered("b") }]);
    other.secrets = vec![SealedSecret { name: "s".to_owned(), sealed: vec![1, 2, 3] }];
    store.intake(other).await.expect("taken in");
    let run = store.run(&key("u")).await.expect("read").expect("it is there");
    check.equal("the generation", &run.generation, &2);
    check.equal("its names", &run.notifications.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), &vec!["b"]);
    check.equal("a secret", &store.secret("p", "s").await.expect("read"), &Some(vec![1, 2, 3]));
    check.equal("another project's", &store.secret("q", "s").await.expect("read"), &None);
    // The new list takes the place of what was not yet delivered for the old one.
    let names: Vec<String> = claim(store, 2).await.into_iter().map(|lease| lease.notification.name).collect();
    check.equal("the leases", &names, &vec!["b".to_owned()]);
    let old = DeliveryFilter { notification: Some("a".to_owned()), ..DeliveryFilter::default() };
    let old = store.deliveries(&old, 10).await.expect("read");
    check.equal("the old promise", &old[0].status, &DeliveryState::Superseded);

    let check = self::check("what a list takes the place of");
    let again = |expected, name: &str, state| Intake {
        notifications: Some(vec![registered(name)]),
        deliver: Deliver::IfSuperseded,
        ..transition("v", Some(expected), state, &[name], 3)
    };
    store.intake(transition("v", None, RunState::Running, &["a"], 2)).await.expect("taken in");
    let running = only(&check, store, 2).await;
    store.complete(ended(&running, Ending::Sent, 2)).await.expect("answered");
    let nothing = store.intake(again(1, "b", RunState::Running)).await.expect("taken in");
    check.equal("after all was sent", &(nothing.superseded, nothing.deliveries.len()), &(0, 0));
    store.intake(transition("v", Some(2), RunState::Completed, &["b"], 3)).await.expect("taken in");
    let other = store.intake(again(3, "c", RunState::Error)).await.expect("taken in");
    check.equal("of another state", &(other.superseded, other.deliveries.len()), &(1, 0));
    store.intake(transition("v", Some(4), RunState::Completed, &["c"], 3)).await.expect("taken in");
    let same = store.intake(again(5, "d", RunState::Completed)).await.expect("taken in");
    check.equal("of the same state", &(same.superseded, same.deliveries.len()), &(1, 1));
}

async fn leases<S: Store>(store: &S) {
    let check = check("leases");
    store.intake(transition("u", None, RunState::Completed, &["a", "b", "c"], 10)).await.expect("taken in");
    check.equal("what is due earlier", &claim(store, 9).await.len(), &0);
    check.equal("the next time", &next_due(store, 9).await, &Some(at(10)));
    let two = store.claim(at(10), 2, LEASE).await.expect("claimed").leases;
    let rest = store.claim(at(10), 2, LEASE).await.expect("claimed").leases;
    check.equal("what each got", &(two.len(), rest.len()), &(2, 1));
    check.equal("what is left", &claim(store, 20).await.len(), &0);
    let lease = &two[0];
    check.equal(
        "what it holds",
        &(lease.attempt, lease.state, lease.at, lease.last_chance),
        &(1, RunState::Completed, at(10), false),
    );
    check.equal("its run", &lease.run, &key("u"));
    check.equal("the document", &lease.document.as_str(), &r#"{"state":"completed"}"#);
    // All three leases run out, and are leased to somebody else.
    let again = claim(store, 36).await;
    check.equal("what ran out", &again.len(), &3);
    check.equal("the attempt's number", &again[0].attempt, &2);
    let late = store.complete(ended(lease, Ending::Failed, 37)).await.expect("answered");
    check.equal("a lost lease", &late, &Recorded::Lost);
    let held = again.iter().find(|other| other.id == lease.id).expect("it is there");
    let done = store.complete(ended(held, Ending::Sent, 38)).await.expect("answered");
    check.equal("the new one", &done, &Recorded::Done { has_follower: false });
    let twice = store.complete(ended(held, Ending::Sent, 39)).await.expect("answered");
    check.equal("a second end", &twice, &Recorded::Lost);
    let (record, attempts) = store.delivery("p", lease.id).await.expect("read").expect("it is there");
    check.equal("the state", &record.status, &DeliveryState::Sent);
    let outcomes: Vec<(u32, &str, bool)> =
        attempts.iter().map(|attempt| (attempt.number, attempt.outcome.as_str(), attempt.ambiguous)).collect();
    check.equal("the attempts", &outcomes, &vec![(1, "lost", true), (2, "sent", false)]);
}

async fn leases_from_the_start<S: Store>(store: &S) {
    let check = check("leases from the start");
    let at_once = |expected, state, seconds| {
        let mut intake = transition("u", expected, state, &["a", "b"], seconds);
        intake.deliveries.iter_mut().for_each(|delivery| delivery.lease = Some(LEASE));
        intake
    };
    let made = store.intake(at_once(None, RunState::Running, 0)).await.expect("taken in");
    check.equal("what is leased", &made.leased, &vec![(0, made.deliveries[0]), (1, made.deliveries[1])]);
    check.equal("what is left to claim", &claim(store, 1).await.len(), &0);
    let completion = |id, ending| Completion {
        id,
        fence: 1,
        ending,
        reason: "unreachable: down".to_owned(),
        ambiguous: false,
        started: at(1),
        ended: at(1),
    };
    let done = store.complete(completion(made.deliveries[0], Ending::Sent)).await.expect("answered");
    check.equal("its end", &done, &Recorded::Done { has_follower: false });
    // What waits behind older news is not leased.
    let newer = store.intake(at_once(Some(1), RunState::Completed, 2)).await.expect("taken in");
    check.equal("what is leased then", &newer.leased, &vec![(0, newer.deliveries[0])]);
    check.equal("the other", &status(store, newer.deliveries[1]).await, &DeliveryState::Pending);
    // The leases run out like any other.
    let again = claim(store, 30).await;
    check.equal("what ran out", &again.iter().map(|lease| lease.attempt).collect::<Vec<_>>(), &vec![2, 2]);
}

async fn the_run_as_it_was<S: Store>(store: &S) {
    let check = check("the run as it was");
    let states = [RunState::Running, RunState::Completed];
    store.intake(transition("u", None, states[0], &["a", "b"], 0)).await.expect("taken in");
    store.intake(transition("u", Some(1), states[1], &["a", "b"], 1)).await.expect("taken in");
    // A change that tells nobody anything.
    let mut silent = transition("u", Some(2), states[1], &[], 2);
    silent.document = r#"{"state":"completed","note":"later"}"#.to_owned();
    store.intake(silent).await.expect("taken in");
    let mut told = Vec::new();
    for seconds in [3, 4] {
        for lease in claim(store, seconds).await {
            store.complete(ended(&lease, Ending::Sent, seconds)).await.expect("answered");
            told.push(lease);
        }
    }
    check.equal("how many were told", &told.len(), &4);
    // Told again it is the same news, under the same key as under a new one.
    for (lease, new_key) in told.clone().iter().zip([false, true, false, true]) {
        store.replay("p", lease.id, at(5), new_key).await.expect("replayed").expect("it was finished");
        told.push(only(&check, store, 5).await);
        store.complete(ended(&told[told.len() - 1], Ending::Sent, 6)).await.expect("answered");
    }
    for lease in told {
        check.equal("the document", &lease.document, &format!(r#"{{"state":"{}"}}"#, lease.state));
    }
    let run = store.run(&key("u")).await.expect("read").expect("it is there");
    check.equal("the present one", &run.document.as_str(), &r#"{"state":"completed","note":"later"}"#);
}

async fn order<S: Store>(store: &S) {
    let check = check("older news goes first");
    store.intake(transition("u", None, RunState::Running, &["a"], 0)).await.expect("taken in");
    store.intake(transition("u", Some(1), RunState::Completed, &["a"], 1)).await.expect("taken in");
    let older = only(&check, store, 2).await;
    check.equal("what goes first", &older.state, &RunState::Running);
    // What waits behind it is not due before its lease ends.
    check.equal("when to look again", &next_due(store, 2).await, &Some(at(27)));
    // It fails, with newer news behind it: once more, at once, and then it is old news.
    store.complete(ended(&older, Ending::Retry(at(500)), 3)).await.expect("answered");
    let again = only(&check, store, 3).await;
    check.equal("what is tried again", &(again.id, again.last_chance), &(older.id, true));
    let done = store.complete(ended(&again, Ending::Retry(at(500)), 4)).await.expect("answered");
    check.equal("what follows it", &done, &Recorded::Done { has_follower: true });
    check.equal("the older", &status(store, older.id).await, &DeliveryState::Superseded);
    let newer = only(&check, store, 4).await;
    check.equal("what follows", &(newer.state, newer.attempt), &(RunState::Completed, 1));

    let check = self::check("newer news hurries a retry");
    store.intake(transition("v", None, RunState::Running, &["a"], 10)).await.expect("taken in");
    let older = only(&check, store, 10).await;
    store.complete(ended(&older, Ending::Retry(at(900)), 11)).await.expect("answered");
    check.equal("what is due", &claim(store, 12).await.len(), &0);
    store.intake(transition("v", Some(1), RunState::Completed, &["a"], 13)).await.expect("taken in");
    let hurried = only(&check, store, 13).await;
    check.equal("what is tried", &(hurried.id, hurried.last_chance), &(older.id, true));
    store.complete(ended(&hurried, Ending::Sent, 14)).await.expect("answered");
    check.equal("the older", &status(store, older.id).await, &DeliveryState::Sent);
    check.equal("what follows", &only(&check, store, 14).await.state, &RunState::Completed);
}

async fn endings<S: Store>(store: &S) {
    let check = check("endings");
    store.intake(transition("u", None, RunState::Completed, &["a"], 0)).await.expect("taken in");
    let lease = only(&check, store, 0).await;
    store.complete(ended(&lease, Ending::Deferred(at(60)), 1)).await.expect("answered");
    check.equal("deferred", &status(store, lease.id).await, &DeliveryState::Pending);
    check.equal("when it is due", &next_due(store, 2).await, &Some(at(60)));
    let lease = only(&check, store, 60).await;
    check.equal("no attempt is counted", &lease.attempt, &1);
    store.complete(ended(&lease, Ending::Retry(at(70)), 61)).await.expect("answered");
    let (record, _) = store.delivery("p", lease.id).await.expect("read").expect("it is there");
    check.equal("the state", &record.status, &DeliveryState::Retry);
    check.equal("the reason", &record.reason.as_deref(), &Some("unreachable: down"));
    check.equal("what is due before", &claim(store, 69).await.len(), &0);
    let lease = only(&check, store, 70).await;
    check.equal("the attempt", &lease.attempt, &2);
    store.complete(ended(&lease, Ending::Failed, 71)).await.expect("answered");
    let (record, attempts) = store.delivery("p", lease.id).await.expect("read").expect("it is there");
    check.equal(
        "the end",
        &(record.status, record.due_at, record.finished_at),
        &(DeliveryState::Failed, None, Some(at(71))),
    );
    check.equal("the attempts", &attempts.len(), &2);
    check.equal("what is due after", &next_due(store, 9_000).await, &None);
}

async fn replay_and_cancel<S: Store>(store: &S) {
    let check = check("replay and cancel");
    let made = store.intake(transition("u", None, RunState::Completed, &["a"], 0)).await.expect("taken in").deliveries;
    let id = made[0];
    check.ensure(store.replay("p", id, at(1), false).await.expect("answered").is_none(), || {
        "a waiting one is replayed".to_owned()
    });
    check.ensure(!store.cancel("q", id, at(1)).await.expect("answered"), || "another project cancels it".to_owned());
    check.ensure(store.cancel("p", id, at(1)).await.expect("answered"), || "it is not cancelled".to_owned());
    check.equal("cancelled", &status(store, id).await, &DeliveryState::Superseded);
    check.ensure(store.replay("q", id, at(1), false).await.expect("answered").is_none(), || {
        "another project replays it".to_owned()
    });
    check.ensure(store.replay("p", id, at(2), false).await.expect("answered") == Some(id), || {
        "it is not replayed".to_owned()
    });
    let lease = only(&check, store, 2).await;
    check.equal("its key and attempt", &(lease.key.as_str(), lease.attempt), &("u/a/completed", 1));
    check.ensure(!store.cancel("p", id, at(3)).await.expect("answered"), || "a leased one is cancelled".to_owned());
    store.complete(ended(&lease, Ending::Failed, 3)).await.expect("answered");
    check.ensure(store.replay("p", id, at(4), false).await.expect("answered") == Some(id), || {
        "a failed one is not replayed".to_owned()
    });
    let lease = only(&check, store, 4).await;
    check.equal("the schedule begins anew", &lease.attempt, &1);
    store.complete(ended(&lease, Ending::Sent, 5)).await.expect("answered");
    let (_, attempts) = store.delivery("p", id).await.expect("read").expect("it is there");
    check.equal("every attempt is kept", &attempts.iter().map(|one| one.number).collect::<Vec<_>>(), &vec![1, 2]);
}

async fn lists_and_pages<S: Store>(store: &S) {
    let check = check("lists and pages");
    for index in 0..7 {
        let uid = if index % 2 == 0 { "even" } else { "odd" };
        let run = format!("{uid}-{index}");
        store.intake(transition(&run, None, RunState::Completed, &["a", "b"], index)).await.expect("taken in");
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

async fn pruning<S: Store>(store: &S) {
    let check = check("pruning");
    let secret = "mlrun.notifications.0123";
    let mut first = transition("u", None, RunState::Running, &["a"], 0);
    first.notifications = Some(vec![Registered { secret: Some(secret.to_owned()), ..registered("a") }]);
    first.secrets = vec![SealedSecret { name: secret.to_owned(), sealed: vec![7] }];
    store.intake(first).await.expect("taken in");
    store.intake(transition("v", None, RunState::Running, &["a"], 0)).await.expect("taken in");
    let leased = claim(store, 0).await;
    for lease in &leased {
        let ending = if lease.run == key("u") { Ending::Sent } else { Ending::Retry(at(9_000)) };
        store.complete(ended(lease, ending, 10)).await.expect("answered");
    }
    check.equal("what is too young", &store.prune(at(10), 100).await.expect("pruned"), &0);
    // The list that refers to the secret is replaced, and its delivery pruned: then nobody needs it any more.
    let mut replaced = transition("u", Some(1), RunState::Completed, &[], 11);
    replaced.notifications = Some(vec![registered("b")]);
    store.intake(replaced).await.expect("taken in");
    check.equal("the secret while a delivery is kept", &store.secret("p", secret).await.expect("read"), &Some(vec![7]));
    check.equal("what is old", &store.prune(at(11), 100).await.expect("pruned"), &1);
    check.equal("the secret afterwards", &store.secret("p", secret).await.expect("read"), &None);
    let left = store.deliveries(&DeliveryFilter::default(), 100).await.expect("read");
    check.equal("what waits is kept", &left.iter().map(|one| one.run.uid.as_str()).collect::<Vec<_>>(), &vec!["v"]);
    check.equal("the run is kept", &store.run(&key("u")).await.expect("read").map(|run| run.version), &Some(2));
}

async fn many_at_once<S: Store>(store: Arc<S>) {
    let check = check("many at once");
    let mut intakes = tokio::task::JoinSet::new();
    for index in 0..200 {
        let store = Arc::clone(&store);
        // Every tenth is refused, and takes nobody with it.
        let expected = (index % 10 == 0).then_some(5);
        let intake = transition(&format!("u{index}"), expected, RunState::Completed, &["a"], 0);
        intakes.spawn(async move { store.intake(intake).await.is_ok() });
    }
    let accepted = intakes.join_all().await.into_iter().filter(|ok| *ok).count();
    check.equal("what was accepted", &accepted, &180);
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let store = Arc::clone(&store);
        claims.spawn(async move { store.claim(at(1), 7, LEASE).await.expect("claimed").leases });
    }
    let leased: Vec<i64> = claims.join_all().await.into_iter().flatten().map(|lease| lease.id).collect();
    check.equal("what was leased", &leased.len(), &180);
    check.equal("each once", &leased.iter().collect::<HashSet<_>>().len(), &180);
}
