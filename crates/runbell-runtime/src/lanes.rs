//! Order: of one run and one notification, older news goes first, and is overtaken when it cannot.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};

use runbell_core::RunSnapshot;

use crate::flag::Flag;

/// The lanes of one process: one for each run and notification that has news on the way.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    hasher: RandomState,
    last: Mutex<HashMap<u64, Arc<Place>>>,
}

#[derive(Debug, Default)]
struct Place {
    /// Newer news waits behind this one.
    overtaken: Flag,
    /// This one is sent or given up.
    done: Flag,
}

/// A place in a lane. Dropping it frees the lane.
#[derive(Debug)]
pub(crate) struct Ticket {
    lanes: Arc<Lanes>,
    lane: u64,
    place: Arc<Place>,
    before: Option<Arc<Place>>,
}

impl Lanes {
    /// Takes the next place. The order of calls is the order of news, so this is called before anything is awaited.
    pub(crate) fn enter(self: &Arc<Self>, run: &RunSnapshot, notification: &str) -> Ticket {
        // Two lanes that share a hash merely wait for each other.
        let lane = self.hasher.hash_one((run.project(), run.uid(), run.iteration(), notification));
        let place = Arc::new(Place::default());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.insert(lane, Arc::clone(&place));
        if let Some(before) = &before {
            before.overtaken.set();
        }
        Ticket { lanes: Arc::clone(self), lane, place, before }
    }
}

impl Ticket {
    /// Waits until the news before this one is sent or given up.
    pub(crate) async fn wait_for_older(&mut self) {
        if let Some(before) = self.before.take() {
            before.done.wait().await;
        }
    }

    /// Waits until newer news wants to pass.
    pub(crate) async fn overtaken(&self) {
        self.place.overtaken.wait().await;
    }

    /// Whether newer news wants to pass.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.place.overtaken.is_set()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.place.done.set();
        let mut last = self.lanes.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(entry) = last.entry(self.lane)
            && Arc::ptr_eq(entry.get(), &self.place)
        {
            entry.remove();
        }
    }
}
