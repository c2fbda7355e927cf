//! The API keeps what its description says.
