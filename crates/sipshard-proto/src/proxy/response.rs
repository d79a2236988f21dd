//! Response processing (RFC 3261 §16.7).

use super::arrival::path_by_own_via;
use super::best_response::status_upstream;
use super::branch::own_final;
use super::edit::Edits;
use super::event::{Event, Question};
use super::own_response::{write_sibling, write_without_own_via, OwnResponse};
use super::response_context::{BranchState, Cancel, FinalResponse, Phase};
use super::{Arrival, ClientUse, Proxy};
use crate::count::Count;
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use crate::transaction::branch::Branch;
use crate::transaction::client::ClientTransaction;
use crate::transaction::timer::Timer;
use crate::transaction::Told;
use crate::via::Via;

impl Proxy {
    pub(super) fn handle_response(
        &mut self,
        now: Timestamp,
        arrival: Arrival,
        response: &Message<'_>,
    ) {
        self.counts.add(Count::Responses);
        let secret = &self.settings.secret;
        let own = response
            .via()
            .branch
            .and_then(|branch| Branch::verify(secret, response.call_id(), branch));
        let Some(own) = own else {
            // Not an answer to anything that we sent; passing it on would make us a reflector.
            self.counts.add(Count::StrayResponses);
            return;
        };
        if own.is_stateless() {
            // §16.11: all of them, a 100 as well.
            self.counts.add(Count::StatelessResponses);
            return self.pass_on_upstream(response, arrival.listener);
        }
        if own.generation != self.settings.generation {
            return self.pass_on_for_predecessor(arrival, response);
        }
        let Some(client) = self.client_of(own.handle, response.method()) else {
            return self.pass_on_late(arrival, response);
        };
        // §16.7 step 3: what has no Via behind ours answers a request of our own, or nothing that we sent.
        let is_own = |client: &ClientTransaction<_>| matches!(client.user, ClientUse::Own(_));
        if is_for_us_alone(response) != self.transactions.client(client).is_some_and(is_own) {
            self.counts.add(Count::StrayResponses);
            return;
        }
        let acknowledge = |invite: &[u8]| write_ack(invite, response);
        let driver = (now, &mut self.outbox);
        let told =
            self.transactions
                .handle_response(driver, client, response.status(), acknowledge);
        if told == Some(Told::Response) {
            self.hear_response((now, arrival.listener), client, response);
        }
    }

    /// The client transaction that a response belongs to (§17.1.3): the branch names it, the method tells the INVITE
    /// from its CANCEL.
    fn client_of(&self, named: Handle, method: Method) -> Option<Handle> {
        let client = self.transactions.client(named)?;
        match method {
            Method::Cancel => client.cancel,
            _ if client.state.is_invite() == (method == Method::Invite) => Some(named),
            _ => None,
        }
    }

    fn hear_response(
        &mut self,
        (now, listener): (Timestamp, u16),
        client: Handle,
        response: &Message<'_>,
    ) {
        let Some(transaction) = self.transactions.client(client) else {
            return;
        };
        let (server, index) = match transaction.user {
            ClientUse::Branch { server, index } => (server, index),
            ClientUse::Abandoned => return self.hear_abandoned((now, listener), client, response),
            ClientUse::Cancel => return,
            ClientUse::Own(id) => return self.hear_own_response(id, response),
        };
        self.judge(now, client, response);
        match response.status() {
            ..=199 => self.hear_provisional(now, client, (server, index), response),
            200..=299 => self.hear_success((now, listener), (server, index), response),
            _ => self.hear_failure(now, (server, index), response),
        }
    }

    fn hear_abandoned(
        &mut self,
        (now, listener): (Timestamp, u16),
        client: Handle,
        response: &Message<'_>,
    ) {
        match response.status() {
            ..=199 => self.cancel_client(now, client),
            200..=299 => self.pass_on_upstream(response, listener),
            _ => {}
        }
    }

    fn hear_provisional(
        &mut self,
        now: Timestamp,
        client: Handle,
        (id, index): (Handle, usize),
        response: &Message<'_>,
    ) {
        let Some(server) = self.transactions.server_mut(id) else {
            return;
        };
        let is_invite = server.state.is_invite();
        let branch = &mut server.user.branches[index];
        branch.state = BranchState::Ringing(client);
        let ring_timeout_ms = branch.ring_timeout_ms;
        let cancel = branch.cancel;
        if cancel == Cancel::Wanted {
            self.send_cancel(now, id, index);
        }
        if response.status() == 100 || !is_invite {
            // §16.7 step 5: a 100 is for us alone. RFC 4320 §4.1: any other one to a non-INVITE must not be sent.
            return;
        }
        if cancel == Cancel::NotWanted && self.ring_timer(ring_timeout_ms).0 == Timer::C {
            // §16.7 step 2: a branch that rings is alive.
            self.start_ring_timer(now, client, ring_timeout_ms);
        }
        self.relay(now, id, response);
    }

    fn hear_success(
        &mut self,
        (now, listener): (Timestamp, u16),
        (id, index): (Handle, usize),
        response: &Message<'_>,
    ) {
        self.relay(now, id, response);
        let Some(server) = self.transactions.server_mut(id) else {
            return self.pass_on_upstream(response, listener);
        };
        let is_invite = server.state.is_invite();
        let is_first = server.user.phase != Phase::Done;
        server.user.branches[index].state = BranchState::Ended;
        if !is_first {
            return;
        }
        if is_invite {
            self.counts.add(Count::CallsAnswered);
            self.cancel_branches(now, id);
        }
        self.finish(id);
    }

