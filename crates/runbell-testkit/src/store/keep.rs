//! What a store keeps beside the queue: runs to be found, verdicts, secrets, tokens, tasks.

use runbell_core::RunState;
use runbell_store::{
    DeliveryFilter, DeliveryState, Ending, INTERNAL, ProjectSecret, Registered, RunFacts, RunFilter, RunKey,
    SealedSecret, Store, TokenRecord,
};

use super::{at, check, claim, ended, key, only, registered, transition};

pub(super) async fn verdicts_and_latest<S: Store>(store: &S) {
    let check = check("verdicts and latest deliveries");
    store.intake(transition("u", None, RunState::Running, &["a", "b"], 0)).await.expect("taken in");
    for lease in claim(store, 0).await {
        store.complete(ended(&lease, Ending::Sent, 1)).await.expect("answered");
    }
    store.intake(transition("u", Some(1), RunState::Completed, &["a"], 2)).await.expect("taken in");
    let verdicts = store.verdicts(&key("u"), 10).await.expect("read");
    let told: Vec<(&str, RunState, Option<DeliveryState>)> = verdicts
        .iter()
        .map(|one| (one.notification.as_str(), one.state, one.delivery.as_ref().map(|(_, status, _)| *status)))
        .collect();
    let expected = vec![
        ("a", RunState::Completed, Some(DeliveryState::Pending)),
        ("b", RunState::Running, Some(DeliveryState::Sent)),
        ("a", RunState::Running, Some(DeliveryState::Sent)),
    ];
    check.equal("the verdicts", &told, &expected);
    check.equal("a page of them", &store.verdicts(&key("u"), 1).await.expect("read").len(), &1);
    let latest = store.latest(&key("u")).await.expect("read");
    let latest: Vec<(&str, RunState)> = latest.iter().map(|one| (one.notification.as_str(), one.state)).collect();
    check.equal("the latest", &latest, &vec![("b", RunState::Running), ("a", RunState::Completed)]);
    let backlog = store.backlog().await.expect("read");
    check.equal("the backlog", &(backlog.pending, backlog.leased, backlog.retry), &(1, 0, 0));
    check.equal("since when", &backlog.oldest, &Some(at(2)));

    let check = super::check("a later time made an earlier one");
    let lease = only(&check, store, 3).await;
    store.complete(ended(&lease, Ending::Deferred(at(500)), 4)).await.expect("answered");
    check.equal("what is due", &claim(store, 5).await.len(), &0);
    store.hasten(vec![lease.id], at(5)).await.expect("hastened");
    check.equal("what is due then", &only(&check, store, 5).await.id, &lease.id);

    let check = super::check("replays under a new key");
    let failed = DeliveryFilter { status: Some(DeliveryState::Sent), ..DeliveryFilter::default() };
    let copies = store.replay_all(&failed, 1, at(6), true).await.expect("replayed");
    check.equal("how many", &copies.len(), &1);
    let (copy, _) = store.delivery("p", copies[0]).await.expect("read").expect("it is there");
    check.ensure(copy.key.starts_with("rb_") && copy.key.len() == 35, || format!("a key like {}", copy.key));
    let both = store.replay_all(&failed, 10, at(6), false).await.expect("replayed");
    check.equal("under the old keys", &both.len(), &2);
    check.ensure(!both.contains(&copies[0]), || "the copy was replayed too".to_owned());
}

