//! The contract of a store: no delivery is lost, none is made twice, and the oldest goes first.
//!
//! A list of named cases, each on a store of its own. [`store_contract!`](crate::store_contract) makes a test of each.

mod bench;
mod destinations;
mod history;
mod queue;
mod records;

pub use bench::StoreBench;

/// Makes a test of every case of the store contract: `store_contract!(bench);`, where `bench` is an async function that makes a
/// [`StoreBench`].
#[macro_export]
macro_rules! store_contract {
    ($make:path) => {
        $crate::store_contract!(@cases $make;
            runs_and_versions same_key_same_news lists_of_notifications a_list_replaces_unfinished_deliveries leases
            leases_from_the_start the_run_as_it_was older_news_goes_first newer_news_hurries_a_retry
            newer_news_that_is_cancelled_hurries_nothing a_replay_takes_its_old_place endings replay_and_cancel
            many_at_once two_handles steps_travel jobs_without_a_run wakeups
            destinations_take_turns projects_take_turns_at_a_destination buckets_take_turns_at_a_destination
            no_room_no_lease a_destination_that_is_down_is_probed a_destination_that_heals
            a_bucket_that_asks_to_slow_down a_bucket_that_keeps_a_pace a_lost_lease_still_reports_on_its_destination
            a_destination_that_is_down_is_not_forgotten deliveries_to_a_destination_that_is_down_for_too_long_end an_unknown_destination
            a_destination_may_change a_new_flow_key
            lists_and_pages verdicts_and_latest_deliveries replays_under_a_new_key lists_of_runs pruning
            secrets tokens_projects_tasks);
    };
    (@cases $make:path; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::run_store_case(stringify!($case), $make().await).await;
            }
        )*
    };
}

/// Runs one case of the store contract.
///
/// # Panics
/// When a check of the case fails, naming it; and for a case that does not exist.
pub async fn run_store_case(case: &str, bench: StoreBench) {
    let bench = &bench;
    bench.at(0);
    match case {
        "runs_and_versions" => queue::runs_and_versions(bench).await,
        "same_key_same_news" => queue::same_key_same_news(bench).await,
        "lists_of_notifications" => queue::lists_of_notifications(bench).await,
        "a_list_replaces_unfinished_deliveries" => queue::a_list_replaces_unfinished_deliveries(bench).await,
        "leases" => queue::leases(bench).await,
        "leases_from_the_start" => queue::leases_from_the_start(bench).await,
        "the_run_as_it_was" => queue::the_run_as_it_was(bench).await,
        "older_news_goes_first" => queue::older_news_goes_first(bench).await,
        "newer_news_hurries_a_retry" => queue::newer_news_hurries_a_retry(bench).await,
        "newer_news_that_is_cancelled_hurries_nothing" => {
            queue::newer_news_that_is_cancelled_hurries_nothing(bench).await;
        }
        "a_replay_takes_its_old_place" => queue::a_replay_takes_its_old_place(bench).await,
        "endings" => queue::endings(bench).await,
        "replay_and_cancel" => queue::replay_and_cancel(bench).await,
        "many_at_once" => queue::many_at_once(bench).await,
        "two_handles" => queue::two_handles(bench).await,
        "steps_travel" => queue::steps_travel(bench).await,
        "jobs_without_a_run" => queue::jobs_without_a_run(bench).await,
        "wakeups" => queue::wakeups(bench).await,
        "destinations_take_turns" => destinations::destinations_take_turns(bench).await,
        "projects_take_turns_at_a_destination" => destinations::projects_take_turns(bench).await,
        "buckets_take_turns_at_a_destination" => destinations::buckets_take_turns(bench).await,
        "no_room_no_lease" => destinations::no_room_no_lease(bench).await,
        "a_destination_that_is_down_is_probed" => destinations::a_destination_that_is_down_is_probed(bench).await,
        "a_destination_that_heals" => destinations::a_destination_that_heals(bench).await,
        "a_bucket_that_asks_to_slow_down" => destinations::a_bucket_that_asks_to_slow_down(bench).await,
        "a_bucket_that_keeps_a_pace" => destinations::a_bucket_that_keeps_a_pace(bench).await,
        "a_lost_lease_still_reports_on_its_destination" => {
            destinations::a_lost_lease_still_reports_on_its_destination(bench).await;
        }
        "a_destination_that_is_down_is_not_forgotten" => {
            destinations::a_destination_that_is_down_is_not_forgotten(bench).await;
        }
        "deliveries_to_a_destination_that_is_down_for_too_long_end" => {
            destinations::deliveries_to_a_destination_that_is_down_for_too_long_end(bench).await
        }
        "an_unknown_destination" => destinations::an_unknown_destination(bench).await,
        "a_destination_may_change" => destinations::a_destination_may_change(bench).await,
        "a_new_flow_key" => destinations::a_new_flow_key(bench).await,
        "lists_and_pages" => history::lists_and_pages(bench).await,
        "verdicts_and_latest_deliveries" => history::verdicts_and_latest_deliveries(bench).await,
        "replays_under_a_new_key" => history::replays_under_a_new_key(bench).await,
        "lists_of_runs" => history::lists_of_runs(bench).await,
        "pruning" => history::pruning(bench).await,
        "secrets" => records::secrets(bench).await,
        "tokens_projects_tasks" => records::tokens_projects_tasks(bench).await,
        other => panic!("store_contract: there is no case {other}"),
    }
}
