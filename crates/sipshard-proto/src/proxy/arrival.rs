//! Where a message came from, what that adds to its topmost Via, and where its responses go (RFC 3261 §18.2, RFC 3581).

use super::settings::{literal_address, write_decimal, Settings};
use crate::outbox::Path;
use crate::parameter::parameters;
use crate::via::{Rport, Via};
use std::net::{IpAddr, SocketAddr};

/// The way by which a message reached us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Index of the listener.
    pub listener: u16,
    /// Address and port that it came from.
    pub source: SocketAddr,
}

impl Arrival {
    /// Where responses to the request with this topmost Via go: RFC 3581 §4 with rport, else RFC 3261 §18.2.2.
    pub fn reply_path(&self, via: &Via<'_>) -> Path {
        let mut destination = self.source;
        if via.rport == Rport::Absent {
            destination.set_port(via.port.unwrap_or(5060));
        }
        Path {
            listener: self.listener,
            destination,
        }
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
    let port = match via.rport {
        Rport::Value(port) => port,
        _ => via.port.unwrap_or(5060),
    };
    settings.path_to(SocketAddr::new(address, port), listener)
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
