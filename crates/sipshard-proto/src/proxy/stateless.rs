//! Stateless forwarding where a policy wants it (RFC 3261 §16.11, §16.10).
//!
//! The request leaves without a transaction on either side. Its branch is made from what came in, so that a retransmission,
//! the CANCEL of an INVITE and the ACK to its failure, all decided by the policy once more, leave with the same one.
//! Responses go on by their next Via, a 100 as well: nobody here has sent one.

use super::breadth::max_breadth;
use super::decision::{check_plan, strip_uri_headers};
use super::next_hop::{Destination, NextHop};
use super::request_copy::{Outbound, RequestCopy};
use super::response_context::{Phase, Target};
use super::route::Routed;
use super::{Arrival, ForwardOptions, OwnResponse, Plan, Proxy};
use super::{DecisionError, SharedRequest};
use crate::count::Count;
use crate::message::Message;
use crate::method::Method;
use crate::outbox::Path;
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use crate::transaction::branch::stateless_handle;

impl Proxy {
    /// Forwards a request to one target and forgets it. False when a decision is no longer wanted. A request whose next hop
    /// has to be looked up first is forwarded with state this once; a CANCEL or ACK is dropped then, and comes again.
    ///
    /// # Errors
    /// [`DecisionError`] when the target is unusable; the request then still waits for a decision.
    pub fn forward_stateless(
        &mut self,
        now: Timestamp,
        id: Handle,
        mut target: Target,
    ) -> Result<bool, DecisionError> {
        strip_uri_headers(&mut target);
        let plan = Plan {
            targets: vec![target],
            options: ForwardOptions::default(),
        };
        check_plan(&plan)?;
        let question = self.transactions.server(id).and_then(|server| {
            let is_asked = server.user.phase == Phase::Deciding;
            let request = server.user.request.clone().filter(|_| is_asked)?;
            Some((request, server.user.arrival))
        });
        let Some((request, arrival)) = question else {
            return Ok(false);
        };
        if request.max_forwards() == Some(0) {
            return Ok(self.answer(now, id, OwnResponse::of(483)));
        }
        if max_breadth(&request) == 0 {
            return Ok(self.answer(now, id, OwnResponse::of(440)));
        }
        let target = &plan.targets[0];
        let routed = Routed::to(&target.uri, target.route_set());
        let destination = Destination {
            uri: routed.next_hop,
            flow: target.flow.filter(|_| target.routes.is_empty()),
            listener: arrival.listener,
            call_id: request.call_id(),
            request_bytes: request.bytes().len(),
        };
        match self.next_hop(now, destination) {
            NextHop::Reachable(way) => self.send_stateless(&request, arrival, target, &way.path),
            NextHop::Resolving if !is_sibling(&request) => return self.forward(now, id, plan),
            NextHop::Resolving => {}
            NextHop::Unreachable => {
                self.counts.add(Count::UnreachableTargets);
                return Ok(self.answer(now, id, OwnResponse::of(500)));
            }
        }
        self.drop_question(id);
        Ok(true)
    }

    fn send_stateless(
        &mut self,
        request: &SharedRequest,
        arrival: Arrival,
        target: &Target,
        path: &Path,
    ) {
        self.counts.add(Count::StatelessRequests);
        let copy = RequestCopy {
            request,
            arrival,
            routed: Routed::to(&target.uri, target.route_set()),
            record_route: false,
            breadth: None,
            edits: &target.edits,
            outbound: Outbound::of(path),
            handle: stateless_handle(&self.settings.secret, request),
        };
        let settings = &self.settings;
        self.outbox.push(path, |out| copy.write(settings, out));
    }

    /// Forgets a request that the policy was asked about.
    pub(super) fn drop_question(&mut self, id: Handle) {
        self.finish(id);
        self.transactions.drop_server(id);
    }

    /// An ACK is never answered: what would be is dropped.
    pub(super) fn drops_answer(&mut self, id: Handle) -> bool {
        let request = |id| self.transactions.server(id)?.user.request.as_ref();
        let is_ack = request(id).is_some_and(|request| request.method() == Method::Ack);
        if is_ack {
            self.counts.add(Count::StrayAcks);
            self.drop_question(id);
        }
        is_ack
    }

    /// A CANCEL or ACK that the policy was asked about belongs to no transaction and gets none.
    pub(super) fn refuses_state(&mut self, now: Timestamp, id: Handle) -> bool {
        let request = |id| self.transactions.server(id)?.user.request.as_ref();
        let is_sibling = request(id).is_some_and(|request| is_sibling(request));
        is_sibling && self.answer(now, id, OwnResponse::of(481))
    }
}

/// Whether it goes where an INVITE went.
fn is_sibling(request: &Message<'_>) -> bool {
    matches!(request.method(), Method::Cancel | Method::Ack)
}
