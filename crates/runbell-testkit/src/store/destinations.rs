//! The queue by destination: turns, holds and probes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runbell_core::delivery::{Held, Next, Outcome};
use runbell_core::{Flow, FlowHash, RetryPolicy, RunState};
use runbell_store::{
    Claim, Completion, DeliveryState, HoldChange, HoldTarget, LeasedDelivery, Recorded, Rooms, RunChange, RunKey, Share,
};

use super::bench::{LEASE, StoreBench, at, completion, everything, fails_for, flow, held_for, sent, transition};

/// A run that ended, with one delivery that waits for `flow`, in a project of its own.
fn waiting(project: &str, uid: &str, flow: Flow, seconds: i64) -> RunChange {
    let mut intake = transition(uid, None, RunState::Completed, &["a"], seconds);
    intake.run = RunKey { project: project.to_owned(), ..intake.run };
    intake.jobs.iter_mut().for_each(|new| new.flow = flow);
    intake
}

/// The same room for every destination but some, and shares for some buckets.
struct Room {
    each: usize,
    but: HashMap<FlowHash, usize>,
    shares: HashMap<FlowHash, Share>,
    asked: Mutex<Vec<FlowHash>>,
}

impl Room {
    fn of(each: usize) -> Self {
        Room { each, but: HashMap::new(), shares: HashMap::new(), asked: Mutex::default() }
    }
}

impl Rooms for Room {
    fn room(&self, destination: FlowHash, granted: &[(FlowHash, usize)]) -> usize {
        self.asked.lock().expect("no panic").push(destination);
        let given: usize = granted.iter().filter(|(other, _)| *other == destination).map(|(_, count)| count).sum();
        self.but.get(&destination).copied().unwrap_or(self.each).saturating_sub(given)
    }

    fn share(&self, flow: Flow) -> Share {
        self.shares.get(&flow.bucket).copied().unwrap_or(Share::UNLIMITED)
    }
}

fn claim_of(limit: usize, rooms: Room) -> Claim {
    Claim { limit, rooms: Arc::new(rooms), ..everything() }
}

fn by_destination(leased: &[LeasedDelivery]) -> BTreeMap<u8, usize> {
    let mut counts = BTreeMap::new();
    for one in leased {
        *counts.entry(one.flow.destination.0[0]).or_default() += 1;
    }
    counts
}

pub(super) async fn destinations_take_turns(bench: &StoreBench) {
    let check = bench.check("destinations take turns");
    for index in 0..30 {
        bench.intake(waiting("p", &format!("crowd-{index}"), flow(1), index)).await;
    }
    bench.intake(waiting("p", "lonely", flow(2), 40)).await;
    bench.intake(waiting("p", "alone", flow(3), 41)).await;
    // The crowd came first; others do not wait until it is through.
    let first = bench.claim_with(50, claim_of(6, Room::of(4))).await;
    check.equal("the first claim", &by_destination(&first.deliveries), &BTreeMap::from([(1, 4), (2, 1), (3, 1)]));
    let uids: Vec<&str> = first.deliveries.iter().filter_map(|one| Some(one.run.as_ref()?.uid.as_str())).collect();
    check.equal("the earliest due first", &uids, &vec!["crowd-0", "crowd-1", "crowd-2", "crowd-3", "lonely", "alone"]);
    check.equal("who had more than room", &first.without_room, &vec![flow(1).destination]);
    bench.intake(waiting("p", "later", flow(2), 51)).await;
    let second = bench.claim_with(52, claim_of(100, Room::of(4))).await;
    check.equal("the second claim", &by_destination(&second.deliveries), &BTreeMap::from([(1, 4), (2, 1)]));
}

pub(super) async fn projects_take_turns(bench: &StoreBench) {
    let check = bench.check("projects take turns at a destination");
    for index in 0..20 {
        bench.intake(waiting("loud", &format!("l{index}"), flow(1), index)).await;
    }
    for index in 0..3 {
        bench.intake(waiting("quiet", &format!("q{index}"), flow(1), 30 + index)).await;
    }
    let leased = bench.claim_with(40, claim_of(4, Room::of(100))).await.deliveries;
    let projects: Vec<&str> = leased.iter().map(|one| one.project.as_str()).collect();
    check.equal("whose they are", &projects, &vec!["loud", "loud", "quiet", "quiet"]);
}

