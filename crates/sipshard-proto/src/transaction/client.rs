//! One client transaction: either table, the stored request, and the transaction user's data.

use super::clocks::Clocks;
use super::step::{Action, Step};
use super::timer::{Timer, TimerValues};
use super::{invite_client, non_invite_client, Told};
use crate::outbox::{Outbox, Path};
use crate::slots::Handle;
use crate::timestamp::Timestamp;

/// The state of a client transaction, by the figure that it follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientState {
    /// Figure 5.
    Invite(invite_client::State),
    /// Figure 6.
    NonInvite(non_invite_client::State),
}

/// What can happen to either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientEvent {
    /// A response with this status.
    Response(u16),
    /// The request could not be sent.
    TransportError,
    /// A timer fired.
    Fired(Timer),
}

/// A client transaction with the data `U` of its user.
pub struct ClientTransaction<U> {
    /// Where it stands.
    pub state: ClientState,
    /// What runs.
    pub clocks: Clocks,
    /// Where its request went.
    pub path: Path,
    /// What is sent again: the request, or the ACK to a failure. Empty once nothing is.
    pub stored: Box<[u8]>,
    /// The CANCEL that was sent for it; its responses carry our INVITE's branch (§9.1).
    pub cancel: Option<Handle>,
    /// The user's.
    pub user: U,
}

impl<U> ClientTransaction<U> {
    /// True once a provisional response has come and no final one.
    pub const fn has_provisional(&self) -> bool {
        matches!(
            self.state,
            ClientState::Invite(invite_client::State::Proceeding)
                | ClientState::NonInvite(non_invite_client::State::Proceeding)
        )
    }
}

impl<C> ClientTransaction<C> {
    /// Goes where the step leads and does what it says; what the user is to be told. `ack` is stored and sent where the
    /// step says so.
    pub(super) fn follow(
        &mut self,
        step: Step<ClientState>,
        values: &TimerValues,
        now: Timestamp,
        outbox: &mut Outbox,
        mut ack: Option<Vec<u8>>,
    ) -> Option<Told> {
        self.state = step.next;
        let mut told = None;
        for &action in step.actions {
            told = self
                .act(
                    action,
                    values,
                    now,
                    outbox,
                    ack.take_if(|_| action == Action::Acknowledge),
                )
                .or(told);
        }
        told
    }

    /// One action of a step.
    pub(super) fn act(
        &mut self,
        action: Action,
        values: &TimerValues,
        now: Timestamp,
        outbox: &mut Outbox,
        ack: Option<Vec<u8>>,
    ) -> Option<Told> {
        match action {
            Action::Resend => self.send(outbox),
            // The request is in the outbox already: `open_client` wrote it there.
            Action::Send => {}
            Action::Acknowledge => {
                self.stored = ack.unwrap_or_default().into_boxed_slice();
                self.send(outbox);
            }
            Action::Tell => return Some(Told::Response),
            Action::TellTimeout => return Some(Told::Timeout),
            Action::TellTransportError => return Some(Told::TransportError),
            _ => self.clocks.act(action, values, self.path.transport, now),
        }
        None
    }

    fn send(&self, outbox: &mut Outbox) {
        if !self.stored.is_empty() {
            outbox.push(&self.path, |out| out.extend_from_slice(&self.stored));
        }
    }
}

impl ClientState {
    /// The state in which a request of either kind starts, and what starting means.
    pub const fn start(is_invite: bool) -> (Self, &'static [Action]) {
        if is_invite {
            let state = Self::Invite(invite_client::State::Calling);
            return (state, invite_client::START);
        }
        let state = Self::NonInvite(non_invite_client::State::Trying);
        (state, non_invite_client::START)
    }

    /// Follows the figure.
    pub fn step(self, event: ClientEvent) -> Option<Step<Self>> {
        match self {
            Self::Invite(state) => {
                use invite_client::Event::*;
                let event = match event {
                    ClientEvent::Response(..=199) => Provisional,
                    ClientEvent::Response(..=299) => Success,
                    ClientEvent::Response(_) => Failure,
                    ClientEvent::TransportError => TransportError,
                    ClientEvent::Fired(timer) => Fired(timer),
                };
                invite_client::step(state, event).map(|step| step.wrap(Self::Invite))
            }
            Self::NonInvite(state) => {
                use non_invite_client::Event::*;
                let event = match event {
                    ClientEvent::Response(..=199) => Provisional,
                    ClientEvent::Response(_) => Final,
                    ClientEvent::TransportError => TransportError,
                    ClientEvent::Fired(timer) => Fired(timer),
                };
                non_invite_client::step(state, event).map(|step| step.wrap(Self::NonInvite))
            }
        }
    }

    /// True in the state that ends the transaction.
    pub const fn is_terminated(self) -> bool {
        matches!(
            self,
            Self::Invite(invite_client::State::Terminated)
                | Self::NonInvite(non_invite_client::State::Terminated)
        )
    }

    /// True for an INVITE's transaction.
    pub const fn is_invite(self) -> bool {
        matches!(self, Self::Invite(_))
    }

    /// True as long as the outcome is open.
    pub const fn is_pending(self) -> bool {
        matches!(
            self,
            Self::Invite(invite_client::State::Calling | invite_client::State::Proceeding)
                | Self::NonInvite(
                    non_invite_client::State::Trying | non_invite_client::State::Proceeding
                )
        )
    }

    /// True when the stored message will not be sent again.
    pub const fn has_no_use_for_message(self) -> bool {
        matches!(
            self,
            Self::Invite(invite_client::State::Accepted | invite_client::State::Terminated)
                | Self::NonInvite(
                    non_invite_client::State::Completed | non_invite_client::State::Terminated
                )
        )
    }
}

impl<State> Step<State> {
    /// The same step in the terms of a wider state.
    pub(super) fn wrap<Wide>(self, widen: impl FnOnce(State) -> Wide) -> Step<Wide> {
        Step {
            next: widen(self.next),
            actions: self.actions,
        }
    }
}
