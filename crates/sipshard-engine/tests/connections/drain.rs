//! A worker that drains keeps its connections, and its successor answers through them.

use crate::common::turn;
use crate::support::{datagram, request, response, value, Datagrams, World};

/// A world whose first worker drains to a successor, which is the last engine.
fn draining(workers: u16) -> World {
    let mut world = World::new(workers);
    world.turn();
    let successor = world.estate.engine(0, 2);
    world.engines[0].drain_to_successor();
    world.engines.push(successor);
    world
}

#[test]
fn a_new_request_is_handed_over_and_answered_through_the_predecessors_connection() {
    let mut world = draining(1);
    let mut line = world.line(0);
    line.send(request("OPTIONS", "new"));
    let asked = world.question();
    assert_eq!(asked.0, 1, "the successor decides");
    assert_eq!(world.estate.counter(0, "handed_over"), 1);
    world.answer(&asked, 200);
    let response = line.message(&mut world);
    assert_eq!(value(&response, "Call-ID"), "new");
}

#[test]
fn a_successor_reaches_the_connections_of_all_workers() {
    for owner in 0..2 {
        let mut world = draining(2);
        let (mut bob, alice) = (world.line(owner), Datagrams::new());
        let flow = world.flow_of(&mut bob);
        let call_id = world.estate.call_id(0, 5);
        alice.send(&world, 0, &datagram("OPTIONS", &call_id));
        let asked = world.question();
        assert_eq!(asked.0, 2, "the successor decides");
        world.forward(&asked, "sip:bob@bob.invalid;transport=ws", Some(flow));
        let copy = bob.message(&mut world);
        bob.send(response(&copy, "200 OK"));
        let answered = alice.final_response(&mut world);
        assert!(answered.starts_with("SIP/2.0 200 "), "{answered}");
    }
}

#[test]
fn a_successor_is_told_what_could_not_be_sent() {
    for owner in 0..2 {
        let mut world = draining(2);
        let (mut bob, alice) = (world.line(owner), Datagrams::new());
        let flow = world.flow_of(&mut bob);
        drop(bob);
        world.until_counted(owner, "connections_closed_by_peer", 1);
        let call_id = world.estate.call_id(0, 5);
        alice.send(&world, 0, &datagram("OPTIONS", &call_id));
        let asked = world.question();
        assert_eq!(asked.0, 2, "the successor decides");
        world.forward(&asked, "sip:bob@bob.invalid;transport=ws", Some(flow));
        let answered = alice.final_response(&mut world);
        assert!(answered.starts_with("SIP/2.0 500 "), "{answered}");
    }
}

#[test]
fn who_takes_over_accepts_what_waits_and_has_none_of_the_old_connections() {
    let mut world = draining(1);
    let mut old = world.line(0);
    let flow = world.flow_of(&mut old);
    world.engines[0].close();
    assert!(old.has_ended());
    drop(world.engines.remove(0));
    let mut waiting = world.line(0);
    waiting.send(request("OPTIONS", "waiting"));
    assert_eq!(turn(&mut world.engines[0]), []);
    world.engines[0].take_over().unwrap();
    let asked = world.question();
    let fresh = asked.1.arrival.flow.unwrap();
    assert_eq!((fresh.worker, fresh.generation), (0, 2));
    assert_ne!(fresh, flow);
    world.answer(&asked, 200);
    assert!(waiting.message(&mut world).starts_with("SIP/2.0 200 "));
}
