//! A thousand calls at once, over wires that lose, reorder and double: whatever happens, every call ends and nothing is
//! left, no later than the timers say.

use crate::endpoint::{Habit, Intent, Outcome};
use crate::network::{Ending, Network};

const CALLS: u16 = 1_000;
/// 64*T1: Timers B, D, F, H, J, L and M.
const LIFE_MS: u64 = 32_000;
/// Timer C.
const RING_MS: u64 = 180_000;

fn habit(network: &mut Network) -> Habit {
    let random = network.random();
    let after_ms = random.below(6_000);
    match random.below(10) {
        0..=5 => Habit::Says {
            status: 200,
            after_ms,
        },
        6 => Habit::Says {
            status: 486,
            after_ms,
        },
        7 => Habit::Says {
            status: 603,
            after_ms,
        },
        8 => Habit::Rings,
        _ => Habit::Silent,
    }
}

/// A third of the calls fork, in parallel or one target after the other.
fn callees(network: &mut Network) -> Vec<(Habit, u16)> {
    let mut callees = vec![(habit(network), 1_000)];
    if network.random().below(3) == 0 {
        let q_milli = 500 + 500 * network.random().below(2) as u16;
        callees.push((habit(network), q_milli));
    }
    callees
}

/// A tenth of the calls is cancelled, and a tenth are messages.
fn intent(network: &mut Network) -> Intent {
    let random = network.random();
    match random.below(10) {
        0 => Intent::CallUntil {
            cancels_after_ms: random.below(5_000),
        },
        1 => Intent::Message,
        _ => Intent::Call,
    }
}

fn storm(seed: u64, loss_percent: u64) -> Ending {
    let mut network = Network::new(seed, loss_percent);
    for number in 0..CALLS {
        let callees = callees(&mut network);
        let start_ms = network.random().below(10_000);
        let intent = intent(&mut network);
        network.add_call(number, start_ms, intent, &callees);
    }
    let ending = network.run();
    assert_eq!(ending.outcomes.len(), usize::from(CALLS));
    ending
}

fn count(ending: &Ending, wanted: impl Fn(&Outcome) -> bool) -> usize {
    let outcomes = ending.outcomes.iter();
    outcomes.filter(|outcome| wanted(outcome)).count()
}

fn completed(ending: &Ending) -> usize {
    count(ending, |outcome| *outcome == Outcome::Completed)
}

#[test]
fn a_thousand_calls_end_without_loss() {
    let ending = storm(1, 0);
    let lost = |outcome: &Outcome| matches!(outcome, Outcome::GaveUp | Outcome::ByeUnanswered);
    assert_eq!(count(&ending, lost), 0, "every caller hears the end");
    let completed = completed(&ending);
    assert!((500..750).contains(&completed), "{completed} completed");
    for status in [408, 486, 487, 603] {
        let failed = count(&ending, |outcome| *outcome == Outcome::Failed(status));
        assert!(failed > 0, "nobody got {status}");
    }
}

#[test]
fn a_thousand_calls_end_under_5_percent_loss() {
    for seed in [2, 3] {
        let ending = storm(seed, 5);
        let completed = completed(&ending);
        assert!(completed >= 500, "{completed} completed");
    }
}

#[test]
fn a_thousand_calls_end_under_20_percent_loss() {
    for seed in [4, 5] {
        let ending = storm(seed, 20);
        let completed = completed(&ending);
        assert!(completed >= 500, "{completed} completed");
        let lost = |outcome: &Outcome| *outcome == Outcome::GaveUp;
        assert!(count(&ending, lost) < 20, "retransmission carries calls");
    }
}

#[test]
fn the_network_is_as_bad_as_it_says() {
    let counts = storm(6, 20).counts;
    assert!((18..=22).contains(&(counts.lost * 100 / counts.carried)));
    assert!(counts.doubled > 100, "{counts:?}");
    assert!(counts.overtaken > 100, "{counts:?}");
}

/// How long the proxy may have a transaction after it has heard the last message of a call. What has ended lingers for
/// 64*T1 at most (Timers D, H, J, L, M). Before that a target that only rings has Timer C and then 64*T1 to answer the
/// CANCEL, one that is silent has Timer B or F, and then those of the next q value have the same.
fn longest_ms(callees: &[(Habit, u16)]) -> u64 {
    let has = |habit: Habit| callees.iter().any(|callee| callee.0 == habit);
    let group_ms = match (has(Habit::Rings), has(Habit::Silent)) {
        (true, _) => RING_MS + LIFE_MS,
        (false, true) => LIFE_MS,
        (false, false) => 0,
    };
    let mut groups: Vec<u16> = callees.iter().map(|callee| callee.1).collect();
    groups.dedup();
    groups.len() as u64 * group_ms + LIFE_MS
}

/// One call in each network, so that its last transaction is the network's.
#[test]
fn no_transaction_outlives_its_timers() {
    for loss_percent in [0, 5, 20] {
        for seed in 0..u64::from(CALLS) {
            let mut network = Network::new(seed, loss_percent);
            let callees = callees(&mut network);
            let intent = intent(&mut network);
            network.add_call(0, 0, intent, &callees);
            let lingered_ms = network.run().lingered_ms;
            let longest_ms = longest_ms(&callees);
            assert!(
                lingered_ms <= longest_ms,
                "{intent:?} to {callees:?} at {loss_percent} % (seed {seed}): {lingered_ms} ms, {longest_ms} allowed"
            );
        }
    }
}
