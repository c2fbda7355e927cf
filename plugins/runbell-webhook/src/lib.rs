#![doc = include_str!("../README.md")]

mod headers;
mod params;
mod signature;

use std::time::Duration;

use runbell_core::value::write_json_string;
use runbell_core::{
    BuildContext, Findings, HeaderValue, HttpRequest, Message, Note, Result, Secret, SendContext, SenderKind, Value,
};
use runbell_http::{Http, HttpKind, HttpOptions, TargetUrl};
use runbell_render::TemplateValue;
use runbell_render::body::{Body, Scope, summaries};

pub use headers::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
pub use params::{HeaderMap, WebhookParams};

use headers::{OURS, SIGNED};
use params::METHODS;
use signature::Signer;

/// The `webhook` kind.
#[derive(Debug)]
pub struct Webhook {
    url: TargetUrl,
    method: &'static str,
    headers: Vec<(String, Secret<String>)>,
    body: Option<Body>,
    signer: Option<Signer>,
    timeout: Duration,
}

runbell_core::register_sender!(Webhook);

impl SenderKind for Webhook {
    const KIND: &'static str = "webhook";
    type Params = WebhookParams;
    type Sender = Http<Webhook>;

    fn validate(params: &WebhookParams, cx: &BuildContext) -> Findings {
        params.check(cx)
    }

    fn build(params: WebhookParams, cx: &BuildContext) -> Result<Http<Webhook>> {
        let wanted = params.method();
        let signer = params.signing_secret.as_ref().and_then(|secret| Signer::new(secret.reveal()).ok());
        let ours = |name: &str| OURS.iter().any(|known| name.eq_ignore_ascii_case(known));
        let kind = Webhook {
            method: METHODS.into_iter().find(|known| known.eq_ignore_ascii_case(wanted)).unwrap_or("POST"),
            headers: params.headers.into_iter().flat_map(|map| map.0).filter(|(name, _)| !ours(name)).collect(),
            body: params.override_body.filter(Value::is_truthy).map(|template| Body::compile(&template)),
            timeout: Duration::from_secs(params.timeout_secs.unwrap_or(10).clamp(1, 60).unsigned_abs()),
            url: params.url,
            signer,
        };
        let verify_ssl = params.verify_ssl.unwrap_or(true) || !kind.url.is_https();
        Http::new(kind, cx, HttpOptions { verify_ssl, ca: None })
    }
}

impl HttpKind for Webhook {
    fn target(&self) -> &TargetUrl {
        &self.url
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn request(&self, message: &Message, notes: &mut Vec<Note>) -> Result<HttpRequest> {
        let body = match &self.body {
            Some(body) => overridden(body, message, notes),
            None => default_body(message),
        };
        let mut request = self.url.request(self.method, body);
        for (name, value) in &self.headers {
            request.set_header(name, HeaderValue::Secret(value.clone()));
        }
        if !request.has_header("content-type") {
            request.set_header("Content-Type", HeaderValue::Plain("application/json".to_owned()));
        }
        request.set_header(ID_HEADER, HeaderValue::Plain(message.key.to_string()));
        if self.signer.is_some() {
            for name in SIGNED {
                request.set_header(name, HeaderValue::PerAttempt);
            }
        }
        Ok(request)
    }

    fn finish(&self, request: &mut HttpRequest, cx: &SendContext<'_>) -> Result<()> {
        if let Some(signer) = &self.signer {
            // The id that was rendered is signed, so that the two cannot differ.
            let id = request.headers.iter().find(|header| header.name == ID_HEADER).map(|header| &header.value);
            let id = match id {
                Some(HeaderValue::Plain(id)) => id.clone(),
                _ => cx.key.to_string(),
            };
            let timestamp = cx.now.as_second();
            let signature = signer.sign(&id, timestamp, &request.body);
            request.set_header(TIMESTAMP_HEADER, HeaderValue::Plain(timestamp.to_string()));
            request.set_header(SIGNATURE_HEADER, HeaderValue::Plain(signature));
        }
        Ok(())
    }
}

/// The body MLRun sends, and `name`, which its documentation promises. Written directly: run documents go out with
/// every number as it was, and without a copy.
fn default_body(message: &Message) -> String {
    let mut body = String::with_capacity(1024);
    body.push_str(r#"{"message":"#);
    write_json_string(&message.text, &mut body);
    body.push_str(r#","severity":"#);
    write_json_string(message.severity.as_str(), &mut body);
    if !message.name.is_empty() {
        body.push_str(r#","name":"#);
        write_json_string(&message.name, &mut body);
    }
    for (index, run) in message.runs.iter().enumerate() {
        body.push_str(if index == 0 { r#","runs":["# } else { "," });
        run.document().write_json(&mut body);
    }
    if !message.runs.is_empty() {
        body.push(']');
    }
    if let Some(html) = message.html.as_deref().filter(|html| !html.is_empty()) {
        body.push_str(r#","custom_html":"#);
        write_json_string(html, &mut body);
    }
    body.push('}');
    body
}

fn overridden(body: &Body, message: &Message, notes: &mut Vec<Note>) -> String {
    let run = match message.runs.first() {
        Some(run) => run.view(TemplateValue::new),
        None => TemplateValue::new(&Value::Null).into(),
    };
    let (value, failed) = body.render(&Scope {
        run: &run,
        runs: &TemplateValue::new(&summaries(message.runs.iter().map(|run| run.document()))),
        notification: &TemplateValue::new(&message.notification),
        message: &message.text,
        severity: message.severity.as_str(),
        state: message.state.as_str(),
        project: message.runs.first().map_or("", |run| run.project()),
    });
    notes.extend(failed);
    value.to_json()
}
