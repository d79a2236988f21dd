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

/// What every record begins with.
const HEAD_BYTES: usize = 64;
/// Where in it stands how long the text is that follows.
const TEXT_LENGTH: usize = 56;
/// What is kept of a text: no DNS name is longer than 255 bytes (RFC 1035 §2.3.4), and a certificate has a few of them.
const MAX_TEXT_BYTES: usize = 1_024;

/// The head of a record: 24 bytes of address, 16 of flow, 13 of sender, all numbers big-endian; then a text: the names
/// that a sender has proven, or the one that a receiver must prove.
pub struct Head(SmallVec<[u8; HEAD_BYTES]>);

impl Head {
    /// Of a message that arrived so, from one who has proven these names.
    pub fn arrived(arrival: Arrival, names: &str) -> Self {
        let mut head = Self::of_kind(ARRIVED);
        head.write_address(arrival.listener, arrival.source);
        head.write_flow(arrival.transport, arrival.flow);
        head.write_text(names);
        head
    }

    /// Of a message that is to leave by `path`.
    pub fn leaving(path: &Path, sender: Sender) -> Self {
        let mut head = Self::of_kind(LEAVING);
        head.write_address(path.listener, path.destination);
        head.write_flow(path.transport, path.flow);
        head.write_sender(sender);
        if let Some(name) = &path.server_name {
            head.write_text(name);
        }
        head
    }

    /// Of the news that a request could not be sent.
    pub fn unsent(sender: Sender) -> Self {
        let mut head = Self::of_kind(UNSENT);
        head.write_sender(sender);
        head
    }

    fn of_kind(kind: u8) -> Self {
        let mut head = Self(SmallVec::from_elem(0, HEAD_BYTES));
        head.0[0] = kind;
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

    /// A text that is too long is left out: a cut one would be another name.
    fn write_text(&mut self, text: &str) {
        if text.len() <= MAX_TEXT_BYTES {
            self.0[TEXT_LENGTH..TEXT_LENGTH + 2]
                .copy_from_slice(&(text.len() as u16).to_be_bytes());
            self.0.extend_from_slice(text.as_bytes());
        }
    }
}

/// The fixed part of a head that is read.
struct Fields<'a>(&'a [u8; HEAD_BYTES]);

