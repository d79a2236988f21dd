//! What the proxy core is told at its start: who we are, and how long things may take.

use super::overload::OverloadSettings;
use crate::flow::{Flow, FLOW_PARAMETER};
use crate::outbox::Path;
use crate::scan::decimal;
use crate::secret::{Purpose, Secret};
use crate::transaction::branch::{read_hex, write_hex};
use crate::transaction::timer::TimerValues;
use crate::transport::Transport;
use crate::uri::{Host, Scheme, Uri};
use std::net::SocketAddr;

/// The Record-Route parameter that carries our proof.
pub const PROOF_PARAMETER: &str = "proof";

/// One address that we serve, as others see it.
pub struct Listener {
    /// What it speaks; a stream may turn out to be a WebSocket.
    pub transport: Transport,
    /// Host part for Via and Record-Route: an IP address (IPv6 in brackets) or a name.
    pub host: Vec<u8>,
    /// Port for Via and Record-Route.
    pub port: u16,
    /// Whether the socket speaks IPv6.
    pub is_v6: bool,
}

impl Listener {
    /// Appends `host:port`.
    pub fn write_sent_by(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.host);
        out.push(b':');
        write_decimal(out, u32::from(self.port));
    }

    /// Whether that is our name in a Via.
    pub fn is_sent_by(&self, sent_by: &[u8]) -> bool {
        let Some((host, port)) = sent_by.split_at_checked(self.host.len()) else {
            return false;
        };
        host.eq_ignore_ascii_case(&self.host)
            && port.strip_prefix(b":").and_then(decimal) == Some(u64::from(self.port))
    }
}

/// Everything fixed for the life of the core.
pub struct Settings {
    /// In the order of the configuration; indexes are used everywhere.
    pub listeners: Vec<Listener>,
    /// Domains that are ours, in lower case.
    pub domains: Vec<Vec<u8>>,
    /// The installation's.
    pub secret: Secret,
    /// Which life of this shard's worker this is; its low eight bits go into branches.
    pub generation: u8,
    /// New work is refused when so many transactions run.
    pub max_transactions: usize,
    /// One request is forked to so many targets at most; the least preferred ones are left out.
    pub max_branches: usize,
    /// A CANCEL or an ACK to a failure that belongs to nothing here is put before the policy, which may have forwarded its
    /// INVITE without state (§16.10, §16.11).
    pub asks_about_strays: bool,
    /// When new work is refused because messages wait too long.
    pub overload: OverloadSettings,
    /// A longer request goes by TCP where UDP was not asked for (§18.1.1).
    pub udp_max_bytes: usize,
    /// Table 4 of RFC 3261.
    pub timers: TimerValues,
}

impl Settings {
    /// Whether a URI's host and port name this server: a listener's address and port, or one of our domains without
    /// a port or with one that we listen on.
    pub fn is_self(&self, uri: &Uri<'_>) -> bool {
        let default_port = match uri.scheme {
            Scheme::Sips => Transport::Tls.default_port(),
            _ => transport_of(uri).map_or(5060, Transport::default_port),
        };
        let port = uri.port.unwrap_or(default_port);
        let host = uri.host_raw;
        let listens =
            |listener: &Listener| listener.port == port && listener.host.eq_ignore_ascii_case(host);
        if self.listeners.iter().any(listens) {
            return true;
        }
        let is_domain = self
            .domains
            .iter()
            .any(|domain| domain.eq_ignore_ascii_case(host));
        is_domain
            && (uri.port.is_none() || self.listeners.iter().any(|listener| listener.port == port))
    }

    /// Whether a host is one of our addresses or domains.
    pub fn is_own_host(&self, host: &[u8]) -> bool {
        let listeners = self.listeners.iter().map(|listener| &listener.host);
        listeners
            .chain(&self.domains)
            .any(|own| own.eq_ignore_ascii_case(host))
    }

    /// Whether a URI is a Record-Route value that this installation wrote for the call.
    pub fn is_proven(&self, uri: &Uri<'_>, call_id: &[u8]) -> bool {
        uri.parameter(PROOF_PARAMETER)
            .flatten()
            .and_then(read_hex)
            .is_some_and(|proof| proof == self.route_proof(call_id))
    }

