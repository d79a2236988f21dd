//! In which order the ways to a server are tried (RFC 2782; RFC 3263 §4.4).
//!
//! RFC 2782 draws a random number for each request. Here the call draws it: every request of a call tries the ways in the
//! same order, also in a successor of this worker. RFC 3263 §4.4 asks that of stateless proxies, and the ACK to a 2xx is
//! forwarded by one.

use super::locator::Hop;
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;
use std::hash::{Hash, Hasher};

/// Hops in some order. Few names have more than four.
pub type Hops = SmallVec<[Hop; 4]>;

/// "a very small chance of being selected" (RFC 2782) beside hops that have a weight.
const WEIGHT_OF_ZERO: f64 = 1.0 / 256.0;

/// The hops in the order in which the call with this seed tries them: by priority, and within one by lot, in which the
/// weights are the shares.
///
/// Every hop draws its own lot, an exponentially distributed number with the weight as its rate, and the lowest comes first.
/// That gives the probabilities of RFC 2782's procedure, and a hop that comes or goes changes nothing between the others.
pub fn hop_order(hops: &[Hop], seed: u64) -> Hops {
    if let [] | [_] = hops {
        return Hops::from_slice(hops);
    }
    let mut drawn: SmallVec<[(u16, f64, Hop); 8]> = hops
        .iter()
        .map(|hop| (hop.priority, lot(hop, seed), *hop))
        .collect();
    drawn.sort_by(|one, two| one.0.cmp(&two.0).then(one.1.total_cmp(&two.1)));
    drawn.into_iter().map(|(.., hop)| hop).collect()
}

fn lot(hop: &Hop, seed: u64) -> f64 {
    let mut hasher = SipHasher13::new_with_keys(seed, 0);
    (hop.transport as u8, hop.destination).hash(&mut hasher);
    // 53 bits are what a double holds; the half keeps the number away from 0, which has no logarithm.
    let uniform = ((hasher.finish() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    let weight = match hop.weight {
        0 => WEIGHT_OF_ZERO,
        weight => f64::from(weight),
    };
    -uniform.ln() / weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Purpose, Secret};
    use crate::transport::Transport;
    use proptest::prelude::*;

    fn hop(number: u8, priority: u16, weight: u16) -> Hop {
        Hop {
            transport: Transport::Udp,
            destination: ([192, 0, 2, number], 5060).into(),
            priority,
            weight,
        }
    }

    fn seed(call: u32) -> u64 {
        let call_id = format!("call-{call}@example.com");
        Secret::new([3; 16]).proof(Purpose::HopOrder, &[call_id.as_bytes()])
    }

    proptest! {
        #[test]
        fn every_hop_appears_once_and_priorities_ascend(
            ranks in proptest::collection::vec((0_u16..4, any::<u16>()), 0..33),
            seed in any::<u64>(),
        ) {
            let numbered = ranks.iter().zip(0_u8..);
            let hops: Vec<Hop> = numbered.map(|(&(priority, weight), number)| hop(number, priority, weight)).collect();
            let ordered = hop_order(&hops, seed);
            prop_assert_eq!(ordered.len(), hops.len());
            prop_assert!(hops.iter().all(|hop| ordered.contains(hop)));
            prop_assert!(ordered.windows(2).all(|pair| pair[0].priority <= pair[1].priority));
        }

        #[test]
        fn a_hop_that_goes_changes_nothing_between_the_others(
            weights in proptest::collection::vec(any::<u16>(), 2..33),
            seed in any::<u64>(),
        ) {
            let numbered = weights.iter().zip(0_u8..);
            let mut hops: Vec<Hop> = numbered.map(|(&weight, number)| hop(number, 0, weight)).collect();
            let mut before = hop_order(&hops, seed);
            let gone = hops.pop().unwrap();
            before.retain(|hop| *hop != gone);
            prop_assert_eq!(before, hop_order(&hops, seed));
        }
    }

    #[test]
    fn rfc_2782_shares_follow_the_weights() {
        const CALLS: u32 = 10_000;
        for weights in [&[1_u16, 3][..], &[10, 10, 10], &[60, 20, 20], &[0, 0]] {
            let hops: Vec<Hop> = weights
                .iter()
                .zip(0..)
                .map(|(&w, n)| hop(n, 7, w))
                .collect();
            let total: u32 = weights.iter().map(|&weight| u32::from(weight)).sum();
            for (index, first) in hops.iter().enumerate() {
                let is_first = |call: &u32| hop_order(&hops, seed(*call))[0] == *first;
                let share = (0..CALLS).filter(is_first).count() as f64 / f64::from(CALLS);
                let expected = match total {
                    0 => 1.0 / hops.len() as f64,
                    total => f64::from(weights[index]) / f64::from(total),
                };
                assert!(
                    (share / expected - 1.0).abs() < 0.05,
                    "{weights:?}: {share}"
                );
            }
        }
    }

    #[test]
    fn rfc_2782_a_weight_of_zero_is_hardly_ever_first() {
        let hops = [hop(1, 0, 1), hop(2, 0, 0)];
        let is_zero = |call: &u32| hop_order(&hops, seed(*call))[0].weight == 0;
        let count = (0..10_000).filter(is_zero).count();
        assert!((1..100).contains(&count), "{count}");
    }

    #[test]
    fn section_4_4_every_request_of_a_call_has_the_same_order() {
        let mut hops: Vec<Hop> = (0..32).map(|number| hop(number, 0, 1)).collect();
        let first = hop_order(&hops, seed(1));
        hops.reverse();
        assert_eq!(hop_order(&hops, seed(1)), first, "however DNS turned them");
        assert_ne!(hop_order(&hops, seed(2)), first);
    }
}
