//! Renders every fixture as mail and comment would show it, into the folder that is named. `cargo xtask html` runs this and
//! takes pictures.

use std::path::PathBuf;

use runbell_core::value::read;
use runbell_core::{DeliveryKey, Links, Message, Output, RunSnapshot, RunState, Timestamp, Value};
use runbell_render::html::{self, Flavour};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = PathBuf::from(std::env::args().nth(1).ok_or("name a folder")?);
    std::fs::create_dir_all(&target)?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    for file in files {
        let fixture = read(&std::fs::read_to_string(&file)?)?;
        let message = message(&fixture).ok_or("a fixture has name, severity, message and runs")?;
        for (kind, flavour) in [("mail", Flavour::Html), ("comment", Flavour::Markdown)] {
            let name = format!("{}-{kind}.html", file.file_stem().unwrap_or_default().to_string_lossy());
            std::fs::write(target.join(&name), html::render(&message, flavour, 65_000)?.html)?;
            Output::stdout().print(&format!("{name}\n"))?;
        }
    }
    Ok(())
}

fn message(fixture: &Value) -> Option<Message> {
    let text = |key: &str| fixture.get(key).and_then(Value::as_str);
    let runs: Vec<RunSnapshot> = fixture.get("runs")?.as_list()?.iter().cloned().map(RunSnapshot::step).collect();
    Some(Message {
        key: DeliveryKey::of(&["fixture"]),
        notification: Value::Null.into(),
        name: text("name")?.into(),
        state: runs.first().map_or(RunState::Completed, RunSnapshot::state),
        at: Timestamp::UNIX_EPOCH,
        severity: text("severity")?.parse().ok()?,
        text: text("message")?.to_owned(),
        own_text: "".into(),
        html: None,
        runs: runs.into(),
        links: Links::new("https://ui.example"),
    })
}
