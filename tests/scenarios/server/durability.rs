//! What was accepted is delivered, whatever dies in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use runbell_testkit::{FakeAnswer, FakeHttp};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::serving::{Client, PROJECT, Serving, event, in_time};
use crate::tools::Folder;

/// How many events there are, over how many connections they come, and how often the server is killed meanwhile.
const EVENTS: usize = 5_000;
const CALLERS: usize = 16;
const KILLS: usize = 50;

/// How many kills must break off an open request, or the test shows little.
const INTERRUPTED: usize = 30;

/// What the callers have come to.
#[derive(Debug, Default)]
struct Progress {
    accepted: usize,
    /// Requests under way.
    open: usize,
    /// Answers that say that the event was known already: it was reported again because the first answer was lost.
    repeated: usize,
    /// In which of the server's lives a request broke off that it had begun to read.
    interrupted: BTreeSet<usize>,
}

/// Reports events one after the other, each until it is accepted.
async fn call(
    next: Arc<AtomicUsize>,
    url: String,
    mut lives: watch::Receiver<(usize, String)>,
    progress: watch::Sender<Progress>,
) {
    let client = Client::new("");
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= EVENTS {
            return;
        }
        let uid = format!("u{index}");
        let (path, body) = (
            format!("projects/{PROJECT}/runs/{uid}/events"),
            event(&uid, "completed", &format!("{url}{uid}")).to_string(),
        );
        loop {
            let (life, base) = lives.borrow_and_update().clone();
            progress.send_modify(|progress| progress.open += 1);
            let answered = client.at(&base).try_send("POST", &path, &body).await;
            progress.send_modify(|progress| {
                progress.open -= 1;
                match &answered {
                    Ok(answered) => {
                        progress.accepted += 1;
                        progress.repeated += usize::from(answered.json()["deliveries"] == json!([]));
                    }
                    Err(error) if error.is_connect() => {}
                    Err(_) => drop(progress.interrupted.insert(life)),
                }
            });
            match answered {
                Ok(answered) => {
                    assert_eq!(answered.status, 200, "{answered:?}");
                    break;
                }
                Err(_) => drop(lives.wait_for(|(now, _)| *now != life).await.expect("there is another life")),
            }
        }
    }
}

/// The ids that came for each run, and a count of the runs.
type Arrived = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

fn record(sink: &FakeHttp) -> (Arrived, watch::Receiver<usize>) {
    let arrived = Arrived::default();
    let (count, counted) = watch::channel(0);
    let recorded = Arc::clone(&arrived);
    sink.answer_with(move |request| {
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        let run = request.path.trim_start_matches('/').to_owned();
        let mut arrived = recorded.lock().expect("no panic");
        arrived.entry(run).or_default().push(id);
        count.send_replace(arrived.len());
        FakeAnswer::ok()
    });
    (arrived, counted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_events_arrive_however_often_the_server_is_killed() {
    let (folder, sink) = (Folder::new(), FakeHttp::start().await);
    let (arrived, mut counted) = record(&sink);
    let config = json!({ "retry": { "waits_secs": [0.05, 0.05, 0.05, 0.05, 0.05] } });
    let mut serving = Serving::start(&folder, &config);
    let lives = watch::Sender::new((0, serving.url().to_owned()));
    let progress = watch::Sender::new(Progress::default());
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call(Arc::clone(&next), sink.url("/"), lives.subscribe(), progress.clone()));
    }

    let mut moments: Vec<usize> = (0..KILLS).map(|_| fastrand::usize(..EVENTS - 10 * CALLERS)).collect();
    moments.sort_unstable();
    for (life, moment) in moments.into_iter().enumerate() {
        let mut seen = progress.subscribe();
        let reached = seen.wait_for(|progress| progress.accepted >= moment && progress.open > 0);
        drop(in_time("progress", reached).await.expect("somebody calls"));
        // Anywhere between two answers.
        for _ in 0..fastrand::usize(..100) {
            tokio::task::yield_now().await;
        }
        serving.kill9();
        serving = Serving::start(&folder, &config);
        lives.send_replace((life + 1, serving.url().to_owned()));
    }
    in_time("all events accepted", callers.join_all()).await;
    let all_arrived = counted.wait_for(|count| *count >= EVENTS);
    let in_vain = tokio::time::timeout(crate::serving::PATIENCE, all_arrived).await.is_err();
    let deliveries = serving.client().settled().await;

    let progress = progress.borrow();
    let arrived = arrived.lock().expect("no panic");
    let lost: Vec<String> =
        (0..EVENTS).map(|index| format!("u{index}")).filter(|uid| !arrived.contains_key(uid)).collect();
    assert!(!in_vain && lost.is_empty(), "accepted and lost: {lost:?}");
    assert_eq!((progress.accepted, deliveries.len()), (EVENTS, EVENTS));
    for delivery in &deliveries {
        let (uid, key) = (delivery["uid"].as_str().expect("a uid"), delivery["key"].as_str().expect("a key"));
        assert_eq!(delivery["status"], "sent", "{delivery}");
        assert!(arrived[uid].iter().all(|id| id == key), "{key} came as {:?}", arrived[uid]);
    }
    let interrupted = progress.interrupted.len();
    let duplicates = sink.requests().len() - EVENTS;
    println!(
        "{EVENTS} events accepted, {} of them reported again after a lost answer; {KILLS} kills, {interrupted} with requests \
         open; 0 lost, {duplicates} came twice",
        progress.repeated
    );
    assert!(interrupted >= INTERRUPTED, "only {interrupted} of {KILLS} kills broke off a request");
}
