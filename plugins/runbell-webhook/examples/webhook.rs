//! Builds a webhook through the registry and prints what it would send.

use runbell_core::value::read;
use runbell_core::{BuildContext, Output, Registry};
use runbell_testkit::sample_message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::default().with(&runbell_webhook::REGISTRATION)?;
    let params = read(
        r#"{"url": "https://dashboard.example/hooks/3f9c",
            "headers": {"Authorization": "Bearer c0ffee"},
            "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "override_body": {"text": "{{ run.metadata.name }} is {{ state }}", "runs": "{{ runs }}"}}"#,
    )?;
    let params = params.as_map().ok_or("params are an object")?;

    let sender = registry.get("webhook")?.build(params, &BuildContext::here())?;
    let rendered = sender.render(&sample_message("to-the-dashboard"))?;
    let shown = serde_json::to_string_pretty(&rendered.payload)?;
    Output::stdout().print(&format!("{shown}\n"))?;
    Ok(())
}
