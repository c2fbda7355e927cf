//! `runbell send-test`: a sample through configured notifications.

use anyhow::bail;
use runbell::{Notification, Status, text};

use crate::args::SendTestArgs;
use crate::exit::{DONE, NOT_DELIVERED};
use crate::options::file_of_environment;
use crate::{config, output, push};

pub(crate) async fn send_test(args: SendTestArgs) -> anyhow::Result<u8> {
    let (notifications, names) = chosen(&args)?;
    if notifications.is_empty() {
        bail!("send-test: the file holds no notification");
    }
    let known: Vec<String> = notifications.iter().map(|notification| notification.name.clone()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        let near = runbell::nearest(unknown, known.iter().map(String::as_str));
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let known = known.iter().map(|name| text::one_line(name, 80)).collect::<Vec<_>>().join(", ");
        // It may be a SPEC that holds a secret.
        let shown = match unknown.split_once([':', '=']) {
            Some((begin, _)) => format!("{}…", text::one_line(begin, 80)),
            None => text::one_line(unknown, 80),
        };
        bail!("send-test: no notification is named `{shown}` (there are: {known}){hint}");
    }
    let notifier = crate::surroundings::notifier()?.notifications(notifications).build()?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let report = notifier.send_test(&names).await;
    // A skipped notification, such as a notebook without a kernel, was not delivered either.
    let code = report.lines.iter().map(|line| match line.status {
        Status::Skipped => NOT_DELIVERED,
        _ => push::code_of(line),
    });
    let code = code.max().unwrap_or(DONE);
    if args.format.is_table() {
        output::table(&push::HEAD, report.lines.iter().map(push::row))?;
    } else {
        for line in &report.lines {
            output::print_json(line)?;
        }
    }
    Ok(code)
}

/// The notifications, and the names of those to send.
fn chosen(args: &SendTestArgs) -> anyhow::Result<(Vec<Notification>, Vec<String>)> {
    let registry = runbell::registry()?;
    match (&args.config, args.given.as_slice()) {
        (Some(file), names) => {
            let all = config::notifications(Some(file), &[], &registry)?;
            Ok((all, names.to_vec()))
        }
        (None, []) => match file_of_environment() {
            Some(file) => Ok((config::notifications(Some(&file), &[], &registry)?, Vec::new())),
            None => bail!("send-test: give a SPEC such as slack:webhook=…, or a file with -c"),
        },
        (None, given) => {
            if let Some(file) = file_of_environment().filter(|_| given.iter().all(|given| !given.contains(':'))) {
                // With a file in the environment the argument is a name, unless it can only be a SPEC.
                let all = config::notifications(Some(&file), &[], &registry);
                let is_name = |given: &String| all.as_ref().is_ok_and(|all| all.iter().any(|it| it.name == *given));
                if given.iter().any(is_name) || !given.iter().any(|given| registry.get(given).is_ok()) {
                    return Ok((all?, given.to_vec()));
                }
            }
            match given {
                [spec] => Ok((config::notifications(None, std::slice::from_ref(spec), &registry)?, Vec::new())),
                _ => bail!("send-test: one SPEC at a time; names of notifications go with -c FILE"),
            }
        }
    }
}
