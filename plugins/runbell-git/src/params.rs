//! The params of the `git` kind, and those that the environment of a CI job fills in.

use std::fmt;

use runbell_core::{BuildContext, Env, FindingCode, Findings, Map, Secret, Value, value};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use crate::forge::{Forge, base};

/// Parameters of the `git` kind.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct GitParams {
    /// The repository: `owner/name`, on GitLab also `group/subgroup/name` or the project's number. Default in a CI job:
    /// GITHUB_REPOSITORY or CI_PROJECT_ID.
    pub repo: String,
    /// The token for the API. Default: the params GIT_TOKEN and GITHUB_TOKEN, then the environment variables
    /// GITHUB_TOKEN and GIT_TOKEN.
    pub token: Secret<String>,
    /// Another name for `token`.
    #[serde(default, rename = "GIT_TOKEN")]
    pub git_token: Option<Secret<String>>,
    /// Another name for `token`.
    #[serde(default, rename = "GITHUB_TOKEN")]
    pub github_token: Option<Secret<String>>,
    /// The issue to comment on; on GitHub also a pull request's number. Default in a CI job: that of the event, or
    /// CI_ISSUE_IID.
    #[serde(default)]
    pub issue: Option<Number>,
    /// The merge or pull request to comment on; on GitLab it goes before `issue`, on GitHub after. Default in a CI job:
    /// CI_MERGE_REQUEST_IID.
    #[serde(default)]
    pub merge_request: Option<Number>,
    /// The server, with or without scheme, port and path. Default: api.github.com or gitlab.com; in a CI job
    /// GITHUB_API_URL or CI_SERVER_URL. GitHub Enterprise needs the path too: `https://host/api/v3`.
    #[serde(default)]
    pub server: Option<String>,
    /// Whether the server is a GitLab. Default: when `server` has `gitlab` in it, or in a GitLab CI job.
    #[serde(default)]
    pub gitlab: Option<bool>,
    /// Keep one comment for each run, and edit it. Default false: a new comment every time.
    #[serde(default)]
    pub update: Option<bool>,
    /// With `update`: keep one comment for all runs with this key, instead of one for each run.
    #[serde(default)]
    pub update_key: Option<String>,
}

impl GitParams {
    /// The forge of these params.
    pub(crate) fn forge(&self) -> Forge {
        Forge::of(self.gitlab, self.server.as_deref())
    }

    /// The issue or merge request: the part of the path that names it.
    pub(crate) fn thread(&self) -> Option<(&'static str, u64)> {
        let number = |number: Option<Number>| number.and_then(Number::positive);
        let (issue, merge_request) = (number(self.issue), number(self.merge_request));
        match self.forge() {
            Forge::GitHub => issue.or(merge_request).map(|number| ("issues", number)),
            Forge::GitLab => {
                let merge_request = merge_request.map(|number| ("merge_requests", number));
                merge_request.or(issue.map(|number| ("issues", number)))
            }
        }
    }

    /// All faults and warnings.
    pub(crate) fn check(&self, cx: &BuildContext) -> Findings {
        let mut found = Findings::default();
        let forge = self.forge();
        let repo = self.repo.trim();
        let segments: Vec<&str> = repo.split('/').collect();
        if repo.is_empty() {
            found.missing("repo", "is required and must not be empty");
        } else if repo.contains("://") {
            found.fault("repo", "must be owner/name, not a URL");
        } else if segments.iter().any(|segment| segment.is_empty() || matches!(*segment, "." | "..")) {
            found.fault("repo", "must be owner/name, without a slash at either end");
        } else if repo.contains(|c: char| c.is_whitespace() || c.is_control()) {
            found.fault("repo", "must be owner/name, without white space");
        } else if forge == Forge::GitHub && segments.len() != 2 {
            found.warning_of(FindingCode::WrongValue, "repo", "is not of the form owner/name, which GitHub wants");
        }
        let token = self.token.reveal();
        if token.trim().is_empty() {
            found.missing("token", "is required and must not be empty");
        } else if !token.trim().bytes().all(|byte| byte.is_ascii_graphic()) {
            found.fault("token", "has characters that no token has");
        }
        for (field, number) in [("issue", self.issue), ("merge_request", self.merge_request)] {
            if number.is_some_and(|number| number.positive().is_none()) {
                found.fault_of(
                    FindingCode::OutOfRange,
                    field,
                    "must be the number of an issue or merge request, from 1 on",
                );
            }
        }
        if self.thread().is_none() && !found.has_faults() {
            let looked_in = match forge {
                Forge::GitHub => "the file named by GITHUB_EVENT_PATH has none",
                Forge::GitLab => "neither CI_MERGE_REQUEST_IID nor CI_ISSUE_IID is set",
            };
            found.missing("issue", format!("is required, or `merge_request`; {looked_in}"));
        }
        match base(self.server.as_deref(), forge) {
            Err(fault) => found.fault("server", fault),
            Ok(base) => {
                base.validate("server", cx, &mut found);
                if forge == Forge::GitHub && lacks_api_path(self.server.as_deref()) {
                    let message = "is no API of a GitHub Enterprise server; its path is /api/v3: https://HOST/api/v3";
                    found.warning_of(FindingCode::WrongValue, "server", message);
                }
            }
        }
        if self.update_key.is_some() && !self.update.unwrap_or(false) {
            found.warning_of(FindingCode::NoEffect, "update_key", "has no effect without `update`");
        }
        found
    }
}

