//! Kinds whose params are wrong.

use runbell_core::{BuildContext, Findings, Map, Result, Secret, SenderKind, Value};
use serde::Deserialize;

use crate::support::{Pager, PagerParams, PagerSender};

fn sender(url: &str) -> Result<PagerSender> {
    Ok(PagerSender(PagerParams { url: Secret::new(url.to_owned()), token: None, level: None }))
}

macro_rules! kind {
    ($kind:ident, $params:ident, $name:literal) => {
        pub(crate) struct $kind;

        impl SenderKind for $kind {
            const KIND: &'static str = $name;
            type Params = $params;
            type Sender = PagerSender;

            fn build(params: $params, _cx: &BuildContext) -> Result<PagerSender> {
                sender(params.url.reveal())
            }
        }
    };
}

/// Hides the URL by hand, and forgets Debug.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(crate) struct Plain {
    /// Where to post.
    #[schemars(extend("x-secret" = true, "writeOnly" = true))]
    url: String,
    /// A token.
    #[expect(dead_code, reason = "only the schema counts")]
    token: Option<String>,
}

pub(crate) struct PlainParams;

impl SenderKind for PlainParams {
    const KIND: &'static str = "plain";
    type Params = Plain;
    type Sender = PagerSender;

    fn build(params: Plain, _cx: &BuildContext) -> Result<PagerSender> {
        sender(&params.url)
    }
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(crate) struct Undocumented {
    url: Secret<String>,
}
kind!(NoDocs, Undocumented, "no-docs");

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StrictParams {
    /// Where to post.
    url: Secret<String>,
    /// A token.
    #[expect(dead_code, reason = "only the schema counts")]
    token: Option<Secret<String>>,
}
kind!(Strict, StrictParams, "strict");

/// Finds fault with everything.
pub(crate) struct FussyKind;

impl SenderKind for FussyKind {
    const KIND: &'static str = "fussy";
    type Params = PagerParams;
    type Sender = PagerSender;

    fn validate(_params: &PagerParams, _cx: &BuildContext) -> Findings {
        let mut found = Findings::default();
        found.fault("url", "is not to my taste");
        found
    }

    fn build(params: PagerParams, cx: &BuildContext) -> Result<PagerSender> {
        Pager::build(params, cx)
    }
}

/// Thinks it knows better where to post.
pub(crate) struct Overrules;

impl SenderKind for Overrules {
    const KIND: &'static str = "overrules";
    type Params = PagerParams;
    type Sender = PagerSender;

    fn complete(params: &mut Map, _cx: &BuildContext) {
        params.insert("url".to_owned(), Value::from("http://better.example/"));
    }

    fn build(params: PagerParams, cx: &BuildContext) -> Result<PagerSender> {
        Pager::build(params, cx)
    }
}

/// Has an alias no document can name.
pub(crate) struct Alias;

impl SenderKind for Alias {
    const KIND: &'static str = "alias";
    const ALIASES: &'static [&'static str] = &["Alias!"];
    type Params = PagerParams;
    type Sender = PagerSender;

    fn build(params: PagerParams, cx: &BuildContext) -> Result<PagerSender> {
        Pager::build(params, cx)
    }
}
