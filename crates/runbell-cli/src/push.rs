//! `runbell push`, `explain` and `preview`: what to do with run documents.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use runbell::{
    Error, ErrorKind, Explanation, Notifier, Payload, Preview, PreviewLine, ReportLine, RunState, Status, SystemClock,
    Transition,
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
        output::complain(&format!("{}: holds no run document", documents::shown(&args.file)));
    }
    Ok((notifier, runs.into()))
}

fn current(run: runbell::RunSnapshot) -> Transition {
    use runbell::Clock as _;
    Transition::current(run, SystemClock.now())
}

pub(crate) async fn push(args: DocumentArgs) -> anyhow::Result<u8> {
    let (notifier, mut runs) = open(&args)?;
    let mut under_way = FuturesOrdered::new();
    let (mut code, mut rows) = (DONE, Vec::new());
    loop {
        while under_way.len() < AT_ONCE
            && let Some(run) = runs.pop_front()
        {
            // The order of calls is the order of news, so the future is made here and only then awaited.
            let dispatch = run.map(|run| notifier.dispatch(current(run)));
            under_way.push_back(async move {
                match dispatch {
                    Ok(dispatch) => dispatch.await.lines,
                    Err(message) => vec![not_a_run(&message)],
                }
            });
        }
        let Some(lines) = under_way.next().await else { break };
        for line in lines {
            code = code.max(code_of(&line));
            if args.format.is_table() {
                rows.push(row(&line));
            } else {
                output::print_json(&line)?;
            }
        }
    }
    if !rows.is_empty() {
        output::table(&["UID", "NOTIFICATION", "KIND", "STATE", "STATUS", "REASON", "ATTEMPTS"], rows)?;
    }
    Ok(code)
}

fn code_of(line: &ReportLine) -> u8 {
    match line.error {
        None => DONE,
        Some(kind) if kind.is_configuration() => USAGE,
        Some(_) => NOT_DELIVERED,
    }
}

fn not_a_run(message: &str) -> ReportLine {
    let error = Error::new(ErrorKind::RunInvalid, message.to_owned());
    ReportLine {
        uid: String::new(),
        notification: String::new(),
        kind: String::new(),
        state: RunState::Unknown,
        status: Status::Error,
        reason: error.reason(),
        attempts: 0,
        notes: Vec::new(),
        error: Some(error.kind()),
        ambiguous: false,
    }
}

fn row(line: &ReportLine) -> Vec<String> {
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
    Ok(code)
}

pub(crate) fn preview(args: &PreviewArgs) -> anyhow::Result<u8> {
    let (notifier, runs) = open(&args.documents)?;
    let mut code = DONE;
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

fn laid_out(preview: &Preview<'_>) -> String {
    let Ok(mut shown) = serde_json::to_value(preview) else { return String::new() };
    // A body that is JSON reads better as such than as one long text.
    if let Some(body) = shown.pointer_mut("/http/body")
        && let Some(parsed) = body.as_str().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok())
    {
        *body = parsed;
    }
    serde_json::to_string_pretty(&shown).unwrap_or_default()
}
