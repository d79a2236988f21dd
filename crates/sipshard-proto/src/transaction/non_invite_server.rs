//! Non-INVITE server transaction: RFC 3261 §17.2.2, figure 8.

use super::step::{Action::*, Step};
use super::timer::Timer;

/// The states of the figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The request was handed to the transaction user.
    Trying,
    /// A provisional response was sent.
    Proceeding,
    /// A final response was sent; it answers retransmitted requests.
    Completed,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The same request again.
    Retransmission,
    /// The user sends 1xx.
    Provisional,
    /// The user sends 2xx to 6xx.
    Final,
    /// Timer J fired.
    Fired(Timer),
}

/// The figure as a table; what is absent is not possible and changes nothing.
pub const fn step(state: State, event: Event) -> Option<Step<State>> {
    use State::*;
    match (state, event) {
        (Proceeding | Completed, Event::Retransmission) => Step::to(state, &[Resend]),
        (Trying | Proceeding, Event::Provisional) => Step::to(Proceeding, &[Send]),
        (Trying | Proceeding, Event::Final) => {
            Step::to(Completed, &[Send, StopRetransmission, Start(Timer::J)])
        }
        (Completed, Event::Fired(Timer::J)) => Step::to(Terminated, &[]),
        _ => None,
    }
}