impl Fields<'_> {
    fn number(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    fn handle(&self, at: usize) -> Option<Handle> {
        let bytes: [u8; 8] = self.0[at..at + 8].try_into().ok()?;
        Some(Handle::from_u64(u64::from_be_bytes(bytes)))
    }

    fn transport(&self) -> Option<Transport> {
        Transport::from_number(self.0[1])
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
    let (head, rest) = record.split_first_chunk::<HEAD_BYTES>()?;
    let fields = Fields(head);
    let (text, message) = rest.split_at_checked(usize::from(fields.number(TEXT_LENGTH)))?;
    let text = std::str::from_utf8(text).ok()?;
    match head[0] {
        ARRIVED => {
            let arrival = Arrival {
                listener: fields.number(2),
                source: fields.address()?,
                transport: fields.transport()?,
                flow: fields.flow(),
                peer: None,
            };
            Some(Parcel::Arrived(arrival, text, message))
        }
        LEAVING => {
            let path = Path {
                listener: fields.number(2),
                transport: fields.transport()?,
                flow: fields.flow(),
                destination: fields.address()?,
                server_name: (!text.is_empty()).then(|| text.into()),
            };
            Some(Parcel::Leaving(path, fields.sender(), message))
        }
        UNSENT => Some(Parcel::Unsent(fields.sender())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

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
    fn a_name_that_is_too_long_is_left_out() {
        let named = |length: usize| Path {
            transport: Transport::Tls,
            server_name: Some("x".repeat(length).into()),
            ..Path::udp(1, "192.0.2.1:5061".parse().unwrap())
        };
        let longest = named(MAX_TEXT_BYTES);
        let leaving = record(&Head::leaving(&longest, SENDER));
        let expected = Parcel::Leaving(longest, SENDER, b"INVITE");
        assert_eq!(open(&leaving), Some(expected));
        let leaving = record(&Head::leaving(&named(MAX_TEXT_BYTES + 1), SENDER));
        let Some(Parcel::Leaving(path, _, message)) = open(&leaving) else {
            panic!("a parcel");
        };
        assert_eq!((path.server_name, message), (None, &b"INVITE"[..]));
    }

    fn any_transport() -> impl Strategy<Value = Transport> {
        prop::sample::select(&Transport::ALL[..])
    }

    fn any_handle() -> impl Strategy<Value = Handle> {
        any::<u64>().prop_map(Handle::from_u64)
    }

    prop_compose! {
        fn any_flow()(
            numbers in any::<(u16, u16, u16)>(), transport in any_transport(), connection in any_handle(),
        ) -> Flow {
            let (worker, generation, listener) = numbers;
            Flow { worker, generation, listener, transport, connection }
        }
    }

    prop_compose! {
        fn any_sender()(
            (worker, generation) in any::<(u16, u16)>(), client in prop::option::of(any_handle()),
        ) -> Sender {
            Sender { worker, generation, client }
        }
    }

    /// As sockets give them: IPv4 is never in the form of IPv6, and there are no flow labels.
    fn any_address() -> impl Strategy<Value = SocketAddr> {
        any::<(std::net::IpAddr, u16, u32)>().prop_map(|(ip, port, scope)| {
            match ip.to_canonical() {
                IpAddr::V4(ip) => SocketAddr::new(ip.into(), port),
                IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
            }
        })
    }

    proptest! {
        #[test]
        fn every_arrival_comes_out_as_it_went_in(
            listener in any::<u16>(), source in any_address(), transport in any_transport(),
            flow in prop::option::of(any_flow()), message in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let arrival = Arrival { listener, source, transport, flow, peer: None };
            let record = [Head::arrived(arrival, "a b").bytes(), &message].concat();
            prop_assert_eq!(open(&record), Some(Parcel::Arrived(arrival, "a b", &message)));
        }

        #[test]
        fn every_departure_comes_out_as_it_went_in(
            listener in any::<u16>(), destination in any_address(), transport in any_transport(),
            flow in prop::option::of(any_flow()), name in prop::option::of("[a-z0-9.-]{1,255}"),
            sender in any_sender(), message in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let server_name = name.map(Arc::from);
            let path = Path { listener, transport, flow, destination, server_name };
            let record = [Head::leaving(&path, sender).bytes(), &message].concat();
            prop_assert_eq!(open(&record), Some(Parcel::Leaving(path, sender, &message)));
            let record = Head::unsent(sender);
            prop_assert_eq!(open(record.bytes()), Some(Parcel::Unsent(sender)));
        }

        #[test]
        fn no_record_makes_it_panic(
            kind in 0_u8..5, rest in prop::collection::vec(any::<u8>(), 0..400),
            changes in prop::collection::vec((0..HEAD_BYTES + 20, any::<u8>()), 0..8),
        ) {
            open(&rest);
            open(&[&[kind], &rest[..]].concat());
            let path = Path { flow: Some(FLOW), ..Path::udp(1, "192.0.2.1:5060".parse().unwrap()) };
            let mut record = record(&Head::leaving(&path, SENDER));
            record[0] = kind;
            for (place, byte) in changes {
                if let Some(damaged) = record.get_mut(place) {
                    *damaged = byte;
                }
            }
            open(&record);
        }
    }

    #[test]
    fn what_is_no_parcel_is_none() {
        assert_eq!(open(&[0; HEAD_BYTES - 1]), None);
        assert_eq!(open(&[0; HEAD_BYTES]), None);
        assert_eq!(open(&[9; HEAD_BYTES]), None);
    }
}
