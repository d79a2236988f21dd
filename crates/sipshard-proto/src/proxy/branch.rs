//! One forwarded copy of a request: its next hop (RFC 3261 §16.6 step 7), its transaction, its Timer C (step 11).

use super::event::SharedRequest;
use super::failover::Spare;
use super::locator::{Hop, LocateQuestion};
use super::next_hop::{Destination, NextHop, Way};
use super::request_copy::{Outbound, RequestCopy};
use super::response_context::{BranchState, FinalResponse, Target};
use super::route::Routed;
use super::{ClientUse, Proxy};
use crate::count::Count;
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use crate::transaction::timer::Timer;

impl Proxy {
    /// Sends the copy of a branch that is `Resolving`, as soon as its next hop has an address.
    pub(super) fn start_branch(&mut self, now: Timestamp, id: Handle, index: usize) {
        let Some(server) = self.transactions.server_mut(id) else {
            return;
        };
        let listener = server.user.arrival.listener;
        let Some(branch) = server.user.branches.get_mut(index) else {
            return;
        };
        let BranchState::Resolving(target) = &branch.state else {
            return;
        };
        let flow = target.flow.filter(|_| target.routes.is_empty());
        let next_hop = Routed::to(&target.uri, target.route_set())
            .next_hop
            .to_vec();
        let Some(request) = server.user.request.clone() else {
            return;
        };
        let destination = Destination {
            uri: &next_hop,
            flow,
            listener,
            call_id: request.call_id(),
            request_bytes: request.bytes().len(),
        };
        match self.next_hop(now, destination) {
            NextHop::Resolving => {
                self.resolving.insert(id.as_u64());
                self.start_decision_timer(now, id);
            }
            NextHop::Unreachable => {
                self.counts.add(Count::UnreachableTargets);
                self.end_branch(id, index, own_final(503));
            }
            NextHop::Reachable(way) => self.send_copy((now, now), (id, index), way),
        }
    }

    /// Sends the copy of a branch that is `Resolving`. `since` is when its first copy left.
    pub(super) fn send_copy(
        &mut self,
        (now, since): (Timestamp, Timestamp),
        (id, index): (Handle, usize),
        way: Way,
    ) {
        let Some((target, request)) = self.take_target(id, index) else {
            return;
        };
        let Some(server) = self.transactions.server(id) else {
            return;
        };
        let is_invite = server.state.is_invite();
        let (record_route, arrival) = (server.user.options.record_route, server.user.arrival);
        let ring_timeout_ms = server.user.branches[index].ring_timeout_ms;
        let breadth = server.user.branches[index].breadth;
        let client_use = ClientUse::Branch { server: id, index };
        let (settings, outbound) = (&self.settings, Outbound::of(&way.path));
        let write = |handle, out: &mut Vec<u8>| {
            let copy = RequestCopy {
                request: &request,
                arrival,
                routed: Routed::to(&target.uri, target.route_set()),
                record_route,
                edits: &target.edits,
                breadth,
                outbound,
                handle,
            };
            copy.write(settings, out);
        };
        let driver = (now, &mut self.outbox);
        let client = self
            .transactions
            .open_client(driver, is_invite, way.path, client_use, write);
        if let Some(server) = self.transactions.server_mut(id) {
            let branch = &mut server.user.branches[index];
            branch.state = BranchState::Calling(client);
            branch.spare = Spare::of(target, way.others, since);
        }
        if is_invite {
            self.limit_ringing((now, since), client, ring_timeout_ms);
        }
    }

    /// What the copy of a branch that is `Resolving` is made from; the branch is `Ended` until the copy has left.
    fn take_target(&mut self, id: Handle, index: usize) -> Option<(Box<Target>, SharedRequest)> {
        let context = &mut self.transactions.server_mut(id)?.user;
        let state = &mut context.branches.get_mut(index)?.state;
        match std::mem::replace(state, BranchState::Ended) {
            BranchState::Resolving(target) => Some((target, context.request.clone()?)),
            _ => None,
        }
    }

    /// Starts the timer of a copy that has left. The policy's limit runs from the first copy of the branch, Timer C from
    /// each.
    fn limit_ringing(
        &mut self,
        (now, since): (Timestamp, Timestamp),
        client: Handle,
        ring_timeout_ms: Option<u64>,
    ) {
        let left_ms = |limit_ms: u64| limit_ms.saturating_sub(now.ms_since(since));
        self.start_ring_timer(now, client, ring_timeout_ms.map(left_ms));
    }

