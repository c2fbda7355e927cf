//! Slack's limits, and the cost of a block.
//!
//! Single limits are from Slack's Block Kit reference. The one on all blocks together is not documented; messages
//! are refused with `msg_blocks_too_long` from about 13,200 characters on, and containers count
//! (slackapi/bolt-js#2509 and #2867), so the JSON around a text is counted here too.

/// Blocks in a message.
pub(crate) const BLOCKS: usize = 50;

/// Characters in a header.
pub(crate) const HEADER: usize = 150;

/// Characters in a section's text.
pub(crate) const SECTION: usize = 3_000;

/// Characters in one of a section's fields.
pub(crate) const FIELD: usize = 2_000;

/// Fields in a section. Slack takes 10; MLRun uses 8, four runs.
pub(crate) const FIELDS: usize = 8;

/// Characters in all blocks together.
pub(crate) const TOTAL: usize = 13_000;

/// The cost of a block beside its texts: `{"type":"context","elements":[]},`.
pub(crate) const BLOCK_COST: usize = 40;

/// The cost of a text beside its characters: `{"type":"mrkdwn","text":"","verbatim":true},`.
pub(crate) const TEXT_COST: usize = 46;
