//! ACK to a 2xx: it belongs to no transaction and goes end to end by its route set (RFC 3261 §13.2.2.4, §16.11).

use super::edit::Edits;
use super::loop_detection::is_looping;
use super::next_hop::{Destination, NextHop, Way};
use super::request_copy::{Outbound, RequestCopy};
use super::route::{RoutePlan, Routed};
use super::{Arrival, Proxy};
use crate::count::Count;
use crate::message::Message;
use crate::timestamp::Timestamp;
use crate::transaction::branch::stateless_handle;
use crate::transaction::key::TransactionKey;

/// So many ACKs wait for names at the same time; the caller repeats what is dropped when the 2xx is repeated.
const MAX_PARKED: usize = 1_000;

/// An ACK whose next hop's name is being looked up.
pub(super) struct ParkedAck {
    arrival: Arrival,
    bytes: Box<[u8]>,
    until: Timestamp,
}

impl Proxy {
    pub(super) fn acknowledge(&mut self, now: Timestamp, arrival: Arrival, request: &Message<'_>) {
        let plan = RoutePlan::of(&self.settings, request);
        if !plan.is_proven || request.to_tag().is_none() {
            // Without our Record-Route the ACK does not come through us, or answers a failure that is forgotten or was
            // never known here.
            if self.settings.asks_about_strays {
                let key = TransactionKey::of(&self.settings.secret, request);
                return self.handle_new_request(now, arrival, request, key);
            }
            self.counts.add(Count::StrayAcks);
            return;
        }
        if request.max_forwards() == Some(0) || is_looping(&self.settings, request, arrival) {
            self.counts.add(Count::StrayAcks);
            return;
        }
        let routed = Routed::to(plan.request_uri(request), plan.remaining(request));
        let destination = Destination {
            uri: routed.next_hop,
            flow: plan.flow,
            listener: arrival.listener,
            call_id: request.call_id(),
            request_bytes: request.bytes().len(),
        };
        match self.next_hop(now, destination) {
            NextHop::Unreachable => self.counts.add(Count::UnreachableTargets),
            NextHop::Resolving => self.park(now, arrival, request),
            NextHop::Reachable(Way { path, .. }) => {
                self.counts.add(Count::InDialogRequests);
                let copy = RequestCopy {
                    request,
                    arrival,
                    routed,
                    record_route: false,
                    breadth: None,
                    edits: &Edits::NONE,
                    outbound: Outbound::of(&path),
                    handle: stateless_handle(&self.settings.secret, request),
                };
                let settings = &self.settings;
                self.outbox.push(&path, |out| copy.write(settings, out));
            }
        }
    }

    fn park(&mut self, now: Timestamp, arrival: Arrival, request: &Message<'_>) {
        self.parked_acks.retain(|parked| now < parked.until);
        if self.parked_acks.len() >= MAX_PARKED {
            self.counts.add(Count::ParkedFull);
            return;
        }
        self.parked_acks.push(ParkedAck {
            arrival,
            bytes: request.bytes().into(),
            until: now.after_ms(5_000),
        });
    }

    pub(super) fn resume_acks(&mut self, now: Timestamp) {
        for parked in std::mem::take(&mut self.parked_acks) {
            if now < parked.until {
                if let Ok(request) = Message::parse(&parked.bytes) {
                    self.acknowledge(now, parked.arrival, &request);
                }
            }
        }
    }
}