    /// Timer C (§16.6 step 11), or the policy's own, shorter limit.
    pub(super) fn start_ring_timer(
        &mut self,
        now: Timestamp,
        client: Handle,
        ring_timeout_ms: Option<u64>,
    ) {
        let (timer, interval_ms) = self.ring_timer(ring_timeout_ms);
        self.transactions
            .start_client_timer(now, client, timer, interval_ms);
    }

    /// The timer that limits ringing, and its interval.
    pub(super) fn ring_timer(&self, ring_timeout_ms: Option<u64>) -> (Timer, u64) {
        let c_ms = u64::from(self.transactions.values().c_ms);
        match ring_timeout_ms {
            Some(ring_ms) if ring_ms < c_ms => (Timer::Ring, ring_ms),
            _ => (Timer::C, c_ms),
        }
    }

    /// Notes how a branch ended. The caller then looks whether that was the last one.
    pub(super) fn end_branch(&mut self, id: Handle, index: usize, response: FinalResponse) {
        let Some(server) = self.transactions.server_mut(id) else {
            return;
        };
        let context = &mut server.user;
        if let Some(branch) = context.branches.get_mut(index) {
            branch.state = BranchState::Ended;
            let has_timed_out = branch.has_timed_out;
            context.offer(if has_timed_out {
                own_final(408)
            } else {
                response
            });
        }
    }

    /// Notes that a branch ended without anything to pass on: others were tried in its place.
    pub(super) fn end_redirected(&mut self, id: Handle, index: usize) {
        let server = self.transactions.server_mut(id);
        if let Some(branch) = server.and_then(|server| server.user.branches.get_mut(index)) {
            branch.state = BranchState::Ended;
        }
    }

    /// A next hop was located; no hops mean that there is no such service.
    pub fn handle_located(
        &mut self,
        now: Timestamp,
        question: &LocateQuestion,
        hops: Vec<Hop>,
        ttl_s: u32,
    ) {
        self.locator.answer(now, question, hops, ttl_s);
        self.resume_branches(now);
        self.resume_acks(now);
        self.resume_own_requests(now);
    }

    /// A next hop could not be located: nobody could be asked, or nobody answered.
    pub fn handle_lookup_failed(&mut self, now: Timestamp, question: &LocateQuestion) {
        self.counts.add(Count::LookupFailures);
        self.locator.fail(now, question);
        self.resume_branches(now);
        self.resume_acks(now);
        self.resume_own_requests(now);
    }

    fn resume_branches(&mut self, now: Timestamp) {
        for id in std::mem::take(&mut self.resolving) {
            let id = Handle::from_u64(id);
            let count = self
                .transactions
                .server(id)
                .map_or(0, |server| server.user.branches.len());
            for index in 0..count {
                self.start_branch(now, id, index);
            }
            self.look_for_outcome(now, id);
        }
    }
}

/// A final response that no branch sent.
pub(super) fn own_final(status: u16) -> FinalResponse {
    FinalResponse {
        status,
        bytes: Box::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::proxy;
    use super::super::{Arrival, Event, ForwardOptions, Plan, Target};
    use super::*;
    use crate::message::Message;

    #[test]
    fn what_waits_for_a_name_is_forgotten_with_its_request() {
        let mut proxy = proxy();
        let now = Timestamp::from_millis(0);
        let request = Message::parse(
            b"OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\n\
              From: <sip:a>;tag=1\r\nTo: <sip:b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n",
        )
        .unwrap();
        let source = "192.0.2.2:5060".parse().unwrap();
        proxy.handle_message(now, Arrival::udp(0, source), &request);
        let Some(Event::RequestReceived(question)) = proxy.poll_event() else {
            panic!("a question");
        };
        let target = |uri: &[u8]| Target {
            uri: uri.into(),
            q_milli: 1_000,
            routes: Vec::new(),
            flow: None,
            ring_timeout_ms: None,
            edits: Default::default(),
        };
        let targets = vec![target(b"sip:b@one.example"), target(b"sip:b@two.example")];
        let options = ForwardOptions::default();
        let plan = Plan { targets, options };
        assert_eq!(proxy.forward(now, question.id, plan), Ok(true));
        assert_eq!(proxy.resolving.len(), 1, "one entry for both names");
        proxy.handle_timeout(now.after_ms(32_000));
        assert!(proxy.resolving.is_empty());
        assert_eq!(proxy.unfinished_count(), 0);
    }
}
