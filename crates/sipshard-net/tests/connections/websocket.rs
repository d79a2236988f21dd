//! WebSocket, with tungstenite as the client.

use crate::support::{accepted, drive, drive_until_quiet, Party, LIMITS, PLAIN};
use proptest::prelude::*;
use sipshard_net::connection::{Closed, Limits, Terms, WebSocketUse};
use std::io::{Read, Write};
use std::net::TcpStream;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Request;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

const SNIFF: Terms = Terms {
    websocket: WebSocketUse::Sniff,
    ..PLAIN
};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn request() -> Request {
    let mut request = "ws://example.com/any".into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", "sip".parse().unwrap());
    headers.insert("Origin", "https://phone.example.com".parse().unwrap());
    request
}

/// A client whose upgrade the server has accepted.
fn open(terms: &Terms) -> (WebSocket<TcpStream>, Party) {
    let (peer, mut server) = accepted(terms);
    let client = std::thread::spawn(|| tungstenite::client(request(), peer).unwrap());
    drive(&mut [&mut server], |parties| {
        parties[0].connection.is_established()
    });
    let (client, response) = client.join().unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "sip");
    assert!(server.connection.is_websocket());
    (client, server)
}

#[test]
fn messages_go_both_ways_whole_and_in_order() {
    let always = Terms {
        websocket: WebSocketUse::Always,
        ..PLAIN
    };
    for terms in [SNIFF, always] {
        let (mut client, mut server) = open(&terms);
        let origin = server.connection.websocket_origin();
        assert_eq!(origin, Some("https://phone.example.com"));
        let long = "x".repeat(60_000);
        for text in ["REGISTER", "", &long] {
            client.send(Message::text(text)).unwrap();
        }
        client.send(Message::binary(&b"\xFF\xFE"[..])).unwrap();
        drive(&mut [&mut server], |parties| parties[0].messages.len() == 4);
        assert_eq!(server.messages[0], b"REGISTER");
        assert_eq!(server.messages[1], b"");
        assert_eq!(server.messages[2], long.as_bytes());
        assert_eq!(server.messages[3], b"\xFF\xFE");
        assert_eq!(server.bytes, b"");

        for message in [&b"SIP/2.0 200 OK"[..], b"\xFF", &[b'y'; 60_000]] {
            server.connection.send(message).unwrap();
        }
        drive_until_quiet(&mut [&mut server]);
        assert_eq!(client.read().unwrap(), Message::text("SIP/2.0 200 OK"));
        assert_eq!(client.read().unwrap(), Message::binary(&b"\xFF"[..]));
        assert_eq!(client.read().unwrap(), Message::text("y".repeat(60_000)));
    }
}

#[test]
fn a_ping_is_answered() {
    let (mut client, mut server) = open(&SNIFF);
    client.send(Message::Ping("alive?".into())).unwrap();
    drive_until_quiet(&mut [&mut server]);
    assert_eq!(client.read().unwrap(), Message::Pong("alive?".into()));
    assert!(server.messages.is_empty() && server.closed.is_none());
}

#[test]
fn either_side_may_say_farewell() {
    let (mut client, mut server) = open(&SNIFF);
    client
        .close(Some(CloseFrame {
            code: 1001.into(),
            reason: "going".into(),
        }))
        .unwrap();
    drive(&mut [&mut server], |parties| parties[0].closed.is_some());
    assert_eq!(server.closed, Some(Closed::ByPeer));
    assert_eq!(close_code(client), 1001);

    let (client, mut server) = open(&SNIFF);
    server.connection.close();
    assert_eq!(close_code(client), 1000);
}

