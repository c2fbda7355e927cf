//! A message as plain text: the part of a mail for readers without HTML.

use runbell_core::Message;
use runbell_core::text::{Unit, cut, inert_line, inert_lines};

use crate::html::{DETAILS, Facts, headline, symbol};

/// Renders `message` in about `limit` bytes; runs that do not fit are counted. Nothing in it moves a cursor.
pub fn render(message: &Message, limit: usize) -> String {
    let (first, rest) = headline(message);
    let mut out = inert_line(&cut(&first, 1_000, Unit::Characters));
    out.push('\n');
    if !rest.is_empty() {
        out.push_str(&inert_lines(&cut(rest, 8_000, Unit::Characters)));
        out.push('\n');
    }
    let detail = if message.runs.len() > 10 { DETAILS[1] } else { DETAILS[0] };
    for (index, run) in message.runs.iter().enumerate() {
        let facts = Facts::new(run, &message.links, detail);
        let mut block = String::new();
        let mut field = |name: &str, value: &str| {
            if value.is_empty() {
                return;
            }
            let value = inert_lines(value);
            match value.split_once('\n') {
                None => block.push_str(&format!("  {name}: {value}\n")),
                Some(_) => {
                    let lines: String = value.lines().map(|line| format!("    {line}\n")).collect();
                    block.push_str(&format!("  {name}:\n{lines}"));
                }
            }
        };
        field("uid", &facts.uid);
        field("iteration", if facts.iteration == "0" { "" } else { &facts.iteration });
        field("kind", &facts.kind);
        field("started", &facts.start);
        field("ended", &facts.end);
        field("duration", &facts.duration);
        field("error", &facts.error);
        field("results", &facts.results);
        field("parameters", &facts.parameters);
        field("page", &facts.link);
        let name = inert_line(&facts.name);
        let head = format!("\n{} {name}: {}\n", symbol(&facts.state), inert_line(&facts.state));
        if out.len() + head.len() + block.len() > limit {
            out.push_str(&format!("\n… {} more of {} runs\n", message.runs.len() - index, message.runs.len()));
            break;
        }
        out.push_str(&head);
        out.push_str(&block);
    }
    out
}
