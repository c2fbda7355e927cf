//! The queue of a delivery: its destination, and the bucket to which the target's limits apply.

use std::fmt::{self, Debug};

use sha2::{Digest, Sha256};

use crate::sender::Limits;

/// A keyed hash of a destination or a bucket: 16 bytes. Their names may be secret, so no name is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FlowHash(pub [u8; 16]);

impl Debug for FlowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to distinguish destinations in a log.
        write!(f, "{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

/// A destination and one of its buckets. The default is an unknown destination: its sender was not built yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flow {
    /// Host and port.
    pub destination: FlowHash,
    /// The bucket to which the target's limits apply; all zeros if it is unknown.
    pub bucket: FlowHash,
}

impl Flow {
    /// Whether the destination is known.
    pub fn is_known(&self) -> bool {
        *self != Flow::default()
    }

    /// Whether the kind names the bucket.
    pub fn has_bucket(&self) -> bool {
        self.bucket != FlowHash::default()
    }
}

/// Makes flows of limits. Two keys make different hashes of one name.
#[derive(Clone)]
pub struct FlowKey([u8; 32]);

impl Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FlowKey(***)")
    }
}

impl FlowKey {
    /// A key of 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        FlowKey(random)
    }

    /// The flow of a sender's limits.
    pub fn flow(&self, limits: &Limits) -> Flow {
        let destination = self.hash("destination", &limits.destination);
        let bucket = limits.bucket.as_deref().map_or_else(FlowHash::default, |bucket| self.hash("bucket", bucket));
        Flow { destination, bucket }
    }

    fn hash(&self, role: &str, name: &str) -> FlowHash {
        let digest =
            Sha256::new().chain_update(self.0).chain_update(role).chain_update([0]).chain_update(name).finalize();
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        FlowHash(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_differ_by_key_destination_and_bucket() {
        let (key, other) = (FlowKey::new([1; 32]), FlowKey::new([2; 32]));
        let plain = Limits::of("h:1");
        let bucket = Limits { bucket: Some("h:1".into()), ..plain.clone() };
        assert_eq!(key.flow(&plain), key.flow(&Limits::of("h:1")));
        assert_ne!(key.flow(&plain), other.flow(&plain));
        assert_ne!(key.flow(&plain), key.flow(&Limits::of("h:2")));
        assert_ne!(key.flow(&plain), key.flow(&bucket));
        assert!(key.flow(&bucket).has_bucket() && !key.flow(&plain).has_bucket() && key.flow(&plain).is_known());
        assert_ne!(key.flow(&bucket).bucket, key.flow(&bucket).destination, "the role counts");
    }
}
