//! The steering program in the kernel: real reuseport groups on the loopback device, and every
//! datagram must arrive at the socket that the hash computed here names.

mod reference;

use reference::{value_offsets, worker_of_value};
use sipshard_net::steering::{self, Steering};
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

const SECRET: Steering = Steering {
    workers: 1,
    basis: 0x9e37_79b9,
    multiplier: 0x85eb_ca6b,
};

/// N sockets on one port, in the order of the workers, with the program attached.
struct Group {
    sockets: Vec<UdpSocket>,
    steering: Steering,
    reach: usize,
}

impl Group {
    fn new(workers: u16, host: &str) -> Group {
        let steering = Steering { workers, ..SECRET };
        let mut sockets = vec![reuseport_socket(format!("{host}:0").parse().unwrap())];
        let address = sockets[0].local_addr().unwrap();
        sockets.extend((1..workers).map(|_| reuseport_socket(address)));
        let reach = steering::attach(sockets[0].as_raw_fd(), &steering).unwrap();
        Group {
            sockets,
            steering,
            reach,
        }
    }

    fn address(&self) -> SocketAddr {
        self.sockets[0].local_addr().unwrap()
    }

    /// Sends from `source` and returns the index of the socket that got it. Loopback delivers
    /// before the send returns, so that nothing has to be waited for.
    fn deliver(&self, source: &UdpSocket, datagram: &[u8]) -> usize {
        source.send_to(datagram, self.address()).unwrap();
        let mut buffer = vec![0; 65_535];
        let mut receivers = Vec::new();
        for (index, socket) in self.sockets.iter().enumerate() {
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    assert_eq!(&buffer[..length], datagram);
                    receivers.push(index);
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(receivers.len(), 1, "one socket gets it");
        receivers[0]
    }

    fn expected(&self, datagram: &[u8]) -> usize {
        let value = value_offsets(datagram)
            .next()
            .expect("the test's message has a Call-ID");
        worker_of_value(&self.steering, &datagram[value..]) as usize
    }

    fn assert_steered(&self, source: &UdpSocket, datagram: &[u8]) {
        let text = String::from_utf8_lossy(datagram);
        assert_eq!(
            self.deliver(source, datagram),
            self.expected(datagram),
            "{text}"
        );
    }

    /// How many of `sources` different sockets get the same datagram delivered where.
    fn spread(&self, sources: usize, datagram: &[u8]) -> HashMap<usize, usize> {
        let mut counts = HashMap::new();
        for _ in 0..sources {
            *counts
                .entry(self.deliver(&source(self.address()), datagram))
                .or_default() += 1;
        }
        counts
    }
}

fn reuseport_socket(address: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.into()
}

fn source(destination: SocketAddr) -> UdpSocket {
    UdpSocket::bind((destination.ip(), 0)).unwrap()
}

/// A request whose Call-ID header begins at `offset` or as soon behind it as possible.
fn message(name: &str, call_id: &str, offset: usize) -> Vec<u8> {
    let mut text = String::from("INVITE sip:bob@example.com SIP/2.0\r\n");
    text += "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds\r\n";
    if offset > text.len() + 4 {
        text += &format!("P: {:x<1$}\r\n", "", offset - text.len() - 5);
    }
    text += &format!("{name}: {call_id}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
    text.into_bytes()
}

#[test]
fn one_source_is_spread_by_call_id_over_any_number_of_workers() {
    for workers in [1, 2, 3, 4, 7] {
        let group = Group::new(workers, "127.0.0.1");
        let source = source(group.address());
        let mut counts = vec![0_usize; usize::from(workers)];
        let total = 2000;
        for number in 0..total {
            let datagram = message("Call-ID", &format!("{number:x}@192.0.2.1"), number % 1000);
            group.assert_steered(&source, &datagram);
            counts[group.expected(&datagram)] += 1;
        }
        // Far outside of what chance does to an even spread.
        let even = total / usize::from(workers);
        assert!(
            counts.iter().all(|count| count.abs_diff(even) < even / 4),
            "{counts:?}"
        );
    }
}

#[test]
fn a_group_over_ipv6_is_steered_alike() {
    let group = Group::new(3, "[::1]");
    let source = source(group.address());
    for number in 0..500 {
        group.assert_steered(
            &source,
            &message("Call-ID", &format!("{number}@v6"), number),
        );
    }
}

#[test]
fn every_offset_within_reach_is_found_and_none_behind_it() {
    let group = Group::new(4, "127.0.0.1");
    assert!(group.reach >= 1400, "reach {}", group.reach);
    let source = source(group.address());
    for offset in 100..group.reach {
        group.assert_steered(
            &source,
            &message("Call-ID", &format!("{offset}@host"), offset),
        );
    }
    // Behind it the kernel's hash of the addresses decides: the same for all from one source.
    let behind: Vec<_> = (0..50)
        .map(|number| message("Call-ID", &format!("{number}@host"), group.reach))
        .map(|datagram| group.deliver(&source, &datagram))
        .collect();
    assert!(
        behind.windows(2).all(|pair| pair[0] == pair[1]),
        "{behind:?}"
    );
}

#[test]
fn any_letter_case_and_blanks_before_the_value_are_understood() {
    let group = Group::new(7, "127.0.0.1");
    let source = source(group.address());
    for name in [
        "Call-ID", "call-id", "CALL-ID", "cAlL-iD", "Call-Id", "CALL-id",
    ] {
        for call_id in [
            "a84b4c76e66710",
            "  two@blanks",
            "\ttab@host",
            " \tx",
            "",
            "ü@host",
        ] {
            for offset in 200..208 {
                group.assert_steered(&source, &message(name, call_id, offset));
            }
        }
    }
}

#[test]
fn a_call_id_differs_by_its_first_32_bytes_only() {
    let group = Group::new(4, "127.0.0.1");
    let source = source(group.address());
    let long = "f81d4fae7dec11d0a76500a0c91e6bf6";
    for tail in ["", "@a", "@b.example.com", "0123456789"] {
        let datagram = message("Call-ID", &format!("{long}{tail}"), 150);
        group.assert_steered(&source, &datagram);
        assert_eq!(
            group.expected(&datagram),
            group.expected(&message("Call-ID", long, 0))
        );
    }
}

#[test]
fn what_only_looks_like_a_call_id_does_not_stop_the_search() {
    let group = Group::new(7, "127.0.0.1");
    let source = source(group.address());
    for decoy in [
        "X-Call-ID: 1@decoy",
        "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=0",
        "Call-Info: <http://www.example.com/alice/photo.jpg>",
        "To: <sip:all-hands@example.com>, all-in, call-id: no",
        "Call-IDs: 2@decoy",
        "P-Charging-Vector: icid-value=call-id;all-id:ll-id",
    ] {
        for filler in 0..12 {
            for number in 0..20 {
                // The search may lose up to a chunk after each decoy; the Via is longer.
                let via = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;rport=5060";
                let text = format!(
                    "BYE sip:bob@example.com{:x<filler$} SIP/2.0\r\n{decoy}\r\n{via}\r\n\
                     Call-ID: {number}-{filler}@host\r\nCSeq: 2 BYE\r\n\r\n",
                    ""
                );
                group.assert_steered(&source, text.as_bytes());
            }
        }
    }
}

#[test]
fn a_header_that_ends_the_datagram_is_found() {
    let group = Group::new(7, "127.0.0.1");
    let source = source(group.address());
    for length in 0..120 {
        for end in ["\r\n", "\n", "\r\n\r\n"] {
            let text = format!(
                "ACK sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h{:x<length$}\r\nCSeq: 1 ACK\r\n\
                 Call-ID: {length}@h{end}",
                ""
            );
            group.assert_steered(&source, text.as_bytes());
        }
    }
}

#[test]
fn what_has_no_call_id_is_spread_by_its_source() {
    let group = Group::new(4, "127.0.0.1");
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 92]].concat();
    let garbage: Vec<u8> = (0..600u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let compact = b"OPTIONS sip:b@example.com SIP/2.0\r\nv: SIP/2.0/UDP h\r\ni: 1\r\n\r\n";
    let long_text = [&b"INVITE "[..], &[b'x'; 3000]].concat();
    let cut = [
        &b"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060\r\n"[..],
        b"Call-ID: the-datagram-ends-in-the",
    ]
    .concat();
    for datagram in [
        &b""[..],
        b"\r\n\r\n",
        b"\0",
        b"x",
        b"INVITE",
        &stun,
        &garbage,
        compact,
        &long_text,
        &cut,
    ] {
        let counts = group.spread(200, datagram);
        let most = counts.values().max().copied().unwrap_or(0);
        assert!(
            counts.len() == 4 && most < 100,
            "{datagram:02x?}: {counts:?}"
        );
    }
}

#[test]
fn a_socket_without_a_group_is_an_error() {
    let error = steering::attach(-1, &SECRET).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}
