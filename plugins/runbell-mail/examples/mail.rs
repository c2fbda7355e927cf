//! Builds a mail sender through the registry and prints the mail it would send.

use runbell_core::value::read;
use runbell_core::{BuildContext, Output, Payload, Registry};
use runbell_testkit::sample_message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::default().with(&runbell_mail::REGISTRATION)?;
    let params = read(
        r#"{"server_host": "smtp.example.com", "sender_address": "runs@example.com",
            "email_addresses": "ada@example.com, ops@example.com"}"#,
    )?;
    let params = params.as_map().ok_or("params are an object")?;

    let sender = registry.get("mail")?.build(params, &BuildContext::here())?;
    let Payload::Mail(mail) = sender.render(&sample_message("team"))?.payload else {
        return Err("it is a mail".into());
    };
    let mut shown = format!("From: {}\nTo: {}\nSubject: {}\n", mail.from, mail.to.join(", "), mail.subject);
    for (name, value) in &mail.headers {
        shown.push_str(&format!("{name}: {value}\n"));
    }
    Output::stdout().print(&format!("{shown}\n{}", mail.text))?;
    Ok(())
}
