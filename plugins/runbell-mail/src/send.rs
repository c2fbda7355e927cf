//! One mail over one connection.

use lettre::Address;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use runbell_core::{Error, ErrorKind, MailMessage, Receipt, Result, SendContext};

use crate::compose::formatted;
use crate::failure::{Refusal, Stage, rebuild, refused};
use crate::params::address;
use crate::progress::{Memory, Progress};
use crate::server::Server;

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
    let bytes = formatted(mail)?;
    let from = parsed(&mail.from)?;
    let mut connection = server.connection().await?;
    let mut progress = memory.of(cx.key);
    let left: Vec<&String> = mail.to.iter().filter(|to| !progress.settles(to)).collect();
    let outcome = transact(&mut connection, from, &left, &bytes, &mut progress, cx).await;
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

fn parsed(text: &str) -> Result<Address> {
    address(text).map_err(|_| Error::new(ErrorKind::Internal, "an address of the mail is none"))
}

/// One transaction (RFC 5321 section 3.3). Returns the recipients that were put off.
async fn transact(
    connection: &mut AsyncSmtpConnection,
    from: Address,
    to: &[&String],
    bytes: &[u8],
    progress: &mut Progress,
    cx: &SendContext<'_>,
) -> Result<Vec<(String, Refusal)>> {
    let mail = Mail::new(Some(from), Vec::new());
    connection.command(mail).await.map_err(|error| rebuild(&error, Stage::Sender))?;
    let (mut accepted, mut put_off) = (Vec::new(), Vec::new());
    for to in to {
        match connection.command(Rcpt::new(parsed(to)?, Vec::new())).await {
            Ok(_) => accepted.push((*to).clone()),
            Err(error) => match Refusal::of(&error) {
                // 421 concerns the connection, not the recipient.
                Some(refusal) if refusal.code == 421 => return Err(refused(&refusal, Stage::Recipient)),
                Some(refusal) if refusal.is_transient() => put_off.push(((*to).clone(), refusal)),
                Some(refusal) => progress.refused.push(((*to).clone(), refusal)),
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
        let message = format!("the mail server refuses the recipients {}", named(&progress.refused));
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
