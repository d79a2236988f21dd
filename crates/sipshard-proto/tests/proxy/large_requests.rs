//! Requests that are too large for a datagram (RFC 3261 §18.1.1).

use crate::draft::invite;
use crate::scene::{only, settings, Scene, ALICE, BOB};
use sipshard_proto::proxy::{Listener, Settings};
use sipshard_proto::{Count, Transport};

fn with_tcp() -> Scene {
    let mut settings: Settings = settings();
    settings.listeners.push(Listener {
        transport: Transport::Tcp,
        host: (*b"192.0.2.1").into(),
        port: 5060,
        is_v6: false,
    });
    Scene::with(settings)
}

/// An INVITE with this many bytes of body goes to `uri`; by what it leaves.
fn transport_of(scene: &mut Scene, body_bytes: usize, uri: &str) -> Transport {
    scene.receive(ALICE, &invite().body(&vec![b'x'; body_bytes]));
    let id = scene.question().id;
    let sent = scene.forward(id, &[uri]);
    let copy = sent.iter().find(|sent| sent.is("INVITE ")).unwrap();
    let named = copy.values("Via").remove(0);
    assert!(named.contains(copy.transport.token()), "{named}");
    copy.transport
}

#[test]
fn section_18_1_1_a_request_above_1300_bytes_goes_by_tcp_and_its_via_says_so() {
    assert_eq!(
        transport_of(&mut with_tcp(), 1_300, "sip:bob@192.0.2.20"),
        Transport::Tcp
    );
    assert_eq!(
        transport_of(&mut with_tcp(), 10, "sip:bob@192.0.2.20"),
        Transport::Udp
    );
}

#[test]
fn section_18_1_1_whoever_asks_for_udp_gets_it() {
    let uri = "sip:bob@192.0.2.20;transport=udp";
    assert_eq!(transport_of(&mut with_tcp(), 1_300, uri), Transport::Udp);
}

#[test]
fn section_18_1_1_without_tcp_a_large_request_goes_by_udp() {
    assert_eq!(
        transport_of(&mut Scene::new(), 1_300, "sip:bob@192.0.2.20"),
        Transport::Udp
    );
}

#[test]
fn section_18_1_1_where_tcp_fails_the_datagram_is_tried_and_tcp_is_left_alone_for_a_while() {
    let mut scene = with_tcp();
    scene.receive(ALICE, &invite().body(&[b'x'; 1_300]));
    let id = scene.question().id;
    let sent = scene.forward(id, &["sip:bob@192.0.2.20"]);
    let client = sent.iter().find_map(|sent| sent.client).unwrap();
    scene.proxy.handle_unsent(scene.now, client);
    let again = only(scene.take_sent());
    assert_eq!(
        (again.transport, again.to),
        (Transport::Udp, BOB.parse().unwrap())
    );
    assert_eq!(scene.count(Count::LargeRequests), 1);
    let second = invite().branch("second").instead("Call-ID", "second");
    scene.receive(ALICE, &second.body(&[b'x'; 1_300]));
    let id = scene.question().id;
    let sent = scene.forward(id, &["sip:bob@192.0.2.20"]);
    assert!(sent.iter().all(|sent| sent.transport == Transport::Udp));
}
