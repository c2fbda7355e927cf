//! `runbell push`, `explain` and `preview`: the verbs on run documents.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use runbell::{
    Clock as _, Error, ErrorKind, Explanation, Notifier, Payload, Preview, PreviewLine, ReportLine, RunSnapshot,
    SystemClock, Transition,
};

use crate::args::{DocumentArgs, PreviewArgs};
use crate::exit::{DONE, NOT_DELIVERED, USAGE};
use crate::output::Printer;
use crate::runs::Document;
use crate::source::Source;
use crate::{config, output};

/// How many runs are under way at once.
const AT_ONCE: usize = 64;

/// How many runs may be done while an earlier one is not; their lines wait for that run's lines.
const WAITING: usize = 1_024;

fn open(args: &DocumentArgs) -> anyhow::Result<(Notifier, Source)> {
    let notifications = config::notifications(args.config.path().as_deref(), &[], &runbell::registry()?)?;
    let notifier = crate::surroundings::notifier()?.notifications(notifications).build()?;
    Ok((notifier, Source::open(&args.file)?))
}

fn finish(printer: Printer, source: &Source, count: usize) -> anyhow::Result<()> {
    let has_printed = printer.has_printed();
    printer.finish()?;
    if count == 0 {
        return Err(source.is_empty_fault());
    }
    if !has_printed {
        output::complain("no notifications: the runs have none in spec.notifications, and -c names no file");
    }
    Ok(())
}

fn current(run: RunSnapshot) -> Transition {
    Transition::current(run, SystemClock.now())
}

pub(crate) async fn push(args: DocumentArgs) -> anyhow::Result<u8> {
    let (notifier, mut source) = open(&args)?;
    let mut printer = Printer::new(&HEAD, args.format.is_table());
    let (mut under_way, mut in_order) = (FuturesUnordered::new(), InOrder::default());
    let (mut code, mut count, mut is_over) = (DONE, 0, false);
    loop {
        let has_room = !is_over && under_way.len() < AT_ONCE && in_order.waiting.len() < WAITING;
        let event = async {
            tokio::select! {
                biased;
                Some(done) = under_way.next() => Event::Done(done),
                document = source.next(), if has_room => Event::Input(document),
                else => Event::End,
            }
        };
        match printer.wait_for(event).await? {
            Event::Input(None) => is_over = true,
            Event::Input(Some(document)) => {
                // The order of calls is the order of news, so the future is made here and awaited later.
                let (number, dispatch) = (count, document?.map(|run| notifier.dispatch(current(run))));
                count += 1;
                in_order.waiting.push_back(None);
                under_way.push(async move {
                    match dispatch {
                        Ok(dispatch) => (number, dispatch.await.lines),
                        Err(fault) => (number, vec![ReportLine::not_a_run(&Error::new(ErrorKind::RunInvalid, fault))]),
                    }
                });
            }
            Event::Done((number, lines)) => {
                in_order.done(number, lines);
                while let Some(lines) = in_order.next() {
                    for line in lines {
                        code = code.max(code_of(&line));
                        printer.print(&line, || row(&line))?;
                    }
                }
            }
            Event::End => break,
        }
    }
    finish(printer, &source, count)?;
    Ok(code)
}

enum Event {
    /// A document, or the end of the input.
    Input(Option<anyhow::Result<Document>>),
    /// A run's number and lines.
    Done((usize, Vec<ReportLine>)),
    /// The input has ended, and no run is under way.
    End,
}

/// Puts results into the order of the input.
#[derive(Default)]
struct InOrder {
    /// How many runs were handed out before the first that waits.
    first: usize,
    waiting: VecDeque<Option<Vec<ReportLine>>>,
}

impl InOrder {
    fn done(&mut self, number: usize, lines: Vec<ReportLine>) {
        if let Some(place) = self.waiting.get_mut(number - self.first) {
            *place = Some(lines);
        }
    }

    /// The lines of the next run in order, once it is done.
    fn next(&mut self) -> Option<Vec<ReportLine>> {
        let lines = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.first += 1;
        Some(lines)
    }
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
        reason.push_str(&format!("\n- {note}"));
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

pub(crate) async fn explain(args: DocumentArgs) -> anyhow::Result<u8> {
    let (notifier, mut source) = open(&args)?;
    let head = &["UID", "NOTIFICATION", "VERDICT", "REASON", "DETAIL"];
    let mut printer = Printer::new(head, args.format.is_table());
    let (mut code, mut count) = (DONE, 0);
    while let Some(document) = printer.wait_for(source.next()).await? {
        count += 1;
        let lines = match document? {
            Ok(run) => notifier.explain(current(run)),
            Err(fault) => vec![Explanation {
                uid: String::new(),
                notification: String::new(),
                verdict: "error",
                reason: ErrorKind::RunInvalid.as_str().to_owned(),
                detail: Some(fault),
                is_fault: true,
            }],
        };
        for line in &lines {
            if line.is_fault {
                code = USAGE;
            }
            printer.print(line, || {
                let detail = line.detail.clone().unwrap_or_default();
                let [uid, notification, reason] = [&line.uid, &line.notification, &line.reason].map(String::clone);
                vec![uid, notification, line.verdict.to_owned(), reason, detail]
            })?;
        }
    }
    finish(printer, &source, count)?;
    Ok(code)
}

pub(crate) async fn preview(args: PreviewArgs) -> anyhow::Result<u8> {
    let (notifier, mut source) = open(&args.documents)?;
    // A payload is printed below its own head, because it is too wide for a column.
    let (mut printer, is_table) = (Printer::new(&[], false), args.documents.format.is_table());
    let (mut code, mut count) = (DONE, 0);
    while let Some(document) = printer.wait_for(source.next()).await? {
        count += 1;
        let lines = match document? {
            Ok(run) => notifier.preview(current(run)),
            Err(fault) => vec![PreviewLine {
                uid: String::new(),
                notification: String::new(),
                kind: String::new(),
                rendered: Err(Error::new(ErrorKind::RunInvalid, fault).reason()),
                sends: false,
            }],
        };
        for line in &lines {
            if line.rendered.is_err() {
                code = USAGE;
            }
            match is_table {
                true => printer.print_text(&readable(line, args.show_secrets))?,
                false => printer.print(&line.shown(args.show_secrets), Vec::new)?,
            }
        }
    }
    finish(printer, &source, count)?;
    Ok(code)
}

/// A preview for a person: the text as a terminal shows it, and the formatted payload.
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
            let notes = rendered.notes.iter().map(|note| format!("note: {}\n", inert(&note.to_string())));
            format!("{}\n{}", shown.trim_end(), notes.collect::<String>())
        }
    };
    head + &body + "\n"
}

/// The formatted payload; the body follows exactly as it is sent.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_results_wait_for_earlier_runs() {
        let lines = |count| (0..count).map(|_| ReportLine::not_a_run(&Error::new(ErrorKind::RunInvalid, ""))).collect();
        let mut in_order = InOrder::default();
        in_order.waiting.extend([None, None, None]);
        in_order.done(2, lines(3));
        in_order.done(1, lines(2));
        assert!(in_order.next().is_none());
        in_order.done(0, lines(1));
        let counts: Vec<usize> = std::iter::from_fn(|| in_order.next()).map(|lines| lines.len()).collect();
        assert_eq!((counts, in_order.first), (vec![1, 2, 3], 3));
        in_order.waiting.push_back(None);
        in_order.done(3, lines(4));
        assert_eq!(in_order.next().map(|lines| lines.len()), Some(4));
    }
}
