#![doc = include_str!("../README.md")]

mod blocks;
mod escape;
mod fit;
mod label;
mod limits;

use std::sync::Arc;

use runbell_core::{
    BuildContext, Error, ErrorKind, Finding, FindingCode, Findings, HeaderValue, HttpRequest, Level, Map, Message,
    Note, Receipt, Result, SenderKind, Value, value,
};
use runbell_http::{Answer, Http, HttpKind, HttpOptions, TargetUrl, classify_status};
use schemars::JsonSchema;
use serde::Deserialize;

/// The environment variable that holds the webhook when the param is absent, as in MLRun.
pub const WEBHOOK_VARIABLE: &str = "SLACK_WEBHOOK";

/// Slack's answers to a webhook it refuses: short codes, safe to quote.
///
/// From Slack's "Sending messages using incoming webhooks" and its list of `chat.postMessage` errors.
const CODES: [&str; 28] = [
    "action_prohibited",
    "channel_is_archived",
    "channel_not_found",
    "fatal_error",
    "internal_error",
    "invalid_attachments",
    "invalid_blocks",
    "invalid_blocks_format",
    "invalid_payload",
    "invalid_token",
    "missing_text_or_fallback_or_attachments",
    "msg_blocks_too_long",
    "msg_too_long",
    "no_active_hooks",
    "no_service",
    "no_service_id",
    "no_team",
    "no_text",
    "org_login_required",
    "posting_to_general_channel_denied",
    "rate_limited",
    "request_timeout",
    "rollup_error",
    "service_unavailable",
    "team_disabled",
    "token_revoked",
    "too_many_attachments",
    "user_not_found",
];

/// Parameters of the `slack` kind.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SlackParams {
    /// The URL of an incoming webhook. Secret: it is enough to post. Default where the notification is sent from
    /// the runner's process: the environment variable SLACK_WEBHOOK.
    pub webhook: TargetUrl,
}

/// The `slack` kind.
#[derive(Debug)]
pub struct Slack {
    webhook: TargetUrl,
}

runbell_core::register_sender!(Slack);

impl SenderKind for Slack {
    const KIND: &'static str = "slack";
    type Params = SlackParams;
    type Sender = Http<Slack>;

    fn complete(params: &mut Map, cx: &BuildContext) {
        if !params.get("webhook").is_some_and(Value::is_truthy)
            && let Some(webhook) = cx.env.var(WEBHOOK_VARIABLE).filter(|webhook| !webhook.trim().is_empty())
        {
            params.insert("webhook".to_owned(), webhook.into());
        }
    }

    fn validate(params: &SlackParams, cx: &BuildContext) -> Findings {
        let mut found = Findings::default();
        params.webhook.validate("webhook", cx, &mut found);
        if let Some((level, message)) = not_a_hook(&params.webhook) {
            found.push(Finding::new(level, FindingCode::WrongValue, "webhook", message));
        }
        found
    }

    fn build(params: SlackParams, cx: &BuildContext) -> Result<Http<Slack>> {
        Http::new(Slack { webhook: params.webhook }, cx, HttpOptions::default())
    }
}

impl HttpKind for Slack {
    fn target(&self) -> &TargetUrl {
        &self.webhook
    }

    fn request(&self, message: &Message, notes: &mut Vec<Note>) -> Result<HttpRequest> {
        let mut request = self.webhook.request("POST", blocks::payload(message, notes));
        request.set_header("Content-Type", HeaderValue::Plain("application/json".to_owned()));
        Ok(request)
    }

    /// Slack counts messages by webhook.
    fn bucket(&self) -> Option<Arc<str>> {
        Some(self.webhook.reveal().into())
    }

    /// By status; the answer's body is named when it is one of Slack's codes, and only then.
    fn classify(&self, answer: &Answer) -> Result<Receipt> {
        let said = std::str::from_utf8(answer.body()).unwrap_or_default().trim();
        // A body that is not there may merely be late, and one without an end says nothing; the status counts then.
        let is_said = !said.is_empty() && (said.len() <= LONGEST_OTHER || said.starts_with('<'));
        if answer.is_success() && is_said && !is_ok(said) {
            let message = if said.starts_with('<') {
                "a web page answers, not a webhook; a webhook begins with https://hooks.slack.com/services/"
            } else {
                "the answer is not Slack's `ok`; a webhook begins with https://hooks.slack.com/services/"
            };
            return Err(Error::new(ErrorKind::Rejected, message).with("status", answer.status()));
        }
        classify_status(answer).map_err(|error| match CODES.into_iter().find(|code| *code == said) {
            Some(code) => error.with("answer", code),
            None => error,
        })
    }
}

/// The longest answer, in bytes, that is taken for another service's word.
const LONGEST_OTHER: usize = 4 * 1024;

/// What a webhook answers once it has the message: `ok`; a workflow's and those of compatible services, a JSON object.
fn is_ok(said: &str) -> bool {
    let is_true = |field| value::read(said).is_ok_and(|answer| answer.get(field) == Some(&Value::Bool(true)));
    said == "ok" || is_true("ok") || is_true("success")
}

