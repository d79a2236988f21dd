//! A thousand calls at once, over wires that lose and reorder: whatever happens, every call ends and nothing is left.

use crate::endpoint::{Habit, Outcome};
use crate::network::Network;

const CALLS: u16 = 1_000;

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

/// A third of the calls fork, a tenth is cancelled.
fn storm(seed: u64, loss_percent: u64) -> Vec<Outcome> {
    let mut network = Network::new(seed, loss_percent);
    for number in 0..CALLS {
        let mut callees = vec![(habit(&mut network), 1_000)];
        if network.random().below(3) == 0 {
            let q_milli = 500 + 500 * network.random().below(2) as u16;
            callees.push((habit(&mut network), q_milli));
        }
        let start_ms = network.random().below(10_000);
        let cancels = network.random().below(10) == 0;
        let cancels_after_ms = cancels.then(|| network.random().below(5_000));
        network.add_call(number, start_ms, cancels_after_ms, &callees);
    }
    network.run()
}

fn count(outcomes: &[Outcome], wanted: impl Fn(&Outcome) -> bool) -> usize {
    outcomes.iter().filter(|outcome| wanted(outcome)).count()
}

#[test]
fn a_thousand_calls_end_without_loss() {
    let outcomes = storm(1, 0);
    assert_eq!(outcomes.len(), usize::from(CALLS));
    let lost = |outcome: &Outcome| matches!(outcome, Outcome::GaveUp | Outcome::ByeUnanswered);
    assert_eq!(count(&outcomes, lost), 0, "every caller hears the end");
    let completed = count(&outcomes, |outcome| *outcome == Outcome::Completed);
    assert!((500..700).contains(&completed), "{completed} completed");
    for status in [408, 486, 487, 603] {
        let failed = count(&outcomes, |outcome| *outcome == Outcome::Failed(status));
        assert!(failed > 0, "nobody got {status}");
    }
}

#[test]
fn a_thousand_calls_end_under_5_percent_loss() {
    for seed in [2, 3] {
        let outcomes = storm(seed, 5);
        assert_eq!(outcomes.len(), usize::from(CALLS));
        let completed = count(&outcomes, |outcome| *outcome == Outcome::Completed);
        assert!(completed >= 500, "{completed} completed");
    }
}

#[test]
fn a_thousand_calls_end_under_20_percent_loss() {
    for seed in [4, 5] {
        let outcomes = storm(seed, 20);
        assert_eq!(outcomes.len(), usize::from(CALLS));
        let completed = count(&outcomes, |outcome| *outcome == Outcome::Completed);
        assert!(completed >= 500, "{completed} completed");
        let lost = |outcome: &Outcome| *outcome == Outcome::GaveUp;
        assert!(count(&outcomes, lost) < 20, "retransmission carries calls");
    }
}
