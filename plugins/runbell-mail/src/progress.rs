//! Remembers the recipients of a mail that the server has accepted already, when it put others off.
//!
//! A server may take a mail for some recipients and put others off (greylisting, a full mailbox). The next attempt is
//! for the others only, so that no recipient gets it twice. This is kept in memory: after a restart the mail goes to all of
//! them again, with the same Message-ID.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use runbell_core::DeliveryKey;

use crate::failure::Refusal;

/// How many mails are remembered; the oldest is forgotten first.
const REMEMBERED: usize = 1_000;

/// The state of a mail's recipients.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Recipients that the server accepted.
    pub(crate) done: Vec<String>,
    /// Recipients that the server refused for good.
    pub(crate) refused: Vec<(String, Refusal)>,
}

impl Progress {
    /// Whether a recipient is done.
    pub(crate) fn settles(&self, recipient: &str) -> bool {
        self.done.iter().any(|done| done == recipient) || self.refused.iter().any(|(refused, _)| refused == recipient)
    }
}

/// The mails that are under way, in the process's type map.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<VecDeque<(DeliveryKey, Progress)>>);

impl Memory {
    /// The state remembered of a mail. It stays remembered: an attempt may be cut off before it reports a new one.
    pub(crate) fn of(&self, key: DeliveryKey) -> Progress {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(other, _)| *other == key).map(|(_, progress)| progress.clone()).unwrap_or_default()
    }

    /// Remembers a state for the next attempt, in place of the earlier one.
    pub(crate) fn keep(&self, key: DeliveryKey, progress: Progress) {
        self.forget(key);
        if progress.done.is_empty() && progress.refused.is_empty() {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.pop_front();
        }
        all.push_back((key, progress));
    }

    /// Forgets a mail that gets no further attempt.
    pub(crate) fn forget(&self, key: DeliveryKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != key);
    }
}