fn close_code(mut client: WebSocket<TcpStream>) -> u16 {
    loop {
        match client.read() {
            Ok(Message::Close(Some(frame))) => return frame.code.into(),
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_is_too_large_or_wrong_is_answered_with_its_code() {
    let limits = Limits {
        max_message_bytes: 1000,
        ..LIMITS
    };
    let terms = Terms { limits, ..SNIFF };
    let (mut client, mut server) = open(&terms);
    client.send(Message::text("x".repeat(1000))).unwrap();
    client.send(Message::text("x".repeat(1001))).unwrap();
    drive(&mut [&mut server], |parties| parties[0].closed.is_some());
    assert_eq!(server.closed, Some(Closed::MessageTooLarge));
    assert_eq!(server.messages.len(), 1);
    assert_eq!(close_code(client), 1009);

    let (mut client, mut server) = open(&terms);
    client.get_mut().write_all(b"\x81\x01x").unwrap();
    drive(&mut [&mut server], |parties| parties[0].closed.is_some());
    assert_eq!(server.closed, Some(Closed::BadFrame), "unmasked");
    assert_eq!(close_code(client), 1002);
}

#[test]
fn a_stream_beside_web_sockets_loses_no_byte_wherever_it_is_cut() {
    for stream in [
        &b"GETS sip:example.com"[..],
        b"REGISTER",
        b"GE\r\n\r\n",
        b"\r\n\r\n",
    ] {
        for cut in 1..stream.len() {
            let (mut peer, mut server) = accepted(&SNIFF);
            assert!(!server.connection.is_established());
            server.connection.send(b"early").unwrap();
            peer.write_all(&stream[..cut]).unwrap();
            drive_until_quiet(&mut [&mut server]);
            peer.write_all(&stream[cut..]).unwrap();
            drive(&mut [&mut server], |parties| parties[0].bytes == stream);
            let connection = &server.connection;
            assert!(connection.is_established() && !connection.is_websocket());
            let mut early = [0; 5];
            peer.read_exact(&mut early).unwrap();
            assert_eq!(&early, b"early");
        }
    }
}

#[test]
fn upgrade_and_frames_may_be_cut_anywhere() {
    let frames = [
        &b"\x01\x82\x37\xFA\x21\x3D\x65\xBF"[..], // "RE", to be continued
        b"\x89\x81\x00\x00\x00\x00?",
        b"\x80\x82\x00\x00\x00\x00GI",
    ]
    .concat();
    let stream = [UPGRADE, &frames].concat();
    for cut in 1..stream.len() {
        let (mut peer, mut server) = accepted(&SNIFF);
        peer.write_all(&stream[..cut]).unwrap();
        drive_until_quiet(&mut [&mut server]);
        peer.write_all(&stream[cut..]).unwrap();
        drive(&mut [&mut server], |parties| {
            parties[0].messages == [b"REGI"]
        });
        server.connection.close();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        assert!(answer.ends_with(b"\x8A\x01?\x88\x02\x03\xE8"), "{cut}");
    }
}

#[test]
fn a_bad_upgrade_is_answered_and_closed() {
    let text = String::from_utf8(UPGRADE.to_vec()).unwrap();
    for bad in [
        text.replace("Protocol: sip", "Protocol: xmpp"),
        text.replace("Host: example.com\r\n", ""),
        "GET / HTTP/1.1\r\n\r\n".to_string(),
        format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(9000)),
    ] {
        let (mut peer, mut server) = accepted(&SNIFF);
        peer.write_all(bad.as_bytes()).unwrap();
        drive(&mut [&mut server], |parties| parties[0].closed.is_some());
        assert_eq!(server.closed, Some(Closed::BadUpgrade));
        drop(server);
        let mut answer = [0; 10];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 4");
    }
    let always = Terms {
        websocket: WebSocketUse::Always,
        ..PLAIN
    };
    let (mut peer, mut server) = accepted(&always);
    peer.write_all(b"REGISTER sip:").unwrap();
    drive(&mut [&mut server], |parties| parties[0].closed.is_some());
    assert_eq!(server.closed, Some(Closed::BadUpgrade));
}

#[test]
fn whoever_pings_and_does_not_read_is_closed() {
    let (client, mut server) = open(&SNIFF);
    let mut socket = client.get_ref().try_clone().unwrap();
    let pings = [&b"\x89\xFD\x00\x00\x00\x00"[..], &[b'x'; 125]].concat();
    let flood = std::thread::spawn(move || while socket.write_all(&pings.repeat(100)).is_ok() {});
    let mut largest = false;
    drive(&mut [&mut server], |parties| {
        largest |= parties[0].connection.has_queued();
        parties[0].closed.is_some()
    });
    assert_eq!(server.closed, Some(Closed::QueueFull));
    assert!(largest);
    drop((server, client));
    flood.join().unwrap();
}

#[test]
fn a_client_that_vanishes_is_noticed() {
    let (client, mut server) = open(&SNIFF);
    drop(client);
    drive(&mut [&mut server], |parties| parties[0].closed.is_some());
    assert_eq!(server.closed, Some(Closed::ByPeer));
}

/// What tungstenite makes of the same bytes as a server.
fn reference(stream: &[u8]) -> (Vec<Vec<u8>>, bool) {
    struct Wire<'a>(&'a [u8]);
    impl Read for Wire<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.is_empty() {
                true => Err(std::io::ErrorKind::WouldBlock.into()),
                false => self.0.read(buffer),
            }
        }
    }
    impl Write for Wire<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let limit = Some(LIMITS.max_message_bytes);
    let config = WebSocketConfig::default()
        .max_message_size(limit)
        .max_frame_size(limit);
    let mut socket = WebSocket::from_raw_socket(Wire(stream), Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                messages.push(message.into_data().to_vec());
            }
            Ok(Message::Close(_)) => return (messages, false),
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return (messages, true);
            }
            Err(_) => return (messages, false),
        }
    }
}

