//! Figures 5 to 8 written down a second time, arrow by arrow. Every pair of state and event that is not among the
//! arrows must change nothing.

use sipshard_proto::transaction::step::{Action, Action::*, Step};
use sipshard_proto::transaction::timer::{Clock, Timer, TimerValues};
use sipshard_proto::transaction::{
    invite_client, invite_server, non_invite_client, non_invite_server,
};
use std::fmt::Debug;

const TIMERS: [Timer; 17] = [
    Timer::A,
    Timer::B,
    Timer::C,
    Timer::D,
    Timer::E,
    Timer::F,
    Timer::G,
    Timer::H,
    Timer::I,
    Timer::J,
    Timer::K,
    Timer::L,
    Timer::M,
    Timer::Trying,
    Timer::Ring,
    Timer::Decision,
    Timer::Cancelled,
];

/// One arrow: from where, why, to where, doing what.
type Arrow<State, Event> = (State, Event, State, &'static [Action]);

fn check<State, Event>(
    step: impl Fn(State, Event) -> Option<Step<State>>,
    states: &[State],
    events: impl Iterator<Item = Event>,
    arrows: &[Arrow<State, Event>],
) where
    State: Copy + PartialEq + Debug + 'static,
    Event: Copy + PartialEq + Debug,
{
    let events: Vec<Event> = events.collect();
    let mut met = 0;
    for &state in states {
        for &event in &events {
            let arrow = arrows
                .iter()
                .find(|arrow| (arrow.0, arrow.1) == (state, event));
            let expected = arrow.map(|&(_, _, next, actions)| Step { next, actions });
            assert_eq!(step(state, event), expected, "{state:?} on {event:?}");
            met += usize::from(arrow.is_some());
        }
    }
    assert_eq!(met, arrows.len(), "every arrow was tried");
}

#[test]
fn figure_5_invite_client_with_the_accepted_state_of_rfc_6026() {
    use invite_client::{step, Event::*, State::*};
    let events = [Provisional, Success, Failure, TransportError];
    let failure: &[_] = &[StopRetransmission, Acknowledge, Start(Timer::D), Tell];
    let success: &[_] = &[StopRetransmission, Start(Timer::M), Tell];
    let ringing: &[_] = &[StopRetransmission, StopTransactionTimer, Tell];
    check(
        step,
        &[Calling, Proceeding, Completed, Accepted, Terminated],
        events.into_iter().chain(TIMERS.map(Fired)),
        &[
            (
                Calling,
                Fired(Timer::A),
                Calling,
                &[Resend, Restart(Timer::A)],
            ),
            (Calling, Fired(Timer::B), Terminated, &[TellTimeout]),
            (Calling, TransportError, Terminated, &[TellTransportError]),
            (Calling, Provisional, Proceeding, ringing),
            (Calling, Success, Accepted, success),
            (Calling, Failure, Completed, failure),
            (Proceeding, Provisional, Proceeding, &[Tell]),
            (Proceeding, Success, Accepted, success),
            (Proceeding, Failure, Completed, failure),
            // The figure has no such arrow; §17.1.4 speaks of every client transaction.
            (
                Proceeding,
                TransportError,
                Terminated,
                &[TellTransportError],
            ),
            (Completed, Failure, Completed, &[Resend]),
            (Completed, TransportError, Terminated, &[TellTransportError]),
            (Completed, Fired(Timer::D), Terminated, &[]),
            (Accepted, Success, Accepted, &[Tell]),
            (Accepted, Fired(Timer::M), Terminated, &[]),
        ],
    );
    assert_eq!(
        invite_client::START,
        [Send, Start(Timer::A), Start(Timer::B)]
    );
}

#[test]
fn figure_6_non_invite_client() {
    use non_invite_client::{step, Event::*, State::*};
    let events = [Provisional, Final, TransportError];
    let end: &[_] = &[StopRetransmission, Start(Timer::K), Tell];
    check(
        step,
        &[Trying, Proceeding, Completed, Terminated],
        events.into_iter().chain(TIMERS.map(Fired)),
        &[
            (
                Trying,
                Fired(Timer::E),
                Trying,
                &[Resend, Restart(Timer::E)],
            ),
            (Trying, Fired(Timer::F), Terminated, &[TellTimeout]),
            (Trying, TransportError, Terminated, &[TellTransportError]),
            (Trying, Provisional, Proceeding, &[Tell]),
            (Trying, Final, Completed, end),
            (
                Proceeding,
                Fired(Timer::E),
                Proceeding,
                &[Resend, RestartAtT2(Timer::E)],
            ),
            (Proceeding, Fired(Timer::F), Terminated, &[TellTimeout]),
            (
                Proceeding,
                TransportError,
                Terminated,
                &[TellTransportError],
            ),
            (Proceeding, Provisional, Proceeding, &[Tell]),
            (Proceeding, Final, Completed, end),
            (Completed, Fired(Timer::K), Terminated, &[]),
        ],
    );
    assert_eq!(
        non_invite_client::START,
        [Send, Start(Timer::E), Start(Timer::F)]
    );
}

#[test]
fn figure_7_invite_server_with_the_accepted_state_of_rfc_6026() {
    use invite_server::{step, Event::*, State::*};
    let events = [Retransmission, Ack, Provisional, Success, Failure];
    let refused: &[_] = &[Send, Start(Timer::G), Start(Timer::H)];
    let confirmed: &[_] = &[StopRetransmission, Start(Timer::I)];
    check(
        step,
        &[Proceeding, Completed, Confirmed, Accepted, Terminated],
        events.into_iter().chain(TIMERS.map(Fired)),
        &[
            (Proceeding, Retransmission, Proceeding, &[Resend]),
            (Proceeding, Provisional, Proceeding, &[Send]),
            (Proceeding, Success, Accepted, &[Send, Start(Timer::L)]),
            (Proceeding, Failure, Completed, refused),
            (Completed, Retransmission, Completed, &[Resend]),
            (
                Completed,
                Fired(Timer::G),
                Completed,
                &[Resend, Restart(Timer::G)],
            ),
            (Completed, Fired(Timer::H), Terminated, &[TellTimeout]),
            (Completed, Ack, Confirmed, confirmed),
            (Confirmed, Fired(Timer::I), Terminated, &[]),
            (Accepted, Success, Accepted, &[Send]),
            (Accepted, Fired(Timer::L), Terminated, &[]),
        ],
    );
}

#[test]
fn figure_8_non_invite_server() {
    use non_invite_server::{step, Event::*, State::*};
    let events = [Retransmission, Provisional, Final];
    check(
        step,
        &[Trying, Proceeding, Completed, Terminated],
        events.into_iter().chain(TIMERS.map(Fired)),
        &[
            (Trying, Provisional, Proceeding, &[Send]),
            (
                Trying,
                Final,
                Completed,
                &[Send, StopRetransmission, Start(Timer::J)],
            ),
            (Proceeding, Retransmission, Proceeding, &[Resend]),
            (Proceeding, Provisional, Proceeding, &[Send]),
            (
                Proceeding,
                Final,
                Completed,
                &[Send, StopRetransmission, Start(Timer::J)],
            ),
            (Completed, Retransmission, Completed, &[Resend]),
            (Completed, Fired(Timer::J), Terminated, &[]),
        ],
    );
}

#[test]
fn table_4_gives_every_timer_its_first_interval() {
    let values = TimerValues::default();
    let expected = [
        (Timer::A, 500),
        (Timer::B, 32_000),
        (Timer::C, 180_000),
        (Timer::D, 32_000),
        (Timer::E, 500),
        (Timer::F, 32_000),
        (Timer::G, 500),
        (Timer::H, 32_000),
        (Timer::I, 5_000),
        (Timer::J, 32_000),
        (Timer::K, 5_000),
        (Timer::L, 32_000),
        (Timer::M, 32_000),
        (Timer::Trying, 200),
        (Timer::Decision, 32_000),
        (Timer::Cancelled, 32_000),
    ];
    for (timer, interval_ms) in expected {
        assert_eq!(values.interval_ms(timer), interval_ms, "{timer:?}");
    }
}

#[test]
fn timers_that_run_together_have_a_clock_each() {
    let together = [
        [Timer::A, Timer::B, Timer::C],
        [Timer::A, Timer::B, Timer::Ring],
        [Timer::E, Timer::F, Timer::Cancelled],
        [Timer::G, Timer::H, Timer::Decision],
        [Timer::G, Timer::D, Timer::Trying],
    ];
    for timers in together {
        let clocks = timers.map(Timer::clock);
        assert_eq!(
            clocks,
            [Clock::Retransmission, Clock::Transaction, Clock::User]
        );
    }
}
