//! Console and notebook: only the one that shows a run better shows it.

use std::collections::HashMap;
use std::sync::Arc;

use runbell::{BuildContext, Notification, Notifier, Registry, RunState, Status};
use runbell_testkit::{Recorder, sample_run};

fn notifier(env: &[(&str, &str)], notifications: Vec<Notification>) -> (Notifier, Recorder) {
    let recorder = Recorder::default();
    let env: HashMap<String, String> =
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let cx = BuildContext { env: Arc::new(env), output: recorder.output(), ..BuildContext::here() };
    let registry = Registry::collect(runbell::BUILTINS.iter().copied()).expect("no duplicates");
    (Notifier::builder(registry).context(cx).notifications(notifications).build().expect("valid"), recorder)
}

async fn outcome(env: &[(&str, &str)], notifications: Vec<Notification>) -> (Vec<(Status, String)>, String) {
    let (notifier, recorder) = notifier(env, notifications);
    let report = notifier.run_changed(sample_run().document()).await;
    (report.lines.into_iter().map(|line| (line.status, line.reason)).collect(), recorder.text())
}

const KERNEL: (&str, &str) = ("EVCXR_IS_RUNTIME", "1");

#[tokio::test]
async fn console_yields_to_a_notebook_that_shows_the_same() {
    let both = || vec![Notification::new("console", "console"), Notification::new("ipython", "notebook")];
    let (sent, yielded) = ((Status::Sent, "matched".to_owned()), (Status::Skipped, "yielded".to_owned()));

    let (lines, printed) = outcome(&[KERNEL], both()).await;
    assert_eq!(lines, [yielded.clone(), sent.clone()]);
    assert!(
        printed.starts_with("EVCXR_BEGIN_CONTENT text/html\n") && !printed.contains("status     name"),
        "{printed}"
    );

    let (lines, printed) = outcome(&[], both()).await;
    assert_eq!(lines, [sent.clone(), yielded.clone()]);
    assert!(!printed.contains("EVCXR") && printed.contains("train-churn"), "{printed}");

    // A notebook that waits for another state is no reason to stay silent.
    let waits = vec![Notification::new("console", "c"), Notification::new("notebook", "n").when([RunState::Error])];
    let (lines, _) = outcome(&[KERNEL], waits).await;
    assert_eq!(lines, [sent, (Status::Skipped, "state_not_in_when".to_owned())]);
}

#[test]
fn explain_says_to_whom_it_yields() {
    let both = vec![Notification::new("console", "console"), Notification::new("notebook", "book")];
    let transition = || runbell::Transition::current(sample_run(), runbell::Timestamp::UNIX_EPOCH);
    let details = |env: &[(&str, &str)]| -> Vec<(String, Option<String>)> {
        let lines = notifier(env, both.clone()).0.explain(transition());
        lines.into_iter().map(|line| (line.reason, line.detail)).collect()
    };
    assert_eq!(details(&[KERNEL])[0], ("yielded".to_owned(), Some("to `book`, which shows the same".to_owned())));
    assert_eq!(details(&[])[1], ("yielded".to_owned(), Some("there is no display for a notebook here".to_owned())));
}
