//! Responses without a transaction of ours, and what a worker knows while it drains.

use crate::draft::{ack_to_failure, answer, cancel, invite, request, Draft};
use crate::scene::{only, settings, Scene, Sent, ALICE, BOB, TO_BOB};
use sipshard_proto::proxy::Settings;
use sipshard_proto::{Count, Message};

/// The same installation, one life later.
fn successor() -> Scene {
    Scene::with(Settings {
        generation: 2,
        ..settings()
    })
}

fn forwarded(method: &str) -> (Scene, Sent) {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request(method));
    let id = scene.question().id;
    let copy = scene.forward(id, &[TO_BOB]).pop().unwrap();
    (scene, copy)
}

#[test]
fn a_successor_passes_on_what_its_predecessors_calls_are_answered() {
    let (_, copy) = forwarded("INVITE");
    let mut scene = successor();
    for status in [180, 200, 486] {
        let sent = only(scene.receive(BOB, &answer(&copy, status)));
        assert!(sent.is(&format!("SIP/2.0 {status} ")));
        assert_eq!(sent.to, ALICE.parse().unwrap());
        assert_eq!(sent.values("Via").len(), 1);
    }
    assert_eq!(scene.count(Count::StatelessResponses), 3);
}

#[test]
fn a_successor_keeps_100s_and_answers_to_cancels_to_itself() {
    let (_, copy) = forwarded("INVITE");
    let mut scene = successor();
    assert!(scene.receive(BOB, &answer(&copy, 100)).is_empty());
    let of_cancel = answer(&copy, 200).instead("CSeq", "1 CANCEL");
    assert!(scene.receive(BOB, &of_cancel).is_empty());
}

#[test]
fn section_18_2_2_a_response_goes_on_by_received_and_rport_of_the_next_via() {
    let (_, copy) = forwarded("INVITE");
    let own = copy.values("Via").remove(0);
    for (next, to) in [
        (
            "10.0.0.1;received=192.0.2.10;rport=4000",
            Some("192.0.2.10:4000"),
        ),
        ("10.0.0.1:5099;received=192.0.2.10", Some("192.0.2.10:5099")),
        ("192.0.2.10", Some("192.0.2.10:5060")),
        ("[2001:db8::10]:5099", Some("[2001:db8::10]:5099")),
        ("pbx.example.net", None),
        ("255.255.255.255", None),
        ("10.0.0.1;received=224.0.0.1", None),
        ("192.0.2.10:0", None),
    ] {
        let mut scene = successor();
        let ok = answer(&copy, 200)
            .without("Via")
            .with("Via", &own)
            .with("Via", &format!("SIP/2.0/UDP {next}"));
        let sent = scene.receive(BOB, &ok);
        let destination = sent.first().map(|sent| sent.to.to_string());
        assert_eq!(destination.as_deref(), to, "{next}");
    }
}

#[test]
fn rfc_6026_what_is_late_is_dropped_except_for_a_2xx_to_an_invite() {
    let (mut scene, copy) = forwarded("INVITE");
    scene.pass_ms(120_000);
    assert_eq!(scene.proxy.transaction_count(), 0);
    for status in [100, 180, 486, 603] {
        assert!(scene.receive(BOB, &answer(&copy, status)).is_empty());
    }
    let sent = only(scene.receive(BOB, &answer(&copy, 200)));
    assert_eq!(sent.to, ALICE.parse().unwrap());
    assert_eq!(scene.count(Count::StrayResponses), 4);
    assert_eq!(scene.count(Count::StatelessResponses), 1);
}

#[test]
fn rfc_4320_a_late_response_to_a_non_invite_is_dropped() {
    let (mut scene, copy) = forwarded("MESSAGE");
    scene.pass_ms(120_000);
    assert!(scene.receive(BOB, &answer(&copy, 200)).is_empty());
    assert_eq!(scene.count(Count::StrayResponses), 1);
}

#[test]
fn section_18_1_2_a_response_to_nothing_that_we_sent_is_dropped() {
    let (mut scene, copy) = forwarded("INVITE");
    let via = copy.values("Via").remove(0);
    let forged = |via: &str| answer(&copy, 200).instead("Via", via);
    let flipped = match via.strip_suffix('0') {
        Some(rest) => format!("{rest}1"),
        None => format!("{}0", &via[..via.len() - 1]),
    };
    let cases: [Draft; 4] = [
        forged(&flipped),
        forged("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-guess"),
        forged("SIP/2.0/UDP 192.0.2.1:5060"),
        answer(&copy, 200).instead("Call-ID", "another-call"),
    ];
    for case in &cases {
        assert!(scene.receive(BOB, case).is_empty());
    }
    assert_eq!(scene.count(Count::StrayResponses), 4);
    assert_eq!(scene.receive(BOB, &answer(&copy, 200)).len(), 1);
}

#[test]
fn a_draining_worker_knows_what_belongs_to_its_transactions() {
    let knows = |scene: &Scene, bytes: &[u8]| scene.proxy.knows(&Message::parse(bytes).unwrap());
    let (scene, copy) = forwarded("INVITE");
    for known in [
        request("INVITE").bytes(),
        cancel().bytes(),
        ack_to_failure().bytes(),
        answer(&copy, 180).bytes(),
    ] {
        assert!(knows(&scene, &known));
    }
    for unknown in [
        invite().branch("another").bytes(),
        cancel().branch("another").bytes(),
        ack_to_failure().branch("another").bytes(),
        request("BYE").bytes(),
        answer(&copy, 180).instead("Call-ID", "other").bytes(),
    ] {
        assert!(!knows(&scene, &unknown));
        assert!(!knows(&successor(), &unknown));
    }
    assert!(!knows(&successor(), &answer(&copy, 180).bytes()));
}

#[test]
fn a_handle_of_the_predecessor_is_none_of_the_successors() {
    let (_, old) = forwarded("INVITE");
    let mut scene = successor();
    scene.receive(ALICE, &invite().branch("new"));
    let id = scene.question().id;
    let new = scene.forward(id, &[TO_BOB]).pop().unwrap();
    let late = answer(&old, 486);
    let message = late.bytes();
    assert!(!scene.proxy.knows(&Message::parse(&message).unwrap()));
    assert!(only(scene.receive(BOB, &late)).is("SIP/2.0 486 "));
    assert_eq!(scene.proxy.unfinished_count(), 1, "its own call rings on");
    assert!(only(scene.receive(BOB, &answer(&new, 200))).is("SIP/2.0 200"));
}