pub(super) async fn buckets_take_turns(bench: &StoreBench) {
    let check = bench.check("buckets take turns at a destination");
    let bucket = |byte| Flow { bucket: FlowHash([byte; 16]), ..flow(1) };
    for index in 0..20 {
        bench.intake(waiting("p", &format!("a{index}"), bucket(7), index)).await;
    }
    bench.intake(waiting("p", "b", bucket(8), 30)).await;
    let leased = bench.claim_with(40, claim_of(4, Room::of(100))).await.deliveries;
    let buckets: Vec<u8> = leased.iter().map(|one| one.flow.bucket.0[0]).collect();
    check.equal("whose they are", &buckets, &vec![7, 7, 8]);
    let rest = bench.claim_with(40, claim_of(100, Room::of(100))).await.deliveries;
    check.equal("the rest", &rest.len(), &18);
}

pub(super) async fn no_room_no_lease(bench: &StoreBench) {
    let check = bench.check("no room, no lease");
    bench.intake(waiting("p", "u", flow(1), 0)).await;
    bench.intake(waiting("p", "v", flow(2), 1)).await;
    let full = Room { but: HashMap::from([(flow(1).destination, 0)]), ..Room::of(4) };
    let claimed = bench.claim_with(2, claim_of(100, full)).await;
    check.equal("what is leased", &by_destination(&claimed.deliveries), &BTreeMap::from([(2, 1)]));
    check.equal("what has no room", &claimed.without_room, &vec![flow(1).destination]);
    check.equal("when to look again", &claimed.next, &Some(LEASE));
    let claimed = bench.claim_with(3, claim_of(100, Room::of(4))).await;
    check.equal("once there is room", &by_destination(&claimed.deliveries), &BTreeMap::from([(1, 1)]));
}

fn hold(target: HoldTarget, seconds: Option<u64>) -> Vec<HoldChange> {
    vec![HoldChange { target, hold: seconds.map(Duration::from_secs) }]
}

/// Fails one delivery of a destination, which opens its breaker for so long.
async fn take_down(bench: &StoreBench, leased: &LeasedDelivery, open_for: u64, seconds: i64) {
    let holds = hold(HoldTarget::Destination(leased.flow.destination), Some(open_for));
    let completion = Completion { holds, ..completion(leased.lease, fails_for(5), leased.flow) };
    bench.complete_with(completion, seconds).await;
}

pub(super) async fn a_destination_that_is_down_is_probed(bench: &StoreBench) {
    let check = bench.check("a destination that is down is probed");
    for index in 0..10 {
        bench.intake(waiting("p", &format!("u{index}"), flow(1), index)).await;
    }
    bench.intake(waiting("p", "other", flow(2), 10)).await;
    let first = bench.claim_with(11, claim_of(100, Room::of(1))).await.deliveries;
    check.equal("the first claim", &by_destination(&first), &BTreeMap::from([(1, 1), (2, 1)]));
    bench.complete(&first[1], sent(), 11).await;
    take_down(bench, &first[0], 30, 12).await;
    let holds = bench.store.holds(10).await.expect("read");
    let held: Vec<(FlowHash, u64)> = holds.iter().map(|hold| (hold.destination, hold.remaining.as_secs())).collect();
    check.equal("what is down", &held, &vec![(flow(1).destination, 30)]);
    // Nothing of it is looked at, and more that comes in changes nothing.
    bench.intake(waiting("p", "more", flow(1), 13)).await;
    let (room, asked) = asked(Room::of(100));
    let claimed = bench.claim_with(20, Claim { rooms: room, ..everything() }).await;
    check.equal("what is leased meanwhile", &claimed.deliveries.len(), &0);
    check.equal("what is looked at", &asked(), &vec![]);
    check.equal("when to look again", &claimed.next, &Some(Duration::from_secs(22)));
    // No probe is wanted: it waits on.
    let claimed = bench.claim_with(42, Claim { probes: 0, ..everything() }).await;
    check.equal("without a probe", &(claimed.deliveries.len(), claimed.more_probes), &(0, true));
    // One probe, the delivery that is due the earliest, and nothing beside it.
    let claimed = bench.claim_with(42, everything()).await;
    let uids: Vec<&str> = claimed.deliveries.iter().filter_map(|one| Some(one.run.as_ref()?.uid.as_str())).collect();
    check.equal("the probe", &(uids, claimed.more_probes), &(vec!["u1"], false));
    take_down(bench, &claimed.deliveries[0], 60, 43).await;
    check.equal("after it failed", &bench.claim(102).await.len(), &0);
    check.equal("the next probe", &bench.claim(103).await.len(), &1);
    let since = bench.store.holds(10).await.expect("read").remove(0).since;
    check.equal("down since", &since, &at(12));
}