pub(super) async fn runs<S: Store>(store: &S) {
    let check = check("lists of runs");
    for (index, state) in [RunState::Running, RunState::Completed, RunState::Error].into_iter().enumerate() {
        let seconds = i64::try_from(index).expect("small");
        let names: &[&str] = if index == 0 { &[] } else { &["a"] };
        let mut intake = transition(&format!("u{index}"), None, state, names, seconds);
        intake.facts = RunFacts { name: format!("Train-{index}"), ..intake.facts };
        intake.notifications = intake.notifications.filter(|list| !list.is_empty());
        store.intake(intake).await.expect("taken in");
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
    check.ensure(store.heartbeat(&key("u0"), at(9)).await.expect("answered"), || "no heartbeat".to_owned());
    check.ensure(!store.heartbeat(&key("nobody"), at(9)).await.expect("answered"), || "a ghost's".to_owned());
    check.ensure(store.delete_run(&key("u1")).await.expect("answered"), || "it is not deleted".to_owned());
    check.ensure(!store.delete_run(&key("u1")).await.expect("answered"), || "it is deleted twice".to_owned());
    check.equal("what is deleted", &store.run(&key("u1")).await.expect("read"), &None);
    let left: Vec<String> = claim(store, 9).await.into_iter().map(|lease| lease.run.uid).collect();
    check.equal("what is delivered", &left, &vec!["u2".to_owned()]);
}

pub(super) async fn secrets<S: Store>(store: &S) {
    let check = check("secrets");
    let sealed = |name: &str, byte| SealedSecret { name: name.to_owned(), sealed: vec![byte] };
    let internal = format!("{INTERNAL}0123");
    let using = |uid: &str| {
        let mut intake = transition(uid, None, RunState::Completed, &[], 0);
        intake.notifications = Some(vec![Registered { secret: Some(internal.clone()), ..registered("a") }]);
        intake.secrets = vec![sealed(&internal, 7)];
        intake
    };
    store.intake(using("u")).await.expect("taken in");
    store.intake(using("v")).await.expect("taken in");
    store.put_secrets("p", vec![sealed("K", 1), sealed("L", 2)]).await.expect("kept");
    store.put_secrets("p", vec![sealed("K", 3)]).await.expect("kept");
    check.equal(
        "names",
        &store.secret_names("p").await.expect("read"),
        &vec!["K".to_owned(), "L".into(), internal.clone()],
    );
    check.equal("the newer", &store.secret("p", "K").await.expect("read"), &Some(vec![3]));
    let all = store.secrets(None, 2).await.expect("read");
    let rest = store.secrets(Some(("p".to_owned(), "L".to_owned())), 9).await.expect("read");
    check.equal("page by page", &(all.len(), rest.len()), &(2, 1));
    check.ensure(store.reseal(all[0].clone(), vec![9]).await.expect("answered"), || "it is not sealed anew".to_owned());
    let stale = ProjectSecret { project: "p".to_owned(), secret: sealed("K", 3) };
    check.ensure(!store.reseal(stale, vec![8]).await.expect("answered"), || "a stale one is".to_owned());
    check.equal("sealed anew", &store.secret("p", "K").await.expect("read"), &Some(vec![9]));
    store.delete_secrets("p", Some(vec!["K".to_owned(), internal.clone()])).await.expect("deleted");
    check.equal("what is left", &store.secret_names("p").await.expect("read"), &vec!["L".to_owned(), internal.clone()]);
    store.delete_secrets("p", None).await.expect("deleted");
    check.equal("what is left then", &store.secret_names("p").await.expect("read"), &vec![internal.clone()]);
    // It goes with its last user.
    store.delete_run(&key("u")).await.expect("deleted");
    check.equal("with one user left", &store.secret_names("p").await.expect("read").len(), &1);
    let mut replaced = transition("v", Some(1), RunState::Completed, &[], 1);
    replaced.notifications = Some(vec![registered("b")]);
    store.intake(replaced).await.expect("taken in");
    check.equal("with none left", &store.secret_names("p").await.expect("read").len(), &0);
}

pub(super) async fn tokens_projects_tasks<S: Store>(store: &S) {
    let check = check("tokens, projects and tasks");
    let token = TokenRecord {
        id: "0123abcd".to_owned(),
        name: "ci".to_owned(),
        hash: [5; 32],
        admin: false,
        projects: vec!["p".to_owned(), "q".to_owned()],
        created_at: at(0),
        revoked_at: None,
    };
    store.put_token(token.clone()).await.expect("kept");
    check.ensure(store.put_token(token.clone()).await.is_err(), || "an id was given twice".to_owned());
    check.equal("the tokens", &store.tokens().await.expect("read"), &vec![token.clone()]);
    check.ensure(store.revoke_token("0123abcd", at(1)).await.expect("answered"), || "it is not revoked".to_owned());
    check.ensure(store.revoke_token("0123abcd", at(2)).await.expect("answered"), || "it is unknown".to_owned());
    check.ensure(!store.revoke_token("nobody", at(2)).await.expect("answered"), || "a ghost is".to_owned());
    check.equal(
        "revoked",
        &store.tokens().await.expect("read"),
        &vec![TokenRecord { revoked_at: Some(at(1)), ..token }],
    );

    check.equal("no project", &store.project("p").await.expect("read"), &None);
    store.put_project("p", "{}").await.expect("kept");
    store.put_project("p", r#"{"a":1}"#).await.expect("kept");
    check.equal("a project", &store.project("p").await.expect("read").as_deref(), &Some(r#"{"a":1}"#));

    let made = store.intake(transition("u", None, RunState::Completed, &["a"], 0)).await.expect("taken in");
    store.put_task("p", "t", made.deliveries, at(0)).await.expect("kept");
    let untried = async || store.task("p", "t").await.expect("read").expect("it is there").untried;
    check.equal("untried", &untried().await, &1);
    let lease = only(&check, store, 1).await;
    check.equal("being tried", &untried().await, &1);
    store.complete(ended(&lease, Ending::Retry(at(90)), 2)).await.expect("answered");
    check.equal("tried", &untried().await, &0);
    let other = RunKey { project: "q".to_owned(), ..key("t") };
    check.equal("another project's", &store.task(&other.project, "t").await.expect("read"), &None);
}
