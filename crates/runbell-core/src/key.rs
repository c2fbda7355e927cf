//! The delivery key: the same for the same news.

use std::fmt::{self, Debug, Display};

use sha2::{Digest, Sha256};

use crate::run::RunSnapshot;
use crate::state::RunState;

/// Identifies one piece of news: `rb_` and 32 hexadecimal digits.
///
/// It is sent as `webhook-id`, as `Message-ID` and in the marker of a git comment, so that a receiver can distinguish a
/// repeated delivery from a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryKey([u8; 16]);

impl DeliveryKey {
    /// The key of a notification about a run that entered a state.
    ///
    /// `generation` counts the lists of notifications a run has had on a server; 0 where there is none.
    pub fn new(run: &RunSnapshot, name: &str, state: RunState, generation: u64) -> Self {
        let (iteration, retries) = (run.iteration().to_string(), run.retry_count().to_string());
        let generation = generation.to_string();
        Self::of(&[run.project(), run.uid(), &iteration, name, state.as_str(), &retries, &generation])
    }

    /// The key of anything else, from the parts that identify it.
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // The leading length distinguishes ("ab", "c") from ("a", "bc").
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        DeliveryKey(key)
    }
}

impl DeliveryKey {
    /// Parses a printed key; `None` for another text.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("rb_").filter(|digits| digits.len() == 32 && !digits.starts_with('+'))?;
        u128::from_str_radix(digits, 16).ok().map(|number| DeliveryKey(number.to_be_bytes()))
    }
}

impl Display for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rb_{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Debug for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Run, RunView as _};

    #[test]
    fn every_part_counts_and_the_boundaries_do() {
        let run = |name: &str, uid: &str| Run::new(name, uid).freeze().expect("a run");
        let base = DeliveryKey::new(&run("n", "u"), "a", RunState::Completed, 0);
        assert_eq!(base, DeliveryKey::new(&run("other name, same run", "u"), "a", RunState::Completed, 0));
        for other in [
            DeliveryKey::new(&run("n", "v"), "a", RunState::Completed, 0),
            DeliveryKey::new(&run("n", "u"), "b", RunState::Completed, 0),
            DeliveryKey::new(&run("n", "u"), "a", RunState::Running, 0),
            DeliveryKey::new(&run("n", "u"), "a", RunState::Completed, 1),
        ] {
            assert_ne!(base, other);
        }
        assert_ne!(DeliveryKey::of(&["ab", "c"]), DeliveryKey::of(&["a", "bc"]));
        let shown = base.to_string();
        assert_eq!(DeliveryKey::parse(&shown), Some(base));
        assert_eq!(DeliveryKey::parse(&shown[1..]), None);
        assert!(shown.len() == 35 && shown.starts_with("rb_") && shown[3..].bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
