//! The one error type: a kind to match, a retry advice, and texts without secrets.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Display};
use std::time::Duration;

use crate::text::{Unit, cut};

/// The result of most functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error. One pointer wide.
///
/// Display is one line, `path: message [key=value …]`, without the cause: callers walk [`source`](StdError::source).
/// Neither message nor context ever holds params, URLs or other people's error texts, which may quote secrets.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    path: Cow<'static, str>,
    message: Cow<'static, str>,
    retry: Retry,
    ambiguous: bool,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kind of an error, to match on. It is also the metrics label and the start of a stored reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A notification or its params are wrong.
    ParamsInvalid,
    /// No sender of that kind is linked.
    UnknownKind,
    /// Two senders claim one kind.
    DuplicateKind,
    /// `{"secret": "NAME"}` names a secret that does not exist or is not a JSON object.
    SecretNotFound,
    /// A run document is not a run.
    RunInvalid,
    /// The target refuses the credentials.
    Unauthorized,
    /// The target asks to slow down.
    RateLimited,
    /// The target refuses this message permanently.
    Rejected,
    /// The target cannot be reached, or fails on its side.
    Unreachable,
    /// The target did not answer in time.
    Timeout,
    /// A payload could not be made.
    Render,
    /// The queue of an embedded notifier is full, or it is shut down.
    QueueFull,
    /// A fault of Runbell's or of a plugin's.
    Internal,
}

impl ErrorKind {
    /// The kind as it is printed: `rate_limited`.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::ParamsInvalid => "params_invalid",
            ErrorKind::UnknownKind => "unknown_kind",
            ErrorKind::DuplicateKind => "duplicate_kind",
            ErrorKind::SecretNotFound => "secret_not_found",
            ErrorKind::RunInvalid => "run_invalid",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::Rejected => "rejected",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Render => "render",
            ErrorKind::QueueFull => "queue_full",
            ErrorKind::Internal => "internal",
        }
    }

    /// Whether the configuration is at fault, so that an attempt is useless.
    pub fn is_configuration(self) -> bool {
        matches!(
            self,
            ErrorKind::ParamsInvalid
                | ErrorKind::UnknownKind
                | ErrorKind::DuplicateKind
                | ErrorKind::SecretNotFound
                | ErrorKind::RunInvalid
        )
    }
}

/// Whether another attempt can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Another attempt would fail too.
    Never,
    /// A later attempt may succeed; the retry policy gives the time.
    Backoff,
    /// A later attempt may succeed, after the target's Retry-After.
    After(Duration),
}

impl Error {
    /// A permanent error; see [`retry`](Self::retry) for the others.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Error(Box::new(Inner {
            kind,
            path: Cow::Borrowed(""),
            message: message.into(),
            retry: Retry::Never,
            ambiguous: false,
            context: Vec::new(),
            source: None,
        }))
    }

    /// Names the field at fault, such as `params.url`. It is printed before the message.
    #[must_use]
    pub fn at(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        self.0.path = path.into();
        self
    }

    /// Adds a likely remedy to the message.
    #[must_use]
    pub fn hinting(mut self, hint: &str) -> Self {
        self.0.message = format!("{}; {hint}", self.0.message).into();
        self
    }

    /// Adds the target's own words to the message. They must be one line, and free of secrets.
    #[must_use]
    pub fn quoting(mut self, words: &str) -> Self {
        self.0.message = format!("{}; it says \"{words}\"", self.0.message).into();
        self
    }

    /// Adds `key=value` to the printed text. Ids, statuses and limits only; never params or URLs.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Keeps the cause, for callers that walk [`source`](StdError::source). It must not quote secrets.
    #[must_use]
    pub fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// Marks that another attempt may help.
    #[must_use]
    pub fn retry(mut self) -> Self {
        self.0.retry = Retry::Backoff;
        self
    }

    /// Sets the target's wait before the next attempt.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry = Retry::After(wait);
        self
    }

    /// Marks that the message may have arrived all the same.
    #[must_use]
    pub fn ambiguous(mut self) -> Self {
        self.0.ambiguous = true;
        self
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// A value of the context, such as the `status` of an answer.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.context.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
    }

    /// The field at fault, such as `params.url`. Empty where no single field is at fault.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The message without its path and context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether another attempt can help.
    pub fn retry_advice(&self) -> Retry {
        self.0.retry
    }

    /// Whether the message may have arrived all the same.
    pub fn is_ambiguous(&self) -> bool {
        self.0.ambiguous
    }

    /// The reason as it is reported and stored: kind, message and context, at most 255 characters.
    ///
    /// 255 is the width of MLRun's `reason` column.
    pub fn reason(&self) -> String {
        let text = format!("{}: {self}", self.0.kind.as_str());
        cut(&text, 255, Unit::Characters).into_owned()
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.path.is_empty() {
            write!(f, "{}: ", self.0.path)?;
        }
        f.write_str(&self.0.message)?;
        for (index, (key, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{key}={value}", if index == 0 { " [" } else { " " })?;
        }
        if self.0.context.is_empty() { Ok(()) } else { f.write_str("]") }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("path", &self.0.path)
            .field("message", &self.0.message)
            .field("retry", &self.0.retry)
            .field("ambiguous", &self.0.ambiguous)
            .field("context", &self.0.context)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_line_with_context() {
        let error = Error::new(ErrorKind::RateLimited, "slack asks to slow down")
            .with("status", 429)
            .with("wait", "3s")
            .retry_after(Duration::from_secs(3));
        assert_eq!(error.to_string(), "slack asks to slow down [status=429 wait=3s]");
        assert_eq!(error.reason(), "rate_limited: slack asks to slow down [status=429 wait=3s]");
        assert_eq!(error.retry_advice(), Retry::After(Duration::from_secs(3)));
    }

    #[test]
    fn the_path_stands_before_the_message_and_apart_from_it() {
        let error = Error::new(ErrorKind::ParamsInvalid, "must be: a port").at("params.server_port");
        assert_eq!(error.to_string(), "params.server_port: must be: a port");
        assert_eq!((error.path(), error.message()), ("params.server_port", "must be: a port"));
        assert_eq!(Error::new(ErrorKind::Internal, "kind: none").path(), "");
    }

    #[test]
    fn reasons_fit_255_characters() {
        let reason = Error::new(ErrorKind::Rejected, "é".repeat(400)).reason();
        assert_eq!(reason.chars().count(), 255);
        assert!(reason.ends_with('…'));
    }

    #[test]
    fn a_result_stays_small() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }
}
