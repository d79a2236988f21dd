//! Non-INVITE client transaction: RFC 3261 §17.1.2, figure 6.

use super::step::{Action::*, Step};
use super::timer::Timer;

/// The states of the figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The request is out, nothing came back.
    Trying,
    /// A provisional response came.
    Proceeding,
    /// A final response came; its retransmissions are absorbed.
    Completed,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// 1xx.
    Provisional,
    /// 2xx to 6xx.
    Final,
    /// The request could not be sent.
    TransportError,
    /// Timer E, F or K fired.
    Fired(Timer),
}

/// The figure as a table; what is absent is not possible and changes nothing.
pub const fn step(state: State, event: Event) -> Option<Step<State>> {
    use State::*;
    match (state, event) {
        (Trying, Event::Fired(Timer::E)) => Step::to(Trying, &[Resend, Restart(Timer::E)]),
        (Proceeding, Event::Fired(Timer::E)) => {
            Step::to(Proceeding, &[Resend, RestartAtT2(Timer::E)])
        }
        (Trying | Proceeding, Event::Fired(Timer::F)) => Step::to(Terminated, &[TellTimeout]),
        (Trying | Proceeding, Event::TransportError) => Step::to(Terminated, &[TellTransportError]),
        (Trying | Proceeding, Event::Provisional) => Step::to(Proceeding, &[Tell]),
        (Trying | Proceeding, Event::Final) => {
            Step::to(Completed, &[StopRetransmission, Start(Timer::K), Tell])
        }
        (Completed, Event::Fired(Timer::K)) => Step::to(Terminated, &[]),
        _ => None,
    }
}

/// What happens when the transaction is made.
pub const START: &[super::step::Action] = &[Send, Start(Timer::E), Start(Timer::F)];