/// Whether a server that is neither github.com nor its API is given without a path. GitHub Enterprise Server has its API below
/// `/api/v3` (docs.github.com, "Getting started with the REST API"); ghe.com has a host of its own for it.
pub(crate) fn lacks_api_path(server: Option<&str>) -> bool {
    let Some(server) = server.map(str::trim).filter(|server| !server.is_empty()) else { return false };
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.to_ascii_lowercase();
    let is_api = matches!(host.as_str(), "github.com" | "www.github.com") || host.starts_with("api.");
    path.trim_matches('/').is_empty() && !is_api
}

/// Fills in missing params from the environment of GitHub Actions and GitLab CI. A param that is given is kept; it also
/// decides which forge the others are looked up for.
pub(crate) fn complete(params: &mut Map, env: &dyn Env) {
    let given = |params: &Map, name: &str| params.get(name).is_some_and(Value::is_truthy);
    let var = |name: &str| env.var(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if !given(params, "token") {
        let other =
            ["GIT_TOKEN", "GITHUB_TOKEN"].into_iter().find_map(|name| params.get(name).filter(|v| v.is_truthy()));
        let token = other.cloned().or_else(|| var("GITHUB_TOKEN").or_else(|| var("GIT_TOKEN")).map(Value::from));
        if let Some(token) = token {
            params.insert("token".to_owned(), token);
        }
    }
    let server_given = given(params, "server");
    // The job's own server is a GitLab even without `gitlab` in its name.
    let ours = || match params.get("server").and_then(Value::as_str) {
        Some(server) if server_given => ["CI_SERVER_URL", "CI_SERVER_HOST"]
            .into_iter()
            .filter_map(var)
            .any(|own| host(&own).eq_ignore_ascii_case(host(server))),
        _ => true,
    };
    if params.get("gitlab").is_none_or(|gitlab| *gitlab == Value::Null) && var("CI_PROJECT_ID").is_some() && ours() {
        params.insert("gitlab".to_owned(), Value::Bool(true));
    }
    let gitlab = match params.get("gitlab") {
        Some(Value::Bool(gitlab)) => Some(*gitlab),
        _ => None,
    };
    let forge = Forge::of(gitlab, params.get("server").and_then(Value::as_str));
    let numbered = given(params, "issue") || given(params, "merge_request");
    let fill = |params: &mut Map, name: &str, value: Option<Value>| match value {
        Some(value) if !given(params, name) => drop(params.insert(name.to_owned(), value)),
        _ => {}
    };
    match forge {
        Forge::GitLab => {
            fill(params, "repo", var("CI_PROJECT_ID").map(Value::from));
            if !numbered {
                fill(params, "merge_request", var("CI_MERGE_REQUEST_IID").map(Value::from));
                fill(params, "issue", var("CI_ISSUE_IID").map(Value::from));
            }
            if !server_given {
                fill(params, "server", var("CI_SERVER_URL").map(Value::from));
            }
        }
        Forge::GitHub => {
            fill(params, "repo", var("GITHUB_REPOSITORY").map(Value::from));
            if !numbered {
                fill(params, "issue", event_number(env));
            }
            if !server_given {
                fill(params, "server", var("GITHUB_API_URL").map(Value::from));
            }
        }
    }
}

/// The host of a server, which may come with a scheme, a port and a path.
fn host(server: &str) -> &str {
    let rest = server.trim().split_once("://").map_or(server.trim(), |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// The number in the event file of GitHub Actions: of a pull request, or of the issue of a comment.
fn event_number(env: &dyn Env) -> Option<Value> {
    let path = env.var("GITHUB_EVENT_PATH").filter(|path| !path.trim().is_empty())?;
    let event = value::read(&env.read_file(path.trim()).ok()?).ok()?;
    let places: [&[&str]; 3] = [&["number"], &["pull_request", "number"], &["issue", "number"]];
    places.into_iter().find_map(|place| event.at(place)).filter(|number| number.as_i64().is_some()).cloned()
}

/// The number of an issue: a number, or a text of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number(i64);

impl Number {
    fn positive(self) -> Option<u64> {
        u64::try_from(self.0).ok().filter(|number| *number > 0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                Ok(Number(i64::try_from(number).unwrap_or(-1)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Number, E> {
                // A value that is no number is reported later, with the right form.
                Ok(Number(text.trim().trim_start_matches(['#', '!']).parse().unwrap_or(-1)))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl JsonSchema for Number {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"] })
    }
}