type Asked = Box<dyn Fn() -> Vec<FlowHash>>;

fn asked(room: Room) -> (Arc<dyn Rooms>, Asked) {
    let room = Arc::new(room);
    let shared: Arc<dyn Rooms> = Arc::clone(&room) as Arc<dyn Rooms>;
    (shared, Box::new(move || room.asked.lock().expect("no panic").clone()))
}

pub(super) async fn a_destination_that_heals(bench: &StoreBench) {
    let check = bench.check("a destination that heals");
    for index in 0..10 {
        bench.intake(waiting("p", &format!("u{index}"), flow(1), index)).await;
    }
    let first = bench.claim_with(11, claim_of(100, Room::of(1))).await.deliveries.remove(0);
    take_down(bench, &first, 30, 11).await;
    let probe = bench.claim_with(41, everything()).await.deliveries.remove(0);
    let holds = hold(HoldTarget::Destination(probe.flow.destination), None);
    bench.complete_with(Completion { holds, ..completion(probe.lease, sent(), probe.flow) }, 42).await;
    check.equal("what is down", &bench.store.holds(10).await.expect("read").len(), &0);
    // What was never tried goes in the order in which it was accepted; the first failed once, and is due by its schedule.
    let uids: Vec<String> = bench.claim(42).await.into_iter().filter_map(|one| Some(one.run?.uid)).collect();
    let expected = ["u2", "u3", "u4", "u5", "u6", "u7", "u8", "u9", "u0"].map(str::to_owned).to_vec();
    check.equal("what goes out", &uids, &expected);
}

pub(super) async fn a_bucket_that_asks_to_slow_down(bench: &StoreBench) {
    let check = bench.check("a bucket that asks to slow down");
    let bucket = |byte| Flow { bucket: FlowHash([byte; 16]), ..flow(1) };
    for (project, uid, byte) in [("p", "a0", 7), ("p", "a1", 7), ("q", "a2", 7), ("p", "b", 8)] {
        bench.intake(waiting(project, uid, bucket(byte), 0)).await;
    }
    let first = bench.claim_with(1, claim_of(1, Room::of(100))).await.deliveries.remove(0);
    check.equal("the first", &first.flow, &bucket(7));
    let holds = hold(HoldTarget::Bucket(bucket(7)), Some(20));
    bench.complete_with(Completion { holds, ..completion(first.lease, fails_for(20), first.flow) }, 1).await;
    // Every project's share of the bucket waits, what comes in later too; the other bucket does not.
    bench.intake(waiting("r", "a3", bucket(7), 2)).await;
    let leased = bench.claim(3).await;
    check.equal("meanwhile", &leased.iter().map(|one| one.flow.bucket.0[0]).collect::<Vec<_>>(), &vec![8]);
    check.equal("when to look again", &bench.next(3).await, &Some(Duration::from_secs(18)));
    check.equal("afterwards", &bench.claim(21).await.len(), &4);
}

