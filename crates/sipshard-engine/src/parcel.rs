//! What lies in a mailbox: a message that arrived at another worker, one that is to leave through a connection of ours,
//! or the news that it could not.

use sipshard_proto::outbox::Path;
use sipshard_proto::proxy::Arrival;
use sipshard_proto::{Flow, Handle, Transport};
use smallvec::SmallVec;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A client transaction of a worker, as its peers know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender {
    /// Its shard.
    pub worker: u16,
    /// The low bits of its generation: a successor does not know the transaction.
    pub generation: u16,
    /// The transaction; `None` when nobody needs to hear what becomes of the message.
    pub client: Option<Handle>,
}

/// One record of a mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Parcel<'a> {
    /// A message for the worker of its Call-ID, how it came, and the names that its sender has proven. The arrival's
    /// `peer` is to be filled in from those: its numbers differ from worker to worker.
    Arrived(Arrival, &'a str, &'a [u8]),
    /// A message that is to leave through a connection of the receiver's.
    Leaving(Path, Sender, &'a [u8]),
    /// The receiver's request could not be sent.
    Unsent(Sender),
}

const ARRIVED: u8 = 1;
const LEAVING: u8 = 2;
const UNSENT: u8 = 3;
/// The names of a certificate, as far as they are passed on.
const MAX_NAMES_BYTES: usize = 1_024;

/// Room for the head of any record.
pub const HEAD_BYTES: usize = 64;

/// The head of a record: 24 bytes of address, 16 of flow, 13 of sender, all numbers big-endian; then names.
pub struct Head(SmallVec<[u8; HEAD_BYTES]>);

impl Head {
    /// Of a message that arrived so, from one who has proven these names.
    pub fn arrived(arrival: Arrival, names: &str) -> Self {
        let mut head = Self::empty(ARRIVED);
        head.write_address(arrival.listener, arrival.source);
        head.write_flow(arrival.transport, arrival.flow);
        // What is cut shows no name that was not proven, because they are checked for being text.
        let names = &names.as_bytes()[..names.len().min(MAX_NAMES_BYTES)];
        head.0[42..44].copy_from_slice(&(names.len() as u16).to_be_bytes());
        head.0.extend_from_slice(names);
        head
    }

    fn empty(kind: u8) -> Self {
        let mut head = Self(SmallVec::from_elem(0, HEAD_BYTES));
        head.0[0] = kind;
        head
    }

    /// Of a message that is to leave by `path`.
    pub fn leaving(path: &Path, sender: Sender) -> Self {
        let mut head = Self::empty(LEAVING);
        head.write_address(path.listener, path.destination);
        head.write_flow(path.transport, path.flow);
        head.write_sender(sender);
        head
    }

    /// Of the news that a request could not be sent.
    pub fn unsent(sender: Sender) -> Self {
        let mut head = Self::empty(UNSENT);
        head.write_sender(sender);
        head
    }

