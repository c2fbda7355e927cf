//! `runbell deliveries`.

use anyhow::bail;
use runbell_server::Purpose;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::args::{CancelArgs, DeliveriesVerb, ListArgs, ReplayArgs, ShowArgs};
use super::shown::{cell, not_done, time};
use runbell::text::percent_encoded;

use crate::api::Api;
use crate::exit::DONE;
use crate::options::{Format, StoreOptions};
use crate::output;

/// The most deliveries of one request.
const PAGE: usize = 1_000;

#[derive(Deserialize)]
struct Page {
    deliveries: Vec<Json>,
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Pagination {
    #[serde(rename = "page-token")]
    page_token: Option<String>,
}

#[derive(Deserialize)]
struct One {
    data: Json,
}

#[derive(Deserialize)]
struct Replayed {
    replayed: u64,
}

pub(crate) async fn deliveries(verb: DeliveriesVerb) -> anyhow::Result<u8> {
    match verb {
        DeliveriesVerb::List(args) => list(args).await,
        DeliveriesVerb::Show(args) => show(args).await,
        DeliveriesVerb::Replay(args) => replay(args).await,
        DeliveriesVerb::Cancel(args) => cancel(args).await,
    }
}

async fn open(options: &StoreOptions) -> anyhow::Result<Api> {
    Api::open(options, Purpose::Tend, None).await
}

fn base(project: &str) -> String {
    format!("projects/{}/deliveries", percent_encoded(project))
}

async fn list(args: ListArgs) -> anyhow::Result<u8> {
    let api = open(&args.store).await?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let filters = args.filters.given().map(|(name, value)| format!("&{name}={}", percent_encoded(value)));
    let mut query = format!("page-size={}{}", limit.min(PAGE), filters.collect::<String>());
    let mut rows = Vec::new();
    let (mut left, mut has_more) = (limit, true);
    while has_more && left > 0 {
        let page: Page = api.ask("GET", &format!("{}?{query}", base(&args.project.project)), None).await?;
        has_more = page.pagination.page_token.is_some() || page.deliveries.len() > left;
        for delivery in page.deliveries.iter().take(left) {
            left -= 1;
            match args.format.is_table() {
                true => rows.push(row(delivery)),
                false => output::print_json(delivery)?,
            }
        }
        match page.pagination.page_token {
            Some(token) => query = format!("page-token={}", percent_encoded(&token)),
            None => break,
        }
    }
    if args.format.is_table() {
        output::table(&HEAD, rows)?;
    }
    if has_more {
        output::complain(&format!("there are more than {limit}; --limit lists more, filters fewer"));
    }
    Ok(DONE)
}

const HEAD: [&str; 9] = ["ID", "UID", "NOTIFICATION", "KIND", "STATE", "STATUS", "ATTEMPTS", "CREATED", "REASON"];

fn row(delivery: &Json) -> Vec<String> {
    let cell = |field| cell(delivery, field);
    vec![
        cell("id"),
        cell("uid"),
        cell("notification"),
        cell("kind"),
        cell("state"),
        cell("status"),
        cell("attempt_count"),
        time(delivery, "created_at"),
        cell("reason"),
    ]
}

async fn show(args: ShowArgs) -> anyhow::Result<u8> {
    let api = open(&args.store).await?;
    let path = format!("{}/{}", base(&args.project.project), args.id);
    let delivery = match api.ask::<One>("GET", &path, None).await {
        Ok(One { data }) => data,
        Err(refusal) => return not_done(&args.id.to_string(), refusal),
    };
    if !args.format.is_table() {
        output::print_json(&delivery)?;
        return Ok(DONE);
    }
    let fields = delivery.as_object().into_iter().flatten().filter(|(name, _)| *name != "attempts");
    output::table(&["FIELD", "VALUE"], fields.map(|(name, _)| vec![name.clone(), cell(&delivery, name)]))?;
    let attempts: Vec<Vec<String>> = delivery["attempts"].as_array().into_iter().flatten().map(attempt).collect();
    if !attempts.is_empty() {
        output::print("\n")?;
        output::table(&["ATTEMPT", "STARTED", "ENDED", "OUTCOME", "REASON"], attempts)?;
    }
    Ok(DONE)
}

fn attempt(attempt: &Json) -> Vec<String> {
    let mut reason = cell(attempt, "reason");
    if attempt["ambiguous"] == true {
        reason.push_str(" (it may have arrived)");
    }
    let (started, ended) = (cell(attempt, "started_at"), cell(attempt, "ended_at"));
    vec![cell(attempt, "number"), started, ended, cell(attempt, "outcome"), reason]
}

async fn replay(args: ReplayArgs) -> anyhow::Result<u8> {
    let body = json!({ "new_key": args.new_key });
    if !args.all {
        if let Some((name, _)) = args.filters.given().next() {
            bail!("deliveries replay: --{name} goes with --all, not with ids");
        }
        let api = open(&args.store).await?;
        return each(&api, &args.project.project, &args.ids, "replay", Some(&body), args.format).await;
    }
    let mut body = body;
    for (name, value) in args.filters.given() {
        body[name] = value.into();
    }
    let api = open(&args.store).await?;
    let path = format!("{}/replay", base(&args.project.project));
    let Replayed { replayed } = api.ask("POST", &path, Some(&body)).await?;
    match args.format.is_table() {
        true => output::print(&format!("{replayed} are due again\n"))?,
        false => output::print_json(&json!({ "replayed": replayed }))?,
    }
    Ok(DONE)
}

async fn cancel(args: CancelArgs) -> anyhow::Result<u8> {
    let api = open(&args.store).await?;
    each(&api, &args.project.project, &args.ids, "cancel", None, args.format).await
}

/// Makes the same request for each; a failure does not affect the others.
async fn each(
    api: &Api,
    project: &str,
    ids: &[i64],
    verb: &str,
    body: Option<&Json>,
    format: Format,
) -> anyhow::Result<u8> {
    let (mut outcome, mut rows) = (Ok(DONE), Vec::new());
    for id in ids {
        let path = format!("{}/{id}/{verb}", base(project));
        match api.ask::<One>("POST", &path, body).await {
            Ok(One { data }) if format.is_table() => rows.push(row(&data)),
            Ok(One { data }) => output::print_json(&data)?,
            Err(refusal) => outcome = not_done(&id.to_string(), refusal),
        }
        if outcome.is_err() {
            break;
        }
    }
    if !rows.is_empty() {
        output::table(&HEAD, rows)?;
    }
    outcome
}
