//! Requests that are too large for a datagram (RFC 3261 §18.1.1).

use super::locator::Hop;
use super::next_hop::{named_transport, Destination, Way};
use super::Proxy;
use crate::count::Count;
use crate::timestamp::Timestamp;
use crate::transport::Transport;
use crate::uri::Uri;

/// What our Via and Record-Route add to a request.
const ADDED_BYTES: usize = 200;

impl Proxy {
    /// The same way, by TCP first when the request may not fit a datagram: "If a request is within 200 bytes of the path
    /// MTU, or if it is larger than 1300 bytes and the path MTU is unknown, the request MUST be sent using an RFC 2914
    /// congestion controlled transport protocol, such as TCP." Where that fails, the datagram is tried all the same.
    ///
    /// Two that we do not switch: a URI that says `transport=udp`, because whoever wrote it means it; and a hop where TCP
    /// has failed lately.
    pub(super) fn fit(&mut self, now: Timestamp, mut way: Way, to: Destination<'_>) -> Way {
        let is_large = to.request_bytes + ADDED_BYTES > self.settings.udp_max_bytes;
        if !is_large || way.path.transport != Transport::Udp || says_udp(to.uri) {
            return way;
        }
        let datagram = Hop {
            transport: Transport::Udp,
            destination: way.path.destination,
            priority: 0,
            weight: 0,
        };
        let stream = Hop {
            transport: Transport::Tcp,
            ..datagram
        };
        let is_worth_trying = !self.blocklist.contains(now, &stream);
        let path = self.path_to_hop(&stream, to.uri, to.listener);
        if let Some(path) = path.filter(|_| is_worth_trying) {
            self.counts.add(Count::LargeRequests);
            way.path = path;
            way.others.push(datagram);
        }
        way
    }
}

fn says_udp(uri: &[u8]) -> bool {
    Uri::parse(uri).is_ok_and(|uri| matches!(named_transport(&uri), Ok(Some(Transport::Udp))))
}
