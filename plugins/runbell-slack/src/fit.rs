//! Slack's limits, and the choice of what is shown when not everything fits.
//!
//! Single limits are from Slack's Block Kit reference. The one on all blocks together is not documented; messages
//! are refused with `msg_blocks_too_long` from about 13,200 characters on, and containers count
//! (slackapi/bolt-js#2509 and #2867), so what stands around a text is counted here too.

use crate::label::Row;

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

/// What a block costs beside its texts: `{"type":"context","elements":[]},`.
pub(crate) const BLOCK_COST: usize = 40;

/// What a text costs beside its characters: `{"type":"mrkdwn","text":"","verbatim":true},`.
pub(crate) const TEXT_COST: usize = 46;

/// To how many characters results are cut, one step after the other, before a run is left out.
const STEPS: [usize; 4] = [FIELD, 1_000, 500, 200];

/// What is shown of the runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The runs that are shown, in their order.
    pub(crate) shown: Vec<usize>,
    /// How long each result may be.
    pub(crate) result: usize,
}

/// Chooses what is shown in `blocks` blocks and `room` characters; `more` is the cost of saying that runs are left
/// out.
///
/// Results get shorter first, all to the same length. Only then runs are left out: the first, which is the run
/// itself, stays; then the failed ones, for they are what the reader needs; then the others, all in their order.
pub(crate) fn plan(rows: &[Row<'_>], blocks: usize, room: usize, more: usize) -> Plan {
    let most = (blocks * FIELDS / 2).saturating_sub(1);
    let cost = |row: &Row<'_>, result: usize| {
        crate::escape::units(&row.label) + row.result_units.min(result) + 2 * TEXT_COST + BLOCK_COST / (FIELDS / 2)
    };
    // The two titles, and a block that is not full.
    let room = room.saturating_sub(2 * (TEXT_COST + 10) + BLOCK_COST);
    for result in STEPS {
        if rows.len() <= most && rows.iter().map(|row| cost(row, result)).sum::<usize>() <= room {
            return Plan { shown: (0..rows.len()).collect(), result };
        }
    }
    let result = STEPS[STEPS.len() - 1];
    let (mut room, most) = (room.saturating_sub(more), (blocks.saturating_sub(1) * FIELDS / 2).saturating_sub(1));
    let failed = (1..rows.len()).filter(|index| rows[*index].failed);
    let others = (1..rows.len()).filter(|index| !rows[*index].failed);
    let mut shown = Vec::new();
    for index in std::iter::once(0).chain(failed).chain(others).take(most) {
        let cost = cost(&rows[index], result);
        if cost > room {
            break;
        }
        room -= cost;
        shown.push(index);
    }
    shown.sort_unstable();
    Plan { shown, result }
}
