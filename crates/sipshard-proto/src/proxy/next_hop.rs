//! From the URI of a next hop to the ways there (RFC 3261 §16.6 step 7, RFC 3263 §4).

use super::arrival::{host_name, NOWHERE};
use super::hop_order::{hop_order, Hops};
use super::locator::{Asked, Hop, Lookup};
use super::settings::literal_address;
use super::Proxy;
use crate::count::Count;
use crate::flow::Flow;
use crate::outbox::Path;
use crate::secret::Purpose;
use crate::timestamp::Timestamp;
use crate::transport::Transport;
use crate::uri::{Host, Scheme, Uri};
use std::net::SocketAddr;
use std::sync::Arc;

/// What decides where a request goes.
#[derive(Clone, Copy)]
pub(super) struct Destination<'a> {
    /// The topmost Route's URI or the Request-URI.
    pub uri: &'a [u8],
    /// The connection by which it is reached, if there is one.
    pub flow: Option<Flow>,
    /// Where the request came in.
    pub listener: u16,
    /// The call that it belongs to.
    pub call_id: &'a [u8],
    /// How long the request is.
    pub request_bytes: usize,
}

/// What is known of the way to a next hop.
// It lives from one function to the next; a box would be an allocation per request.
#[allow(clippy::large_enum_variant)]
pub(super) enum NextHop {
    /// How to get there.
    Reachable(Way),
    /// Its name is being looked up.
    Resolving,
    /// There is no way: no such name, an address family or a transport that we do not speak.
    Unreachable,
}

/// The way to a next hop.
pub(super) struct Way {
    /// What to try first.
    pub path: Path,
    /// What to try after that, the next one last. Empty for an address and for a connection.
    pub others: Hops,
}

impl Way {
    /// The only way.
    fn alone(path: Path) -> Self {
        Self {
            path,
            others: Hops::new(),
        }
    }
}

impl Proxy {
    /// The way to a next hop: its connection if it has one, else what its URI says.
    pub(super) fn next_hop(&mut self, now: Timestamp, to: Destination<'_>) -> NextHop {
        match to.flow.filter(|flow| self.settings.has_listener(flow)) {
            Some(flow) => NextHop::Reachable(Way::alone(self.path_through(flow, to.uri))),
            None => match self.locate(now, to) {
                NextHop::Reachable(way) => NextHop::Reachable(self.fit(now, way, to)),
                other => other,
            },
        }
    }

    /// The path to one of the hops behind a URI, if we speak its transport and address family.
    pub(super) fn path_to_hop(&self, hop: &Hop, uri: &[u8], listener: u16) -> Option<Path> {
        let path = self
            .settings
            .path_to(hop.transport, hop.destination, listener)?;
        // RFC 5922 §4: the name to be proved is the one that the lookup began with, not that of an SRV record.
        let server_name = Uri::parse(uri)
            .ok()
            .and_then(|uri| server_name(hop.transport, &self.target_host(&uri)));
        Some(Path {
            server_name,
            ..path
        })
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
        let host = self.target_host(&uri);
        let is_alike = numeric_transport(&uri) == Some(flow.transport);
        if let (Some(address), true) = (literal_address(&host), is_alike) {
            let port = uri.port.unwrap_or(flow.transport.default_port());
            path.destination = SocketAddr::new(address, port);
            path.server_name = server_name(flow.transport, &host);
        }
        path
    }

    /// Finds the ways to a next hop (RFC 3263 §4).
    fn locate(&mut self, now: Timestamp, to: Destination<'_>) -> NextHop {
        let Ok(uri) = Uri::parse(to.uri) else {
            return NextHop::Unreachable;
        };
        let host = self.target_host(&uri);
        let Some(address) = literal_address(&host) else {
            return self.locate_name(now, &uri, to);
        };
        let Some(transport) = numeric_transport(&uri) else {
            return NextHop::Unreachable;
        };
        let port = uri.port.unwrap_or(transport.default_port());
        let destination = SocketAddr::new(address, port);
        let path = self.settings.path_to(transport, destination, to.listener);
        path.map_or(NextHop::Unreachable, |path| {
            NextHop::Reachable(Way::alone(Path {
                server_name: server_name(transport, &host),
                ..path
            }))
        })
    }

    fn locate_name(&mut self, now: Timestamp, uri: &Uri<'_>, to: Destination<'_>) -> NextHop {
        let (Host::Name(name), Ok(transport)) = (self.target_host(uri), named_transport(uri))
        else {
            return NextHop::Unreachable;
        };
        let asked = Asked {
            host: name,
            port: uri.port.unwrap_or(0),
            transport,
            is_secure: uri.scheme == Scheme::Sips,
        };
        let secret = &self.settings.secret;
        let order = |hops| hop_order(hops, secret.proof(Purpose::HopOrder, &[to.call_id]));
        let mut hops = match self.locator.look_up(now, asked) {
            Lookup::Known(hops) => order(hops),
            Lookup::Stale(hops) => {
                self.counts.add(Count::StaleLocations);
                order(hops)
            }
            Lookup::Pending => return NextHop::Resolving,
            Lookup::Full => {
                self.counts.add(Count::LocationsFull);
                return NextHop::Unreachable;
            }
        };
        hops.retain(|hop| self.path_to_hop(hop, to.uri, to.listener).is_some());
        hops.reverse();
        let first = self.take_next_hop(now, &mut hops);
        let path = first.and_then(|hop| self.path_to_hop(&hop, to.uri, to.listener));
        path.map_or(NextHop::Unreachable, |path| {
            NextHop::Reachable(Way { path, others: hops })
        })
    }

    /// The host to send to: that of maddr (§19.1.1), unless it names ourselves, which §16.4 has us ignore.
    fn target_host<'a>(&self, uri: &Uri<'a>) -> Host<'a> {
        let maddr = uri.parameter("maddr").flatten();
        let is_foreign = |host: &&[u8]| !self.settings.is_own_host(host);
        maddr
            .filter(is_foreign)
            .and_then(Host::parse)
            .unwrap_or(uri.host)
    }
}

/// A URI that we have no way to follow: an unknown transport, one that cannot be opened from our side, or a scheme without
/// a host.
pub(super) struct Unroutable;

/// The transport that a URI leaves to us, or names (RFC 3263 §4.1). A sips URI must not leave TLS (RFC 3261 §26.2.2), a
/// tel URI leads nowhere by itself, and a WebSocket cannot be opened to a client.
pub(super) fn named_transport(uri: &Uri<'_>) -> Result<Option<Transport>, Unroutable> {
    let named = match uri.transport() {
        Some(token) => Some(Transport::from_token(token).ok_or(Unroutable)?),
        None => None,
    };
    match (uri.scheme, named) {
        (Scheme::Sips, None | Some(Transport::Tcp | Transport::Tls)) => Ok(Some(Transport::Tls)),
        (Scheme::Sip, named) if !named.is_some_and(Transport::is_websocket) => Ok(named),
        _ => Err(Unroutable),
    }
}

/// The transport to an address: UDP where the URI names none (RFC 3263 §4.1).
fn numeric_transport(uri: &Uri<'_>) -> Option<Transport> {
    let named = named_transport(uri).ok()?;
    Some(named.unwrap_or(Transport::Udp))
}

fn server_name(transport: Transport, host: &Host<'_>) -> Option<Arc<str>> {
    transport.is_secure().then(|| host_name(host))
}
