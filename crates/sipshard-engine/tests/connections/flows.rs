//! Messages that are to leave through a certain connection, here or at another worker (RFC 5626 §5.3).

use crate::common::{TCP, TLS};
use crate::support::{datagram, request, response, value, Datagrams, World, BEHIND_NAT};
use crate::timeouts::certificates;
use sipshard_proto::{Flow, Handle, Transport};
use std::net::TcpListener;

/// Where nobody can be reached but through a flow.
const BOB_BEHIND_NAT: &str = "sip:bob@10.255.255.1:5060;transport=tcp";

/// What became of a request that went through a flow: what its caller was told.
fn told(world: &mut World, uri: &str, flow: Flow) -> String {
    let alice = Datagrams::new();
    let call_id = world.estate.call_id(0, 7);
    alice.send(world, 0, &datagram("OPTIONS", &call_id));
    let asked = world.question();
    assert_eq!(asked.0, 0);
    world.forward(&asked, uri, Some(flow));
    alice.final_response(world)
}

#[test]
fn a_phone_behind_nat_is_reached_through_its_flow_wherever_that_is() {
    for owner in 0..2 {
        let mut world = World::new(2);
        let (mut bob, alice) = (world.line(owner), Datagrams::new());
        let flow = world.flow_of(&mut bob);
        assert_eq!((flow.worker, flow.generation), (owner, 1));
        let call_id = world.estate.call_id(0, 7);
        alice.send(&world, 0, &datagram("OPTIONS", &call_id));
        let asked = world.question();
        world.forward(&asked, BOB_BEHIND_NAT, Some(flow));
        let copy = bob.message(&mut world);
        assert!(copy.starts_with(&format!("OPTIONS {BOB_BEHIND_NAT} SIP/2.0\r\n")));
        assert!(value(&copy, "Via").starts_with("SIP/2.0/TCP "), "{copy}");
        bob.send(response(&copy, "200 OK"));
        let answered = alice.final_response(&mut world);
        assert!(answered.starts_with("SIP/2.0 200 "), "{answered}");
        assert_eq!(world.estate.counter(owner, "connections_opened"), 0);
    }
}

#[test]
fn rfc_5626_5_3_a_dead_flow_without_another_way_fails_the_branch_at_once() {
    for owner in 0..2 {
        let mut world = World::new(2);
        let mut bob = world.line(owner);
        let flow = world.flow_of(&mut bob);
        drop(bob);
        world.until_counted(owner, "connections_closed_by_peer", 1);
        // §16.7 step 6 of RFC 3261: a 503 from a branch goes upstream as 500.
        let answered = told(&mut world, "sip:bob@gone.invalid;transport=ws", flow);
        assert!(answered.starts_with("SIP/2.0 500 "), "{answered}");
        assert_eq!(world.estate.counter(0, "branches_unsent"), 1);
        assert_eq!(world.estate.counter(owner, "flows_lost"), 1);
        assert_eq!(world.estate.counter(owner, "connect_failures"), 0);
    }
}

#[test]
fn a_dead_flow_is_replaced_where_its_contact_can_be_connected_to() {
    for owner in 0..2 {
        let mut world = World::new(2);
        let mut line = world.line(owner);
        let flow = world.flow_of(&mut line);
        drop(line);
        world.until_counted(owner, "connections_closed_by_peer", 1);
        let bob = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("sip:bob@{};transport=tcp", bob.local_addr().unwrap());
        let alice = Datagrams::new();
        let call_id = world.estate.call_id(0, 7);
        alice.send(&world, 0, &datagram("OPTIONS", &call_id));
        let asked = world.question();
        world.forward(&asked, &uri, Some(flow));
        let mut bob = world.accepted(&bob);
        let copy = bob.message(&mut world);
        bob.send(response(&copy, "200 OK"));
        assert!(alice.final_response(&mut world).starts_with("SIP/2.0 200 "));
        assert_eq!(world.estate.counter(owner, "connections_opened"), 1);
    }
}

