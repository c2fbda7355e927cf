//! Decides the sending process of a notification: this one, or the server.
//!
//! Pure. **Invariant:** a kind that is here-only never leaves this process, regardless of the caller's options.

use runbell_core::Place;

/// The sending process of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispatch {
    /// This process.
    Here,
    /// The server.
    Server,
}

/// The sending process of a notification, by the place of its kind and the presence of a server.
pub fn route(place: Place, has_server: bool) -> Dispatch {
    match (place, has_server) {
        (Place::Anywhere, true) => Dispatch::Server,
        (Place::Anywhere, false) | (Place::HereOnly, _) => Dispatch::Here,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_print_here_stay_here() {
        for (place, has_server, expected) in [
            (Place::Anywhere, false, Dispatch::Here),
            (Place::Anywhere, true, Dispatch::Server),
            (Place::HereOnly, false, Dispatch::Here),
            (Place::HereOnly, true, Dispatch::Here),
        ] {
            assert_eq!(route(place, has_server), expected, "{place:?}, server: {has_server}");
        }
    }
}
