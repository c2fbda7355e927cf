//! Prints a message about a run to standard output, as a terminal of 80 columns with colour.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use runbell_core::{BuildContext, Output, Registry, SendContext};
use runbell_testkit::{message_about, sample_run, sample_step};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runbell_core::Error> {
    let output = Output::stdout().with_width(Some(80)).with_colour(true);
    let cx = BuildContext { output, ..BuildContext::here() };
    let registry = Registry::default().with(&runbell_console::REGISTRATION)?;
    let sender = registry.get("console")?.build(&Default::default(), &cx)?;

    let steps = vec![
        sample_run(),
        sample_step("build", "image", runbell_core::RunState::Running),
        sample_step("run", "evaluate", runbell_core::RunState::Aborted),
    ];
    let message = message_about("example", steps, "Run completed in project demo: have a look");
    let payload = sender.render(&message)?.payload;
    let written = AtomicBool::new(false);
    let deadline = Instant::now() + sender.limits().timeout;
    sender.send(&payload, &SendContext::new(message.key, 1, deadline, message.at, &written)).await?;
    Ok(())
}
