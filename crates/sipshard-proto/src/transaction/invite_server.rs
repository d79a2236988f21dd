//! INVITE server transaction: RFC 3261 §17.2.1, figure 7, with the Accepted state of RFC 6026 §7.1.

use super::step::{Action::*, Step};
use super::timer::Timer;

/// The states of the figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The INVITE was handed to the transaction user.
    Proceeding,
    /// A failure was sent and waits for its ACK.
    Completed,
    /// The ACK came; more may follow.
    Confirmed,
    /// A 2xx was sent; further ones of the user pass, retransmitted INVITEs are absorbed.
    Accepted,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The same INVITE again.
    Retransmission,
    /// An ACK with this transaction's branch.
    Ack,
    /// The user sends 1xx.
    Provisional,
    /// The user sends 2xx.
    Success,
    /// The user sends 3xx to 6xx.
    Failure,
    /// Timer G, H, I or L fired.
    Fired(Timer),
}

/// The figure as a table; what is absent is not possible and changes nothing.
pub const fn step(state: State, event: Event) -> Option<Step<State>> {
    use State::*;
    match (state, event) {
        (Proceeding | Completed, Event::Retransmission) => Step::to(state, &[Resend]),
        (Proceeding, Event::Provisional) => Step::to(Proceeding, &[Send]),
        (Proceeding, Event::Success) => Step::to(Accepted, &[Send, Start(Timer::L)]),
        (Proceeding, Event::Failure) => {
            Step::to(Completed, &[Send, Start(Timer::G), Start(Timer::H)])
        }
        (Completed, Event::Fired(Timer::G)) => Step::to(Completed, &[Resend, Restart(Timer::G)]),
        (Completed, Event::Fired(Timer::H)) => Step::to(Terminated, &[TellTimeout]),
        (Completed, Event::Ack) => Step::to(Confirmed, &[StopRetransmission, Start(Timer::I)]),
        (Confirmed, Event::Fired(Timer::I)) => Step::to(Terminated, &[]),
        (Accepted, Event::Success) => Step::to(Accepted, &[Send]),
        (Accepted, Event::Fired(Timer::L)) => Step::to(Terminated, &[]),
        _ => None,
    }
}
