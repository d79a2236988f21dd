//! Peers that refuse, die or do not read: whoever has sent them something is told at once.

use crate::support::{datagram, request_with, response, value, Datagrams, World};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Long before Timer B or F, which is 32 seconds.
const AT_ONCE: Duration = Duration::from_secs(2);

#[test]
fn rfc_3261_16_9_a_refused_connection_fails_the_branch_at_once() {
    for method in ["OPTIONS", "INVITE"] {
        let mut world = World::new(1);
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("sip:bob@{};transport=tcp", nobody.local_addr().unwrap());
        drop(nobody);
        let alice = Datagrams::new();
        alice.send(&world, 0, &datagram(method, "refused"));
        let asked = world.question();
        let begun = Instant::now();
        world.forward(&asked, &uri, None);
        let answered = alice.final_response(&mut world);
        assert!(answered.starts_with("SIP/2.0 500 "), "{answered}");
        assert!(begun.elapsed() < AT_ONCE);
        assert_eq!(world.estate.counter(0, "branches_unsent"), 1);
        assert_eq!(world.connections(0), 0);
    }
}

#[test]
fn a_peer_that_dies_before_it_has_answered_fails_the_branch_at_once() {
    for owner in 0..2 {
        let mut world = World::new(2);
        let mut bob = world.line(owner);
        let flow = world.flow_of(&mut bob);
        let alice = Datagrams::new();
        let call_id = world.estate.call_id(0, 7);
        alice.send(&world, 0, &datagram("INVITE", &call_id));
        let asked = world.question();
        world.forward(&asked, "sip:bob@192.0.2.1;transport=ws", Some(flow));
        bob.message(&mut world);
        drop(bob);
        let begun = Instant::now();
        let answered = alice.final_response(&mut world);
        assert!(answered.starts_with("SIP/2.0 500 "), "{answered}");
        assert!(begun.elapsed() < AT_ONCE);
        assert_eq!(world.estate.counter(0, "branches_unsent"), 1);
    }
}

#[test]
fn a_phone_that_rings_goes_on_ringing_when_its_connection_dies() {
    let mut world = World::new(1);
    let mut bob = world.line(0);
    let flow = world.flow_of(&mut bob);
    let alice = Datagrams::new();
    alice.send(&world, 0, &datagram("INVITE", "rings"));
    let asked = world.question();
    world.forward(&asked, "sip:bob@192.0.2.1;transport=ws", Some(flow));
    let invite = bob.message(&mut world);
    bob.send(response(&invite, "180 Ringing"));
    assert!(alice.final_response(&mut world).starts_with("SIP/2.0 180 "));
    drop(bob);
    world.until_counted(0, "connections_closed_by_peer", 1);
    // It is picked up, and says so through a new connection.
    let mut bob = world.line(0);
    bob.send(response(&invite, "200 OK"));
    let answered = alice.final_response(&mut world);
    assert!(answered.starts_with("SIP/2.0 200 "), "{answered}");
    assert_eq!(world.estate.counter(0, "branches_unsent"), 0);
}

#[test]
fn a_peer_that_does_not_read_is_closed_and_all_senders_are_told() {
    const BODY_BYTES: usize = 60_000;
    let mut world = World::with(2, |streams| streams.max_queued_bytes = 128 * 1024);
    let mut bob = world.line(1);
    let flow = world.flow_of(&mut bob);
    let mut alice = world.line(0);
    let body = "x".repeat(BODY_BYTES);
    let mut sent = 0;
    while world.estate.counter(1, "slow_peers") == 0 {
        assert!(sent < 1_000, "{sent} messages fit into two socket buffers");
        let call_id = world.estate.call_id(sent % 2, sent.into());
        let message = request_with("MESSAGE", &call_id, "TCP", &body);
        alice.send_long(&mut world, message.as_bytes());
        let asked = world.question();
        world.forward(&asked, "sip:bob@192.0.2.1;transport=ws", Some(flow));
        sent += 1;
    }
    let mut told = Vec::new();
    let unsent = world.until(|world| {
        let unsent: u64 = (0..2)
            .map(|shard| world.estate.counter(shard, "branches_unsent"))
            .sum();
        (unsent >= u64::from(sent.min(64))).then_some(unsent)
    });
    for _ in 0..unsent {
        let answered = alice.message(&mut world);
        assert!(answered.starts_with("SIP/2.0 500 "), "{answered}");
        told.push(value(&answered, "Call-ID").to_owned());
    }
    assert!(told.contains(&world.estate.call_id((sent - 1) % 2, (sent - 1).into())));
    assert_eq!(world.connections(1), 0);
}
