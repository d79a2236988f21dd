//! The vocabulary of the four state tables.

use super::timer::Timer;

/// What a transaction does on its way from one state to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send the stored message again: the request of a client, the last response of a server transaction.
    Resend,
    /// Send the message that caused the step and store it (server transactions, responses of the user).
    Send,
    /// Build the ACK to a failure response, store it instead of the INVITE, and send it (§17.1.1.3).
    Acknowledge,
    /// Hand the response to the transaction user.
    Tell,
    /// Tell the transaction user that nobody answered.
    TellTimeout,
    /// Tell the transaction user that the transport failed.
    TellTransportError,
    /// Start a timer at its first interval.
    Start(Timer),
    /// Start a retransmission timer at its next interval.
    Restart(Timer),
    /// Start a retransmission timer at T2, whatever its last interval was (§17.1.2.2, Proceeding).
    RestartAtT2(Timer),
    /// Stop the retransmissions.
    StopRetransmission,
    /// Stop the timer that would end the transaction.
    StopTransactionTimer,
}

/// One arrow of a figure: the state it leads to and what happens on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step<State: 'static> {
    /// Where the arrow leads.
    pub next: State,
    /// What is done, in order.
    pub actions: &'static [Action],
}

impl<State> Step<State> {
    /// Shorthand for the tables.
    pub const fn to(next: State, actions: &'static [Action]) -> Option<Self> {
        Some(Self { next, actions })
    }
}
