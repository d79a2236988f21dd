//! What the proxy core is told at its start: who we are, and how long things may take.

use crate::outbox::Path;
use crate::secret::{Purpose, Secret};
use crate::transaction::branch::{read_hex, write_hex};
use crate::transaction::timer::TimerValues;
use crate::uri::{Host, Uri};
use std::net::SocketAddr;

/// The Record-Route parameter that carries our proof.
pub const PROOF_PARAMETER: &str = "proof";

/// One address that we serve, as others see it.
pub struct Listener {
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
    /// Table 4 of RFC 3261.
    pub timers: TimerValues,
}

impl Settings {
    /// Whether a URI's host and port name this server: a listener's address and port, or one of our domains without
    /// a port or with one that we listen on.
    pub fn is_self(&self, uri: &Uri<'_>) -> bool {
        let port = uri.port.unwrap_or(5060);
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

    /// Whether a URI is a Record-Route value that this installation wrote for the call.
    pub fn is_proven(&self, uri: &Uri<'_>, call_id: &[u8]) -> bool {
        uri.parameter(PROOF_PARAMETER)
            .flatten()
            .and_then(read_hex)
            .is_some_and(|proof| proof == self.route_proof(call_id))
    }

    /// Appends our Record-Route value for a call (§16.6 step 4). The proof makes in-dialog requests recognisable, so
    /// that nobody can use us as a relay by writing our address into a Route.
    pub fn write_record_route(&self, listener: u16, call_id: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"<sip:");
        self.listeners[usize::from(listener)].write_sent_by(out);
        out.extend_from_slice(b";lr;");
        out.extend_from_slice(PROOF_PARAMETER.as_bytes());
        out.push(b'=');
        write_hex(out, self.route_proof(call_id), 16);
        out.push(b'>');
    }

    /// The path to `destination` for what came in through `listener`: the same listener if it speaks that address
    /// family, else the first that does.
    pub fn path_to(&self, destination: SocketAddr, listener: u16) -> Option<Path> {
        let speaks = |index: &usize| self.listeners[*index].is_v6 == destination.is_ipv6();
        let usable = destination.port() != 0
            && !destination.ip().is_unspecified()
            && !is_group(&destination);
        let index = Some(usize::from(listener))
            .filter(speaks)
            .or_else(|| (0..self.listeners.len()).find(speaks))
            .filter(|_| usable)?;
        Some(Path {
            listener: index as u16,
            destination,
        })
    }

    fn route_proof(&self, call_id: &[u8]) -> u64 {
        self.secret.proof(Purpose::RecordRoute, &[call_id])
    }
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
