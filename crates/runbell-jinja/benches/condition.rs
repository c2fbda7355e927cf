//! How fast conditions are, and how long the worst of them take.
//!
//! Prints the figures and ends with 1 when a goal is missed: a million evaluations of the usual condition a second,
//! and no condition above 20 ms on a run of a megabyte.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench may stop at a fault")]

#[path = "../tests/common/hostile.rs"]
mod hostile;

use std::hint::black_box;
use std::time::{Duration, Instant};

use runbell_core::value::read;
use runbell_core::{Map, Value};
use runbell_jinja::{Condition, Evaluation, TemplateValue};

/// The condition of MLRun's documentation.
const DRIFT: &str = r#"{{ run["status"]["results"]["drift"] > 0.1 }}"#;

/// Evaluations a second that are the goal.
const RATE: f64 = 1_000_000.0;

/// The longest a condition may take.
const WORST: Duration = Duration::from_millis(20);

/// A run of about 1.5 KB as MLRun stores it.
const RUN: &str = r#"{
 "kind": "run",
 "metadata": {"name": "train-fraud-model", "uid": "a59c3dab866d2582b6fa2bbdbe49af1f", "iteration": 0,
  "project": "fraud-detection", "labels": {"v3io_user": "admin", "kind": "job", "owner": "admin",
  "host": "train-fraud-model-8vq2x", "mlrun/client_version": "1.12.1"}, "annotations": {}},
 "spec": {"function": "fraud-detection/trainer@40d21d11b45229011f0c33a4e5de5cf4ad8a0fd0", "log_level": "info",
  "parameters": {"learning_rate": 0.059, "epochs": 10, "optimizer": "adam", "batch_size": 256},
  "outputs": ["model", "confusion_matrix"], "output_path": "v3io:///projects/fraud-detection/artifacts/a59c3dab",
  "inputs": {"data": "store://artifacts/fraud-detection/transactions:latest"}, "hyperparams": {},
  "notifications": [{"kind": "slack", "name": "team", "when": ["completed", "error"], "severity": "info",
  "message": "training done", "condition": "", "params": {"webhook": "***"}}]},
 "status": {"state": "completed", "results": {"drift": 0.487, "accuracy": 0.9531, "auc": 0.981, "f1_score": 0.912,
  "loss": 0.0923, "rows": 182734, "features": 41, "best_epoch": 7, "flag": true},
  "start_time": "2026-07-16T07:51:35.206682+00:00", "last_update": "2026-07-16T08:12:04.884215+00:00",
  "end_time": "2026-07-16T08:12:04.884215+00:00", "artifact_uris":
  {"model": "store://models/fraud-detection/train-fraud-model_model:latest@a59c3dab866d2582b6fa2bbdbe49af1f"},
  "notifications": {"team": {"status": "pending", "sent_time": null, "reason": null}}}}"#;

/// The best of five rounds, as time per call.
fn per_call(calls: u32, mut call: impl FnMut()) -> Duration {
    let round = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        start.elapsed() / calls
    };
    (0..5).map(|_| round(&mut call)).min().unwrap_or_default()
}

fn main() {
    let run = read(RUN).expect("the run is JSON");
    let converted = TemplateValue::new(&run);
    let notification = TemplateValue::new(&Value::Map(Map::new()));
    let condition = Condition::compile(DRIFT);
    assert_eq!(condition.evaluate(&converted, &notification), Evaluation::True);

    println!("run: {} bytes of JSON", run.to_json().len());
    let each = per_call(300_000, || drop(black_box(condition.evaluate(black_box(&converted), &notification))));
    let rate = 1.0 / each.as_secs_f64();
    println!("evaluate drift condition: {each:?}, {rate:.0} per second");
    println!(
        "compile drift condition:  {:?}",
        per_call(50_000, || drop(black_box(Condition::compile(black_box(DRIFT)))))
    );
    println!(
        "convert the run:          {:?}",
        per_call(50_000, || drop(black_box(TemplateValue::new(black_box(&run)))))
    );
    let branchy = "{% if run.status.results.accuracy < 0.53 %}no{% else %}yes{% endif %}";
    let template = Condition::compile(branchy);
    println!(
        "compile a template:       {:?}",
        per_call(20_000, || drop(black_box(Condition::compile(black_box(branchy)))))
    );
    println!(
        "evaluate a template:      {:?}",
        per_call(100_000, || drop(black_box(template.evaluate(&converted, &notification))))
    );

    let large = hostile::large_run();
    println!("hostile conditions on a run of {} bytes, worst of three:", large.to_json().len());
    let large = TemplateValue::new(&large);
    let mut timed: Vec<(Duration, String, String)> = hostile::conditions()
        .into_iter()
        .map(|(name, source)| {
            let mut worst = Duration::ZERO;
            let mut said = String::new();
            for _ in 0..3 {
                let start = Instant::now();
                let outcome = Condition::compile(&source).evaluate(&large, &notification);
                worst = worst.max(start.elapsed());
                said = match outcome {
                    Evaluation::Ignored(fault) => format!("{}: {fault}", fault.cause),
                    decided => format!("{decided:?}"),
                };
            }
            (worst, name, said)
        })
        .collect();
    timed.sort();
    for (time, name, said) in timed.iter().rev().take(40) {
        println!("  {:>8.3} ms  {name:40} {said}", time.as_secs_f64() * 1e3);
    }
    println!("  … and {} quicker ones", timed.len().saturating_sub(40));
    let slowest = timed.last().map_or(Duration::ZERO, |(time, ..)| *time);
    if rate < RATE || slowest > WORST {
        println!("a goal is missed");
        std::process::exit(1);
    }
}
