//! Where a message came from, what that adds to its topmost Via, and where its responses go (RFC 3261 §18.2, RFC 3581).

use super::settings::{is_usable, literal_address, write_decimal, Settings};
use crate::flow::{Flow, FLOW_PARAMETER};
use crate::host::Host;
use crate::outbox::Path;
use crate::parameter::parameters;
use crate::transport::Transport;
use crate::via::{Rport, Via};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The way by which a message reached us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Index of the listener.
    pub listener: u16,
    /// Address and port that it came from.
    pub source: SocketAddr,
    /// What carried it.
    pub transport: Transport,
    /// The connection that it came through.
    pub flow: Option<Flow>,
}

impl Arrival {
    /// How a datagram arrived.
    pub const fn udp(listener: u16, source: SocketAddr) -> Self {
        Self {
            listener,
            source,
            transport: Transport::Udp,
            flow: None,
        }
    }

    /// Where responses to the request with this topmost Via go: RFC 3581 §4 with rport, else RFC 3261 §18.2.2. Over a
    /// stream they go back through its connection; should that be gone, through a new one to the port of the sent-by.
    pub fn reply_path(&self, via: &Via<'_>) -> Path {
        let mut destination = self.source;
        if self.transport.is_websocket() {
            destination = NOWHERE;
        } else if via.rport == Rport::Absent || self.transport.is_reliable() {
            destination.set_port(via.port.unwrap_or(self.transport.default_port()));
        }
        Path {
            listener: self.listener,
            transport: self.transport,
            flow: self.flow,
            destination,
            server_name: (self.transport == Transport::Tls).then(|| host_name(&via.host)),
        }
    }

    /// Whether a response can be sent at all.
    pub fn is_answerable(&self, reply: &Path) -> bool {
        self.flow.is_some() || is_usable(&reply.destination)
    }

    /// Appends the topmost Via with what the server must add: `received` when the address differs or rport was asked
    /// for (RFC 3261 §18.2.1, RFC 3581 §4), and the value of `rport`. What the sender claims in `received` is dropped.
    pub fn write_via(&self, via: &Via<'_>, out: &mut Vec<u8>) {
        let source_ip = self.source.ip().to_canonical();
        let is_same_host = literal_address(&via.host) == Some(source_ip);
        if is_same_host && via.rport == Rport::Absent && via.received.is_none() {
            out.extend_from_slice(via.raw);
            return;
        }
        let parameters_start = via.raw.len() - via.parameters.len();
        let sent_by = via.raw[..parameters_start].trim_ascii_end();
        out.extend_from_slice(
            sent_by
                .strip_suffix(b";")
                .unwrap_or(sent_by)
                .trim_ascii_end(),
        );
        for parameter in parameters(via.parameters).flatten() {
            let name = parameter.name;
            if name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport") {
                continue;
            }
            out.push(b';');
            out.extend_from_slice(name);
            if let Some(value) = parameter.value {
                out.push(b'=');
                out.extend_from_slice(value);
            }
        }
        out.extend_from_slice(b";received=");
        write_address(source_ip, out);
        if via.rport != Rport::Absent {
            out.extend_from_slice(b";rport=");
            write_decimal(out, u32::from(self.source.port()));
        }
    }
}

/// Where a response goes whose topmost Via, after ours was removed, is `via` (§18.2.2), and by which listener.
pub fn path_by_via(settings: &Settings, via: &Via<'_>, listener: u16) -> Option<Path> {
    let received = via.received.and_then(parse_address);
    let address = received.or_else(|| literal_address(&via.host))?;
    let transport = Transport::from_token(via.transport)?;
    let port = match via.rport {
        Rport::Value(port) => port,
        _ => via.port.unwrap_or(transport.default_port()),
    };
    settings.path_to(transport, SocketAddr::new(address, port), listener)
}

/// The path of a response that matches no transaction here: by the flow that our own Via names, else by the next one.
pub fn path_by_own_via(
    settings: &Settings,
    (own, next): (&Via<'_>, &Via<'_>),
    call_id: &[u8],
    listener: u16,
) -> Option<Path> {
    let Some(flow) = flow_in(settings, own, call_id) else {
        return path_by_via(settings, next, listener);
    };
    Some(Path {
        listener: flow.listener,
        transport: flow.transport,
        flow: Some(flow),
        destination: NOWHERE,
        server_name: None,
    })
}

fn flow_in(settings: &Settings, own: &Via<'_>, call_id: &[u8]) -> Option<Flow> {
    let is_flow = |name: &[u8]| name.eq_ignore_ascii_case(FLOW_PARAMETER.as_bytes());
    let token = parameters(own.parameters)
        .flatten()
        .find(|parameter| is_flow(parameter.name))?
        .value?;
    Flow::read_token(&settings.secret, call_id, token).filter(|flow| settings.has_listener(flow))
}

/// The destination of what must go through its connection or not at all.
pub const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// A host as a TLS server must prove it: in lower case, without brackets and the dot of the root (RFC 5922 §7.2).
pub fn host_name(host: &Host<'_>) -> Arc<str> {
    match host {
        Host::V4(address) => address.to_string().into(),
        Host::V6(address) => address.to_string().into(),
        Host::Name(name) => {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            name.trim_end_matches('.').into()
        }
    }
}

/// Appends an IP address without brackets.
fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    use std::io::Write;
    // Writing to a vector cannot fail.
    let _ = write!(out, "{address}");
}

/// Reads the value of `received`; both `2001:db8::1` and `[2001:db8::1]` are in use (RFC 5118 §4.5).
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = text.strip_prefix(b"[").unwrap_or(text);
    let text = text.strip_suffix(b"]").unwrap_or(text);
    std::str::from_utf8(text).ok()?.parse().ok()
}