pub(super) async fn a_bucket_that_keeps_a_pace(bench: &StoreBench) {
    let check = bench.check("a bucket that keeps a pace");
    let bucket = |byte| Flow { bucket: FlowHash([byte; 16]), ..flow(1) };
    for index in 0..4 {
        bench.intake(waiting("p", &format!("a{index}"), bucket(7), index)).await;
        bench.intake(waiting("q", &format!("b{index}"), bucket(7), index)).await;
    }
    bench.intake(waiting("p", "c", bucket(8), 5)).await;
    let paced = |room| {
        let share = Share { room, again: Duration::from_secs(10) };
        Room { shares: HashMap::from([(bucket(7).bucket, share)]), ..Room::of(100) }
    };
    let uids = |leased: &[LeasedDelivery]| -> Vec<String> {
        leased.iter().filter_map(|one| Some(one.run.as_ref()?.uid.clone())).collect()
    };
    // Its projects share it, and the other bucket is not kept waiting.
    let first = bench.claim_with(6, claim_of(100, paced(3))).await.deliveries;
    check.equal("how many of each", &first.iter().filter(|one| one.flow == bucket(7)).count(), &3);
    check.equal("the other bucket", &uids(&first).contains(&"c".to_owned()), &true);
    // What is used up is not looked at before its time.
    let claimed = bench.claim_with(7, claim_of(100, Room::of(100))).await;
    check.equal("meanwhile", &uids(&claimed.deliveries), &Vec::new());
    check.equal("when to look again", &claimed.next, &Some(Duration::from_secs(9)));
    check.equal("while there is no share", &bench.claim_with(16, claim_of(100, paced(0))).await.deliveries.len(), &0);
    let rest = bench.claim_with(26, claim_of(100, Room::of(100))).await.deliveries;
    check.equal("the rest", &rest.len(), &5);
}

pub(super) async fn a_lost_lease_still_reports_on_its_destination(bench: &StoreBench) {
    let check = bench.check("a lost lease still reports on its destination");
    bench.intake(waiting("p", "u", flow(1), 0)).await;
    let slow = bench.only(&check, 1).await;
    let lease_over = 2 + i64::try_from(LEASE.as_secs()).expect("small");
    let again = bench.only(&check, lease_over).await;
    let holds = hold(HoldTarget::Destination(flow(1).destination), Some(30));
    let late = Completion { holds, ..completion(slow.lease, fails_for(5), flow(1)) };
    check.equal("the late end", &bench.complete_with(late, lease_over).await, &Recorded::Lost);
    check.equal("what is down", &bench.store.holds(10).await.expect("read").len(), &1);
    let holds = hold(HoldTarget::Destination(flow(1).destination), None);
    let healed = Completion { holds, ..completion(again.lease, sent(), flow(1)) };
    let done = bench.complete_with(healed, lease_over).await;
    check.equal("the other end", &done, &Recorded::Done { next: Next::Sent });
    check.equal("what is down then", &bench.store.holds(10).await.expect("read").len(), &0);
}

pub(super) async fn a_destination_that_is_down_is_not_forgotten(bench: &StoreBench) {
    let check = bench.check("a destination that is down is not forgotten");
    for (uid, to) in [("u", 1), ("v", 2)] {
        bench.intake(waiting("p", uid, flow(to), 0)).await;
    }
    let leased = bench.claim(1).await;
    let (down, up) = leased.split_first().expect("two");
    check.equal("the other", &up.len(), &1);
    take_down(bench, down, 30, 1).await;
    bench.complete(&up[0], sent(), 1).await;
    // Cancelled, it waits no more; and what is known of its destination stays.
    check.equal("cancelled", &bench.store.cancel("p", down.lease.id).await.expect("answered"), &true);
    let day = Duration::from_secs(86_400);
    bench.at(200_000);
    while bench.store.prune(day, 10).await.expect("pruned") > 0 {}
    let held: Vec<FlowHash> = bench.store.holds(10).await.expect("read").iter().map(|hold| hold.destination).collect();
    check.equal("what is down", &held, &vec![down.flow.destination]);
    // What comes in for a forgotten flow is delivered all the same.
    bench.intake(waiting("p", "w", up[0].flow, 200_001)).await;
    check.equal("the newcomer", &bench.claim(200_002).await.len(), &1);
}

