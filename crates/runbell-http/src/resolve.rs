//! Resolves names under a guard: an address that is refused is never handed to the connector.
//!
//! The check stands here, and not only where params are validated, because a name may resolve to something else by
//! the time it is connected to.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use runbell_core::Egress;

/// Every address of a name is refused; the text names their type.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// The system's resolver, filtered.
#[derive(Debug, Clone)]
pub(crate) struct Guarded(pub(crate) Arc<Egress>);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = Arc::clone(&self.0);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(filter(&egress, found)?)
        })
    }
}

fn filter(egress: &Egress, found: Vec<SocketAddr>) -> Result<Addrs, Refused> {
    let allowed = egress.filter(found, SocketAddr::ip).map_err(|error| Refused(error.message().to_owned()))?;
    Ok(Box::new(allowed.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_addresses_are_dropped_and_only_refused_ones_are_an_error() {
        let egress = Egress::guarded([]);
        let parse = |all: &[&str]| all.iter().map(|one| one.parse().expect("an address")).collect::<Vec<SocketAddr>>();
        let mixed = filter(&egress, parse(&["10.0.0.1:0", "93.184.216.34:0", "[::1]:0"])).expect("one is public");
        assert_eq!(mixed.collect::<Vec<_>>(), parse(&["93.184.216.34:0"]));
        let none = filter(&egress, parse(&["127.0.0.1:0", "[::1]:0"])).err().expect("none is public");
        assert!(none.to_string().contains("is loopback"), "{none}");
        assert_eq!(filter(&egress, Vec::new()).expect("no address is no refusal").count(), 0);
    }
}
