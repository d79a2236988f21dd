//! INVITE client transaction: RFC 3261 §17.1.1, figure 5, with the Accepted state of RFC 6026 §7.2.

use super::step::{Action::*, Step};
use super::timer::Timer;

/// The states of the figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The INVITE is out, nothing came back.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// A failure came and was acknowledged.
    Completed,
    /// A 2xx came; more may follow from other branches downstream.
    Accepted,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// 1xx.
    Provisional,
    /// 2xx.
    Success,
    /// 3xx to 6xx.
    Failure,
    /// The request or the ACK could not be sent.
    TransportError,
    /// Timer A, B, D or M fired.
    Fired(Timer),
}

/// The figure as a table; what is absent is not possible and changes nothing.
pub const fn step(state: State, event: Event) -> Option<Step<State>> {
    use State::*;
    match (state, event) {
        (Calling, Event::Fired(Timer::A)) => Step::to(Calling, &[Resend, Restart(Timer::A)]),
        (Calling, Event::Fired(Timer::B)) => Step::to(Terminated, &[TellTimeout]),
        (Calling, Event::Provisional) => Step::to(
            Proceeding,
            &[StopRetransmission, StopTransactionTimer, Tell],
        ),
        (Proceeding, Event::Provisional) => Step::to(Proceeding, &[Tell]),
        (Calling | Proceeding, Event::Success) => {
            Step::to(Accepted, &[StopRetransmission, Start(Timer::M), Tell])
        }
        (Calling | Proceeding, Event::Failure) => Step::to(
            Completed,
            &[StopRetransmission, Acknowledge, Start(Timer::D), Tell],
        ),
        (Calling | Proceeding | Completed, Event::TransportError) => {
            Step::to(Terminated, &[TellTransportError])
        }
        (Completed, Event::Failure) => Step::to(Completed, &[Resend]),
        (Completed, Event::Fired(Timer::D)) => Step::to(Terminated, &[]),
        (Accepted, Event::Success) => Step::to(Accepted, &[Tell]),
        (Accepted, Event::Fired(Timer::M)) => Step::to(Terminated, &[]),
        _ => None,
    }
}

/// What happens when the transaction is made.
pub const START: &[super::step::Action] = &[Send, Start(Timer::A), Start(Timer::B)];
