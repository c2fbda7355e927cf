//! The configured notifications: from a file and from `--notify`.

use std::path::Path;

use anyhow::bail;
use runbell::{Finding, FindingCode, Notification, Registry, text};

use crate::{documents, expand, output, spec};

/// The configured notifications: those of the file and of `--notify`, not those of the runs.
///
/// # Errors
/// With every fault, one per line. Warnings are printed.
pub(crate) fn notifications(
    file: Option<&Path>,
    specs: &[String],
    registry: &Registry,
) -> anyhow::Result<Vec<Notification>> {
    notifications_but(file, specs, registry, |_, _| false)
}

/// As [`notifications`], without the faults that are `left` to a server.
///
/// # Errors
/// As [`notifications`].
pub(crate) fn notifications_but(
    file: Option<&Path>,
    specs: &[String],
    registry: &Registry,
    left: impl Fn(&Notification, &Finding) -> bool,
) -> anyhow::Result<Vec<Notification>> {
    let mut all = match file {
        Some(path) => from_file(path)?,
        None => Vec::new(),
    };
    for (index, given) in specs.iter().enumerate() {
        let notification = spec::parse(given, registry, index + 1)?;
        if all.iter().any(|other| other.name == notification.name) {
            bail!(
                "--notify: name `{}` is used twice; give another one with name=…",
                text::one_line(&notification.name, 80)
            );
        }
        all.push(notification);
    }
    let builder = crate::surroundings::notifier()?;
    let mut faults = Vec::new();
    for notification in &all {
        let name = text::one_line(&notification.name, 80);
        let found = builder.check_one(notification);
        let ours = found.faults().filter(|fault| !left(notification, fault));
        faults.extend(ours.map(|fault| format!("notification `{name}`: {fault}")));
        // The field of a secret matters in files that are shared; `check` reports it.
        // A missing secret is reported when the notification is built, which follows.
        let is_shown =
            |warning: &&Finding| !matches!(warning.code, FindingCode::ExposedSecret | FindingCode::SecretNotFound);
        for warning in found.warnings().filter(is_shown) {
            output::complain(&format!("warning: notification `{name}`: {warning}"));
        }
    }
    if faults.is_empty() { Ok(all) } else { bail!("{}", faults.join("\n")) }
}

fn from_file(path: &Path) -> anyhow::Result<Vec<Notification>> {
    let mut document = documents::parse(path, &documents::read_text(path)?)?;
    let mut faults = expand::document(&mut document, path);
    let (notifications, found) = Notification::parse_list(&document);
    let name = documents::shown(path);
    faults.extend(found.faults().cloned());
    if !faults.is_empty() {
        let lines: Vec<String> = faults.iter().map(|fault| format!("{name}: {fault}")).collect();
        bail!("{}", lines.join("\n"));
    }
    for warning in found.warnings() {
        output::complain(&format!("warning: {name}: {warning}"));
    }
    Ok(notifications.into_iter().map(|(_, notification)| notification).collect())
}
