//! A request body that records when the connection takes it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use runbell_core::SendContext;

/// A body in one piece. The connection takes it right before it writes the request, so having been taken is the
/// earliest sign that bytes may have left; connecting, handshake and waiting for a connection come before.
pub(crate) struct Marked {
    body: Option<Bytes>,
    taken: Arc<AtomicBool>,
}

impl Marked {
    pub(crate) fn new(body: Bytes, taken: Arc<AtomicBool>) -> Self {
        Marked { body: Some(body), taken }
    }
}

impl Body for Marked {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken.store(true, Ordering::Relaxed);
        Poll::Ready(self.body.take().map(|body| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.as_ref().map_or(0, |body| body.len() as u64))
    }
}

/// Passes the mark on to the attempt: whenever the attempt is looked at, and when it is cut off in the middle and
/// its future is dropped.
pub(crate) struct Watch<'a, 'w> {
    pub(crate) taken: Arc<AtomicBool>,
    pub(crate) cx: &'a SendContext<'w>,
}

impl Watch<'_, '_> {
    pub(crate) fn written(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn report(&self) {
        if self.written() {
            self.cx.written();
        }
    }
}

impl Drop for Watch<'_, '_> {
    fn drop(&mut self) {
        self.report();
    }
}
