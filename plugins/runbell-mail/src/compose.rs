//! The contents of a mail, and its form on the wire.

use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue, Headers, To};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart};
use runbell_core::text::{Unit, cut, is_inert, visible};
use runbell_core::{DeliveryKey, Error, ErrorKind, MailMessage, Message, Note, Result};
use runbell_render::html::{self, Flavour};
use runbell_render::plain;

/// The largest HTML part, in UTF-16 units, and the largest text part, in bytes: encoded, the mail stays below 1 MiB.
const HTML: usize = 400_000;
const TEXT: usize = 200_000;

/// How many placeholders are filled in; they share the limits.
const TABLES: usize = 20;

/// The recommended length of a header's line, in bytes (RFC 5322 section 2.1.1); the hard limit is 998.
const LINE: usize = 76;

/// The longest subject, in characters.
const SUBJECT: usize = 500;

/// The placeholders of the table in `message_body_override`: these spellings and no other, as in MLRun.
const PLACEHOLDERS: [&str; 2] = ["{{ runs }}", "{{runs}}"];

/// Makes the mail for a message. Each cut adds to `notes`.
pub(crate) fn compose(
    message: &Message,
    from: &str,
    to: &[String],
    body_override: Option<&str>,
    notes: &mut Vec<Note>,
) -> Result<MailMessage> {
    let pieces = body_override.map(|template| pieces(template, notes)).unwrap_or_default();
    let tables = pieces.len().saturating_sub(1).max(1);
    let rendered = html::render(message, Flavour::Html, HTML / tables)?;
    notes.extend(rendered.notes);
    let text = plain::render(message, TEXT / tables);
    let (html, text) = match body_override {
        None => (document(&rendered.html), text),
        // A template without markup reads well as text; of others the usual text is the better alternative.
        Some(template) if template.contains('<') => (pieces.join(&rendered.html), text),
        Some(_) => (pieces.join(&rendered.html), pieces.join(&text)),
    };
    Ok(MailMessage {
        from: from.to_owned(),
        to: to.to_vec(),
        subject: subject(message),
        text,
        html,
        headers: headers(message, from),
    })
}

/// The parts of the template around the placeholders. The table put between them is data, and never searched for more
/// placeholders.
fn pieces<'t>(template: &'t str, notes: &mut Vec<Note>) -> Vec<&'t str> {
    let (mut pieces, mut begin, mut from) = (Vec::new(), 0, 0);
    while let Some(found) = template[from..].find("{{") {
        let at = from + found;
        let Some(name) = PLACEHOLDERS.into_iter().find(|name| template[at..].starts_with(name)) else {
            // `{{{runs}}` has a placeholder from its second brace on.
            from = at + 1;
            continue;
        };
        if pieces.len() == TABLES {
            let message = format!("only the first {TABLES} placeholders of `message_body_override` were filled in");
            notes.push(Note::left_out(message));
            break;
        }
        pieces.push(&template[begin..at]);
        (begin, from) = (at + name.len(), at + name.len());
    }
    pieces.push(&template[begin..]);
    pieces
}

/// A whole document: mail programs read the encoding and the support for dark mode from it.
fn document(fragment: &str) -> String {
    format!(
        "<!doctype html>\n<html><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"supported-color-schemes\" content=\"light dark\">\
         </head>\n<body style=\"margin:16px\">\n{fragment}\n</body></html>\n"
    )
}

/// The first line of `[{severity}] {text}`, as MLRun heads its mails; lines end where Python's `splitlines` ends them.
fn subject(message: &Message) -> String {
    let headline = format!("[{}] {}", message.severity, message.text);
    let ends = |c: char| {
        matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
    };
    let first = headline.split(ends).next().unwrap_or_default().trim();
    cut(first, SUBJECT, Unit::Characters).chars().map(|c| if is_inert(c) { c } else { visible(c) }).collect()
}

/// Date, the id by which a repeated mail is known, and the thread of the run's mails.
fn headers(message: &Message, from: &str) -> Vec<(String, String)> {
    let domain = from.rsplit_once('@').map_or("localhost", |(_, domain)| domain.trim_end_matches('>'));
    let mut headers = Vec::with_capacity(5);
    let mut header = |name: &str, value: String| headers.push((name.to_owned(), value));
    // RFC 5322 section 3.3, the day with two digits: lettre replaces a date it cannot read by the time of sending.
    header("Date", message.at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string());
    header("Message-ID", format!("<{}@{domain}>", message.key));
    if let Some(run) = message.runs.first() {
        // No mail has this id; a thread is made of the mails that answer it.
        let thread = format!("<{}.run@{domain}>", DeliveryKey::of(&["thread", run.project(), run.uid()]));
        header("In-Reply-To", thread.clone());
        header("References", thread);
    }
    // RFC 3834: no vacation notes in return.
    header("Auto-Submitted", "auto-generated".to_owned());
    headers
}

/// The mail as it goes over the wire, to `to`. With letters beyond ASCII in an address it needs SMTPUTF8 (RFC 6532).
///
/// # Errors
/// [`ErrorKind::Internal`] for an invalid header or address, which [`compose`] never makes.
pub(crate) fn formatted(mail: &MailMessage, from: &Mailbox, to: &[Mailbox]) -> Result<Vec<u8>> {
    let invalid = |what: &'static str| Error::new(ErrorKind::Internal, what);
    let recipients = to.iter().map(|to| to.email.clone()).collect();
    let envelope =
        Envelope::new(Some(from.email.clone()), recipients).map_err(|_| invalid("the mail has no recipient"))?;
    let mut builder = lettre::Message::builder()
        .envelope(envelope)
        .from(from.clone())
        .subject(mail.subject.as_str())
        .raw_header(recipient_header(to));
    for (name, value) in &mail.headers {
        let name =
            HeaderName::new_from_ascii(name.clone()).map_err(|_| invalid("a header of the mail has no valid name"))?;
        builder = builder.raw_header(HeaderValue::new(name, value.clone()));
    }
    let parts = MultiPart::alternative()
        .singlepart(SinglePart::plain(mail.text.clone()))
        .singlepart(SinglePart::html(mail.html.clone()));
    Ok(builder.multipart(parts).map_err(|_| invalid("the mail has no sender or no recipient"))?.formatted())
}

/// The header `To`, folded (RFC 5322 section 2.2.3): the library writes many short addresses in one line, which is too long.
fn recipient_header(to: &[Mailbox]) -> HeaderValue {
    let mut folded = String::new();
    let mut width = "To: ".len();
    for (index, mailbox) in to.iter().enumerate() {
        let written = encoded(mailbox);
        if index > 0 {
            folded.push(',');
            let fits = width + ", ".len() + written.len() < LINE;
            folded.push_str(if fits { " " } else { "\r\n " });
            width = if fits { width + 2 } else { 1 };
        }
        width = match written.rfind('\n') {
            Some(last) => written.len() - last,
            None => width + written.len(),
        };
        folded.push_str(&written);
    }
    let plain = to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str("To"), plain, folded)
}

/// A mailbox as it stands in a header: its name in encoded words where it is not ASCII (RFC 2047).
fn encoded(mailbox: &Mailbox) -> String {
    let mut headers = Headers::new();
    headers.set(To::from(Mailboxes::from(mailbox.clone())));
    let line = headers.to_string();
    line.trim_start_matches("To:").trim().to_owned()
}
