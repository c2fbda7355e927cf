//! `runbell send-test`: one SPEC, or some of a file's notifications.

use runbell_testkit::smtp::FakeSmtp;
use runbell_testkit::{FakeAnswer, FakeHttp};

use crate::tools::{Folder, Said, runbell, say};

async fn send_test(args: &[&str]) -> Said {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let work = move || {
        let args: Vec<&str> = std::iter::once("send-test").chain(args.iter().map(String::as_str)).collect();
        say(&mut runbell(&args))
    };
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

#[tokio::test]
async fn a_spec_is_tried() {
    let peer = FakeHttp::start().await;
    let said = send_test(&[&format!("slack:webhook={}", peer.url("/services/T0/B0/x"))]).await;
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let line = &said.json()[0];
    assert_eq!((line["notification"].as_str(), line["status"].as_str()), (Some("slack-1"), Some("sent")));
    assert!(peer.requests()[0].text().contains("TEST: Run completed in project runbell-test"));

    peer.answer_always(FakeAnswer::status(404).body("no_service"));
    let said = send_test(&[&format!("slack:webhook={}", peer.url("/services/T0/B0/x"))]).await;
    assert_eq!(said.code, Some(1));
    assert!(
        said.json()[0]["reason"].as_str().is_some_and(|reason| reason.contains("answer=no_service")),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn names_choose_from_a_file() {
    let (http, smtp, folder) = (FakeHttp::start().await, FakeSmtp::start().await, Folder::new());
    let config = folder.file(
        "n.yaml",
        &format!(
            "- kind: webhook\n  name: hook\n  when: [error]\n  condition: '{{{{ false }}}}'\n  secret_params: {{ url: '{}' }}\n\
             - kind: mail\n  name: team\n  params: {{ server_host: localhost, server_port: {}, use_tls: false, start_tls: false,\n    \
             sender_address: runs@example.com, email_addresses: [ada@example.com] }}\n",
            http.url("/hook"),
            smtp.port()
        ),
    );
    let said = send_test(&["-c", &config, "team"]).await;
    assert_eq!((said.code, said.json().len()), (Some(0), 1), "{}{}", said.out, said.err);
    let mails = smtp.take_mails();
    assert!(mails.len() == 1 && mails[0].text().contains("Subject: [info] TEST: Run completed"), "{mails:?}");
    assert!(http.requests().is_empty());

    let said = send_test(&["-c", &config]).await;
    assert_eq!((said.code, said.json().len()), (Some(0), 2), "{}{}", said.out, said.err);
    assert!(http.requests()[0].text().contains("TEST: Run failed"), "{}", http.requests()[0].text());

    let said = send_test(&["-c", &config, "taem"]).await;
    assert_eq!(said.code, Some(2));
    assert!(
        said.err.contains("no notification is named `taem` (there are: hook, team); did you mean `team`?"),
        "{}",
        said.err
    );
    // A SPEC in a name's place may hold a secret.
    let said = send_test(&["-c", &config, "slack:webhook=https://hooks.example/CANARY"]).await;
    assert!(
        said.code == Some(2) && said.err.contains("named `slack…`") && !said.err.contains("CANARY"),
        "{}",
        said.err
    );

    // The file of the environment serves too, and what can only be a SPEC is one all the same.
    let with_environment = |given: &'static str| {
        let mut command = runbell(&["send-test", given]);
        command.env("RUNBELL_CONFIG", &config);
        tokio::task::spawn_blocking(move || say(&mut command))
    };
    let said = with_environment("team").await.expect("no panic");
    assert_eq!((said.code, said.json().len()), (Some(0), 1), "{}{}", said.out, said.err);
    assert_eq!(smtp.take_mails().len(), 2);
    let said = with_environment("console").await.expect("no panic");
    assert_eq!((said.code, said.json()[0]["notification"].as_str()), (Some(0), Some("console-1")), "{}", said.err);
    let named = folder.file("kind.yaml", "- { kind: console, name: mail }");
    let empty = folder.file("empty.yaml", "[]");
    for (file, given, code, shown) in
        [(&named, "mail", 0, r#""notification":"mail""#), (&empty, "x", 2, "no notification")]
    {
        let mut command = runbell(&["send-test", given]);
        command.env("RUNBELL_CONFIG", file);
        let said = tokio::task::spawn_blocking(move || say(&mut command)).await.expect("no panic");
        assert!(said.code == Some(code) && (said.out + &said.err).contains(shown), "{given}");
    }
    let said = with_environment("slak:webhook=https://hooks.example/CANARY").await.expect("no panic");
    assert!(
        said.code == Some(2) && said.err.contains("`slak` is not linked") && !said.err.contains("CANARY"),
        "{}",
        said.err
    );
}

#[tokio::test]
async fn faulty_specs_are_reported() {
    for (args, said) in [
        (&[][..], "give a SPEC such as slack:webhook=…, or a file with -c"),
        (&["console", "console"][..], "one SPEC at a time"),
        (&["pager"][..], "`pager` is not linked"),
        (&["mail:server_host=h"][..], "params.sender_address: is required"),
    ] {
        let outcome = send_test(args).await;
        assert_eq!(outcome.code, Some(2), "{args:?}");
        assert!(outcome.err.contains(said), "{args:?}: {}", outcome.err);
    }
    // There is no notebook, so nothing was shown.
    let outcome = send_test(&["notebook"]).await;
    assert_eq!((outcome.code, outcome.json()[0]["reason"].as_str()), (Some(1), Some("yielded")), "{}", outcome.err);
    let shown = send_test(&["--table", "console"]).await;
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    assert!(
        shown.out.contains("STATUS") && shown.err.contains("[info] TEST: Run completed in project runbell-test"),
        "{}",
        shown.err
    );
}