    fn hear_failure(
        &mut self,
        now: Timestamp,
        (id, index): (Handle, usize),
        response: &Message<'_>,
    ) {
        let status = response.status();
        if status == 503 && self.fail_over(now, id, index) {
            return;
        }
        if let Some(server) = self.transactions.server_mut(id) {
            server.user.collect_challenges(response);
        }
        match self.remainder((id, index), response) {
            Some(bytes) => self.end_branch(id, index, FinalResponse { status, bytes }),
            None => self.end_redirected(id, index),
        }
        if status >= 600 {
            // §16.7 step 5: a 6xx ends the search; what still rings is cancelled, nothing new is tried.
            if let Some(server) = self.transactions.server_mut(id) {
                server.user.end_search();
            }
            self.cancel_branches(now, id);
        }
        self.look_for_outcome(now, id);
    }

    /// A branch has ended: when it was the last one, the next group is tried or the best response goes upstream.
    pub(super) fn look_for_outcome(&mut self, now: Timestamp, id: Handle) {
        let Some(server) = self.transactions.server(id) else {
            return;
        };
        if server.user.phase == Phase::Forwarding && server.user.has_ended() {
            self.start_next_group(now, id);
        }
    }

    /// Every target has failed: asks the policy if it wants to be asked, else sends the best response (§16.7 step 6).
    pub(super) fn conclude(&mut self, now: Timestamp, id: Handle) {
        let Some(server) = self.transactions.server_mut(id) else {
            return;
        };
        let context = &mut server.user;
        let best = context.best.get_or_insert_with(|| own_final(408)).clone();
        if !context.options.report_failure {
            return self.send_best(now, id);
        }
        context.phase = Phase::Consulting;
        context.is_awaited = false;
        let arrival = context.arrival;
        let Some(request) = context.request.clone() else {
            return self.send_best(now, id);
        };
        let mut bytes = best.bytes.into_vec();
        if bytes.is_empty() {
            OwnResponse::of(best.status).write(
                &self.settings.secret,
                &request,
                arrival,
                &mut bytes,
            );
        }
        let Ok(response) = Message::parse(&bytes).map(Message::into_owned) else {
            return self.send_best(now, id);
        };
        self.start_decision_timer(now, id);
        let question = Question {
            id,
            arrival,
            request,
        };
        self.events
            .push_back(Event::BranchesFailed(question, Box::new(response)));
    }

    pub(super) fn send_best(&mut self, now: Timestamp, id: Handle) {
        let Some(server) = self.transactions.server_mut(id) else {
            return;
        };
        let is_invite = server.state.is_invite();
        let best = server.user.best.take().unwrap_or_else(|| own_final(408));
        let status = status_upstream(best.status);
        let challenges = std::mem::take(&mut server.user.challenges);
        if status == 408 && !is_invite {
            // RFC 4320 §4.2: a 408 to a non-INVITE can only come too late, and makes things worse upstream. The
            // transaction stays for as long as the client may repeat its request, so that it is not forwarded anew.
            self.finish(id);
            return self.start_decision_timer(now, id);
        }
        if best.bytes.is_empty() || status != best.status {
            self.send_own(now, id, OwnResponse::of(status));
        } else {
            let mut bytes = Vec::with_capacity(best.bytes.len());
            best.write(&challenges, &mut bytes);
            self.send_upstream(now, id, (status, &bytes), &Edits::NONE);
        }
        self.finish(id);
    }

    /// A response to what an earlier life of this worker sent goes on by its next Via, so that a call in set-up survives
    /// its worker. RFC 6026 §7.3 forbids that because anybody could forge such a response; nobody can forge our branch.
    fn pass_on_for_predecessor(&mut self, arrival: Arrival, response: &Message<'_>) {
        if response.status() == 100 || response.method() == Method::Cancel {
            return;
        }
        self.counts.add(Count::StatelessResponses);
        self.pass_on_upstream(response, arrival.listener);
    }

    /// A response whose transaction we have ended ourselves is dropped (RFC 6026 §7.3): the caller has got another
    /// answer, or another branch rings. Only a 2xx to an INVITE goes on: it stands for a phone that was picked up.
    fn pass_on_late(&mut self, arrival: Arrival, response: &Message<'_>) {
        let is_success = (200..300).contains(&response.status());
        if response.method() != Method::Invite || !is_success {
            self.counts.add(Count::StrayResponses);
            return;
        }
        self.counts.add(Count::StatelessResponses);
        self.pass_on_upstream(response, arrival.listener);
    }

    fn pass_on_upstream(&mut self, response: &Message<'_>, listener: u16) {
        let next = response.list(HeaderName::Via).nth(1);
        let Some(Ok(via)) = next.map(Via::parse) else {
            return;
        };
        let vias = (&response.via(), &via);
        if let Some(path) = path_by_own_via(&self.settings, vias, response.call_id(), listener) {
            self.outbox
                .push(&path, |out| write_without_own_via(response, out));
        }
    }
}

/// A response without a Via behind ours was meant for us; those to our CANCELs are recognised by their method.
fn is_for_us_alone(response: &Message<'_>) -> bool {
    response.method() != Method::Cancel
        && response.values(HeaderName::Via).nth(1).is_none()
        && response.list(HeaderName::Via).nth(1).is_none()
}

fn write_ack(invite: &[u8], response: &Message<'_>) -> Vec<u8> {
    let mut ack = Vec::with_capacity(invite.len().min(1_024));
    if let Ok(invite) = Message::parse(invite) {
        let to = response.value(HeaderName::To).unwrap_or_default();
        write_sibling(&invite, b"ACK", to, &mut ack);
    }
    ack
}