#[test]
fn the_flow_of_another_generation_or_of_a_worker_that_is_not_there_is_dead() {
    for owner in 0..2 {
        let mut world = World::new(2);
        let mut bob = world.line(owner);
        let flow = world.flow_of(&mut bob);
        let stale = Flow {
            generation: flow.generation + 1,
            ..flow
        };
        let answered = told(&mut world, BOB_BEHIND_NAT_WS, stale);
        assert!(answered.starts_with("SIP/2.0 500 "), "{answered}");
        assert_eq!(bob.received(), b"", "the connection is another phone's");
    }
}

#[test]
fn a_dead_tls_flow_is_replaced_by_a_connection_to_whoever_proves_the_name() {
    for owner in 0..2 {
        let mut world = World::with(2, |streams| streams.tls = Some(certificates()));
        let bob = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("sip:bob@{};transport=tls", bob.local_addr().unwrap());
        let dead = Flow {
            worker: owner,
            generation: 1,
            listener: TLS,
            transport: Transport::Tls,
            connection: Handle { slot: 9, serial: 9 },
        };
        let alice = Datagrams::new();
        let call_id = world.estate.call_id(0, 7);
        alice.send(&world, 0, &datagram("OPTIONS", &call_id));
        let asked = world.question();
        world.forward(&asked, &uri, Some(dead));
        let mut bob = world.accepted(&bob);
        // RFC 8446 §5.1: a handshake's record.
        assert_eq!(bob.bytes(&mut world, 2), [22, 3]);
        assert_eq!(world.estate.counter(owner, "connections_opened"), 1);
        drop(bob);
        let answered = alice.final_response(&mut world);
        assert!(answered.starts_with("SIP/2.0 500 "), "{answered}");
    }
}

/// The contact of a WebSocket client, to which no connection can be opened (RFC 7118 §5).
const BOB_BEHIND_NAT_WS: &str = "sip:bob@df7jal23ls0d.invalid;transport=ws";

#[test]
fn the_flow_of_a_worker_that_there_is_no_more_is_replaced_like_a_dead_one() {
    let mut world = World::new(1);
    let bob = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("sip:bob@{};transport=tcp", bob.local_addr().unwrap());
    let flow = Flow {
        worker: 3,
        generation: 1,
        listener: TCP,
        transport: Transport::Tcp,
        connection: Handle { slot: 0, serial: 0 },
    };
    let alice = Datagrams::new();
    alice.send(&world, 0, &datagram("OPTIONS", "one"));
    let asked = world.question();
    world.forward(&asked, &uri, Some(flow));
    let mut bob = world.accepted(&bob);
    assert!(bob.message(&mut world).starts_with("OPTIONS "));
    assert_eq!(world.estate.counter(0, "mailbox_full"), 0);

    alice.send(&world, 0, &datagram("OPTIONS", "two"));
    let asked = world.question();
    world.forward(&asked, BOB_BEHIND_NAT_WS, Some(flow));
    assert!(alice.final_response(&mut world).starts_with("SIP/2.0 500 "));
    assert_eq!(world.estate.counter(0, "flows_lost"), 1);
}

#[test]
fn rfc_3261_18_1_1_a_connection_that_is_there_is_used_again() {
    let mut world = World::new(1);
    let bob = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("sip:bob@{};transport=tcp", bob.local_addr().unwrap());
    let alice = Datagrams::new();
    let mut line = None;
    for number in 0..3 {
        alice.send(&world, 0, &datagram("OPTIONS", &format!("again-{number}")));
        let asked = world.question();
        world.forward(&asked, &uri, None);
        let line = line.get_or_insert_with(|| world.accepted(&bob));
        let copy = line.message(&mut world);
        line.send(response(&copy, "200 OK"));
        assert!(alice.final_response(&mut world).starts_with("SIP/2.0 200 "));
    }
    assert_eq!(world.estate.counter(0, "connections_opened"), 1);
}

#[test]
fn rfc_3261_18_2_2_a_response_whose_connection_is_gone_takes_a_new_one_to_the_sent_by() {
    let mut world = World::new(1);
    let alice = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = alice.local_addr().unwrap().to_string();
    let mut line = world.line(0);
    line.send(request("OPTIONS", "gone").replace(BEHIND_NAT, &own));
    let asked = world.question();
    drop(line);
    world.until_counted(0, "connections_closed_by_peer", 1);
    world.answer(&asked, 200);
    let mut line = world.accepted(&alice);
    assert!(line.message(&mut world).starts_with("SIP/2.0 200 "));
}
