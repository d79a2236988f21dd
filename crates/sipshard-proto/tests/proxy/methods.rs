//! RFC 3261 §16: a proxy forwards what it knows and what it does not know alike, outside dialogs and inside.

use crate::dialog::{self, RECORD_ROUTE};
use crate::draft::{answer, cancel, in_dialog, invite, request};
use crate::scene::{only, target, Scene, ALICE, BOB, TO_BOB};

const METHODS: [&str; 11] = [
    "INFO",
    "PUBLISH",
    "UPDATE",
    "PRACK",
    "SUBSCRIBE",
    "NOTIFY",
    "REFER",
    "MESSAGE",
    "OPTIONS",
    "BYE",
    "NEW-METHOD",
];

#[test]
fn section_16_3_every_method_passes_outside_a_dialog() {
    for method in METHODS {
        let mut scene = Scene::new();
        scene.receive(ALICE, &request(method).body(b"body"));
        let id = scene.question().id;
        let copy = only(scene.forward_as(id, vec![target(TO_BOB)], RECORD_ROUTE));
        assert_eq!(copy.line(), format!("{method} {TO_BOB} SIP/2.0"));
        assert_eq!(copy.values("CSeq"), [format!("1 {method}")]);
        assert_eq!(copy.values("Record-Route").len(), 1);
        assert_eq!(copy.message().body(), b"body");
        let sent = only(scene.receive(BOB, &answer(&copy, 202)));
        assert!(sent.is("SIP/2.0 202 "), "{method}");
        assert_eq!(sent.values("Record-Route"), copy.values("Record-Route"));
        scene.close();
    }
}

#[test]
fn section_16_4_every_method_passes_inside_a_dialog_without_the_policy() {
    for method in METHODS {
        let mut scene = Scene::new();
        let success = dialog::open(&mut scene);
        let copy = only(scene.receive(ALICE, &in_dialog(method, &success)));
        assert!(copy.is(&format!("{method} sip:bob@192.0.2.20:5060 SIP/2.0")));
        assert!(copy.values("Route").is_empty());
        let sent = only(scene.receive(BOB, &answer(&copy, 200)));
        assert!(sent.is("SIP/2.0 200 "), "{method}");
        assert!(scene.is_silent());
        scene.close();
    }
}

#[test]
fn section_16_4_a_dialog_of_a_subscription_is_followed_from_both_sides() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("SUBSCRIBE"));
    let id = scene.question().id;
    let copy = only(scene.forward_as(id, vec![target(TO_BOB)], RECORD_ROUTE));
    let success = only(scene.receive(BOB, &answer(&copy, 200)));
    let mut notify = request("NOTIFY")
        .at_uri("sip:alice@192.0.2.10:5062")
        .instead("Via", "SIP/2.0/UDP 192.0.2.20;branch=z9hG4bK-notify")
        .instead("From", &success.values("To")[0])
        .instead("To", &success.values("From")[0]);
    for route in success.values("Record-Route") {
        notify = notify.with("Route", &route);
    }
    let copy = only(scene.receive(BOB, &notify));
    assert!(copy.is("NOTIFY "));
    assert_eq!(copy.to, ALICE.parse().unwrap());
    scene.receive(ALICE, &answer(&copy, 200));
    scene.close();
}

#[test]
fn section_8_2_2_3_require_and_proxy_require_in_cancel_and_ack_are_ignored() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    let demanding = cancel().with("Require", "foo").with("Proxy-Require", "foo");
    let sent = scene.receive(ALICE, &demanding);
    assert!(sent[0].is("SIP/2.0 200 ") && sent[1].is("CANCEL "));
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let ack = in_dialog("ACK", &success)
        .instead("CSeq", "1 ACK")
        .branch("demanding");
    let ack = ack.with("Require", "foo").with("Proxy-Require", "foo");
    assert!(only(scene.receive(ALICE, &ack)).is("ACK "));
}

#[test]
fn section_9_2_a_cancel_is_matched_by_its_branch_whatever_its_route_says() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    let routed = cancel().with("Route", "<sip:elsewhere@192.0.2.99;lr>");
    let sent = scene.receive(ALICE, &routed);
    assert!(sent[0].is("SIP/2.0 200 "));
    assert_eq!(sent[1].to, BOB.parse().unwrap());
    assert!(sent[1].values("Route").is_empty());
}

#[test]
fn section_9_2_a_cancel_from_another_sent_by_cancels_nothing() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    let stranger = cancel().instead("Via", "SIP/2.0/UDP 192.0.2.99;branch=z9hG4bK-invite");
    assert!(only(scene.receive(ALICE, &stranger)).is("SIP/2.0 481 "));
}

#[test]
fn section_8_1_1_5_a_cancel_whose_cseq_names_another_method_gets_400() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    let odd = cancel().instead("CSeq", "1 INVITE");
    assert!(only(scene.receive(ALICE, &odd)).is("SIP/2.0 400 "));
}

#[test]
fn section_16_7_step_5_a_2xx_that_crosses_a_6xx_is_forwarded() {
    let mut scene = Scene::new();
    let copies = scene.ring(&[TO_BOB, crate::scene::TO_CAROL]);
    scene.receive(BOB, &answer(&copies[1], 180));
    let sent = scene.receive(BOB, &answer(&copies[0], 603));
    assert!(sent[1].is("CANCEL "), "and the 603 waits for Carol");
    let sent = only(scene.receive(BOB, &answer(&copies[1], 200)));
    assert!(sent.is("SIP/2.0 200 "));
    scene.close();
}

#[test]
fn section_16_7_step_5_a_2xx_after_a_6xx_went_upstream_is_forwarded_still() {
    let mut scene = Scene::new();
    let copies = scene.ring(&[TO_BOB, crate::scene::TO_CAROL]);
    scene.receive(BOB, &answer(&copies[1], 180));
    scene.receive(BOB, &answer(&copies[0], 603));
    let sent = scene.pass_ms(32_000);
    assert!(
        sent.iter().any(|sent| sent.is("SIP/2.0 603 ")),
        "Carol is given up"
    );
    scene.receive(ALICE, &crate::draft::ack_to_failure());
    let sent = only(scene.receive(BOB, &answer(&copies[1], 200)));
    assert!(sent.is("SIP/2.0 200 "), "a phone was picked up");
    scene.receive(ALICE, &invite());
    scene.close();
}
