//! Connections of clients: requests and responses find them again (RFC 5626 §5.3, RFC 3261 §18.2.2, RFC 7118).

use crate::draft::{answer, in_dialog, invite, request, Draft};
use crate::scene::{only, settings, target, Scene, Sent, ALICE, BOB, TO_BOB};
use sipshard_proto::proxy::{Arrival, ForwardOptions, Listener};
use sipshard_proto::{Count, Flow, Handle, Transport};

/// The place of the TCP listener.
const TCP: u16 = 3;

fn scene() -> Scene {
    scene_of_generation(1)
}

fn scene_of_generation(generation: u8) -> Scene {
    let mut settings = settings();
    settings.generation = generation;
    settings.listeners.push(Listener {
        transport: Transport::Tcp,
        host: (*b"192.0.2.1").into(),
        port: 5060,
        is_v6: false,
    });
    Scene::with(settings)
}

fn flow(slot: u32) -> Flow {
    Flow {
        worker: 1,
        generation: 1,
        listener: TCP,
        transport: Transport::Ws,
        connection: Handle { slot, serial: 7 },
    }
}

fn through(slot: u32, from: &str) -> Arrival {
    Arrival {
        transport: Transport::Ws,
        flow: Some(flow(slot)),
        ..Arrival::udp(TCP, from.parse().unwrap())
    }
}

/// An address that nobody can look up: what a browser shows (RFC 7118 §5).
const NOWHERE: &str = "sip:bob@df7jal23ls0d.invalid;transport=ws";

/// A call from one WebSocket to another; the scene, the callee's copy and what the caller was answered.
fn call() -> (Scene, Sent, Sent) {
    let mut scene = scene();
    scene.receive_as(through(1, ALICE), &web(invite()).bytes());
    let id = scene.question().id;
    let mut bob = target(NOWHERE);
    bob.flow = Some(flow(2));
    let options = ForwardOptions {
        record_route: true,
        ..ForwardOptions::default()
    };
    let sent = scene.forward_as(id, vec![bob], options);
    let copy = only(sent.into_iter().filter(|sent| sent.is("INVITE ")).collect());
    let success = answer(&copy, 200).instead("Contact", &format!("<{NOWHERE}>"));
    let success = only(scene.receive_as(through(2, BOB), &success.bytes()));
    (scene, copy, success)
}

fn web(draft: Draft) -> Draft {
    let via = "SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bKws1";
    draft.instead("Via", via)
}

#[test]
fn rfc_5626_5_3_a_request_goes_through_the_connection_of_its_target() {
    let (_, copy, success) = call();
    assert_eq!((copy.transport, copy.flow), (Transport::Ws, Some(flow(2))));
    assert!(copy.values("Via")[0].starts_with("SIP/2.0/WS "));
    assert_eq!(
        success.flow,
        Some(flow(1)),
        "and its response through the caller's"
    );
}

#[test]
fn rfc_5626_5_3_each_side_has_a_record_route_that_leads_to_its_connection() {
    let (_, copy, _) = call();
    let routes = copy.values("Record-Route");
    assert_eq!(routes.len(), 2);
    assert!(routes.iter().all(|route| route.contains(";transport=ws;")));
    assert!(routes.iter().all(|route| route.contains(";flow=")));
    assert_ne!(routes[0], routes[1]);
}

#[test]
fn rfc_5626_5_3_requests_inside_the_dialog_go_through_the_connections_both_ways() {
    let (mut scene, copy, success) = call();
    let bye = web(in_dialog("BYE", &success))
        .at_uri(NOWHERE)
        .branch("bye");
    let sent = only(scene.receive_as(through(1, ALICE), &bye.bytes()));
    assert_eq!((sent.is("BYE "), sent.flow), (true, Some(flow(2))));

    let mut back = web(request("BYE"))
        .at_uri("sip:alice@other.invalid")
        .branch("back");
    back = back.instead("To", &format!("{};tag=x", copy.values("From")[0]));
    back = back.instead("Call-ID", &copy.values("Call-ID")[0]);
    for route in copy.values("Record-Route") {
        back = back.with("Route", &route);
    }
    let sent = only(scene.receive_as(through(2, BOB), &back.bytes()));
    assert_eq!((sent.is("BYE "), sent.flow), (true, Some(flow(1))));
}

#[test]
fn rfc_5626_5_2_nobody_can_send_through_the_connection_of_another() {
    let (mut scene, _, success) = call();
    let bye = web(in_dialog("BYE", &success))
        .at_uri(NOWHERE)
        .branch("bye");
    let text = String::from_utf8(bye.bytes()).unwrap();
    // Another connection's slot, with the token's proof as it was.
    let forged = text.replace("0000000200000007", "0000000900000007");
    assert_ne!(text, forged);
    let sent = scene.receive_as(through(1, ALICE), forged.as_bytes());
    assert!(sent.iter().all(|sent| sent.flow != Some(flow(9))));
}

#[test]
fn a_call_between_datagrams_names_no_connection() {
    let mut scene = scene();
    let options = ForwardOptions {
        record_route: true,
        ..ForwardOptions::default()
    };
    let copy = only(scene.ring_as(vec![target(TO_BOB)], options));
    assert!(!copy.text().contains("flow="));
}

#[test]
fn a_binding_that_names_a_listener_that_is_gone_has_no_connection() {
    let mut scene = scene();
    let mut bob = target(TO_BOB);
    bob.flow = Some(Flow {
        listener: 99,
        ..flow(2)
    });
    let copy = only(scene.ring_as(vec![bob], ForwardOptions::default()));
    assert_eq!((copy.transport, copy.flow), (Transport::Udp, None));
}

#[test]
fn a_successor_passes_responses_on_through_the_connection_that_our_via_names() {
    let (_, copy, _) = call();
    let mut successor = scene_of_generation(2);
    let late = answer(&copy, 180);
    let sent = only(successor.receive_as(through(2, BOB), &late.bytes()));
    assert_eq!(sent.flow, Some(flow(1)));
}

#[test]
fn section_18_2_2_who_repeats_a_request_through_another_connection_is_answered_there() {
    let mut scene = scene();
    let options = web(request("OPTIONS"));
    scene.receive_as(through(1, ALICE), &options.bytes());
    let id = scene.question().id;
    assert!(scene
        .receive_as(through(5, ALICE), &options.bytes())
        .is_empty());
    assert_eq!(scene.count(Count::RequestRetransmissions), 1);
    let sent = only(scene.respond(id, 200).unwrap());
    assert_eq!(sent.flow, Some(flow(5)));
}

#[test]
fn nobody_else_can_have_an_answer_sent_to_his_connection() {
    let mut scene = scene();
    let options = web(request("OPTIONS"));
    scene.receive_as(through(1, ALICE), &options.bytes());
    let id = scene.question().id;
    scene.receive_as(through(5, BOB), &options.bytes());
    let sent = only(scene.respond(id, 200).unwrap());
    assert_eq!(sent.flow, Some(flow(1)), "another host");

    let datagram = request("MESSAGE");
    scene.receive(ALICE, &datagram);
    let id = scene.question().id;
    scene.receive_as(through(5, ALICE), &datagram.bytes());
    let sent = only(scene.respond(id, 200).unwrap());
    assert_eq!((sent.transport, sent.flow), (Transport::Udp, None));
}
