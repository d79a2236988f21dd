//! Timers of the transaction layer that the proxy hears of, Timer C among them (RFC 3261 §16.8).

use super::branch::own_final;
use super::response_context::{BranchState, Phase};
use super::{OwnResponse, Proxy};
use crate::count::Count;
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use crate::transaction::timer::Timer;
use crate::transaction::{Side, Told};

impl Proxy {
    /// Runs every timer that is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((side, told)) = self.transactions.poll_timer(now, &mut self.outbox) {
            match side {
                Side::Client(client) => self.hear_client(now, client, told),
                Side::Server(server) => self.hear_server(now, server, told),
            }
        }
    }

    /// The request of a client transaction could not be sent, or may not have arrived: its connection is gone, or none
    /// could be made (§16.9). One that was answered has arrived: what rings goes on ringing.
    pub fn handle_unsent(&mut self, now: Timestamp, client: Handle) {
        let transaction = self.transactions.client(client);
        if transaction.is_some_and(|each| each.has_provisional() || !each.state.is_pending()) {
            return;
        }
        if let Some(told) = self.transactions.handle_transport_error(client) {
            self.counts.add(Count::BranchesUnsent);
            self.hear_client(now, client, told);
        }
    }

    fn hear_server(&mut self, now: Timestamp, id: Handle, told: Told) {
        match told {
            Told::Fired(Timer::Trying) => {
                self.send_trying(now, id);
                self.start_decision_timer(now, id);
            }
            // RFC 4320 §4.1: now its client may hear a 100, and must.
            Told::Fired(Timer::Late) => self.send_trying(now, id),
            Told::Fired(_) => self.give_up_waiting(now, id),
            Told::Timeout => {
                self.counts.add(Count::AcksMissing);
                self.transactions.bury(Side::Server(id));
            }
            Told::Response | Told::TransportError => {}
        }
    }

    /// The policy did not decide, or a name was not resolved, within 64*T1.
    fn give_up_waiting(&mut self, now: Timestamp, id: Handle) {
        self.release_held(now, id);
        let phase = self.transactions.server(id).map(|server| server.user.phase);
        match phase {
            Some(Phase::Consulting) => {
                self.counts.add(Count::DecisionTimeouts);
                self.withdraw_question(id);
                self.send_best(now, id);
            }
            Some(Phase::Deciding) => {
                self.counts.add(Count::DecisionTimeouts);
                let response = OwnResponse {
                    reason: Some(b"No Decision In Time"),
                    ..OwnResponse::of(500)
                };
                self.end_question(now, id, response);
            }
            Some(Phase::Forwarding) => {
                self.end_unresolved_branches(id);
                self.look_for_outcome(now, id);
            }
            Some(Phase::Done) => self.forget_unanswered(id),
            None => {}
        }
    }

    /// A non-INVITE that ended without an answer (RFC 4320 §4.2) is not repeated any more.
    fn forget_unanswered(&mut self, id: Handle) {
        let server = self.transactions.server(id);
        if server.is_some_and(|server| server.state.is_unanswered()) {
            self.transactions.drop_server(id);
        }
    }

    fn end_unresolved_branches(&mut self, id: Handle) {
        let Some(server) = self.transactions.server(id) else {
            return;
        };
        let is_resolving = |state: &BranchState| matches!(state, BranchState::Resolving(_));
        let branches = server.user.branches.iter().enumerate();
        let unresolved: Vec<usize> = branches
            .filter(|(_, branch)| is_resolving(&branch.state))
            .map(|(index, _)| index)
            .collect();
        for index in unresolved {
            self.end_branch(id, index, own_final(503));
        }
    }
}