    /// The bytes of the head.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Listener (2), port (2), address (16, IPv4 mapped), scope (4: the interface of a link-local address, without
    /// which nobody can be answered there).
    fn write_address(&mut self, listener: u16, place: SocketAddr) {
        let (address, scope) = match place {
            SocketAddr::V4(place) => (place.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(place) => (*place.ip(), place.scope_id()),
        };
        self.0[2..4].copy_from_slice(&listener.to_be_bytes());
        self.0[4..6].copy_from_slice(&place.port().to_be_bytes());
        self.0[6..22].copy_from_slice(&address.octets());
        self.0[22..26].copy_from_slice(&u32::to_be_bytes(scope));
    }

    fn write_flow(&mut self, transport: Transport, flow: Option<Flow>) {
        self.0[1] = transport as u8;
        let Some(flow) = flow else {
            return;
        };
        self.0[26] = 1;
        self.0[27] = flow.transport as u8;
        self.0[28..30].copy_from_slice(&flow.worker.to_be_bytes());
        self.0[30..32].copy_from_slice(&flow.generation.to_be_bytes());
        self.0[32..34].copy_from_slice(&flow.listener.to_be_bytes());
        self.0[34..42].copy_from_slice(&flow.connection.as_u64().to_be_bytes());
    }

    fn write_sender(&mut self, sender: Sender) {
        self.0[42..44].copy_from_slice(&sender.worker.to_be_bytes());
        self.0[44..46].copy_from_slice(&sender.generation.to_be_bytes());
        if let Some(client) = sender.client {
            self.0[46] = 1;
            self.0[47..55].copy_from_slice(&client.as_u64().to_be_bytes());
        }
    }

    fn number(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    fn handle(&self, at: usize) -> Option<Handle> {
        let bytes: [u8; 8] = self.0[at..at + 8].try_into().ok()?;
        Some(Handle::from_u64(u64::from_be_bytes(bytes)))
    }

    fn address(&self) -> Option<SocketAddr> {
        let address: [u8; 16] = self.0[6..22].try_into().ok()?;
        let scope = u32::from_be_bytes(self.0[22..26].try_into().ok()?);
        Some(match Ipv6Addr::from(address).to_canonical() {
            IpAddr::V4(address) => SocketAddr::new(address.into(), self.number(4)),
            IpAddr::V6(address) => SocketAddrV6::new(address, self.number(4), 0, scope).into(),
        })
    }

    fn flow(&self) -> Option<Flow> {
        if self.0[26] == 0 {
            return None;
        }
        Some(Flow {
            worker: self.number(28),
            generation: self.number(30),
            listener: self.number(32),
            transport: Transport::from_number(self.0[27])?,
            connection: self.handle(34)?,
        })
    }

    fn sender(&self) -> Sender {
        Sender {
            worker: self.number(42),
            generation: self.number(44),
            client: self.handle(47).filter(|_| self.0[46] == 1),
        }
    }
}

/// The parts of a record; `None` when it is none.
pub fn open(record: &[u8]) -> Option<Parcel<'_>> {
    let (head, message) = record.split_first_chunk::<HEAD_BYTES>()?;
    let head = Head(SmallVec::from_buf(*head));
    let transport = Transport::from_number(head.0[1])?;
    match head.0[0] {
        ARRIVED => {
            let arrival = Arrival {
                listener: head.number(2),
                source: head.address()?,
                transport,
                flow: head.flow(),
                peer: None,
            };
            let (names, message) = message.split_at_checked(usize::from(head.number(42)))?;
            let names = std::str::from_utf8(names).unwrap_or_default();
            Some(Parcel::Arrived(arrival, names, message))
        }
        LEAVING => {
            let path = Path {
                listener: head.number(2),
                transport,
                flow: head.flow(),
                destination: head.address()?,
                server_name: None,
            };
            Some(Parcel::Leaving(path, head.sender(), message))
        }
        UNSENT => Some(Parcel::Unsent(head.sender())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: Flow = Flow {
        worker: 1,
        generation: 700,
        listener: 3,
        transport: Transport::Wss,
        connection: Handle {
            slot: 9,
            serial: 0xdead_beef,
        },
    };

    const SENDER: Sender = Sender {
        worker: 2,
        generation: 800,
        client: Some(Handle { slot: 1, serial: 2 }),
    };

    fn record(head: &Head) -> Vec<u8> {
        [head.bytes(), b"INVITE"].concat()
    }

    #[test]
    fn what_arrived_comes_out_as_it_went_in() {
        for source in ["192.0.2.7:5060", "[2001:db8::7]:49152", "[fe80::7%3]:5060"] {
            let datagram = Arrival::udp(3, source.parse().unwrap());
            let streamed = Arrival {
                transport: Transport::Wss,
                flow: Some(FLOW),
                ..datagram
            };
            for arrival in [datagram, streamed] {
                for names in ["", "pbx.example.com pbx.example.org"] {
                    let record = record(&Head::arrived(arrival, names));
                    let parcel = Parcel::Arrived(arrival, names, b"INVITE");
                    assert_eq!(open(&record), Some(parcel));
                }
            }
        }
    }

    #[test]
    fn what_leaves_and_what_could_not_know_their_sender() {
        let nobody = Sender {
            client: None,
            ..SENDER
        };
        for sender in [SENDER, nobody] {
            let path = Path {
                transport: Transport::Tcp,
                flow: Some(FLOW),
                ..Path::udp(1, "192.0.2.1:5060".parse().unwrap())
            };
            let leaving = record(&Head::leaving(&path, sender));
            assert_eq!(
                open(&leaving),
                Some(Parcel::Leaving(path, sender, b"INVITE"))
            );
            let unsent = record(&Head::unsent(sender));
            assert_eq!(open(&unsent), Some(Parcel::Unsent(sender)));
        }
    }

    #[test]
    fn what_is_no_parcel_is_none() {
        assert_eq!(open(&[0; HEAD_BYTES - 1]), None);
        assert_eq!(open(&[0; HEAD_BYTES]), None);
        assert_eq!(open(&[9; HEAD_BYTES]), None);
    }
}
