//! The choice of the runs that are shown when not everything fits into Slack's limits.

use crate::escape::units;
use crate::label::Row;
use crate::limits::{BLOCK_COST, FIELD, FIELDS, TEXT_COST};

/// To how many characters results are cut, one step after the other, before a run is left out.
const STEPS: [usize; 4] = [FIELD, 1_000, 500, 200];

/// The choice: which runs are shown, and how much of their results.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The runs that are shown, in their order.
    pub(crate) shown: Vec<usize>,
    /// How long each result may be.
    pub(crate) result: usize,
}

/// Chooses the runs for `blocks` blocks and `room` characters; `more` is the cost of the line that counts the runs left
/// out.
///
/// Results get shorter first, all to the same length. Only then runs are left out: the first, which is the run
/// itself, stays; then the failed ones, which the reader needs most; then the others, all in their order.
pub(crate) fn plan(rows: &[Row<'_>], blocks: usize, room: usize, more: usize) -> Plan {
    let most = (blocks * FIELDS / 2).saturating_sub(1);
    let cost = |row: &Row<'_>, result: usize| {
        units(&row.label) + row.result_units.min(result) + 2 * TEXT_COST + BLOCK_COST / (FIELDS / 2)
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
