#![doc = include_str!("../README.md")]

mod exchange;
mod forge;
mod living;
mod marker;
mod params;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runbell_core::{
    BuildContext, Error, ErrorKind, Findings, HttpRequest, Limits, Map, Message, Note, Pace, Payload, Receipt,
    Rendered, Result, Secret, SendContext, Sender, SenderKind,
};
use runbell_http::{Answer, Client, Http, HttpKind, HttpOptions, TargetUrl};
use runbell_render::html::{self, Flavour};

pub use params::{GitParams, Number};

use exchange::{Exchange, body_of};
use forge::{Comments, Forge, base};
use living::Living;
use marker::Marker;

/// The time limit of one attempt with `update`, which searches the pages of comments before it writes.
const LIVING_TIMEOUT: Duration = Duration::from_secs(30);

/// The `git` kind.
#[derive(Debug)]
pub struct Git;

runbell_core::register_sender!(Git);

impl SenderKind for Git {
    const KIND: &'static str = "git";
    type Params = GitParams;
    type Sender = GitSender;

    fn complete(params: &mut Map, cx: &BuildContext) {
        params::complete(params, cx.env.as_ref());
    }

    fn validate(params: &GitParams, cx: &BuildContext) -> Findings {
        params.check(cx)
    }

    fn build(params: GitParams, cx: &BuildContext) -> Result<GitSender> {
        let invalid = |path: &'static str, fault: String| Error::new(ErrorKind::ParamsInvalid, fault).at(path);
        let forge = params.forge();
        let base =
            base(params.server.as_deref(), forge).map_err(|fault| invalid("params.server", fault.to_string()))?;
        let thread =
            params.thread().ok_or_else(|| invalid("params.issue", "is required, or `merge_request`".to_owned()))?;
        let comments = Comments::new(forge, &base, &params.repo, thread);
        let exchange = Arc::new(Exchange(Client::new(cx, &HttpOptions::default())?));
        let living = match params.update.unwrap_or(false) {
            false => None,
            true => Some(Living {
                exchange: Arc::clone(&exchange),
                forge,
                comments: comments.clone(),
                token: params.token.clone(),
            }),
        };
        let lacks_api_path = forge == Forge::GitHub && params::lacks_api_path(params.server.as_deref());
        let comment = Comment {
            forge,
            target: TargetUrl::new(&comments.all),
            token: params.token,
            update_key: params.update_key.filter(|key| !key.is_empty() && living.is_some()),
        };
        Ok(GitSender { http: Http::new(comment, cx, HttpOptions::default())?, exchange, living, lacks_api_path })
    }
}

/// Comments on one issue or merge request.
#[derive(Debug)]
pub struct GitSender {
    http: Http<Comment>,
    exchange: Arc<Exchange>,
    living: Option<Living>,
    /// The server may lack the path of its API.
    lacks_api_path: bool,
}

/// The remedy for a GitHub Enterprise server that was given without the path of its API.
const ENTERPRISE: &str = "a GitHub Enterprise server has its API below /api/v3; set `server` to https://HOST/api/v3";

#[async_trait]
impl Sender for GitSender {
    fn render(&self, message: &Message) -> Result<Rendered> {
        self.http.render(message)
    }

    async fn send(&self, payload: &Payload, cx: &SendContext<'_>) -> Result<Receipt> {
        let Payload::Http(create) = payload else {
            return Err(Error::new(ErrorKind::Internal, "git can only send HTTP requests"));
        };
        let outcome = match &self.living {
            Some(living) => living.show(create, cx).await,
            None => {
                let answer = self.exchange.send(create, cx).await?;
                self.http.kind().classify(&answer).map_err(|error| answer.explain(error))
            }
        };
        outcome.map_err(|error| match error.get("status") {
            Some("404") if self.lacks_api_path => error.hinting(ENTERPRISE),
            _ => error,
        })
    }

    fn limits(&self) -> Limits {
        let limits = self.http.limits();
        match &self.living {
            Some(_) => Limits { timeout: LIVING_TIMEOUT, ..limits },
            None => limits,
        }
    }
}

/// A new comment.
#[derive(Debug)]
struct Comment {
    forge: Forge,
    target: TargetUrl,
    token: Secret<String>,
    update_key: Option<String>,
}

impl HttpKind for Comment {
    fn target(&self) -> &TargetUrl {
        &self.target
    }

    fn request(&self, message: &Message, notes: &mut Vec<Note>) -> Result<HttpRequest> {
        let marker = Marker::of(message, self.update_key.as_deref()).to_string();
        let room = self.forge.longest() - marker.len() - 1;
        let rendered = html::render(message, Flavour::Markdown, room)?;
        notes.extend(rendered.notes);
        let body = body_of(&format!("{marker}\n{}", rendered.html));
        let mut request = self.target.request("POST", body);
        self.forge.sign(&mut request, &self.token);
        Ok(request)
    }

    fn classify(&self, answer: &Answer) -> Result<Receipt> {
        self.forge.classify(answer)
    }

    fn pace(&self) -> Option<Pace> {
        Some(self.forge.pace())
    }

    /// GitHub and GitLab count by the token's user, on each server.
    fn bucket(&self) -> Option<Arc<str>> {
        Some(format!("{} {}", self.target.destination(), self.token.reveal().trim()).into())
    }
}
