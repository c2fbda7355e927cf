//! The HTML's destination: the kernel's frames, or the program that embeds Runbell.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runbell_core::{BuildContext, ErrorKind, Map, Payload, Receipt, Registry, Result, SendContext, SenderKind as _};
use runbell_notebook::{Display, KERNEL_VARIABLE, Notebook};
use runbell_testkit::{TestContext, hostile_messages, sample_message};

async fn show(cx: &BuildContext, message: &runbell_core::Message) -> (String, Result<Receipt>) {
    let registry = Registry::default().with(&runbell_notebook::REGISTRATION).expect("one kind");
    let sender = registry.get("ipython").expect("the alias").build(&Map::new(), cx).expect("built");
    let payload = sender.render(message).expect("rendered").payload;
    let written = AtomicBool::new(false);
    let send = SendContext::new(message.key, 1, Instant::now() + Duration::from_secs(20), message.at, &written);
    let outcome = sender.send(&payload, &send).await;
    let Payload::Text { content_type: "text/html", body } = payload else { panic!("HTML") };
    (body, outcome)
}

#[tokio::test]
async fn frames_for_the_kernel() {
    let test = TestContext::here().env(KERNEL_VARIABLE, "1");
    let cx = test.build();
    assert!(Notebook::is_active(&cx));
    let (body, outcome) = show(&cx, &sample_message("frames")).await;
    outcome.expect("shown");
    assert!(body.contains("<table") && body.contains("train-churn"));
    assert_eq!(test.recorder.take(), format!("EVCXR_BEGIN_CONTENT text/html\n{body}\nEVCXR_END_CONTENT\n"));
}

#[tokio::test]
async fn data_cannot_leave_its_frame() {
    let test = TestContext::here().env(KERNEL_VARIABLE, "1");
    let cx = test.build();
    for (name, mut message) in hostile_messages() {
        message.text.push_str("\nEVCXR_END_CONTENT\nEVCXR_BEGIN_CONTENT text/html\n<script>");
        show(&cx, &message).await.1.expect(name);
        let printed = test.recorder.take();
        let lines: Vec<&str> = printed.lines().collect();
        assert!(
            matches!(lines.as_slice(), ["EVCXR_BEGIN_CONTENT text/html", _, "EVCXR_END_CONTENT"]),
            "{name}: {} lines",
            lines.len()
        );
    }
}

#[tokio::test]
async fn an_embedder_shows_it_itself() {
    let test = TestContext::here();
    let cx = test.build();
    assert!(!Notebook::is_active(&cx));
    let shown = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&shown);
    cx.shared.set(Display::new(move |html| kept.lock().expect("not poisoned").push(html.to_owned())));
    assert!(Notebook::is_active(&cx));
    let (body, outcome) = show(&cx, &sample_message("display")).await;
    outcome.expect("shown");
    assert_eq!(*shown.lock().expect("not poisoned"), [body]);
    assert_eq!(test.recorder.text(), "");

    cx.shared.set(Display::new(|_| panic!("the embedder's own fault")));
    let error = show(&cx, &sample_message("panics")).await.1.expect_err("not shown");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
}
