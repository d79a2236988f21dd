//! One server transaction: either table, the stored request and response, and the transaction user's data.

use super::clocks::Clocks;
use super::key::TransactionKey;
use super::step::Step;
use super::timer::Timer;
use super::{invite_server, non_invite_server};
use crate::outbox::Path;

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
