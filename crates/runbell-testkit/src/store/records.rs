//! Secrets, tokens, projects, tasks.

use runbell_core::RunState;
use runbell_store::{INTERNAL, ProjectSecret, RegisteredNotification, SealedSecret, TokenRecord};

use super::bench::{StoreBench, at, fails_for, key, made, registered, transition};

pub(super) async fn secrets(bench: &StoreBench) {
    let store = &bench.store;
    let check = bench.check("secrets");
    let sealed = |name: &str, byte| SealedSecret { name: name.to_owned(), sealed: vec![byte] };
    let internal = format!("{INTERNAL}0123");
    let using = |uid: &str| {
        let mut intake = transition(uid, None, RunState::Completed, &[], 0);
        intake.notifications = Some(vec![RegisteredNotification { secret: Some(internal.clone()), ..registered("a") }]);
        intake.secrets = vec![sealed(&internal, 7)];
        intake
    };
    bench.intake(using("u")).await;
    bench.intake(using("v")).await;
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
    check
        .ensure(store.reseal(all[0].clone(), vec![9]).await.expect("answered"), || "it is not sealed again".to_owned());
    let stale = ProjectSecret { project: "p".to_owned(), secret: sealed("K", 3) };
    check.ensure(!store.reseal(stale, vec![8]).await.expect("answered"), || "a stale one is".to_owned());
    check.equal("sealed again", &store.secret("p", "K").await.expect("read"), &Some(vec![9]));
    store.delete_secrets("p", Some(vec!["K".to_owned(), internal.clone()])).await.expect("deleted");
    check.equal("what is left", &store.secret_names("p").await.expect("read"), &vec!["L".to_owned(), internal.clone()]);
    store.delete_secrets("p", None).await.expect("deleted");
    check.equal("what is left then", &store.secret_names("p").await.expect("read"), &vec![internal.clone()]);
    // It goes with its last user.
    store.delete_run(&key("u")).await.expect("deleted");
    check.equal("with one user left", &store.secret_names("p").await.expect("read").len(), &1);
    let mut replaced = transition("v", Some(1), RunState::Completed, &[], 1);
    replaced.notifications = Some(vec![registered("b")]);
    bench.intake(replaced).await;
    check.equal("with none left", &store.secret_names("p").await.expect("read").len(), &0);
}

pub(super) async fn tokens_projects_tasks(bench: &StoreBench) {
    let store = &bench.store;
    let check = bench.check("tokens, projects and tasks");
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
    for (seconds, id, is_known) in [(1, "0123abcd", true), (2, "0123abcd", true), (2, "unknown", false)] {
        bench.at(seconds);
        check.equal("a token that is revoked", &store.revoke_token(id).await.expect("answered"), &is_known);
    }
    check.equal(
        "revoked",
        &store.tokens().await.expect("read"),
        &vec![TokenRecord { revoked_at: Some(at(1)), ..token }],
    );

    check.equal("no project", &store.project("p").await.expect("read"), &None);
    store.put_project("p", "{}").await.expect("kept");
    store.put_project("p", r#"{"a":1}"#).await.expect("kept");
    check.equal("a project", &store.project("p").await.expect("read").as_deref(), &Some(r#"{"a":1}"#));

    let accepted = bench.intake(transition("u", None, RunState::Completed, &["a"], 0)).await;
    let task = store.put_task("p", "t", made(&accepted)).await.expect("kept");
    check.equal("its age", &(task.created_at, task.age.as_secs()), &(at(0), 0));
    let untried = async || store.task("p", "t").await.expect("read").expect("it is there").untried;
    check.equal("untried", &untried().await, &1);
    let lease = bench.only(&check, 1).await;
    check.equal("being tried", &untried().await, &1);
    bench.complete(&lease, fails_for(90 - 2), 2).await;
    check.equal("tried", &untried().await, &0);
    check.equal("another project's", &store.task("q", "t").await.expect("read"), &None);
    bench.at(60);
    check.equal("its age", &store.task("p", "t").await.expect("read").map(|task| task.age.as_secs()), &Some(60));

    check.equal("the first key", &store.flow_key(vec![1]).await.expect("kept"), &vec![1]);
    check.equal("and no other", &store.flow_key(vec![2]).await.expect("kept"), &vec![1]);
    store.put_flow_key(vec![3], false).await.expect("kept");
    check.equal("a new one", &store.flow_key(vec![4]).await.expect("kept"), &vec![3]);
}
