//! Runbell's model: notifications, runs, the decision whether a run sends a notification, and the traits that a plugin
//! implements to send it.
//!
//! **Invariant:** no I/O but the environment look-up and output handed in through [`BuildContext`]; no tokio, HTTP,
//! SQL or templates. Every decision here is a pure function.
//!
//! **Invariant:** nothing in this crate prints a secret. [`Secret`] masks itself, [`Error`] holds no params, and
//! the texts of serde's errors, which quote values, are dropped where they arise.
//!
//! Writing a kind takes three things: a params type, a [`Sender`], and a [`SenderKind`] that ties them together;
//! [`register_sender!`] links it. `runbell-testkit` tests it.

mod clock;
mod context;
pub mod delivery;
mod egress;
mod error;
mod findings;
mod flow;
mod job;
mod key;
mod message;
mod note;
mod notification;
mod payload;
mod registry;
mod retry;
mod run;
pub mod schema;
mod secret;
mod sender;
mod state;
mod suggest;
pub mod text;
mod transition;
pub mod value;
mod verdict;

#[doc(hidden)]
pub use inventory;

pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use clock::{Clock, SystemClock, Timestamp};
pub use context::{BuildContext, EmptyEnv, Env, Output, ProcessEnv, Shared, Site};
pub use egress::{CA_FILE, Decision, Egress};
pub use error::{Error, ErrorKind, Result, Retry};
pub use findings::{Finding, FindingCode, Findings, Level};
pub use flow::{Flow, FlowHash, FlowKey};
pub use ipnet::IpNet;
pub use job::{Job, Lane, Look, Subject};
pub use key::DeliveryKey;
pub use message::{Links, Message};
pub use note::{Note, NoteCode};
pub use notification::{MAX_SECRET_PARAMS, Notification, SECRET_KEY};
pub use payload::{
    CustomPayload, HeaderValue, HttpHeader, HttpRequest, MailMessage, PER_ATTEMPT, Payload, Preview, Rendered,
};
pub use registry::{Registered, RegisteredKind, Registration, Registry};
pub use retry::RetryPolicy;
pub use run::{Run, RunMetadata, RunSnapshot, RunSpec, RunStatus, RunView};
pub use secret::{MASK, REDACTED, Secret, SecretValues};
pub use sender::{ATTEMPT_TIMEOUT, Layer, Limits, Pace, Place, Receipt, SendContext, Sender, SenderKind};
pub use state::{RunState, Severity, UnknownWord};
pub use suggest::nearest;
pub use transition::{Transition, time_of};
pub use value::{Map, Value};
pub use verdict::{ConditionOutcome, Reason, Verdict, shown_detail, verdict};
