//! Deliveries whose destination had no room: they wait in the store, and are made due when there is.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// How many are remembered for each destination. The store's own time makes the others due.
const REMEMBERED: usize = 100_000;

/// Which deliveries wait for which destination, the one that came first in front.
#[derive(Debug, Default)]
pub(super) struct Parking(Mutex<HashMap<Arc<str>, VecDeque<i64>>>);

impl Parking {
    /// Notes that a delivery waits.
    pub(super) fn park(&self, destination: &Arc<str>, id: i64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.entry(Arc::clone(destination)).or_default();
        if waiting.len() < REMEMBERED {
            waiting.push_back(id);
        }
    }

    /// The next ones that may go, at most `room`.
    pub(super) fn leave(&self, destination: &str, room: usize) -> Vec<i64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = all.get_mut(destination) else { return Vec::new() };
        let leaving = waiting.drain(..room.min(waiting.len())).collect();
        if waiting.is_empty() {
            all.remove(destination);
        }
        leaving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_come_first_served() {
        let (parking, name) = (Parking::default(), Arc::from("h:1"));
        (1..=3).for_each(|id| parking.park(&name, id));
        assert_eq!(parking.leave("h:1", 2), [1, 2]);
        assert_eq!(parking.leave("other:1", 2), [0_i64; 0]);
        assert_eq!(parking.leave("h:1", 9), [3]);
        assert_eq!(parking.leave("h:1", 9), [0_i64; 0]);
    }
}
