//! `runbell spool`: the events that a server does not have yet, and how they are sent later.

mod flush;
mod folder;

use crate::args::FlushArgs;
use crate::exit::{DONE, NOT_DELIVERED};
use crate::{output, server};

pub(crate) use flush::{Line, Status, send};
pub(crate) use folder::Spool;

/// Sends the spooled events.
pub(crate) async fn flush(args: FlushArgs) -> anyhow::Result<u8> {
    let cx = crate::surroundings::context();
    let known = server::client(args.server.as_deref(), &cx)?;
    let spool = Spool::locate()?;
    let Some(_lock) = spool.lock()? else {
        output::complain("another runbell process is sending the spooled events; try again later");
        return Ok(NOT_DELIVERED);
    };
    let lines = std::sync::Mutex::new(Vec::new());
    let keep = |line| lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
    send(&spool, &cx, known.as_ref(), |_| true, &keep).await?;
    let lines: Vec<Line> = lines.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let code = if lines.iter().all(|line| line.status == Status::Sent) { DONE } else { NOT_DELIVERED };
    if !args.format.is_table() {
        lines.iter().try_for_each(output::print_json)?;
    } else if lines.is_empty() {
        output::print("nothing is spooled\n")?;
    } else {
        output::table(&["SERVER", "PROJECT", "UID", "STATE", "AT", "STATUS", "REASON"], lines.iter().map(row))?;
    }
    Ok(code)
}

fn row(line: &Line) -> Vec<String> {
    let reason = match line.status {
        Status::Sent | Status::Left => line.reason.clone(),
        Status::Refused | Status::Damaged => format!("{}\n{}", line.reason, line.file),
    };
    let [server, project, uid, state, at] =
        [&line.server, &line.project, &line.uid, &line.state, &line.at].map(String::clone);
    vec![server, project, uid, state, at, line.status.as_str().to_owned(), reason]
}
