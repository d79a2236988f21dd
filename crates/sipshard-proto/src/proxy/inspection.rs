//! Responses on their way upstream: changed as the policy said when it forwarded the request, or held until it has seen
//! them.
//!
//! A held response waits in the order in which it came, at most until the decision timer fires; what holds it up never
//! changes whether it is sent. Only provisional responses and the first 2xx are shown. Later 2xx, those of other branches
//! and repeated ones (RFC 6026 §8.4), are edited as the first one was.

use super::edit::Edits;
use super::event::{Event, Question};
use super::own_response::write_without_own_via;
use super::Proxy;
use crate::count::Count;
use crate::message::Message;
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use std::collections::VecDeque;

/// So many responses of one request are held. A policy answers within the same turn of its worker's loop, so more than a
/// few wait only where nobody answers.
const MAX_HELD: usize = 16;

/// What the policy has to do with the responses to one request.
#[derive(Default)]
pub struct Inspection {
    held: VecDeque<HeldResponse>,
    is_wanted: bool,
    /// The policy did not answer in time, so it is not asked again: its late answers would meet the wrong responses.
    is_given_up: bool,
    success_edits: Edits,
}

struct HeldResponse {
    status: u16,
    /// The message without our Via.
    bytes: Vec<u8>,
    /// The policy is asked about it; the others wait for their turn only.
    is_asked: bool,
}

impl Inspection {
    /// From now on the policy wants to see responses, or does not.
    pub fn want(&mut self, is_wanted: bool) {
        self.is_wanted = is_wanted && !self.is_given_up;
    }

    fn edits_for(&self, status: u16) -> &Edits {
        match status {
            ..=199 => &Edits::NONE,
            _ => &self.success_edits,
        }
    }
}

impl Proxy {
    /// Sends a provisional response or 2xx of a branch upstream, or holds it until the policy has seen it.
    pub(super) fn relay(&mut self, now: Timestamp, id: Handle, response: &Message<'_>) {
        let Some(server) = self.transactions.server(id) else {
            return;
        };
        let status = response.status();
        let context = &server.user;
        if context.inspection.is_none() && context.options.response_edits.is_empty() {
            let driver = (now, &mut self.outbox);
            let write = |out: &mut Vec<u8>| write_without_own_via(response, out);
            self.transactions.respond(driver, id, status, write);
            return;
        }
        let mut bytes = Vec::with_capacity(response.bytes().len());
        write_without_own_via(response, &mut bytes);
        let is_behind =
            |inspection: &Inspection| inspection.is_wanted || !inspection.held.is_empty();
        match context.inspection.as_deref() {
            Some(inspection) if is_behind(inspection) => self.hold(now, id, status, bytes),
            Some(inspection) => {
                let edits = inspection.edits_for(status).clone();
                self.send_upstream(now, id, (status, &bytes), &edits);
            }
            None => self.send_upstream(now, id, (status, &bytes), &Edits::NONE),
        }
    }

    /// The policy has seen the oldest response that it was asked about. False when that went on without it.
    pub fn inspected(&mut self, now: Timestamp, id: Handle, edits: &Edits) -> bool {
        let Some(response) = self.take_held(id) else {
            return false;
        };
        if response.status >= 200 {
            if let Some(inspection) = self.inspection(id) {
                inspection.success_edits = edits.clone();
            }
        }
        self.send_upstream(now, id, (response.status, &response.bytes), edits);
        while self.is_next_unasked(id) {
            self.send_next(now, id);
        }
        true
    }

    /// Lets everything go on that waits for the policy.
    pub(super) fn release_held(&mut self, now: Timestamp, id: Handle) {
        let Some(inspection) = self.inspection(id) else {
            return;
        };
        if inspection.held.is_empty() {
            return;
        }
        inspection.is_given_up = true;
        inspection.is_wanted = false;
        let count = inspection.held.len();
        self.counts
            .add_many(Count::UninspectedResponses, count as u64);
        for _ in 0..count {
            self.send_next(now, id);
        }
    }

    fn hold(&mut self, now: Timestamp, id: Handle, status: u16, bytes: Vec<u8>) {
        let Some(server) = self.transactions.server_mut(id) else {
            return;
        };
        let context = &mut server.user;
        let arrival = context.arrival;
        let request = context.request.clone();
        let Some(inspection) = context.inspection.as_deref_mut() else {
            return;
        };
        let shown = Message::parse(&bytes).map(Message::into_owned).ok();
        let asked = request.zip(shown).filter(|_| inspection.is_wanted);
        inspection.held.push_back(HeldResponse {
            status,
            bytes,
            is_asked: asked.is_some(),
        });
        if status >= 200 {
            inspection.is_wanted = false;
        }
        if inspection.held.len() > MAX_HELD {
            return self.release_held(now, id);
        }
        if let Some((request, response)) = asked {
            let question = Question {
                id,
                arrival,
                request,
            };
            let event = Event::ResponseReceived(question, Box::new(response));
            self.events.push_back(event);
            self.start_decision_timer(now, id);
        } else if self.is_next_unasked(id) {
            self.send_next(now, id);
        }
    }

    fn inspection(&mut self, id: Handle) -> Option<&mut Inspection> {
        let server = self.transactions.server_mut(id)?;
        server.user.inspection.as_deref_mut()
    }

    fn take_held(&mut self, id: Handle) -> Option<HeldResponse> {
        self.inspection(id)?.held.pop_front()
    }

    fn is_next_unasked(&mut self, id: Handle) -> bool {
        let next = self.inspection(id).and_then(|each| each.held.front());
        next.is_some_and(|response| !response.is_asked)
    }

    fn send_next(&mut self, now: Timestamp, id: Handle) {
        let Some(response) = self.take_held(id) else {
            return;
        };
        let status = response.status;
        let inspection = self.inspection(id);
        let edits = inspection.map(|each| each.edits_for(status).clone());
        let edits = edits.unwrap_or_default();
        self.send_upstream(now, id, (status, &response.bytes), &edits);
    }

    /// Sends a response without our Via upstream, with the edits of the decision and then these.
    pub(super) fn send_upstream(
        &mut self,
        now: Timestamp,
        id: Handle,
        (status, bytes): (u16, &[u8]),
        edits: &Edits,
    ) {
        let Some(server) = self.transactions.server(id) else {
            return;
        };
        let edits = server.user.options.response_edits.and(edits);
        let driver = (now, &mut self.outbox);
        let write = |out: &mut Vec<u8>| edits.write_bytes(bytes, out);
        self.transactions.respond(driver, id, status, write);
    }
}
