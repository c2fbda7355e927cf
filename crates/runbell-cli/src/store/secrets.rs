//! `runbell secrets`. No value is ever shown, nor taken from the command line.

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::{anyhow, bail};
use runbell::text;
use runbell_server::Purpose;
use rustix::termios::{self, LocalModes, OptionalActions};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::args::{SecretsDeleteArgs, SecretsListArgs, SecretsSetArgs, SecretsVerb};
use runbell::text::percent_encoded;

use crate::api::Api;
use crate::exit::{DONE, NOT_DELIVERED};
use crate::{documents, output};

#[derive(Deserialize)]
struct Keys {
    secret_keys: Vec<String>,
}

pub(crate) async fn secrets(verb: SecretsVerb) -> anyhow::Result<u8> {
    match verb {
        SecretsVerb::List(args) => list(args).await,
        SecretsVerb::Set(args) => set(args).await,
        SecretsVerb::Delete(args) => delete(args).await,
    }
}

async fn names(api: &Api, project: &str) -> anyhow::Result<Vec<String>> {
    let Keys { secret_keys } =
        api.ask("GET", &format!("projects/{}/secret-keys", percent_encoded(project)), None).await?;
    Ok(secret_keys)
}

async fn list(args: SecretsListArgs) -> anyhow::Result<u8> {
    let api = Api::open(&args.store, Purpose::Tend, None).await?;
    let names = names(&api, &args.project.project).await?;
    if args.format.is_table() {
        output::table(&["NAME"], names.into_iter().map(|name| vec![name]))?;
    } else {
        names.iter().try_for_each(|name| output::print_json(&json!({ "name": name })))?;
    }
    Ok(DONE)
}

async fn set(args: SecretsSetArgs) -> anyhow::Result<u8> {
    if !args.surplus.is_empty() || args.name.contains('=') {
        bail!(
            "secrets set: takes a name alone; the value comes from standard input, --from-file or --from-env, for a command \
             line is seen by everybody on the machine"
        );
    }
    let value = value(&args)?;
    if value.is_empty() {
        bail!("secrets set: the value is empty; to delete a secret, use `runbell secrets delete`");
    }
    let mut api = Api::open(&args.store, Purpose::Seal, args.key_file.as_deref()).await?;
    api.conceal(&value);
    let body = json!({ "provider": "kubernetes", "secrets": { args.name: value } });
    let path = format!("projects/{}/secrets", percent_encoded(&args.project.project));
    api.ask::<IgnoredAny>("POST", &path, Some(&body)).await?;
    Ok(DONE)
}

fn value(args: &SecretsSetArgs) -> anyhow::Result<String> {
    if let Some(name) = &args.from_env {
        let shown = text::one_line(name, 80);
        return std::env::var(name)
            .map_err(|_| anyhow!("--from-env: the variable `{shown}` is not set, or holds no text"));
    }
    let file = args.from_file.as_deref().unwrap_or(Path::new("-"));
    let mut value = match file == Path::new("-") && std::io::stdin().is_terminal() {
        true => typed(&text::one_line(&args.name, 80))?,
        false => documents::read_text(file)?,
    };
    if let Some(kept) = value.strip_suffix("\r\n").or(value.strip_suffix('\n')) {
        value.truncate(kept.len());
    }
    Ok(value)
}

/// Reads a line from the terminal without echo. After ^C the shell turns the echo on again.
fn typed(name: &str) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    let before = termios::tcgetattr(&stdin)?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    termios::tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    output::complain(&format!("type the value of {name} (it is not shown) and press Enter"));
    let mut value = String::new();
    let read = stdin.read_line(&mut value);
    termios::tcsetattr(&stdin, OptionalActions::Now, &before)?;
    read?;
    Ok(value)
}

async fn delete(args: SecretsDeleteArgs) -> anyhow::Result<u8> {
    let api = Api::open(&args.store, Purpose::Tend, None).await?;
    let known = names(&api, &args.project.project).await?;
    let (known, unknown): (Vec<_>, Vec<_>) = args.names.iter().partition(|name| known.contains(name));
    for name in &unknown {
        output::complain(&format!("{}: there is no such secret", text::one_line(name, 80)));
    }
    // Without a name the request would delete all secrets.
    if !known.is_empty() {
        let query: Vec<String> = known.iter().map(|name| format!("secret={}", percent_encoded(name))).collect();
        let path = format!("projects/{}/secrets?{}", percent_encoded(&args.project.project), query.join("&"));
        api.ask::<IgnoredAny>("DELETE", &path, None).await?;
    }
    Ok(if unknown.is_empty() { DONE } else { NOT_DELIVERED })
}
