//! The three clocks of one transaction, and the single place that it takes on the timer wheel.

use super::step::Action;
use super::timer::{Clock, Timer, TimerValues};
use crate::timestamp::Timestamp;
use crate::transport::Transport;

/// What runs for one transaction.
#[derive(Clone, Copy, Default, Debug)]
pub struct Clocks {
    running: [Option<(Timestamp, Timer)>; 3],
    interval_ms: u32,
    /// The deadline under which the transaction lies on the wheel. It may be earlier than what runs (a timer was
    /// stopped or moved), so that stopping a timer never has to search the wheel.
    pub filed_under: Option<Timestamp>,
}

impl Clocks {
    /// Starts a timer at its first interval, if it runs over that transport at all.
    pub fn start(
        &mut self,
        timer: Timer,
        values: &TimerValues,
        transport: Transport,
        now: Timestamp,
    ) {
        let Some(interval_ms) = values.interval_over(transport, timer) else {
            return;
        };
        if timer.clock() == Clock::Retransmission {
            self.interval_ms = interval_ms;
        }
        self.start_after(timer, u64::from(interval_ms), now);
    }

    /// Starts a timer with an interval of the caller's.
    pub fn start_after(&mut self, timer: Timer, interval_ms: u64, now: Timestamp) {
        self.running[timer.clock() as usize] = Some((now.after_ms(interval_ms), timer));
    }

    /// Starts a retransmission timer at its next, longer interval.
    pub fn restart(&mut self, timer: Timer, values: &TimerValues, now: Timestamp) {
        self.interval_ms = values.next_interval_ms(timer, self.interval_ms);
        self.start_after(timer, u64::from(self.interval_ms), now);
    }

    /// Starts a retransmission timer at T2.
    pub fn restart_at_t2(&mut self, timer: Timer, values: &TimerValues, now: Timestamp) {
        self.interval_ms = values.t2_ms;
        self.start_after(timer, u64::from(self.interval_ms), now);
    }

    /// Stops whatever runs on a clock.
    pub fn stop(&mut self, clock: Clock) {
        self.running[clock as usize] = None;
    }

    /// Takes the earliest timer that is due.
    pub fn take_due(&mut self, now: Timestamp) -> Option<Timer> {
        let clock = self
            .running
            .iter()
            .enumerate()
            .filter_map(|(clock, running)| running.map(|(deadline, _)| (deadline, clock)))
            .filter(|&(deadline, _)| deadline <= now)
            .min()?
            .1;
        self.running[clock].take().map(|(_, timer)| timer)
    }

    /// When the next timer is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.running
            .iter()
            .filter_map(|running| running.map(|(deadline, _)| deadline))
            .min()
    }

    /// The deadline under which the transaction must now be put on the wheel, if it does not lie there early enough.
    pub fn refile(&mut self) -> Option<Timestamp> {
        let next = self.next()?;
        if self.filed_under.is_some_and(|filed| filed <= next) {
            return None;
        }
        self.filed_under = Some(next);
        Some(next)
    }

    /// One action of a step, if it is about timers.
    pub(super) fn act(
        &mut self,
        action: Action,
        values: &TimerValues,
        transport: Transport,
        now: Timestamp,
    ) {
        match action {
            Action::Start(timer) => self.start(timer, values, transport, now),
            Action::Restart(_) | Action::RestartAtT2(_) if transport.is_reliable() => {}
            Action::Restart(timer) => self.restart(timer, values, now),
            Action::RestartAtT2(timer) => self.restart_at_t2(timer, values, now),
            Action::StopRetransmission => self.stop(Clock::Retransmission),
            Action::StopTransactionTimer => self.stop(Clock::Transaction),
            _ => {}
        }
    }
}
