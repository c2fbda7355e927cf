//! Builds a git sender through the registry and prints the comment it would make.

use runbell_core::value::read;
use runbell_core::{BuildContext, Output, Payload, Registry};
use runbell_testkit::sample_message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::default().with(&runbell_git::REGISTRATION)?;
    let params = read(r#"{"repo": "octo/churn", "issue": 42, "token": "ghp_0123456789", "update": true}"#)?;
    let params = params.as_map().ok_or("params are an object")?;

    let sender = registry.get("git")?.build(params, &BuildContext::here())?;
    let Payload::Http(request) = sender.render(&sample_message("on-the-pr"))?.payload else {
        return Err("it is a request".into());
    };
    let body: serde_json::Value = serde_json::from_slice(&request.body)?;
    Output::stdout().print(&format!("{}\n", body["body"].as_str().unwrap_or_default()))?;
    Ok(())
}