fn masked_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let head = [first, 0x80 | payload.len() as u8, 1, 2, 3, 4];
    let masked = payload.iter().zip([1, 2, 3, 4].iter().cycle());
    let masked = masked.map(|(byte, key)| byte ^ key);
    head.into_iter().chain(masked).collect()
}

// Payloads are ASCII and frames complete: tungstenite refuses text that is not UTF-8 at the first
// wrong fragment, we at the end of the message; and a bad head at the end of its frame, we at once.
proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_mean_what_tungstenite_says_they_mean(
        frames in proptest::collection::vec(
            (
                prop_oneof![
                    8 => prop_oneof![Just(0x81u8), Just(0x82), Just(0x01), Just(0x00), Just(0x80), Just(0x89), Just(0x8A)],
                    1 => any::<u8>(),
                ],
proptest::collection::vec(32u8..127, 0..100),
            ),
            0..10,
        ),
        cut in 1usize..300,
    ) {
        let frames = frames.iter();
        let frames = frames.flat_map(|(first, payload)| masked_frame(*first, payload));
        let stream: Vec<u8> = frames.collect();
        let (mut peer, mut server) = accepted(&SNIFF);
        peer.write_all(UPGRADE).unwrap();
        drive_until_quiet(&mut [&mut server]);
        for piece in stream.chunks(cut) {
            let _ = peer.write_all(piece);
            drive_until_quiet(&mut [&mut server]);
        }
        let (messages, is_open) = reference(&stream);
        prop_assert_eq!(&server.messages, &messages);
        prop_assert_eq!(server.closed.is_none(), is_open, "{:x?}", stream);
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        begin in 0usize..UPGRADE.len(),
        cut in 1usize..2000,
    ) {
        for terms in [SNIFF, Terms { proxy_protocol: true, ..SNIFF }] {
            let (mut peer, mut server) = accepted(&terms);
            for piece in [&UPGRADE[..begin], &bytes].concat().chunks(cut) {
                let _ = peer.write_all(piece);
                drive_until_quiet(&mut [&mut server]);
            }
            prop_assert!(!server.connection.has_queued());
        }
    }
}
