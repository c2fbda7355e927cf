//! `runbell push`, `explain` and `preview`: what to do with run documents.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use runbell::{
    Error, ErrorKind, Explanation, Notifier, Payload, Preview, PreviewLine, ReportLine, SystemClock, Transition,
};

use crate::args::{DocumentArgs, PreviewArgs};
use crate::documents::Document;
use crate::{DONE, NOT_DELIVERED, USAGE, config, documents, output};

/// How many runs are under way at once.
const AT_ONCE: usize = 64;

fn open(args: &DocumentArgs) -> anyhow::Result<(Notifier, VecDeque<Document>)> {
    let notifications = config::notifications(args.config.config.as_deref(), &[], &runbell::registry()?)?;
    let notifier = crate::notifier()?.notifications(notifications).build()?;
    let runs = documents::runs(&documents::read_text(&args.file)?);
    if runs.is_empty() {
        anyhow::bail!("{}: holds no run document; expected JSON or JSON Lines", documents::shown(&args.file));
    }
    Ok((notifier, runs.into()))
}

/// Says why nothing was printed.
fn hint(told: bool) {
    if !told {
        output::complain("no notifications: the runs have none in spec.notifications, and -c names no file");
    }
}

fn current(run: runbell::RunSnapshot) -> Transition {
    use runbell::Clock as _;
    Transition::current(run, SystemClock.now())
}

pub(crate) async fn push(args: DocumentArgs) -> anyhow::Result<u8> {
    let (notifier, mut runs) = open(&args)?;
    let mut under_way = FuturesOrdered::new();
    let (mut code, mut rows, mut told) = (DONE, Vec::new(), false);
    loop {
        while under_way.len() < AT_ONCE
            && let Some(run) = runs.pop_front()
        {
            // The order of calls is the order of news, so the future is made here and only then awaited.
            let dispatch = run.map(|run| notifier.dispatch(current(run)));
            under_way.push_back(async move {
                match dispatch {
                    Ok(dispatch) => dispatch.await.lines,
                    Err(message) => vec![ReportLine::not_a_run(&Error::new(ErrorKind::RunInvalid, message))],
                }
            });
        }
        let Some(lines) = under_way.next().await else { break };
        for line in lines {
            told = true;
            code = code.max(code_of(&line));
            if args.format.is_table() {
                rows.push(row(&line));
            } else {
                output::print_json(&line)?;
            }
        }
    }
    if !rows.is_empty() {
        output::table(&HEAD, rows)?;
    }
    hint(told);
    Ok(code)
}

/// The columns of a table of report lines.
pub(crate) const HEAD: [&str; 7] = ["UID", "NOTIFICATION", "KIND", "STATE", "STATUS", "REASON", "ATTEMPTS"];

pub(crate) fn code_of(line: &ReportLine) -> u8 {
    match line.error {
        None => DONE,
        Some(kind) if kind.is_configuration() => USAGE,
        Some(_) => NOT_DELIVERED,
    }
}

pub(crate) fn row(line: &ReportLine) -> Vec<String> {
    let mut reason = line.reason.clone();
    for note in &line.notes {
        reason.push_str("\n- ");
        reason.push_str(note);
    }
    vec![
        line.uid.clone(),
        line.notification.clone(),
        line.kind.clone(),
        line.state.to_string(),
        line.status.as_str().to_owned(),
        reason,
        line.attempts.to_string(),
    ]
}

pub(crate) fn explain(args: &DocumentArgs) -> anyhow::Result<u8> {
    let (notifier, runs) = open(args)?;
    let (mut code, mut rows) = (DONE, Vec::new());
    let mut told = false;
    for run in runs {
        let lines = match run {
            Ok(run) => notifier.explain(current(run)),
            Err(message) => vec![Explanation {
                uid: String::new(),
                notification: String::new(),
                verdict: "error",
                reason: ErrorKind::RunInvalid.as_str().to_owned(),
                detail: Some(message),
                is_fault: true,
            }],
        };
        for line in lines {
            told = true;
            if line.is_fault {
                code = USAGE;
            }
            if args.format.is_table() {
                let detail = line.detail.unwrap_or_default();
                rows.push(vec![line.uid, line.notification, line.verdict.to_owned(), line.reason, detail]);
            } else {
                output::print_json(&line)?;
            }
        }
    }
    if !rows.is_empty() {
        output::table(&["UID", "NOTIFICATION", "VERDICT", "REASON", "DETAIL"], rows)?;
    }
    hint(told);
    Ok(code)
}

pub(crate) fn preview(args: &PreviewArgs) -> anyhow::Result<u8> {
    let (notifier, runs) = open(&args.documents)?;
    let (mut code, mut told) = (DONE, false);
    for run in runs {
        let lines = match run {
            Ok(run) => notifier.preview(current(run)),
            Err(message) => {
                vec![PreviewLine {
                    uid: String::new(),
                    notification: String::new(),
                    kind: String::new(),
                    rendered: Err(Error::new(ErrorKind::RunInvalid, message).reason()),
                    sends: false,
                }]
            }
        };
        for line in lines {
            told = true;
            if line.rendered.is_err() {
                code = USAGE;
            }
            if args.documents.format.is_table() {
                output::print(&readable(&line, args.show_secrets))?;
            } else {
                output::print_json(&line.shown(args.show_secrets))?;
            }
        }
    }
    hint(told);
    Ok(code)
}

/// A preview for a person: what a terminal would show of it, and the payload laid out.
fn readable(line: &PreviewLine, reveal: bool) -> String {
    let inert = |text: &str| -> String {
        text.chars().map(|c| if c == '\n' || runbell::text::is_inert(c) { c } else { '\u{fffd}' }).collect()
    };
    let head = format!("── {} ({}) for {}\n", inert(&line.notification), line.kind, inert(&line.uid));
    let body = match &line.rendered {
        Err(error) => format!("cannot be sent: {}\n", inert(error)),
        Ok(rendered) => {
            let payload = &rendered.payload;
            let shown = match payload {
                Payload::Text { body, .. } => inert(body),
                _ => inert(&laid_out(&Preview { payload, reveal })),
            };
            let notes = rendered.notes.iter().map(|note| format!("note: {}\n", inert(note)));
            format!("{}\n{}", shown.trim_end(), notes.collect::<String>())
        }
    };
    head + &body + "\n"
}

/// The payload laid out; a body stands by itself, exactly as it is sent.
fn laid_out(preview: &Preview<'_>) -> String {
    let Ok(mut shown) = serde_json::to_value(preview) else { return String::new() };
    let body = shown.pointer_mut("/http/body").map(serde_json::Value::take);
    if let Some(http) = shown.get_mut("http").and_then(serde_json::Value::as_object_mut) {
        http.shift_remove("body");
    }
    let mut text = serde_json::to_string_pretty(&shown).unwrap_or_default();
    if let Some(body) = body.as_ref().and_then(serde_json::Value::as_str) {
        text.push_str("\nbody:\n");
        text.push_str(body);
    }
    text
}
