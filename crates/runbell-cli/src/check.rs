//! `runbell check`: every fault and warning of notification files and run documents.

use std::path::Path;

use runbell::{Finding, FindingCode, Findings, Level, Notification, NotifierBuilder, Value};
use serde::Serialize;

use crate::args::CheckArgs;
use crate::exit::{DONE, USAGE};
use crate::{documents, expand, output, runs};

#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<u8> {
    let builder = crate::surroundings::notifier()?;
    let mut rows = Vec::new();
    let mut faulty = false;
    for path in &args.files {
        let found = check_file(path, &builder);
        faulty |= found.has_faults();
        let file = documents::shown(path);
        for finding in found.iter() {
            if args.format.is_table() {
                let level = if finding.level == Level::Fault { "fault" } else { "warning" };
                rows.push(vec![file.clone(), level.to_owned(), finding.path.clone(), finding.message.clone()]);
            } else {
                output::print_json(&Line { file: &file, finding })?;
            }
        }
        if args.format.is_table() && found.is_empty() {
            output::print(&format!("{file}: fine\n"))?;
        }
    }
    if !rows.is_empty() {
        output::table(&["FILE", "LEVEL", "FIELD", "WHAT"], rows)?;
    }
    Ok(if faulty { USAGE } else { DONE })
}

fn check_file(path: &Path, builder: &NotifierBuilder) -> Findings {
    let mut found = Findings::default();
    let text = match documents::read_text(path) {
        Ok(text) => text,
        Err(error) => {
            found.fault_of(FindingCode::Other, "", format!("{error:#}"));
            return found;
        }
    };
    match documents::parse(path, &text) {
        Ok(mut document) if is_notification_file(&document) => {
            for fault in expand::document(&mut document, path) {
                found.push(fault);
            }
            check_notifications(&document, "", builder, &mut found);
        }
        Ok(document) => check_runs(runs::of(document), builder, &mut found),
        // JSON Lines are no document in any format, so they are tried before the fault is reported.
        Err(error) => match runs::all(&text) {
            documents if documents.len() > 1 => check_runs(documents, builder, &mut found),
            _ => found.fault_of(FindingCode::Other, "", format!("{error:#}")),
        },
    }
    found
}

/// Whether a document is a notification file: a list without runs, or a mapping with fields of one.
fn is_notification_file(document: &Value) -> bool {
    match document {
        Value::List(list) => !list.iter().any(|item| ["metadata", "spec"].iter().any(|part| item.get(part).is_some())),
        Value::Map(map) => {
            let of_a_file =
                ["notifications", "kind", "params", "secret_params"].iter().any(|key| map.contains_key(key));
            of_a_file && !map.contains_key("metadata") && !map.contains_key("spec")
        }
        _ => true,
    }
}

fn check_runs(runs: Vec<runs::Document>, builder: &NotifierBuilder, found: &mut Findings) {
    let several = runs.len() > 1;
    for (index, run) in runs.into_iter().enumerate() {
        let mut run_found = Findings::default();
        match run {
            Err(message) => run_found.fault_of(FindingCode::Other, "", message),
            Ok(run) => {
                if run.state_word().is_empty() {
                    let message = "is missing, so nothing will be sent";
                    run_found.warning_of(FindingCode::Required, "status.state", message);
                } else if run.state_word() != run.state().as_str() {
                    let message = "is not a state that is known, so nothing will be sent";
                    run_found.warning_of(FindingCode::WrongValue, "status.state", message);
                }
                for field in ["uid", "name", "project"] {
                    if run.document().at(&["metadata", field]).is_none() {
                        run_found.warning_of(FindingCode::Required, format!("metadata.{field}"), "is missing");
                    }
                }
                if let Some(list) = run.notifications() {
                    check_notifications(list, "spec.notifications", builder, &mut run_found);
                }
            }
        }
        found.extend_below(&if several { format!("[{index}]") } else { String::new() }, run_found);
    }
}

fn check_notifications(document: &Value, prefix: &str, builder: &NotifierBuilder, found: &mut Findings) {
    let (notifications, listed) = Notification::parse_list(document);
    found.extend_below(prefix, listed);
    let below = if document.get("notifications").is_some() { "notifications" } else { "" };
    for (index, notification) in notifications {
        let mut one = Findings::default();
        one.extend_below(&format!("{below}[{index}]"), builder.check_one(&notification));
        found.extend_below(prefix, one);
    }
}
