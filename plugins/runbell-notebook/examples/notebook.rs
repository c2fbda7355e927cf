//! Builds a notebook sender through the registry and prints the HTML it would show.

use runbell_core::{BuildContext, Map, Output, Payload, Registry};
use runbell_testkit::sample_message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::default().with(&runbell_notebook::REGISTRATION)?;
    let sender = registry.get("notebook")?.build(&Map::new(), &BuildContext::here())?;
    let Payload::Text { body, .. } = sender.render(&sample_message("screen"))?.payload else {
        return Err("it is HTML".into());
    };
    Output::stdout().print(&format!("{body}\n"))?;
    Ok(())
}
