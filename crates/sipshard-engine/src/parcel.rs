//! A datagram as it lies in a mailbox: how it arrived, then its bytes.

use sipshard_proto::proxy::Arrival;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Bytes before the datagram: listener (2), port (2), address (16, IPv4 mapped), scope (4: the interface of a link-local
/// address, without which nobody can be answered there).
pub const HEAD_BYTES: usize = 24;

/// The head for a datagram that arrived so.
pub fn head(arrival: Arrival) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..2].copy_from_slice(&arrival.listener.to_be_bytes());
    head[2..4].copy_from_slice(&arrival.source.port().to_be_bytes());
    let (address, scope) = match arrival.source {
        SocketAddr::V4(source) => (source.ip().to_ipv6_mapped(), 0),
        SocketAddr::V6(source) => (*source.ip(), source.scope_id()),
    };
    head[4..20].copy_from_slice(&address.octets());
    head[20..].copy_from_slice(&scope.to_be_bytes());
    head
}

/// The parts of a record; `None` when it is too short to be one.
pub fn open(record: &[u8]) -> Option<(Arrival, &[u8])> {
    let (head, datagram) = record.split_first_chunk::<HEAD_BYTES>()?;
    let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let address: [u8; 16] = head[4..20].try_into().ok()?;
    let scope = u32::from_be_bytes(head[20..].try_into().ok()?);
    let source = match Ipv6Addr::from(address).to_canonical() {
        IpAddr::V4(address) => SocketAddr::new(address.into(), number(2)),
        IpAddr::V6(address) => SocketAddrV6::new(address, number(2), 0, scope).into(),
    };
    Some((Arrival::udp(number(0), source), datagram))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_comes_out_as_it_went_in() {
        for source in ["192.0.2.7:5060", "[2001:db8::7]:49152", "[fe80::7%3]:5060"] {
            let arrival = Arrival::udp(3, source.parse().unwrap());
            let mut record = head(arrival).to_vec();
            record.extend_from_slice(b"INVITE");
            assert_eq!(open(&record), Some((arrival, &b"INVITE"[..])));
        }
        assert_eq!(open(&[0; HEAD_BYTES - 1]), None);
    }
}
