//! Requests to a forge, each with its answer.

use runbell_core::value::write_json_string;
use runbell_core::{Bytes, HeaderValue, HttpRequest, Result, SendContext};
use runbell_http::{Answer, Client};

/// The client for forges.
#[derive(Debug)]
pub(crate) struct Exchange(pub(crate) Client);

impl Exchange {
    /// Sends a request that changes something.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(crate) async fn send(&self, request: &HttpRequest, cx: &SendContext<'_>) -> Result<Answer> {
        let answer = self.0.send(request, cx).await?;
        match plainer(&answer, request) {
            Some(request) => self.0.send(&request, cx).await,
            None => Ok(answer),
        }
    }

    /// Asks for something, at most `limit` bytes of it.
    ///
    /// # Errors
    /// As [`Client::fetch`].
    pub(crate) async fn fetch(&self, request: &HttpRequest, limit: usize, cx: &SendContext<'_>) -> Result<Answer> {
        let answer = self.0.fetch(request, limit, cx).await?;
        match plainer(&answer, request) {
            Some(request) => self.0.fetch(&request, limit, cx).await,
            None => Ok(answer),
        }
    }
}

/// The same request with a plainer `Accept`, for a server that has GitHub's API but does not know its media type, such as
/// a mock of the API's description: 406 means that nothing was done (RFC 9110 section 15.5.7).
fn plainer(answer: &Answer, request: &HttpRequest) -> Option<HttpRequest> {
    (answer.status() == 406).then(|| {
        let mut request = request.clone();
        request.set_header("Accept", HeaderValue::Plain("application/json".to_owned()));
        request
    })
}

/// The body of a request that sets a comment's text.
pub(crate) fn body_of(text: &str) -> Bytes {
    let mut body = String::with_capacity(text.len() + 256);
    body.push_str(r#"{"body":"#);
    write_json_string(text, &mut body);
    body.push('}');
    body.into()
}
