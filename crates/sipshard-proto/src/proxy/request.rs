//! A request comes in: matched to its transaction (RFC 3261 §17.2.3), checked (§16.3), and sent on by its route set or put
//! before the policy.

use super::edit::Edits;
use super::event::{Event, Question, SharedRequest};
use super::response_context::{ForwardOptions, ResponseContext, Target};
use super::route::RoutePlan;
use super::validation::Refusal;
use super::{Arrival, OwnResponse, Proxy};
use crate::count::Count;
use crate::fault::Fault;
use crate::malformed;
use crate::message::{split_list, Message};
use crate::method::Method;
use crate::outbox::Path;
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use crate::transaction::branch::Branch;
use crate::transaction::invite_server;
use crate::transaction::key::TransactionKey;
use crate::transaction::server::{ServerEvent, ServerState};
use crate::transaction::timer::Timer;
use crate::via::Via;

impl Proxy {
    /// A datagram that did not parse: a request is answered if its Via allows that, all else is dropped.
    pub fn handle_malformed(&mut self, arrival: Arrival, datagram: &[u8], fault: Fault) {
        if datagram.starts_with(b"SIP/") {
            self.counts.add(Count::MalformedResponses);
            return;
        }
        self.counts.add(Count::MalformedRequests);
        let mut answer = Vec::new();
        if malformed::refuse(datagram, fault, &mut answer).is_none() {
            return;
        }
        let path = reply_path_of(arrival, &answer);
        if arrival.is_answerable(&path) {
            self.outbox
                .push(&path, |out| out.extend_from_slice(&answer));
        }
    }

    /// Whether the message belongs to a transaction that runs here. While a worker drains, all else is its successor's.
    pub fn knows(&self, message: &Message<'_>) -> bool {
        let secret = &self.settings.secret;
        if message.is_request() {
            let key = match message.method() {
                Method::Cancel => TransactionKey::of_cancelled(secret, message),
                _ => TransactionKey::of(secret, message),
            };
            return self.transactions.find_server(key).is_some();
        }
        message
            .via()
            .branch
            .and_then(|branch| Branch::verify(secret, message.call_id(), branch))
            .filter(|branch| branch.generation == self.settings.generation)
            .is_some_and(|branch| self.transactions.client(branch.handle).is_some())
    }

    pub(super) fn handle_request(
        &mut self,
        now: Timestamp,
        arrival: Arrival,
        request: &Message<'_>,
    ) {
        self.counts.add(Count::Requests);
        let is_datagram = arrival.flow.is_none();
        if is_datagram && !arrival.is_answerable(&arrival.reply_path(&request.via())) {
            self.counts.add(Count::UnanswerableRequests);
            return;
        }
        let key = TransactionKey::of(&self.settings.secret, request);
        let server = self.transactions.find_server(key);
        match (request.method(), server) {
            (Method::Ack, Some(server)) if !self.is_accepted(server) => {
                let driver = (now, &mut self.outbox);
                self.transactions
                    .handle_request(driver, server, ServerEvent::Ack);
            }
            (Method::Ack, _) => self.acknowledge(now, arrival, request),
            (_, Some(server)) => {
                self.counts.add(Count::RequestRetransmissions);
                self.follow_to_new_connection(arrival, server, request);
                let driver = (now, &mut self.outbox);
                self.transactions
                    .handle_request(driver, server, ServerEvent::Retransmission);
            }
            (Method::Cancel, None) => self.cancel(now, arrival, request, key),
            (_, None) => self.handle_new_request(now, arrival, request, key),
        }
    }

    /// A client that has lost its connection repeats its request through another: that is where the answer goes from then
    /// on (§18.2.2). Only the same host may take an answer away from a connection, and nobody one from a datagram.
    fn follow_to_new_connection(
        &mut self,
        arrival: Arrival,
        server: Handle,
        request: &Message<'_>,
    ) {
        let Some(server) = self.transactions.server_mut(server) else {
            return;
        };
        let is_same_host = server.user.arrival.source.ip() == arrival.source.ip();
        let is_stream = arrival.flow.is_some() && server.path.flow.is_some();
        if is_stream && is_same_host && server.path.flow != arrival.flow {
            server.path = arrival.reply_path(&request.via());
        }
    }