/// What is wrong with a webhook on Slack's own hosts; other hosts run compatible services, with paths of their own.
fn not_a_hook(webhook: &TargetUrl) -> Option<(Level, &'static str)> {
    let url = webhook.reveal();
    let (_, rest) = url.split_once("://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.split('?').next().unwrap_or_default();
    if !(host == "slack.com" || host.ends_with(".slack.com") || host.ends_with(".slack-gov.com")) {
        return None;
    }
    if !matches!(host, "hooks.slack.com" | "hooks.slack-gov.com") {
        return Some((
            Level::Fault,
            "is a page of Slack, not a webhook; a webhook begins with https://hooks.slack.com/services/",
        ));
    }
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["services", _, _, _] | ["workflows" | "triggers", _, _, ..] => None,
        _ => Some((
            Level::Warning,
            "does not look like a webhook of Slack: https://hooks.slack.com/services/T…/B…/…, copied in full",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use runbell_core::{ErrorKind, Retry, Sender as _, Timestamp};

    use super::*;

    #[test]
    fn answers_of_slack() {
        let slack = Slack { webhook: TargetUrl::new("https://hooks.example/x") };
        for (status, body, kind, said) in [
            (
                400,
                "invalid_payload",
                ErrorKind::Rejected,
                "the target refuses the message [status=400 answer=invalid_payload]",
            ),
            (
                403,
                "invalid_token\n",
                ErrorKind::Unauthorized,
                "the target forbids this [status=403 answer=invalid_token]",
            ),
            (
                404,
                "no_service",
                ErrorKind::Rejected,
                "the target does not know this address [status=404 answer=no_service]",
            ),
            (404, "token_canary", ErrorKind::Rejected, "the target does not know this address [status=404]"),
            (
                410,
                "channel_is_archived",
                ErrorKind::Rejected,
                "the target says that this address is gone for good [status=410 answer=channel_is_archived]",
            ),
        ] {
            let answer = Answer::new(status, &[], body, Timestamp::UNIX_EPOCH);
            let error = slack.classify(&answer).expect_err("no success");
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, said));
            assert_eq!(error.retry_advice(), Retry::Never);
        }
        let limited = Answer::new(429, &[("Retry-After", "30")], "rate_limited", Timestamp::UNIX_EPOCH);
        let wait = slack.classify(&limited).expect_err("no success").retry_advice();
        assert_eq!(wait, Retry::After(std::time::Duration::from_secs(30)));
        for (body, succeeds) in [
            ("ok", true),
            ("ok\n", true),
            (r#"{"ok":true}"#, true),
            (r#"{"success":true}"#, true),
            ("", true),
            ("<!doctype html><title>Slack</title>", false),
            (r#"{"ok":false}"#, false),
        ] {
            let outcome = slack.classify(&Answer::new(200, &[], body, Timestamp::UNIX_EPOCH));
            assert_eq!(outcome.is_ok(), succeeds, "{body}: {outcome:?}");
        }
    }

    #[test]
    fn pages_of_slack_are_no_webhooks() {
        for (url, expected) in [
            ("https://hooks.slack.com/services/T0/B0/x", None),
            ("https://hooks.slack.com/workflows/T0/A0/1/x", None),
            ("https://hooks.slack.com/triggers/T0/1/x", None),
            ("https://hooks.slack-gov.com/services/T0/B0/x", None),
            ("https://mattermost.corp.example/hooks/x", None),
            ("https://x.slack.com/archives/C123", Some(Level::Fault)),
            ("https://app.slack.com/client/T0/C0", Some(Level::Fault)),
            ("https://slack.com/api/chat.postMessage", Some(Level::Fault)),
            ("https://hooks.slack.com/services/T0/B0", Some(Level::Warning)),
            ("https://hooks.slack.com/", Some(Level::Warning)),
        ] {
            let found = not_a_hook(&TargetUrl::new(url)).map(|(level, _)| level);
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn each_webhook_is_a_bucket_of_its_own() {
        let cx = BuildContext::here();
        let limits = |webhook| {
            let slack = Slack { webhook: TargetUrl::new(webhook) };
            Http::new(slack, &cx, HttpOptions::default()).expect("a sender").limits()
        };
        let (one, other) = (limits("https://hooks.example/T0/B0/one"), limits("https://hooks.example/T0/B0/two"));
        assert_eq!(one.destination, other.destination);
        assert!(one.bucket.is_some() && one.bucket != other.bucket);
        assert_eq!(one.bucket, limits(" https://hooks.example/T0/B0/one\n").bucket);
        assert!(!format!("{one:?}").contains("T0"), "{one:?}");
    }

    #[test]
    fn the_environment_fills_in_only_absent_params() {
        let env = HashMap::from([(WEBHOOK_VARIABLE.to_owned(), "https://env.example/x".to_owned())]);
        let cx = BuildContext { env: Arc::new(env), ..BuildContext::here() };
        for (given, expected) in [
            (None, "https://env.example/x"),
            (Some(Value::Null), "https://env.example/x"),
            (Some(Value::from("")), "https://env.example/x"),
            (Some(Value::from("https://own.example/y")), "https://own.example/y"),
        ] {
            let mut params: Map = given.map(|value| ("webhook".to_owned(), value)).into_iter().collect();
            Slack::complete(&mut params, &cx);
            assert_eq!(params.get("webhook").and_then(Value::as_str), Some(expected));
        }
        let mut params = Map::new();
        Slack::complete(&mut params, &BuildContext::server());
        assert!(params.is_empty());
    }
}
