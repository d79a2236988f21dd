//! Who the peer is, and what it turns out to speak.

use crate::support::{request_with, value, Line, World, BEHIND_NAT};
use sipshard_proto::Transport;

/// The bit of a frame that is the last one of its message, with text (RFC 6455 §5.2).
const TEXT: u8 = 0x81;

/// Opens a WebSocket on a line, with the key of RFC 6455 §1.3.
fn upgrade(world: &mut World, line: &mut Line) {
    line.send(
        "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n",
    );
    let head = world.until(|_| {
        let received = line.received();
        let end = received.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
        Some(String::from_utf8(received.drain(..end).collect()).unwrap())
    });
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

/// A client's frame; its mask is zero.
fn frame(message: &str) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    let head = [TEXT, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
    [&head[..], message.as_bytes()].concat()
}

fn framed_message(world: &mut World, line: &mut Line) -> String {
    let head = line.bytes(world, 4);
    assert_eq!(head[..2], [TEXT, 126]);
    let length = u16::from_be_bytes([head[2], head[3]]);
    String::from_utf8(line.bytes(world, usize::from(length))).unwrap()
}

#[test]
fn rfc_7118_a_websocket_on_a_tcp_port_is_answered_in_frames() {
    for shard in 0..2 {
        let mut world = World::new(2);
        let mut line = world.line(0);
        upgrade(&mut world, &mut line);
        let call_id = world.estate.call_id(shard, 0);
        line.send(frame(&request_with("OPTIONS", &call_id, "WS", "")));
        let asked = world.question();
        let arrival = asked.1.arrival;
        assert_eq!(arrival.transport, Transport::Ws);
        assert_eq!(arrival.flow.unwrap().transport, Transport::Ws);
        world.answer(&asked, 200);
        let response = framed_message(&mut world, &mut line);
        assert!(response.starts_with("SIP/2.0 200 "), "{response}");
        assert_eq!(value(&response, "Call-ID"), call_id);
    }
}

#[test]
fn rfc_7118_a_request_through_a_flow_is_one_frame() {
    let mut world = World::new(2);
    let mut bob = world.line(1);
    upgrade(&mut world, &mut bob);
    bob.send(frame(&request_with("OPTIONS", "flow", "WS", "")));
    let asked = world.question();
    world.answer(&asked, 200);
    framed_message(&mut world, &mut bob);

    let mut alice = world.line(0);
    alice.send(request_with(
        "OPTIONS",
        &world.estate.call_id(0, 3),
        "TCP",
        "",
    ));
    let call = world.question();
    let uri = "sip:bob@df7jal23ls0d.invalid;transport=ws";
    world.forward(&call, uri, asked.1.arrival.flow);
    let copy = framed_message(&mut world, &mut bob);
    assert!(value(&copy, "Via").starts_with("SIP/2.0/WS "), "{copy}");
}

/// A header of the PROXY protocol, version 2, for TCP over IPv4.
fn proxy_header(source: [u8; 4], port: u16) -> Vec<u8> {
    let port = port.to_be_bytes();
    [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..],
        &source,
        &[192, 0, 2, 1],
        &port,
        &[0x13, 0xc4],
    ]
    .concat()
}

#[test]
fn the_source_is_the_one_that_the_proxy_protocol_names() {
    for shard in 0..2 {
        let mut world = World::with(2, |streams| streams.proxy_protocol = true);
        let mut line = world.line(0);
        let call_id = world.estate.call_id(shard, 0);
        line.send(proxy_header([198, 51, 100, 7], 49_152));
        line.send(request_with("OPTIONS", &call_id, "TCP", ""));
        let asked = world.question();
        let source = "198.51.100.7:49152".parse().unwrap();
        assert_eq!(asked.1.arrival.source, source);
        world.answer(&asked, 200);
        let response = line.message(&mut world);
        let via = format!("SIP/2.0/TCP {BEHIND_NAT};branch=z9hG4bK{call_id};received=198.51.100.7");
        assert!(value(&response, "Via").starts_with(&via), "{response}");
    }
}

#[test]
fn who_speaks_without_the_proxy_protocol_is_closed() {
    let mut world = World::with(1, |streams| streams.proxy_protocol = true);
    let mut line = world.line(0);
    line.send(request_with("OPTIONS", "without", "TCP", ""));
    line.wait_for_end(&mut world);
    assert_eq!(world.estate.counter(0, "framing_errors"), 1);
    assert!(world.is_silent());
}

#[test]
fn connections_are_counted_by_the_source_that_the_proxy_protocol_names() {
    let mut world = World::with(1, |streams| {
        streams.proxy_protocol = true;
        streams.max_per_source = 1;
    });
    let mut lines: Vec<Line> = (0..3).map(|_| world.line(0)).collect();
    for (line, last) in lines.iter_mut().zip([7, 8, 7]) {
        line.send(proxy_header([198, 51, 100, last], 49_152));
        world.turn();
    }
    lines[2].wait_for_end(&mut world);
    assert_eq!(world.estate.counter(0, "connections_refused"), 1);
    assert!(!lines[0].has_ended() && !lines[1].has_ended());
    drop(lines);
    world.until_counted(0, "connections_closed_by_peer", 2);
    let mut again = world.line(0);
    again.send(proxy_header([198, 51, 100, 7], 49_152));
    again.send(request_with("OPTIONS", "again", "TCP", ""));
    world.question();
}
