//! The one HTTP client that Runbell's kinds share: TLS, proxies, egress rules, and the meaning of answers.
//!
//! A kind implements [`HttpKind`], which makes the request for a target, and uses [`Http<K>`](Http) as its sender:
//!
//! ```
//! use runbell_core::{BuildContext, HttpRequest, Message, Note, Result};
//! use runbell_http::{Http, HttpKind, HttpOptions, TargetUrl};
//!
//! #[derive(Debug)]
//! struct Pager {
//!     url: TargetUrl,
//! }
//!
//! impl HttpKind for Pager {
//!     fn target(&self) -> &TargetUrl {
//!         &self.url
//!     }
//!
//!     fn request(&self, message: &Message, _notes: &mut Vec<Note>) -> Result<HttpRequest> {
//!         Ok(self.url.request("POST", message.text.clone()))
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let kind = Pager { url: TargetUrl::new("https://pager.example/page") };
//! let sender = Http::new(kind, &BuildContext::here(), HttpOptions::default())?;
//! # Ok(()) }
//! ```
//!
//! **Invariant:** no text of this crate contains a URL, a header's value or a body. Transport errors are rebuilt in this crate's
//! own words, because the library's quote URLs, and URLs are secrets.
//!
//! **Invariant:** redirects are not followed, so a request never goes to a host that was not configured. Under
//! [`Egress::guarded`](runbell_core::Egress::guarded) the address decides that is really connected to, not the name.

mod answer;
mod body;
mod client;
mod failure;
mod kind;
mod proxy;
mod resolve;
mod target;
mod words;

pub use answer::{Answer, classify_status};
pub use client::{Client, HttpOptions};
pub use kind::{Http, HttpKind};
pub use target::TargetUrl;