pub(super) async fn deliveries_to_a_destination_that_is_down_for_too_long_end(bench: &StoreBench) {
    let check = bench.check("deliveries to a destination that is down for too long end");
    for (uid, seconds) in [("old", 0), ("older", 1), ("young", 90)] {
        bench.intake(waiting("p", uid, flow(1), seconds)).await;
    }
    bench.intake(waiting("p", "healthy", flow(2), 0)).await;
    let policy = RetryPolicy { waits: vec![Duration::from_secs(100)], ..RetryPolicy::server() };
    let first = bench.claim_with(91, claim_of(1, Room::of(1))).await.deliveries.remove(0);
    take_down(bench, &first, 1_000, 92).await;
    bench.at(99);
    let early = bench.store.overdue(&policy, 10, LEASE).await.expect("read");
    check.equal("before their time", &early.len(), &0);
    bench.at(105);
    let late = bench.store.overdue(&policy, 10, LEASE).await.expect("read");
    let mut uids: Vec<&str> = late.iter().filter_map(|one| Some(one.run.as_ref()?.uid.as_str())).collect();
    uids.sort_unstable();
    check.equal("after it", &uids, &vec!["old", "older"]);
    for leased in &late {
        let held = Held { after: Duration::ZERO, down: Some("unreachable: the destination is down".to_owned()) };
        let policy = Arc::new(policy.clone());
        let held = Completion { policy, ..completion(leased.lease, Outcome::Held(held), leased.flow) };
        let done = bench.complete_with(held, 106).await;
        check.equal("its end", &done, &Recorded::Done { next: Next::Failed });
        let (record, _) = bench.store.delivery("p", leased.lease.id).await.expect("read").expect("it is there");
        let tried = u32::from(leased.lease.id == first.lease.id);
        check.equal("its attempts", &(record.status, record.attempts), &(DeliveryState::Failed, tried));
        check.equal("its reason", &record.reason.as_deref(), &Some("unreachable: the destination is down"));
    }
}

pub(super) async fn an_unknown_destination(bench: &StoreBench) {
    let check = bench.check("an unknown destination");
    bench.intake(waiting("p", "u", Flow::default(), 0)).await;
    let leased = bench.only(&check, 1).await;
    check.equal("its flow", &leased.flow, &Flow::default());
    // Its sender was built meanwhile, and its destination has no room.
    bench.complete_with(completion(leased.lease, held_for(0), flow(3)), 2).await;
    let again = bench.only(&check, 3).await;
    check.equal("its flow then", &(again.flow, again.lease.progress.attempts), &(flow(3), 1));
}

pub(super) async fn a_destination_may_change(bench: &StoreBench) {
    let check = bench.check("a destination may change");
    bench.intake(waiting("p", "u", flow(1), 0)).await;
    bench.intake(waiting("p", "v", flow(1), 0)).await;
    let first = bench.claim_with(1, claim_of(1, Room::of(1))).await.deliveries.remove(0);
    // A secret was changed: it goes elsewhere now, and what is true of its old destination is no concern of it.
    bench.complete_with(completion(first.lease, fails_for(5), flow(2)), 1).await;
    let second = bench.only(&check, 2).await;
    take_down(bench, &second, 1_000, 2).await;
    let again = bench.only(&check, 10).await;
    check.equal("where it goes", &(again.lease.id, again.flow), &(first.lease.id, flow(2)));
}

pub(super) async fn a_new_flow_key(bench: &StoreBench) {
    let check = bench.check("a new flow key");
    bench.intake(waiting("p", "u", flow(1), 0)).await;
    bench.intake(waiting("p", "v", flow(1), 0)).await;
    let first = bench.claim_with(1, claim_of(1, Room::of(1))).await.deliveries.remove(0);
    take_down(bench, &first, 1_000, 1).await;
    bench.store.put_flow_key(vec![9], true).await.expect("kept");
    let leased = bench.claim(10).await;
    check.equal("what is due", &leased.iter().map(|one| one.flow).collect::<Vec<_>>(), &vec![Flow::default(); 2]);
}
