//! Secrets: what senders and templates are given holds none.

use runbell_core::{Notification, Secret, Value};
use runbell_runtime::Status;

use crate::scripted::{Stage, done};

#[tokio::test(start_paused = true)]
async fn messages_are_free_of_secrets() {
    let stage = Stage::new();
    let fixed =
        stage.notification("fixed").secret_param("token", "CANARY-fixed-token").message("uses CANARY-fixed-token");
    let notifier = stage.notifier([fixed]);
    let mut run = done("u");
    run["spec"] = serde_json::json!({ "notifications": [
        { "kind": "scripted", "name": "own", "secret_params": { "target": "own", "token": "CANARY-own-token" },
          "condition": "{{ notification.secret_params.token != 'CANARY-own-token' }}" },
        { "kind": "scripted", "name": "plain", "params": { "target": "plain", "token": "CANARY-plain-token" } },
        { "kind": "pager", "name": "unknown", "params": { "url": "CANARY-unknown" } },
        "CANARY is no notification, but run data",
    ] });
    run["status"]["error"] = "POST with CANARY-plain-token failed".into();
    let report = notifier.run_changed(&run).await;
    assert_eq!(report.lines.iter().filter(|line| line.status == Status::Sent).count(), 3, "{report:?}");
    for message in stage.messages() {
        let runs: String = message.runs.iter().map(|run| run.document().to_json()).collect();
        let all = format!("{} {} {} {:?}", message.text, message.notification.to_json(), runs, message);
        for canary in ["CANARY-fixed", "CANARY-own-token", "CANARY-plain-token", "CANARY-unknown"] {
            // The condition's own text names the token; that is the author's doing and masked like any other.
            assert!(!all.contains(canary), "{canary} in {all}");
        }
    }
    let printed = format!("{report:?} {}", serde_json::to_string(&report).expect("json"));
    assert!(!printed.contains("CANARY-"), "{printed}");
}

#[test]
fn debug_output_shows_none() {
    let stage = Stage::new();
    let notification = Notification::new("scripted", "n").param("target", "t").secret_param("token", "CANARY-token");
    let builder = stage.builder().notification(notification);
    assert!(!format!("{builder:?}").contains("CANARY"));
    let notifier = builder.build().expect("valid");
    assert!(!format!("{notifier:?}").contains("CANARY"));
    assert_eq!(notifier.mask("see CANARY-token"), "see ***");
    assert_eq!(format!("{:?}", Secret::new(Value::from("CANARY"))), "***");
}