    /// Appends our Record-Route value for a call (§16.6 step 4). The proof makes in-dialog requests recognisable, so
    /// that nobody can use us as a relay by writing our address into a Route.
    pub fn write_record_route(&self, side: &Side, call_id: &[u8], out: &mut Vec<u8>) {
        // A sips request must stay on sips all the way (§16.6 step 4, RFC 5630 §3.1.3).
        out.extend_from_slice(if side.is_sips { b"<sips:" } else { b"<sip:" });
        self.listeners[usize::from(side.listener)].write_sent_by(out);
        out.extend_from_slice(b";lr");
        if side.transport != Transport::Udp && !side.is_sips {
            out.extend_from_slice(b";transport=");
            out.extend_from_slice(side.transport.name().as_bytes());
        }
        write_parameter(PROOF_PARAMETER, out);
        write_hex(out, self.route_proof(call_id), 16);
        if let Some(flow) = side.flow {
            write_parameter(FLOW_PARAMETER, out);
            flow.write_token(&self.secret, call_id, out);
        }
        out.push(b'>');
    }

    /// The flow that a Record-Route value of ours names.
    pub fn flow_of(&self, uri: &Uri<'_>, call_id: &[u8]) -> Option<Flow> {
        let token = uri.parameter(FLOW_PARAMETER).flatten()?;
        Flow::read_token(&self.secret, call_id, token)
    }

    /// Whether a flow's listener is one of ours: bindings outlive a change of the configuration.
    pub fn has_listener(&self, flow: &Flow) -> bool {
        usize::from(flow.listener) < self.listeners.len()
    }

    /// The path to `destination` for what came in through `listener`: the same listener if it speaks that transport and
    /// address family, else the first that does.
    pub fn path_to(
        &self,
        transport: Transport,
        destination: SocketAddr,
        listener: u16,
    ) -> Option<Path> {
        if !is_usable(&destination) {
            return None;
        }
        let speaks = |index: &usize| {
            self.listeners
                .get(*index)
                .is_some_and(|own| own.transport == transport && own.is_v6 == destination.is_ipv6())
        };
        let index = Some(usize::from(listener))
            .filter(speaks)
            .or_else(|| (0..self.listeners.len()).find(speaks))?;
        Some(Path {
            listener: index as u16,
            transport,
            flow: None,
            destination,
            server_name: None,
        })
    }

    fn route_proof(&self, call_id: &[u8]) -> u64 {
        self.secret.proof(Purpose::RecordRoute, &[call_id])
    }
}

/// One side of us, as a Record-Route value names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Side {
    /// The listener.
    pub listener: u16,
    /// What is spoken there.
    pub transport: Transport,
    /// The connection by which the peer of this side is reached.
    pub flow: Option<Flow>,
    /// The request is for a sips URI.
    pub is_sips: bool,
}

/// The transport that a URI asks for, if we know it (§19.1.1).
pub fn transport_of(uri: &Uri<'_>) -> Option<Transport> {
    uri.transport().and_then(Transport::from_token)
}

/// Whether a message may be sent there.
pub fn is_usable(destination: &SocketAddr) -> bool {
    destination.port() != 0 && !destination.ip().is_unspecified() && !is_group(destination)
}

fn write_parameter(name: &str, out: &mut Vec<u8>) {
    out.push(b';');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
}

/// Nothing is ever sent to a broadcast or multicast address: one message must not become many.
fn is_group(destination: &SocketAddr) -> bool {
    match destination {
        SocketAddr::V4(v4) => v4.ip().is_broadcast() || v4.ip().is_multicast(),
        SocketAddr::V6(v6) => v6.ip().is_multicast(),
    }
}

/// The address in a URI or Via, if it is written as one.
pub fn literal_address(host: &Host<'_>) -> Option<std::net::IpAddr> {
    match host {
        Host::V4(address) => Some((*address).into()),
        Host::V6(address) => Some(
            address
                .to_ipv4_mapped()
                .map_or((*address).into(), Into::into),
        ),
        Host::Name(_) => None,
    }
}

/// Appends a number.
pub fn write_decimal(out: &mut Vec<u8>, number: u32) {
    let mut digits = [0_u8; 10];
    let mut place = digits.len();
    let mut rest = number;
    loop {
        place -= 1;
        digits[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[place..]);
}
