//! How far the loop is behind: how long the oldest message can have waited in its socket when it is read.
//!
//! The kernel is not asked; the loop knows. When it has emptied its sockets, what comes afterwards waits for as long as the
//! loop then works: for the rest of the round, for the driver and its policy. What it does not manage to take in one round
//! waits for the next one as well. Sleeping is no delay: what comes ends it, and gathering datagrams is on purpose.

use sipshard_proto::Timestamp;

/// The longest delay of so many milliseconds is the one that is shown.
const SHOWN_FOR_MS: u64 = 1_000;

/// The delay of one worker.
pub struct Lag {
    working_since: Timestamp,
    behind_ms: u64,
    peak_ms: u64,
    peak_at: Timestamp,
}

impl Lag {
    /// No delay.
    pub const fn new(now: Timestamp) -> Self {
        Self {
            working_since: now,
            behind_ms: 0,
            peak_ms: 0,
            peak_at: now,
        }
    }

    /// The loop stops working and looks for messages.
    pub fn rest(&mut self, now: Timestamp) {
        self.behind_ms += now.ms_since(self.working_since);
    }

    /// It goes on with what it has found; how long that has waited.
    pub fn resume(&mut self, now: Timestamp) -> u64 {
        self.working_since = now;
        if self.behind_ms >= self.peak_ms || now.ms_since(self.peak_at) >= SHOWN_FOR_MS {
            self.peak_ms = self.behind_ms;
            self.peak_at = now;
        }
        self.behind_ms
    }

    /// Nothing was left in the sockets.
    pub fn catch_up(&mut self) {
        self.behind_ms = 0;
    }

    /// The longest delay of the last second or so.
    pub const fn shown_ms(&self) -> u64 {
        self.peak_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_millis(milliseconds)
    }

    #[test]
    fn what_comes_while_the_loop_works_waits_for_the_rest_of_the_work() {
        let mut lag = Lag::new(at(0));
        lag.rest(at(0));
        assert_eq!(lag.resume(at(500)), 0, "it has slept");
        lag.catch_up();
        lag.rest(at(540));
        assert_eq!(lag.resume(at(540)), 40);
        lag.catch_up();
        lag.rest(at(541));
        assert_eq!(lag.resume(at(900)), 1);
    }

    #[test]
    fn what_is_left_in_the_socket_waits_on() {
        let mut lag = Lag::new(at(0));
        for round in 1..=3 {
            lag.rest(at(round * 30));
            assert_eq!(lag.resume(at(round * 30)), round * 30);
        }
        lag.catch_up();
        lag.rest(at(95));
        assert_eq!(lag.resume(at(95)), 5);
    }

    #[test]
    fn the_longest_delay_is_shown_for_a_second() {
        let mut lag = Lag::new(at(0));
        lag.rest(at(70));
        lag.resume(at(70));
        lag.catch_up();
        lag.rest(at(80));
        lag.resume(at(80));
        assert_eq!(lag.shown_ms(), 70);
        lag.catch_up();
        lag.rest(at(82));
        lag.resume(at(1_100));
        assert_eq!(lag.shown_ms(), 2);
    }
}
