//! The PROXY protocol in front of connections.

use crate::support::{accepted, drive, drive_until_quiet, PLAIN};
use sipshard_net::connection::{Closed, Terms, WebSocketUse};
use std::io::Write;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

const TERMS: Terms = Terms {
    proxy_protocol: true,
    ..PLAIN
};

fn tcp4() -> Vec<u8> {
    let rest = [
        0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 1, 0x13, 0xC4, 0x13, 0xC5,
    ];
    [SIGNATURE, &rest].concat()
}

#[test]
fn the_peer_is_whom_the_balancer_names_wherever_the_header_is_cut() {
    let stream = [&tcp4()[..], b"REGISTER"].concat();
    for cut in 1..stream.len() {
        let (mut peer, mut server) = accepted(&TERMS);
        peer.write_all(&stream[..cut]).unwrap();
        drive_until_quiet(&mut [&mut server]);
        assert_eq!(server.connection.is_established(), cut >= 28);
        peer.write_all(&stream[cut..]).unwrap();
        drive(&mut [&mut server], |parties| {
            parties[0].bytes == b"REGISTER"
        });
        assert_eq!(server.connection.peer(), "192.0.2.1:5060".parse().unwrap());
        assert!(server.connection.is_established());
    }
}

#[test]
fn a_balancer_that_speaks_for_itself_is_the_peer() {
    let (mut peer, mut server) = accepted(&TERMS);
    peer.write_all(&[SIGNATURE, &[0x20, 0, 0, 0], b"OPTIONS"].concat())
        .unwrap();
    drive(&mut [&mut server], |parties| parties[0].bytes == b"OPTIONS");
    assert_eq!(server.connection.peer(), peer.local_addr().unwrap());
}

#[test]
fn a_connection_without_header_is_closed() {
    for bytes in [
        &b"REGISTER sip:example.com SIP/2.0\r\n"[..],
        b"\r\n\r\n\r\n",
    ] {
        let (mut peer, mut server) = accepted(&TERMS);
        peer.write_all(bytes).unwrap();
        drive(&mut [&mut server], |parties| parties[0].closed.is_some());
        assert_eq!(server.closed, Some(Closed::BadProxyHeader));
        assert_eq!(server.bytes, b"");
    }
}

#[test]
fn what_follows_is_recognised_as_ever() {
    let terms = Terms {
        websocket: WebSocketUse::Sniff,
        ..TERMS
    };
    let (mut peer, mut server) = accepted(&terms);
    peer.write_all(&[&tcp4()[..], b"GET / HTTP/1.1\r\n\r\n"].concat())
        .unwrap();
    drive(&mut [&mut server], |parties| parties[0].closed.is_some());
    assert_eq!(server.closed, Some(Closed::BadUpgrade));
}
