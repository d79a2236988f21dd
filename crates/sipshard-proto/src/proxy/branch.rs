//! One forwarded copy of a request: its next hop (RFC 3261 §16.6 step 7), its transaction, its Timer C (step 11).

use super::arrival::{host_name, NOWHERE};
use super::request_copy::{Outbound, RequestCopy};
use super::resolver::Lookup;
use super::response_context::{BranchState, FinalResponse};
use super::route::Routed;
use super::settings::literal_address;
use super::{ClientUse, Proxy};
use crate::count::Count;
use crate::flow::Flow;
use crate::outbox::Path;
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use crate::transaction::timer::Timer;
use crate::transport::Transport;
use crate::uri::{Host, Scheme, Uri};
use std::net::SocketAddr;
use std::sync::Arc;

/// What is known of the way to a next hop.
pub(super) enum NextHop {
    /// Its path.
    Reachable(Path),
    /// Its name is being looked up.
    Resolving,
    /// There is no way: no such name, an address family or a transport that we do not speak.
    Unreachable,
}

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
        let routes = target.routes.iter().map(|route| &**route).collect();
        let next_hop = Routed::to(&target.uri, routes).next_hop.to_vec();
        match self.next_hop(now, &next_hop, (flow, listener)) {
            NextHop::Resolving => {
                self.resolving.insert(id.as_u64());
                self.start_decision_timer(now, id);
            }
            NextHop::Unreachable => {
                self.counts.add(Count::UnreachableTargets);
                self.end_branch(id, index, own_final(503));
            }
            NextHop::Reachable(path) => self.send_copy(now, id, index, path),
        }
    }

    /// The way to a next hop: its connection if it has one, else what its URI says.
    pub(super) fn next_hop(
        &mut self,
        now: Timestamp,
        next_hop: &[u8],
        (flow, listener): (Option<Flow>, u16),
    ) -> NextHop {
        match flow.filter(|flow| self.settings.has_listener(flow)) {
            Some(flow) => NextHop::Reachable(self.path_through(flow, next_hop)),
            None => self.locate(now, next_hop, listener),
        }
    }

    /// The path through a connection. When that is gone, and its URI has an address that we can connect to, a new
    /// connection may replace it.
    fn path_through(&self, flow: Flow, next_hop: &[u8]) -> Path {
        let mut path = Path {
            listener: flow.listener,
            transport: flow.transport,
            flow: Some(flow),
            destination: NOWHERE,
            server_name: None,
        };
        let Ok(uri) = Uri::parse(next_hop) else {
            return path;
        };
        let is_alike = next_transport(&uri) == Some(flow.transport);
        if let (Some(address), true) = (literal_address(&uri.host), is_alike) {
            let port = uri.port.unwrap_or(flow.transport.default_port());
            path.destination = SocketAddr::new(address, port);
            path.server_name = server_name(flow.transport, &uri);
        }
        path
    }

    /// Finds the address of a next hop (RFC 3263 §4, numeric hosts and plain names).
    fn locate(&mut self, now: Timestamp, next_hop: &[u8], listener: u16) -> NextHop {
        let Ok(uri) = Uri::parse(next_hop) else {
            return NextHop::Unreachable;
        };
        let Some(transport) = next_transport(&uri) else {
            return NextHop::Unreachable;
        };
        let port = uri.port.unwrap_or(transport.default_port());
        let address = match (literal_address(&uri.host), &uri.host) {
            (Some(address), _) => address,
            (None, Host::Name(name)) => match self.resolver.look_up(now, name) {
                Lookup::Known([]) | Lookup::Full => return NextHop::Unreachable,
                Lookup::Pending => return NextHop::Resolving,
                Lookup::Known(addresses) => {
                    // The first whose family we speak; trying the others in turn is RFC 3263 §4.3.
                    let speaks = |address: &&std::net::IpAddr| {
                        self.settings
                            .listeners
                            .iter()
                            .any(|own| own.transport == transport && own.is_v6 == address.is_ipv6())
                    };
                    match addresses.iter().find(speaks) {
                        Some(address) => *address,
                        None => return NextHop::Unreachable,
                    }
                }
            },
            _ => return NextHop::Unreachable,
        };
        let destination = SocketAddr::new(address, port);
        let path = self.settings.path_to(transport, destination, listener);
        path.map_or(NextHop::Unreachable, |path| {
            NextHop::Reachable(Path {
                server_name: server_name(transport, &uri),
                ..path
            })
        })
    }

    fn send_copy(&mut self, now: Timestamp, id: Handle, index: usize, path: Path) {
        let Some(server) = self.transactions.server_mut(id) else {
            return;
        };
        let context = &mut server.user;
        let is_invite = server.state.is_invite();
        let record_route = context.options.record_route;
        let ring_timeout_ms = context.branches[index].ring_timeout_ms;
        let arrival = context.arrival;
        let BranchState::Resolving(target) =
            std::mem::replace(&mut context.branches[index].state, BranchState::Ended)
        else {
            return;
        };
        let Some(request) = context.request.clone() else {
            return;
        };
        let client_use = ClientUse::Branch { server: id, index };
        let settings = &self.settings;
        let outbound = Outbound::of(&path);
        let routes = target.routes.iter().map(|route| &**route).collect();
        let write = |handle, out: &mut Vec<u8>| {
            let copy = RequestCopy {
                request: &request,
                arrival,
                routed: Routed::to(&target.uri, routes),
                record_route,
                edits: &target.edits,
                outbound,
                handle,
            };
            copy.write(settings, out);
        };
        let driver = (now, &mut self.outbox);
        let client = self
            .transactions
            .open_client(driver, is_invite, path, client_use, write);
        if let Some(server) = self.transactions.server_mut(id) {
            server.user.branches[index].state = BranchState::Calling(client);
        }
        if is_invite {
            self.start_ring_timer(now, client, ring_timeout_ms);
        }
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

    /// A name was looked up; no addresses mean that it does not exist.
    pub fn handle_resolved(
        &mut self,
        now: Timestamp,
        name: &str,
        addresses: Vec<std::net::IpAddr>,
        ttl_s: u32,
    ) {
        self.resolver.answer(now, name.as_bytes(), addresses, ttl_s);
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

/// The transport to a URI (RFC 3263 §4.1), if we can open it: a sips URI must not leave TLS (§26.2.2), a tel URI leads
/// nowhere by itself, and a WebSocket cannot be opened to a client.
fn next_transport(uri: &Uri<'_>) -> Option<Transport> {
    let named = match uri.transport() {
        Some(token) => Some(Transport::from_token(token)?),
        None => None,
    };
    let transport = match (uri.scheme, named) {
        (Scheme::Sips, None | Some(Transport::Tcp | Transport::Tls)) => Transport::Tls,
        (Scheme::Sip, named) => named.unwrap_or(Transport::Udp),
        _ => return None,
    };
    (!transport.is_websocket()).then_some(transport)
}

fn server_name(transport: Transport, uri: &Uri<'_>) -> Option<Arc<str>> {
    transport.is_secure().then(|| host_name(&uri.host))
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
    use super::super::{Arrival, Event, ForwardOptions, Listener, Plan, Settings, Target};
    use super::*;
    use crate::message::Message;
    use crate::secret::Secret;
    use crate::transaction::timer::TimerValues;

    fn proxy() -> Proxy {
        Proxy::new(Settings {
            listeners: vec![Listener {
                transport: Transport::Udp,
                host: b"192.0.2.1".to_vec(),
                port: 5060,
                is_v6: false,
            }],
            domains: Vec::new(),
            secret: Secret::new([0; 16]),
            generation: 0,
            max_transactions: 100,
            timers: TimerValues::default(),
        })
    }

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
