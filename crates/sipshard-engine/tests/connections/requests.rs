//! Requests that come through connections, and where their responses go.

use crate::support::{request, request_with, value, Line, World};
use sipshard_proto::message::MAX_MESSAGE_BYTES;
use sipshard_proto::Transport;

#[test]
fn rfc_3261_18_2_2_a_request_is_answered_through_its_own_connection() {
    let mut world = World::new(1);
    let mut lines = [world.line(0), world.line(0)];
    for (number, line) in lines.iter_mut().enumerate() {
        line.send(request("OPTIONS", &format!("call-{number}")));
    }
    let asked = [world.question(), world.question()];
    for one in asked.iter().rev() {
        assert_eq!(one.1.arrival.transport, Transport::Tcp);
        world.answer(one, 200);
    }
    for (number, line) in lines.iter_mut().enumerate() {
        let response = line.message(&mut world);
        assert_eq!(value(&response, "Call-ID"), format!("call-{number}"));
    }
    assert_eq!(world.connections(0), 2);
    assert_eq!(world.estate.counter(0, "connections_opened"), 0);
}

#[test]
fn requests_of_another_shard_travel_and_their_responses_come_back() {
    let mut world = World::new(2);
    let mut lines = [world.line(0), world.line(0)];
    for (number, line) in lines.iter_mut().enumerate() {
        line.send(request("OPTIONS", &world.estate.call_id(1, number)));
    }
    let asked = [world.question(), world.question()];
    for one in asked.iter().rev() {
        assert_eq!(one.0, 1, "its Call-ID says so");
        world.answer(one, 200);
    }
    for (number, line) in lines.iter_mut().enumerate() {
        let response = line.message(&mut world);
        let call_id = world.estate.call_id(1, number);
        assert_eq!(value(&response, "Call-ID"), call_id);
    }
    assert_eq!(world.estate.counter(0, "mailbox_sent"), 2);
    assert_eq!(world.estate.counter(1, "mailbox_sent"), 2);
    assert_eq!((world.connections(0), world.connections(1)), (2, 0));
}

#[test]
fn messages_in_one_segment_are_told_apart_wherever_they_belong() {
    let mut world = World::new(2);
    let mut line = world.line(0);
    let call_ids: Vec<String> = (0..6)
        .map(|number| world.estate.call_id(number % 2, usize::from(number / 2)))
        .collect();
    let requests = call_ids.iter().map(|call_id| request("OPTIONS", call_id));
    line.send(requests.collect::<String>());
    for _ in 0..6 {
        let asked = world.question();
        world.answer(&asked, 200);
    }
    let mut answered: Vec<String> = (0..6)
        .map(|_| value(&line.message(&mut world), "Call-ID").to_owned())
        .collect();
    answered.sort();
    let mut expected = call_ids;
    expected.sort();
    assert_eq!(answered, expected);
}

#[test]
fn a_message_that_comes_in_pieces_is_put_together() {
    let mut world = World::new(1);
    let mut line = world.line(0);
    let body = "x".repeat(1_000);
    let text = request_with("MESSAGE", "pieces", "TCP", &body);
    for piece in text.as_bytes().chunks(97) {
        assert!(world.is_silent());
        line.send(piece);
    }
    let asked = world.question();
    assert_eq!(asked.1.request.body(), body.as_bytes());
}

#[test]
fn rfc_5626_4_4_1_two_line_ends_are_answered_by_one() {
    let mut world = World::new(1);
    let mut line = world.line(0);
    line.send("\r\n\r\n");
    assert_eq!(line.bytes(&mut world, 2), b"\r\n");
    line.send(request("OPTIONS", "after-the-ping"));
    let asked = world.question();
    world.answer(&asked, 200);
    assert!(line.message(&mut world).starts_with("SIP/2.0 200 "));
    assert_eq!(line.received(), b"", "one line end, and only one");
    assert_eq!(world.estate.counter(0, "keepalives"), 1);
}

#[test]
fn a_message_that_is_too_long_ends_its_connection() {
    let mut world = World::new(1);
    let mut line = world.line(0);
    line.send(format!(
        "MESSAGE sip:bob@example.com SIP/2.0\r\nContent-Length: {MAX_MESSAGE_BYTES}\r\n\r\n"
    ));
    line.wait_for_end(&mut world);
    assert_eq!(world.estate.counter(0, "framing_errors"), 1);
    assert_eq!(world.connections(0), 0);
}

#[test]
fn a_head_without_an_end_ends_its_connection() {
    let mut world = World::new(1);
    let mut line = world.line(0);
    let endless = vec![b'a'; MAX_MESSAGE_BYTES + 1];
    line.send_long(&mut world, &endless);
    line.wait_for_end(&mut world);
    assert_eq!(world.estate.counter(0, "framing_errors"), 1);
    assert!(world.is_silent());
}

#[test]
fn rfc_3261_20_14_a_length_that_is_none_is_answered_before_the_connection_ends() {
    let mut world = World::new(1);
    let mut line = world.line(0);
    let text = request("OPTIONS", "no-length").replace("Content-Length: 0", "Content-Length: x");
    line.send(text);
    assert!(line.message(&mut world).starts_with("SIP/2.0 400 "));
    line.wait_for_end(&mut world);
    assert_eq!(world.estate.counter(0, "framing_errors"), 1);
    assert_eq!(world.estate.counter(0, "flows_lost"), 0);
}

#[test]
fn close_ends_all_connections_and_accepts_no_more() {
    let mut world = World::new(1);
    let mut lines = [world.line(0), world.line(0)];
    world.until_counted(0, "connections_accepted", 2);
    world.engines[0].close();
    for line in &mut lines {
        line.wait_for_end(&mut world);
    }
    let mut late = Line::new(world.estate.stream_address(0, crate::common::TCP));
    late.send(request("OPTIONS", "late"));
    assert!(world.is_silent());
    assert!(!late.has_ended(), "it waits for the successor");
}
