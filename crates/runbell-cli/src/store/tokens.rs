//! `runbell tokens`.

use anyhow::bail;
use runbell_server::Purpose;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value as Json, json};

use super::args::{TokensCreateArgs, TokensListArgs, TokensRevokeArgs, TokensVerb};
use super::shown::{cell, not_done, time};
use runbell::text::percent_encoded;

use crate::api::Api;
use crate::exit::DONE;
use crate::output;

#[derive(Deserialize)]
struct Tokens {
    tokens: Vec<Json>,
}

pub(crate) async fn tokens(verb: TokensVerb) -> anyhow::Result<u8> {
    match verb {
        TokensVerb::Create(args) => create(args).await,
        TokensVerb::List(args) => list(args).await,
        TokensVerb::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: TokensCreateArgs) -> anyhow::Result<u8> {
    let api = Api::open(&args.store, Purpose::Begin, None).await?;
    let body = json!({ "name": args.name, "admin": args.admin, "projects": args.projects });
    let made: Json = api.ask("POST", "tokens", Some(&body)).await?;
    let Some(token) = made["token"].as_str() else { bail!("the answer holds no token; check the URL") };
    match args.format.is_table() {
        true => output::print(&format!("{token}\n"))?,
        false => output::print_json(&made)?,
    }
    output::complain("the token is shown only once; keep it where only its user can read it");
    Ok(DONE)
}

async fn list(args: TokensListArgs) -> anyhow::Result<u8> {
    let api = Api::open(&args.store, Purpose::Tend, None).await?;
    let Tokens { tokens } = api.ask("GET", "tokens", None).await?;
    if args.format.is_table() {
        let rows = tokens.iter().map(|token| {
            let cell = |field| cell(token, field);
            let (created, revoked) = (time(token, "created_at"), time(token, "revoked_at"));
            vec![cell("id"), cell("name"), cell("admin"), cell("projects"), created, revoked]
        });
        output::table(&["ID", "NAME", "ADMIN", "PROJECTS", "CREATED", "REVOKED"], rows)?;
    } else {
        tokens.iter().try_for_each(output::print_json)?;
    }
    Ok(DONE)
}

async fn revoke(args: TokensRevokeArgs) -> anyhow::Result<u8> {
    let api = Api::open(&args.store, Purpose::Tend, None).await?;
    let mut code = DONE;
    for id in &args.ids {
        if let Err(refusal) = api.ask::<IgnoredAny>("DELETE", &format!("tokens/{}", percent_encoded(id)), None).await {
            code = not_done(id, refusal)?;
        }
    }
    Ok(code)
}
