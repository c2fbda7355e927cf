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
    /// Newer news that will be sent waits behind this one.
    overtaken: Flag,
    /// This one is sent, given up, or was never to be sent.
    done: Flag,
    /// What was before this one and is not yet known to be done.
    before: Mutex<Option<Arc<Place>>>,
}

impl Place {
    fn before(&self) -> Option<Arc<Place>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_before(&self, before: Option<Arc<Place>>) {
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = before;
    }
}

/// A place in a lane. Dropping it frees the place; what was before it keeps its own.
#[derive(Debug)]
pub(crate) struct Ticket {
    lanes: Arc<Lanes>,
    lane: u64,
    place: Arc<Place>,
}

impl Lanes {
    /// Takes the next place. The order of calls is the order of news, so this is called before anything is awaited.
    pub(crate) fn enter(self: &Arc<Self>, run: &RunSnapshot, notification: &str) -> Ticket {
        // Two lanes that share a hash merely wait for each other.
        let lane = self.hasher.hash_one((run.project(), run.uid(), run.iteration(), notification));
        let place = Arc::new(Place::default());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        place.set_before(last.insert(lane, Arc::clone(&place)));
        Ticket { lanes: Arc::clone(self), lane, place }
    }
}

impl Ticket {
    /// Says that this news will be sent, so that older news need not try for long any more, and waits until the older
    /// is sent or given up. News that is skipped never calls this, and overtakes nothing.
    pub(crate) async fn wait_for_older(&self) {
        let mut older = self.place.before();
        while let Some(place) = older {
            place.overtaken.set();
            older = place.before();
        }
        while let Some(before) = self.place.before() {
            before.done.wait().await;
            // A place that was left without sending stood behind others, which still count.
            self.place.set_before(before.before());
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
        let before = self.place.before().filter(|before| !before.done.is_set());
        let mut last = self.lanes.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = last.entry(self.lane)
            && Arc::ptr_eq(entry.get(), &self.place)
        {
            match before {
                Some(before) => drop(entry.insert(before)),
                None => drop(entry.remove()),
            }
        }
    }
}