    /// After a 2xx an ACK is the caller's own request, whatever its branch says (RFC 6026 §7.1).
    fn is_accepted(&self, server: Handle) -> bool {
        let accepted = ServerState::Invite(invite_server::State::Accepted);
        self.transactions
            .server(server)
            .is_some_and(|server| server.state == accepted)
    }

    pub(super) fn handle_new_request(
        &mut self,
        now: Timestamp,
        arrival: Arrival,
        request: &Message<'_>,
        key: TransactionKey,
    ) {
        let plan = RoutePlan::of(&self.settings, request);
        let is_in_dialog = plan.is_proven && request.to_tag().is_some();
        if let Err(refusal) = self.validate(request, arrival, is_in_dialog) {
            // An ACK gets no answer, whatever is wrong with it (§17.1.1.3).
            if request.method() == Method::Ack {
                return self.counts.add(Count::StrayAcks);
            }
            return self.refuse(arrival, request, &refusal);
        }
        let shared = SharedRequest::new(request.clone().into_owned());
        let server = self.open(arrival, &shared, key, plan.clone());
        if !matches!(request.method(), Method::Invite | Method::Ack) {
            self.transactions
                .start_server_timer(now, server, Timer::Late);
        }
        if is_in_dialog {
            self.counts.add(Count::InDialogRequests);
            return self.follow_route_set(now, server, request, &plan);
        }
        match request.method() {
            Method::Invite => self.counts.add(Count::Invites),
            Method::Register => self.counts.add(Count::Registers),
            _ => {}
        }
        // An INVITE that nobody answers within 200 ms gets a 100 (§17.2.1); every request gets a decision in the end.
        let timer = match request.method() {
            Method::Invite => Timer::Trying,
            _ => Timer::Decision,
        };
        self.transactions.start_server_timer(now, server, timer);
        self.events.push_back(Event::RequestReceived(Question {
            id: server,
            arrival,
            request: shared,
        }));
    }

    fn open(
        &mut self,
        arrival: Arrival,
        request: &SharedRequest,
        key: TransactionKey,
        plan: RoutePlan,
    ) -> Handle {
        self.unfinished += 1;
        let is_invite = request.method() == Method::Invite;
        let context = ResponseContext::new(SharedRequest::clone(request), arrival, plan);
        let path = arrival.reply_path(&request.via());
        self.transactions.open_server(key, is_invite, path, context)
    }

    /// A request inside a dialog that carries our Record-Route goes where its route set says, without the policy.
    fn follow_route_set(
        &mut self,
        now: Timestamp,
        server: Handle,
        request: &Message<'_>,
        plan: &RoutePlan,
    ) {
        let target = Target {
            uri: plan.request_uri(request).into(),
            q_milli: 1_000,
            flow: plan.flow,
            routes: plan.remaining(request).into_iter().map(Box::from).collect(),
            ring_timeout_ms: None,
            edits: Edits::NONE,
        };
        if request.max_forwards() == Some(0) {
            self.answer(now, server, OwnResponse::of(483));
            return;
        }
        if request.method() == Method::Invite {
            self.send_trying(now, server);
        }
        self.start_forwarding(now, server, vec![target], ForwardOptions::default());
    }

    /// Answers without a transaction: the same request gets the same answer again.
    fn refuse(&mut self, arrival: Arrival, request: &Message<'_>, refusal: &Refusal) {
        refusal.answer(|response| self.answer_statelessly(arrival, request, response));
    }

    pub(super) fn answer_statelessly(
        &mut self,
        arrival: Arrival,
        request: &Message<'_>,
        response: OwnResponse<'_>,
    ) {
        let path = arrival.reply_path(&request.via());
        let secret = &self.settings.secret;
        self.outbox
            .push(&path, |out| response.write(secret, request, arrival, out));
    }
}

/// Where the answer to a malformed request goes: by its topmost Via as far as that can be read (§18.2.2), but never to
/// another address than the source's, so that nobody can aim our answers at a third party.
fn reply_path_of(arrival: Arrival, answer: &[u8]) -> Path {
    let line = answer
        .split(|&byte| byte == b'\n')
        .nth(1)
        .unwrap_or_default();
    let value = line.strip_prefix(b"Via: ").unwrap_or_default();
    match split_list(value).next().map(Via::parse) {
        Some(Ok(via)) => arrival.reply_path(&via),
        _ => Path {
            transport: arrival.transport,
            flow: arrival.flow,
            ..Path::udp(arrival.listener, arrival.source)
        },
    }
}
