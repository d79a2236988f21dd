//! Whose requests went through a connection and may not have arrived.

use crate::parcel::Sender;
use sipshard_proto::Timestamp;
use std::collections::VecDeque;

/// So many are told when a connection fails; those before them have their timers.
const MOST: usize = 64;
/// 64*T1 with the default of T1: by then whoever has no answer has given up (RFC 3261 §17.1, Timers B and F).
const KEPT_MS: u64 = 32_000;

/// The last senders of one connection. What was given to the kernel is not yet at the peer, which may have been gone
/// for long: so they are kept for as long as they may wait for an answer.
#[derive(Default)]
pub struct Senders {
    senders: VecDeque<Sender>,
    noted_at: Timestamp,
}

impl Senders {
    /// Notes one, in the place of the oldest if there are many.
    pub fn note(&mut self, now: Timestamp, sender: Sender) {
        if sender.client.is_none() {
            return;
        }
        if self.senders.len() >= MOST {
            self.senders.pop_front();
        }
        self.senders.push_back(sender);
        self.noted_at = now;
    }

    /// Forgets all, and gives their memory back, when none of them waits any more.
    pub fn forget_old(&mut self, now: Timestamp) {
        if !self.senders.is_empty() && now.ms_since(self.noted_at) >= KEPT_MS {
            self.senders = VecDeque::new();
        }
    }
}

impl IntoIterator for Senders {
    type Item = Sender;
    type IntoIter = std::collections::vec_deque::IntoIter<Sender>;

    fn into_iter(self) -> Self::IntoIter {
        self.senders.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipshard_proto::Handle;

    fn sender(slot: u32) -> Sender {
        Sender {
            worker: 0,
            generation: 1,
            client: Some(Handle { slot, serial: 0 }),
        }
    }

    #[test]
    fn the_last_ones_are_kept_for_as_long_as_they_wait() {
        let start = Timestamp::from_millis(1_000);
        let mut senders = Senders::default();
        for slot in 0..100 {
            senders.note(start, sender(slot));
        }
        senders.forget_old(start.after_ms(KEPT_MS - 1));
        assert_eq!(senders.senders.len(), MOST);
        assert_eq!(senders.senders.front(), Some(&sender(36)));
        assert_eq!(senders.senders.back(), Some(&sender(99)));
        senders.forget_old(start.after_ms(KEPT_MS));
        assert_eq!(senders.senders.capacity(), 0);
    }

    #[test]
    fn who_need_not_hear_of_it_is_not_noted() {
        let mut senders = Senders::default();
        let nobody = Sender {
            client: None,
            ..sender(0)
        };
        senders.note(Timestamp::from_millis(0), nobody);
        assert_eq!(senders.into_iter().count(), 0);
    }
}
