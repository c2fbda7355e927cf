//! Builds a Slack sender through the registry and prints what it would post.

use runbell_core::{BuildContext, Map, Output, Registry, Value};
use runbell_testkit::sample_message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::default().with(&runbell_slack::REGISTRATION)?;
    let params = Map::from([("webhook".to_owned(), Value::from("https://hooks.slack.com/services/T000/B000/XXXX"))]);

    let sender = registry.get("slack")?.build(&params, &BuildContext::here())?;
    let rendered = sender.render(&sample_message("training"))?;
    let shown = serde_json::to_string_pretty(&rendered.payload)?;
    Output::stdout().print(&format!("{shown}\n"))?;
    Ok(())
}
