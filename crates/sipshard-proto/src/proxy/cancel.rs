//! CANCEL: the caller's (RFC 3261 §16.10, §9.2), and those that we send to branches (§9.1).

use super::event::{Event, Question, SharedRequest};
use super::own_response::write_sibling;
use super::response_context::{BranchState, Cancel, Phase, ResponseContext};
use super::route::RoutePlan;
use super::{Arrival, ClientUse, OwnResponse, Proxy};
use crate::header::HeaderName;
use crate::message::Message;
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use crate::transaction::key::TransactionKey;
use crate::transaction::timer::Timer;

impl Proxy {
    /// A CANCEL that came for the first time.
    ///
    /// §16.10 lets a proxy without a response context forward a CANCEL statelessly, for an INVITE that it may have forwarded
    /// statelessly before. Only the policy knows whether it does that and where to; without it, what we do not know gets 481.
    pub(super) fn cancel(
        &mut self,
        now: Timestamp,
        arrival: Arrival,
        request: &Message<'_>,
        key: TransactionKey,
    ) {
        let invite_key = TransactionKey::of_cancelled(&self.settings.secret, request);
        let Some(invite) = self.transactions.find_server(invite_key) else {
            if self.settings.asks_about_strays && request.to_tag().is_none() {
                return self.handle_new_request(now, arrival, request, key);
            }
            return self.answer_statelessly(arrival, request, OwnResponse::of(481));
        };
        let shared = SharedRequest::new(request.clone().into_owned());
        let context = ResponseContext::new(shared, arrival, RoutePlan::default());
        let path = arrival.reply_path(&request.via());
        let server = self.transactions.open_server(key, false, path, context);
        self.unfinished += 1;
        self.send_own(now, server, OwnResponse::of(200));
        self.finish(server);
        self.cancel_invite(now, invite);
    }

    fn cancel_invite(&mut self, now: Timestamp, id: Handle) {
        let Some(server) = self.transactions.server_mut(id) else {
            return;
        };
        server.user.end_search();
        server.user.options.report_failure = false;
        match server.user.phase {
            Phase::Deciding | Phase::Consulting => self.end_question(now, id, OwnResponse::of(487)),
            Phase::Forwarding => {
                self.cancel_branches(now, id);
                self.look_for_outcome(now, id);
            }
            // §9.2: a CANCEL has no effect on a request that was answered.
            Phase::Done => {}
        }
    }

    /// Answers a request that the policy still thinks about, and tells the policy to stop.
    pub(super) fn end_question(&mut self, now: Timestamp, id: Handle, response: OwnResponse<'_>) {
        self.withdraw_question(id);
        self.answer(now, id, response);
    }

    /// Tells the policy that its decision would come too late.
    pub(super) fn withdraw_question(&mut self, id: Handle) {
        let Some(server) = self.transactions.server(id) else {
            return;
        };
        let arrival = server.user.arrival;
        if let Some(request) = server.user.request.clone() {
            self.events.push_back(Event::RequestCancelled(Question {
                id,
                arrival,
                request,
            }));
        }
    }

    /// Cancels every branch that has not ended.
    pub(super) fn cancel_branches(&mut self, now: Timestamp, id: Handle) {
        let count = self
            .transactions
            .server(id)
            .map_or(0, |server| server.user.branches.len());
        for index in 0..count {
            self.cancel_branch(now, id, index);
        }
    }

    /// Cancels one branch: at once if it has answered anything, else as soon as it does (§9.1).
    pub(super) fn cancel_branch(&mut self, now: Timestamp, id: Handle, index: usize) {
        let Some(server) = self.transactions.server_mut(id) else {
            return;
        };
        let is_invite = server.state.is_invite();
        let Some(branch) = server.user.branches.get_mut(index) else {
            return;
        };
        // Nothing new is tried for what nobody wants, whatever the method.
        branch.spare = None;
        if !is_invite {
            return;
        }
        if branch.cancel != Cancel::NotWanted {
            return;
        }
        match branch.state {
            BranchState::Ended => {}
            BranchState::Resolving(_) => self.end_branch(id, index, super::branch::own_final(487)),
            BranchState::Calling(_) => branch.cancel = Cancel::Wanted,
            BranchState::Ringing(_) => self.send_cancel(now, id, index),
        }
    }

    /// Sends the CANCEL of a branch that has answered. It carries the branch parameter of its INVITE.
    pub(super) fn send_cancel(&mut self, now: Timestamp, id: Handle, index: usize) {
        let Some(server) = self.transactions.server_mut(id) else {
            return;
        };
        let branch = &mut server.user.branches[index];
        let BranchState::Ringing(client) = branch.state else {
            return;
        };
        branch.cancel = Cancel::Sent;
        self.cancel_client(now, client);
    }

    /// Sends the CANCEL of an INVITE of ours, once.
    pub(super) fn cancel_client(&mut self, now: Timestamp, client: Handle) {
        let Some(transaction) = self.transactions.client(client) else {
            return;
        };
        if transaction.cancel.is_some() {
            return;
        }
        let path = transaction.path.clone();
        let mut bytes = Vec::with_capacity(512);
        if let Ok(invite) = Message::parse(&transaction.stored) {
            let to = invite.value(HeaderName::To).unwrap_or_default();
            write_sibling(&invite, b"CANCEL", to, &mut bytes);
        }
        let driver = (now, &mut self.outbox);
        let write = |_, out: &mut Vec<u8>| out.extend_from_slice(&bytes);
        let cancel = self
            .transactions
            .open_client(driver, false, path, ClientUse::Cancel, write);
        if let Some(transaction) = self.transactions.client_mut(client) {
            transaction.cancel = Some(cancel);
        }
        let patience_ms = u64::from(self.transactions.values().interval_ms(Timer::Cancelled));
        self.transactions
            .start_client_timer(now, client, Timer::Cancelled, patience_ms);
    }
}
