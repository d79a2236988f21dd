//! A busy worker lets messages gather for a moment and takes them together, whatever brings them: datagrams, connections,
//! mailboxes.
//!
//! Waking a process costs more CPU than handling a SIP message. A worker that is woken for every datagram spends most of
//! its time on that; one that sleeps a millisecond first finds several waiting, and every system call is shared. Below
//! the rate at which several would gather it does not wait at all, so that a quiet server answers at once.

use sipshard_proto::Timestamp;
use std::time::Duration;

/// The rate is looked at over windows of this length.
const WINDOW_MS: u64 = 20;
/// Waiting pays when at least so many messages are expected to gather meanwhile.
const WORTHWHILE: u64 = 2;
/// So many messages at once share the cost of a wake-up well enough: a worker that is behind never waits.
const ENOUGH: usize = 32;

/// Decides when to wait.
pub struct Batching {
    delay: Duration,
    window_start: Timestamp,
    in_window: u64,
    last_count: usize,
    is_busy: bool,
}

impl Batching {
    /// `delay` is how long messages gather; zero turns waiting off.
    pub fn new(delay: Duration) -> Self {
        Self {
            delay,
            window_start: Timestamp::default(),
            in_window: 0,
            last_count: 0,
            is_busy: false,
        }
    }

    /// So many messages have come in one round. A round without any tells nothing.
    pub fn note(&mut self, now: Timestamp, count: usize) {
        if count == 0 {
            return;
        }
        self.in_window += count as u64;
        self.last_count = count;
        let elapsed_ms = now.ms_since(self.window_start);
        if elapsed_ms < WINDOW_MS {
            return;
        }
        let per_delay = self.in_window * self.delay.as_micros() as u64 / (elapsed_ms * 1_000);
        self.is_busy = per_delay >= WORTHWHILE;
        self.window_start = now;
        self.in_window = 0;
    }

    /// Waits if that pays.
    pub fn rest(&self, now: Timestamp) {
        if self.pays(now) {
            std::thread::sleep(self.delay);
        }
    }

    fn pays(&self, now: Timestamp) -> bool {
        // After a pause nobody knows whether the next message comes alone.
        self.is_busy && self.last_count < ENOUGH && now.ms_since(self.window_start) < 2 * WINDOW_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(per_ms: usize, milliseconds: u64) -> Batching {
        let mut batching = Batching::new(Duration::from_millis(1));
        for now in 1..=milliseconds {
            batching.note(Timestamp::from_millis(now), per_ms);
        }
        batching
    }

    #[test]
    fn a_quiet_worker_never_waits_and_a_busy_one_does() {
        assert!(!after(1, 100).pays(Timestamp::from_millis(100)));
        assert!(after(3, 100).pays(Timestamp::from_millis(100)));
    }

    #[test]
    fn a_pause_ends_the_waiting() {
        assert!(!after(3, 100).pays(Timestamp::from_millis(100 + 3 * WINDOW_MS)));
    }

    #[test]
    fn a_worker_that_is_behind_does_not_wait() {
        let mut batching = after(3, 100);
        batching.note(Timestamp::from_millis(100), ENOUGH);
        assert!(!batching.pays(Timestamp::from_millis(100)));
    }

    #[test]
    fn a_round_for_a_timer_hides_nothing() {
        let mut batching = after(3, 100);
        batching.note(Timestamp::from_millis(100), ENOUGH);
        batching.note(Timestamp::from_millis(100), 0);
        assert!(!batching.pays(Timestamp::from_millis(100)));
    }

    #[test]
    fn no_delay_means_no_waiting() {
        let mut batching = Batching::new(Duration::ZERO);
        for now in 1..100 {
            batching.note(Timestamp::from_millis(now), 50);
        }
        assert!(!batching.pays(Timestamp::from_millis(99)));
    }
}
