//! One server transaction: either table, the stored request and response, and the transaction user's data.

use super::clocks::Clocks;
use super::key::TransactionKey;
use super::step::{Action, Step};
use super::timer::{Timer, TimerValues};
use super::{invite_server, non_invite_server, Told};
use crate::outbox::{Outbox, Path};
use crate::timestamp::Timestamp;

/// The state of a server transaction, by the figure that it follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerState {
    /// Figure 7.
    Invite(invite_server::State),
    /// Figure 8.
    NonInvite(non_invite_server::State),
}

/// What can happen to either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerEvent {
    /// The same request again.
    Retransmission,
    /// An ACK.
    Ack,
    /// The user sends a response with this status.
    Response(u16),
    /// A timer fired.
    Fired(Timer),
}

/// A server transaction with the data `U` of its user.
pub struct ServerTransaction<U> {
    /// Under which it is found.
    pub key: TransactionKey,
    /// Where it stands.
    pub state: ServerState,
    /// What runs.
    pub clocks: Clocks,
    /// Where its responses go (§18.2.2).
    pub path: Path,
    /// The last response; empty before the first one and after a 2xx to INVITE.
    pub stored: Box<[u8]>,
    /// The user's.
    pub user: U,
}

impl<S> ServerTransaction<S> {
    /// Goes where the step leads and does what it says; what the user is to be told. `response` is what the step may
    /// store.
    pub(super) fn follow(
        &mut self,
        step: Step<ServerState>,
        values: &TimerValues,
        now: Timestamp,
        outbox: &mut Outbox,
        mut response: Option<Box<[u8]>>,
    ) -> Option<Told> {
        self.state = step.next;
        let mut told = None;
        for &action in step.actions {
            match action {
                // The response is in the outbox already: `respond` wrote it there.
                Action::Send => self.stored = response.take().unwrap_or_default(),
                Action::Resend if !self.stored.is_empty() => {
                    outbox.push(&self.path, |out| out.extend_from_slice(&self.stored));
                }
                Action::TellTimeout => told = Some(Told::Timeout),
                _ => self.clocks.act(action, values, self.path.transport, now),
            }
        }
        told
    }
}

impl ServerState {
    /// The state in which a request of either kind starts.
    pub const fn start(is_invite: bool) -> Self {
        if is_invite {
            Self::Invite(invite_server::State::Proceeding)
        } else {
            Self::NonInvite(non_invite_server::State::Trying)
        }
    }

    /// Follows the figure.
    pub fn step(self, event: ServerEvent) -> Option<Step<Self>> {
        match self {
            Self::Invite(state) => {
                use invite_server::Event::*;
                let event = match event {
                    ServerEvent::Retransmission => Retransmission,
                    ServerEvent::Ack => Ack,
                    ServerEvent::Response(..=199) => Provisional,
                    ServerEvent::Response(..=299) => Success,
                    ServerEvent::Response(_) => Failure,
                    ServerEvent::Fired(timer) => Fired(timer),
                };
                invite_server::step(state, event).map(|step| step.wrap(Self::Invite))
            }
            Self::NonInvite(state) => {
                use non_invite_server::Event::*;
                let event = match event {
                    ServerEvent::Retransmission => Retransmission,
                    ServerEvent::Ack => return None,
                    ServerEvent::Response(..=199) => Provisional,
                    ServerEvent::Response(_) => Final,
                    ServerEvent::Fired(timer) => Fired(timer),
                };
                non_invite_server::step(state, event).map(|step| step.wrap(Self::NonInvite))
            }
        }
    }

    /// True in the state that ends the transaction.
    pub const fn is_terminated(self) -> bool {
        matches!(
            self,
            Self::Invite(invite_server::State::Terminated)
                | Self::NonInvite(non_invite_server::State::Terminated)
        )
    }

    /// True for an INVITE's transaction.
    pub const fn is_invite(self) -> bool {
        matches!(self, Self::Invite(_))
    }

    /// True before a final response.
    pub const fn is_unanswered(self) -> bool {
        matches!(
            self,
            Self::Invite(invite_server::State::Proceeding)
                | Self::NonInvite(
                    non_invite_server::State::Trying | non_invite_server::State::Proceeding
                )
        )
    }

    /// True when no response will be sent again: further 2xx come from downstream (RFC 6026 §8.7).
    pub const fn has_no_use_for_message(self) -> bool {
        matches!(
            self,
            Self::Invite(invite_server::State::Accepted | invite_server::State::Confirmed)
        )
    }
}
