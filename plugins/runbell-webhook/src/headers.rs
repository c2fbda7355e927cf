//! The headers that Runbell sets.

/// The header that carries the delivery key, by which a receiver knows a repeated delivery.
pub const ID_HEADER: &str = "webhook-id";

/// The header that carries the time of signing, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";

/// The header that carries the signatures.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// Headers that are Runbell's; the last two only with `signing_secret`.
pub(crate) const OURS: &[&str] = &[ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER];

/// Headers that belong to one attempt.
pub(crate) const SIGNED: [&str; 2] = [TIMESTAMP_HEADER, SIGNATURE_HEADER];
