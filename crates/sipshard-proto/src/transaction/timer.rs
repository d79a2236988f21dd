//! The timers of RFC 3261 (table 4) and RFC 6026, and how long each runs.

use crate::transport::Transport;

/// Every timer that a transaction or its user starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timer {
    /// INVITE request retransmission, unreliable transports only; doubles from T1 (§17.1.1.2).
    A,
    /// INVITE client transaction gives up without a response (§17.1.1.2).
    B,
    /// Proxy gives up on an INVITE branch that only rings (§16.6 step 11).
    C,
    /// INVITE client transaction absorbs retransmitted failures (§17.1.1.2).
    D,
    /// Non-INVITE request retransmission, unreliable transports only; doubles from T1 up to T2 (§17.1.2.2).
    E,
    /// Non-INVITE client transaction gives up (§17.1.2.2).
    F,
    /// Retransmission of an INVITE's failure response; doubles from T1 up to T2 (§17.2.1).
    G,
    /// INVITE server transaction stops waiting for the ACK (§17.2.1).
    H,
    /// INVITE server transaction absorbs retransmitted ACKs (§17.2.1).
    I,
    /// Non-INVITE server transaction absorbs retransmitted requests (§17.2.2).
    J,
    /// Non-INVITE client transaction absorbs retransmitted responses (§17.1.2.2).
    K,
    /// INVITE server transaction absorbs retransmitted INVITEs after a 2xx (RFC 6026 §8.7).
    L,
    /// INVITE client transaction passes on further 2xx (RFC 6026 §8.4).
    M,
    /// The 200 ms after which an INVITE without any answer gets a 100 (§17.2.1).
    Trying,
    /// The time after which a non-INVITE without any answer gets a 100: when its client's Timer E has grown to T2
    /// (RFC 4320 §4.1).
    Late,
    /// The policy's own limit for a branch that rings.
    Ring,
    /// The transaction user's limit for making up its mind about a request.
    Decision,
    /// A cancelled branch that never answers is given up (§9.1).
    Cancelled,
}

/// Which of a transaction's three clocks a timer runs on. Timers of one clock never run together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// A, E, G.
    Retransmission = 0,
    /// All that end or move the transaction itself.
    Transaction = 1,
    /// All that the transaction user started.
    User = 2,
}

impl Timer {
    /// Whether the transaction user started it, and hears of it.
    pub const fn is_the_users(self) -> bool {
        matches!(self, Timer::Late) || matches!(self.clock(), Clock::User)
    }

    /// The clock that the timer runs on.
    pub const fn clock(self) -> Clock {
        match self {
            // A non-INVITE server transaction retransmits nothing by itself.
            Timer::A | Timer::E | Timer::G | Timer::Late => Clock::Retransmission,
            Timer::C | Timer::Trying | Timer::Ring | Timer::Decision | Timer::Cancelled => {
                Clock::User
            }
            _ => Clock::Transaction,
        }
    }
}

/// The base values of RFC 3261 table 4, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerValues {
    /// Round-trip estimate.
    pub t1_ms: u32,
    /// Longest interval between retransmissions of a non-INVITE request or an INVITE response.
    pub t2_ms: u32,
    /// How long a message may stay in the network.
    pub t4_ms: u32,
    /// Timer C; more than three minutes by §16.6.
    pub c_ms: u32,
}

impl Default for TimerValues {
    fn default() -> Self {
        Self {
            t1_ms: 500,
            t2_ms: 4_000,
            t4_ms: 5_000,
            c_ms: 180_000,
        }
    }
}

impl TimerValues {
    /// The first interval of a timer over an unreliable transport. Retransmission timers then grow, see
    /// [`TimerValues::next_interval_ms`].
    pub const fn interval_ms(&self, timer: Timer) -> u32 {
        match timer {
            Timer::A | Timer::E | Timer::G => self.t1_ms,
            Timer::C => self.c_ms,
            // "at least 32 seconds for unreliable transports", and in practice 64*T1.
            Timer::D => self.t1_ms * 64,
            Timer::I | Timer::K => self.t4_ms,
            Timer::Trying => 200,
            Timer::Late => self.until_t2_ms(),
            _ => self.t1_ms * 64,
        }
    }

    /// The first interval of a timer over that transport. A stream needs no retransmissions (A, E, G), and has nothing
    /// to absorb once the other side has answered (D, I, J, K; §17.1.1.2, §17.1.2.2, §17.2.1, §17.2.2).
    pub const fn interval_over(&self, transport: Transport, timer: Timer) -> Option<u32> {
        match timer {
            Timer::A | Timer::E | Timer::G if transport.is_reliable() => None,
            Timer::D | Timer::I | Timer::J | Timer::K if transport.is_reliable() => Some(0),
            _ => Some(self.interval_ms(timer)),
        }
    }

    /// How long a client's Timer E takes to grow to T2.
    const fn until_t2_ms(&self) -> u32 {
        let (mut elapsed_ms, mut interval_ms) = (0_u32, self.t1_ms);
        while interval_ms > 0 && interval_ms < self.t2_ms {
            elapsed_ms = elapsed_ms.saturating_add(interval_ms);
            interval_ms = interval_ms.saturating_mul(2);
        }
        elapsed_ms
    }

    /// The interval after `last_ms`: A doubles without bound, E and G up to T2.
    pub const fn next_interval_ms(&self, timer: Timer, last_ms: u32) -> u32 {
        let doubled = last_ms.saturating_mul(2);
        match timer {
            Timer::A => doubled,
            _ if doubled < self.t2_ms => doubled,
            _ => self.t2_ms,
        }
    }
}
