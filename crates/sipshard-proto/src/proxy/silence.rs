//! Branches from which nothing comes: timers, and requests that could not be sent (RFC 3261 §16.8, §16.9).

use super::branch::own_final;
use super::response_context::{BranchState, Cancel};
use super::{ClientUse, Proxy};
use crate::count::Count;
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use crate::transaction::timer::{Clock, Timer};
use crate::transaction::Told;

impl Proxy {
    /// What the transaction layer reports of a client transaction beside responses.
    pub(super) fn hear_client(&mut self, now: Timestamp, client: Handle, told: Told) {
        let Some(transaction) = self.transactions.client(client) else {
            return;
        };
        let ClientUse::Branch { server: id, index } = transaction.user else {
            return self.hear_of_nobodys(now, client, told);
        };
        let is_pending = transaction.state.is_pending();
        let is_ringing = is_pending && transaction.has_provisional();
        match told {
            Told::Fired(Timer::C | Timer::Ring) if is_ringing => {
                // §16.8: what has rung is cancelled; what it answers to that counts as 408.
                if let Some(server) = self.transactions.server_mut(id) {
                    server.user.branches[index].has_timed_out = true;
                }
                self.cancel_branch(now, id, index);
            }
            Told::Fired(Timer::Ring) if is_pending => {
                if let Some(transaction) = self.transactions.client_mut(client) {
                    transaction.user = ClientUse::Abandoned;
                    // A phone that has not got the INVITE by now must not get it any more.
                    transaction.clocks.stop(Clock::Retransmission);
                }
                self.hear_silence(now, id, index);
            }
            Told::Fired(_) if is_pending => {
                self.transactions.drop_client(client);
                self.hear_silence(now, id, index);
            }
            Told::Timeout => self.hear_timeout(now, client, (id, index)),
            Told::TransportError => self.hear_transport_error(now, client, (id, index)),
            _ => {}
        }
    }

    /// Of a transaction whose branch was given up, of a CANCEL's, or of a request of our own.
    fn hear_of_nobodys(&mut self, now: Timestamp, client: Handle, told: Told) {
        let Some(transaction) = self.transactions.drop_client(client) else {
            return;
        };
        let is_unheard = transaction.user == ClientUse::Abandoned && told == Told::Timeout;
        if is_unheard || told == Told::TransportError {
            self.avoid(now, &transaction.path);
        }
        if let ClientUse::Own(own) = transaction.user {
            self.hear_own_silence(own, told);
        }
    }

    /// Timer B or F: no final response came. Without any response the next hop may do better (RFC 3263 §4.3).
    fn hear_timeout(&mut self, now: Timestamp, client: Handle, (id, index): (Handle, usize)) {
        let is_unheard = self.is_calling(id, index, client);
        let Some(transaction) = self.transactions.drop_client(client) else {
            return;
        };
        if is_unheard {
            self.avoid(now, &transaction.path);
            if self.fail_over(now, id, index) {
                return;
            }
        }
        self.hear_silence(now, id, index);
    }

    /// The request could not be sent (§16.9).
    fn hear_transport_error(
        &mut self,
        now: Timestamp,
        client: Handle,
        (id, index): (Handle, usize),
    ) {
        let is_unheard = self.is_calling(id, index, client);
        let Some(transaction) = self.transactions.drop_client(client) else {
            return;
        };
        self.avoid(now, &transaction.path);
        if is_unheard && self.fail_over(now, id, index) {
            return;
        }
        // A branch that has gone on to another hop has that.
        if is_unheard {
            self.end_branch(id, index, own_final(503));
            self.look_for_outcome(now, id);
        }
    }

    fn is_calling(&self, id: Handle, index: usize, client: Handle) -> bool {
        self.branch_state(id, index) == Some(&BranchState::Calling(client))
    }

    fn branch_state(&self, id: Handle, index: usize) -> Option<&BranchState> {
        let server = self.transactions.server(id)?;
        Some(&server.user.branches.get(index)?.state)
    }

    /// Nobody has answered on a branch, and nobody will be waited for.
    fn hear_silence(&mut self, now: Timestamp, id: Handle, index: usize) {
        self.counts.add(Count::BranchTimeouts);
        let status = self.status_of_silence(id, index);
        self.end_branch(id, index, own_final(status));
        self.look_for_outcome(now, id);
    }

    /// What a branch counts for that has not answered: 408, or 487 if the caller did not want it any more.
    fn status_of_silence(&self, id: Handle, index: usize) -> u16 {
        let server = self.transactions.server(id);
        let branch = server.and_then(|server| server.user.branches.get(index));
        match branch.map(|branch| branch.cancel) {
            Some(Cancel::Wanted | Cancel::Sent) => 487,
            Some(Cancel::NotWanted) | None => 408,
        }
    }
}
