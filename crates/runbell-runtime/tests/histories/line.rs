//! The result of one notification of one change. Both places return these lines.

/// The attempts and the end of one notification of one change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) change: usize,
    pub(crate) lane: usize,
    /// When each attempt began, in milliseconds since the history began.
    pub(crate) attempts: Vec<u64>,
    pub(crate) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Sent,
    Failed,
    Superseded,
    /// The notification's `when` lacks the state.
    Skipped,
}
