//! One mail over one connection.

use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{Extension, MailParameter};
use runbell_core::{Error, ErrorKind, MailMessage, Receipt, Result, SendContext};

use crate::address::{bare, mailbox};
use crate::compose::formatted;
use crate::failure::{Refusal, Stage, rebuild, refused};
use crate::progress::{Memory, Progress};
use crate::server::Server;

/// What helps where a server does not offer SMTPUTF8 (RFC 6531).
const NEEDS_UTF8: &str = "the part before the `@` must be ASCII";

/// How many recipients an error names.
const NAMED: usize = 5;

/// Sends a mail to those of its recipients that have not received it yet.
///
/// # Errors
/// Any recipient that the server does not accept. The mail goes to the accepted ones first; the error names the others.
pub(crate) async fn send(
    server: &Server,
    memory: &Memory,
    mail: &MailMessage,
    cx: &SendContext<'_>,
) -> Result<Receipt> {
    let (from, to) = parsed(mail)?;
    let mut connection = server.connection().await?;
    let mut progress = memory.of(cx.key);
    let offers_utf8 = connection.server_info().supports_feature(Extension::SmtpUtfEight);
    if !offers_utf8 && !bare(&from).is_ascii() {
        server.keep(connection);
        let message =
            format!("the mail server does not offer SMTPUTF8, which the sender's address needs: {NEEDS_UTF8}");
        return Err(Error::new(ErrorKind::Rejected, message));
    }
    let possible: Vec<Mailbox> = to.iter().filter(|to| offers_utf8 || bare(to).is_ascii()).cloned().collect();
    for address in to.iter().filter(|to| !possible.contains(to)).map(bare) {
        if !progress.settles(address) {
            progress.refused.push((address.to_owned(), Refusal::without_utf8()));
        }
    }
    let left: Vec<&Address> = possible.iter().map(|to| &to.email).filter(|to| !progress.settles(to.as_ref())).collect();
    if left.is_empty() {
        server.keep(connection);
        return conclude(memory, mail, progress, Vec::new(), cx);
    }
    let bytes = formatted(mail, &from, &possible)?;
    let needs_utf8 = !bare(&from).is_ascii() || possible.iter().any(|to| !bare(to).is_ascii());
    let extensions = if needs_utf8 { vec![MailParameter::SmtpUtfEight] } else { Vec::new() };
    let sender = Mail::new(Some(from.email), extensions);
    let outcome = transact(&mut connection, sender, &left, &bytes, &mut progress, cx).await;
    match outcome {
        Ok(put_off) => {
            server.keep(connection);
            conclude(memory, mail, progress, put_off, cx)
        }
        Err(error) => {
            memory.keep(cx.key, progress);
            Err(error)
        }
    }
}

/// The sender and the recipients of a mail.
fn parsed(mail: &MailMessage) -> Result<(Mailbox, Vec<Mailbox>)> {
    let invalid = |_| Error::new(ErrorKind::Internal, "an address of the mail is none");
    let to = mail.to.iter().map(|to| mailbox(to).map_err(invalid)).collect::<Result<_>>()?;
    Ok((mailbox(&mail.from).map_err(invalid)?, to))
}

/// One transaction (RFC 5321 section 3.3). Returns the recipients that were put off.
async fn transact(
    connection: &mut AsyncSmtpConnection,
    mail: Mail,
    to: &[&Address],
    bytes: &[u8],
    progress: &mut Progress,
    cx: &SendContext<'_>,
) -> Result<Vec<(String, Refusal)>> {
    connection.command(mail).await.map_err(|error| rebuild(&error, Stage::Sender))?;
    let (mut accepted, mut put_off) = (Vec::new(), Vec::new());
    for to in to {
        match connection.command(Rcpt::new((*to).clone(), Vec::new())).await {
            Ok(_) => accepted.push(to.to_string()),
            Err(error) => match Refusal::of(&error) {
                // 421 concerns the connection, not the recipient.
                Some(refusal) if refusal.code == 421 => return Err(refused(&refusal, Stage::Recipient)),
                Some(refusal) if refusal.is_transient() => put_off.push((to.to_string(), refusal)),
                Some(refusal) => progress.refused.push((to.to_string(), refusal)),
                None => return Err(rebuild(&error, Stage::Recipient)),
            },
        }
    }
    if accepted.is_empty() {
        // The reply does not matter: the next mail begins with the same command.
        let _ = connection.command(Rset).await;
        return Ok(put_off);
    }
    connection.command(Data).await.map_err(|error| rebuild(&error, Stage::Data))?;
    cx.written();
    connection.message(bytes).await.map_err(|error| rebuild(&error, Stage::Content))?;
    progress.done.extend(accepted);
    Ok(put_off)
}

/// The result of the delivery after a transaction that succeeded.
fn conclude(
    memory: &Memory,
    mail: &MailMessage,
    progress: Progress,
    put_off: Vec<(String, Refusal)>,
    cx: &SendContext<'_>,
) -> Result<Receipt> {
    let accepted = format!("{} of {}", progress.done.len(), mail.to.len());
    if !put_off.is_empty() {
        let message = format!("the mail server cannot take the mail for {} now", named(&put_off));
        memory.keep(cx.key, progress);
        return Err(Error::new(ErrorKind::Unreachable, message).with("accepted", accepted).retry());
    }
    memory.forget(cx.key);
    if !progress.refused.is_empty() {
        let lacks_utf8 = progress.refused.iter().any(|(_, refusal)| *refusal == Refusal::without_utf8());
        let why = if lacks_utf8 { format!("; without SMTPUTF8 {NEEDS_UTF8}") } else { String::new() };
        let message = format!("the mail server refuses the recipients {}{why}", named(&progress.refused));
        return Err(Error::new(ErrorKind::Rejected, message).with("accepted", accepted));
    }
    Ok(Receipt { answer: "250".into() })
}

fn named(recipients: &[(String, Refusal)]) -> String {
    let named: Vec<String> =
        recipients.iter().take(NAMED).map(|(address, refusal)| format!("{address} ({})", refusal.shown())).collect();
    let more = recipients.len().saturating_sub(NAMED);
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}
