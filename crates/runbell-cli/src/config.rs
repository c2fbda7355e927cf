//! The configured notifications: from a file and from `--notify`.

use std::path::Path;

use anyhow::bail;
use runbell::{Finding, FindingCode, Notification, Registry, text};

use crate::{documents, expand, output, spec};

/// The notifications that are configured, and what is wrong with the others.
#[derive(Default)]
pub(crate) struct Configured {
    pub(crate) notifications: Vec<Notification>,
    /// Every fault, one line each.
    pub(crate) faults: Vec<String>,
}

/// The configured notifications: those of the file and of `--notify`, not those of the runs.
///
/// # Errors
/// With every fault, one per line. Warnings are printed.
pub(crate) fn notifications(
    file: Option<&Path>,
    specs: &[String],
    registry: &Registry,
) -> anyhow::Result<Vec<Notification>> {
    let Configured { notifications, faults } = configured(file, specs, registry, |_, _| false)?;
    if faults.is_empty() { Ok(notifications) } else { bail!("{}", faults.join("\n")) }
}

/// As [`notifications`], with the faults beside the notifications that have none; without those that are `left` to a server.
///
/// # Errors
/// When the kinds of this program cannot be registered.
pub(crate) fn configured(
    file: Option<&Path>,
    specs: &[String],
    registry: &Registry,
    left: impl Fn(&Notification, &Finding) -> bool,
) -> anyhow::Result<Configured> {
    let Configured { notifications: mut all, mut faults } = file.map(from_file).unwrap_or_default();
    for (index, given) in specs.iter().enumerate() {
        match spec::parse(given, registry, index + 1) {
            Ok(notification) if all.iter().any(|other| other.name == notification.name) => faults.push(format!(
                "--notify: name `{}` is used twice; give another one with name=…",
                text::one_line(&notification.name, 80)
            )),
            Ok(notification) => all.push(notification),
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    let builder = crate::surroundings::notifier()?;
    all.retain(|notification| {
        let name = text::one_line(&notification.name, 80);
        let found = builder.check_one(notification);
        let before = faults.len();
        let ours = found.faults().filter(|fault| !left(notification, fault));
        faults.extend(ours.map(|fault| format!("notification `{name}`: {fault}")));
        // The field of a secret matters in files that are shared; `check` reports it.
        // A missing secret is reported when the notification is built, which follows.
        let is_shown =
            |warning: &&Finding| !matches!(warning.code, FindingCode::ExposedSecret | FindingCode::SecretNotFound);
        for warning in found.warnings().filter(is_shown) {
            output::complain(&format!("warning: notification `{name}`: {warning}"));
        }
        faults.len() == before
    });
    Ok(Configured { notifications: all, faults })
}

fn from_file(path: &Path) -> Configured {
    let name = documents::shown(path);
    let read = documents::read_text(path).and_then(|text| documents::parse(path, &text));
    let mut document = match read {
        Ok(document) => document,
        Err(error) => return Configured { notifications: Vec::new(), faults: vec![format!("{error:#}")] },
    };
    let mut faults = expand::document(&mut document, path);
    let (notifications, found) = Notification::parse_list(&document);
    faults.extend(found.faults().cloned());
    for warning in found.warnings() {
        output::complain(&format!("warning: {name}: {warning}"));
    }
    let list = if document.get("notifications").is_some() { "notifications" } else { "" };
    let is_faulty = |index: usize| faults.iter().any(|fault| fault.is_about(&format!("{list}[{index}]")));
    let good = notifications.into_iter().filter(|(index, _)| !is_faulty(*index));
    Configured {
        notifications: good.map(|(_, notification)| notification).collect(),
        faults: faults.iter().map(|fault| format!("{name}: {fault}")).collect(),
    }
}
