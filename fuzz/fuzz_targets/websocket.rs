//! Where the bytes of a WebSocket are cut makes no difference: the same messages come out, and it ends the same way.
//!
//! The last two bytes of the input say how long the pieces are, the rest is what a client sends after its upgrade. It
//! goes through a connection over the loopback device, which hands over at once what was sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sipshard_net::connection::{Closed, Connection, Limits, Received, Terms, WebSocketUse};
use socket2::SockRef;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n";

const TERMS: Terms = Terms {
    tls: None,
    websocket: WebSocketUse::Always,
    proxy_protocol: false,
    limits: Limits {
        max_message_bytes: 2048,
        max_queued_bytes: 64 * 1024,
    },
};

static LISTENER: LazyLock<TcpListener> =
    LazyLock::new(|| TcpListener::bind("127.0.0.1:0").expect("the loopback device has a port"));

/// A client, and the server's end of its connection. The client resets it in the end, so that no port is kept from
/// the next run.
fn connected() -> (TcpStream, Connection) {
    let address = LISTENER.local_addr().expect("it is bound");
    let client = TcpStream::connect(address).expect("somebody listens");
    let settings = SockRef::from(&client);
    settings
        .set_linger(Some(Duration::ZERO))
        .expect("a stream can linger");
    settings.set_tcp_nodelay(true).expect("a stream can hurry");
    let (socket, _) = LISTENER.accept().expect("somebody connects");
    socket.set_nonblocking(true).expect("a socket can");
    let server = Connection::accepted(socket, &TERMS).expect("it is alive");
    (client, server)
}

/// The messages that come, and how the connection ended.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<Closed>) {
    let (mut client, mut server) = connected();
    let mut scratch = vec![0; 64 * 1024];
    let mut messages = Vec::new();
    for piece in std::iter::once(UPGRADE).chain(pieces) {
        client.write_all(piece).expect("the server reads");
        let mut take = |received: Received<'_>| match received {
            Received::Message(message) => messages.push(message.to_vec()),
            other => panic!("{other:?}"),
        };
        if let Err(closed) = server.handle_ready(true, true, &mut scratch, &mut take) {
            return (messages, Some(closed));
        }
        assert!(server.is_websocket());
    }
    (messages, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((stream, sizes)) = input.split_last_chunk::<2>() else {
        return;
    };
    let whole = read(std::iter::once(stream));
    assert!(whole.0.iter().map(Vec::len).sum::<usize>() <= stream.len());
    // Many pieces take long and show little.
    let least = stream.len() / 64 + 1;
    let mut rest = stream;
    let pieces = sizes.iter().cycle().map_while(|size| {
        let length = usize::from(*size).max(least).min(rest.len());
        let (piece, tail) = rest.split_at(length);
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(read(pieces), whole);
});
