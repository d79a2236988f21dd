//! ACK: end to end after a 2xx (RFC 3261 §13.2.2.4, §16.11), hop by hop after a failure (§17.1.1.3).

use crate::dialog::{self, RECORD_ROUTE};
use crate::draft::{ack_to_failure, answer, in_dialog};
use crate::scene::{only, target, Scene, Sent, ALICE, BOB, TO_BOB};
use sipshard_proto::Count;

fn branch(sent: &Sent) -> Vec<u8> {
    sent.message().via().branch.unwrap().to_vec()
}

#[test]
fn section_13_2_2_4_the_ack_to_a_2xx_goes_to_the_contact_without_a_transaction() {
    let mut scene = Scene::new();
    let copy = only(scene.ring_as(vec![target(TO_BOB)], RECORD_ROUTE));
    let success = only(scene.receive(BOB, &answer(&copy, 200)));
    let before = scene.proxy.transaction_count();
    let ack = in_dialog("ACK", &success)
        .instead("CSeq", "1 ACK")
        .branch("ack");
    let sent = only(scene.receive(ALICE, &ack));
    assert_eq!(sent.line(), "ACK sip:bob@192.0.2.20:5060 SIP/2.0");
    assert_eq!(sent.to, BOB.parse().unwrap());
    assert!(sent.values("Route").is_empty());
    assert!(sent.values("Record-Route").is_empty());
    assert_eq!(sent.values("Max-Forwards"), ["69"]);
    assert_eq!(sent.values("Via").len(), 2);
    assert_eq!(scene.proxy.transaction_count(), before);
    assert!(scene.is_silent());
}

#[test]
fn rfc_6026_an_ack_with_the_invites_branch_goes_end_to_end_after_a_2xx() {
    let mut scene = Scene::new();
    let copy = only(scene.ring_as(vec![target(TO_BOB)], RECORD_ROUTE));
    let success = only(scene.receive(BOB, &answer(&copy, 200)));
    let ack = in_dialog("ACK", &success)
        .instead("CSeq", "1 ACK")
        .branch("invite");
    assert_eq!(only(scene.receive(ALICE, &ack)).to, BOB.parse().unwrap());
}

#[test]
fn section_16_11_an_ack_has_the_same_branch_each_time_and_another_ack_another_one() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let ack = |cseq: &str, branch: &str| {
        in_dialog("ACK", &success)
            .instead("CSeq", &format!("{cseq} ACK"))
            .branch(branch)
    };
    let first = branch(&only(scene.receive(ALICE, &ack("1", "a"))));
    let repeated = branch(&only(scene.receive(ALICE, &ack("1", "a"))));
    let of_reinvite = branch(&only(scene.receive(ALICE, &ack("2", "b"))));
    assert_eq!(first, repeated);
    assert_ne!(first, of_reinvite, "§8.1.1.7: unique for all requests");
}

#[test]
fn section_17_1_1_3_our_ack_to_a_failure_is_the_invites_sibling() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    let failure = answer(&copy, 486);
    let ack = scene.receive(BOB, &failure).remove(0);
    assert_eq!(ack.line(), "ACK sip:bob@192.0.2.20 SIP/2.0");
    assert_eq!(ack.to, BOB.parse().unwrap());
    assert_eq!(ack.values("Via"), [copy.values("Via").remove(0)]);
    assert_eq!(ack.values("To"), ["<sip:bob@example.com>;tag=bob"]);
    assert_eq!(ack.values("CSeq"), ["1 ACK"]);
    for name in ["From", "Call-ID"] {
        assert_eq!(ack.values(name), copy.values(name));
    }
    let again = only(scene.receive(BOB, &failure));
    assert_eq!(again.bytes, ack.bytes, "it is repeated with the failure");
}

#[test]
fn section_17_2_1_the_ack_to_a_failure_is_absorbed() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 486));
    for _ in 0..2 {
        assert!(scene.receive(ALICE, &ack_to_failure()).is_empty());
    }
    assert_eq!(scene.count(Count::StrayAcks), 0);
    scene.close();
}

#[test]
fn an_ack_without_a_route_of_ours_is_dropped_and_counted() {
    let mut scene = Scene::new();
    let forged = ack_to_failure().with("Route", "<sip:192.0.2.1:5060;lr;proof=00>");
    assert!(scene.receive(ALICE, &ack_to_failure()).is_empty());
    assert!(scene.receive(ALICE, &forged).is_empty());
    assert_eq!(scene.count(Count::StrayAcks), 2);
    assert!(scene.is_silent());
}

#[test]
fn section_16_3_step_3_an_ack_without_hops_left_is_dropped() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let ack = in_dialog("ACK", &success).instead("Max-Forwards", "0");
    assert!(scene.receive(ALICE, &ack).is_empty());
    assert_eq!(scene.count(Count::StrayAcks), 1);
}

#[test]
fn section_17_2_1_a_reinvite_gets_a_100_and_its_own_ack() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let reinvite = in_dialog("INVITE", &success).branch("re");
    let sent = scene.receive(ALICE, &reinvite);
    assert!(sent[0].is("SIP/2.0 100 ") && sent[1].is("INVITE "));
    assert!(sent[1].values("Record-Route").is_empty());
    assert!(scene.pass_ms(400).is_empty(), "no second 100");
    let ok = only(scene.receive(BOB, &answer(&sent[1], 200)));
    assert!(ok.is("SIP/2.0 200"));
    scene.close();
}

#[test]
fn a_bye_from_the_callee_follows_the_route_set_to_the_caller() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let route = success.values("Record-Route").remove(0);
    let bye = in_dialog("BYE", &success)
        .without("Route")
        .at_uri("sip:alice@192.0.2.10:5062")
        .instead("Via", "SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bK-bob-1")
        .instead("From", "<sip:bob@example.com>;tag=bob")
        .instead("To", "<sip:alice@example.com>;tag=alice")
        .with("Route", &route);
    let sent = only(scene.receive(BOB, &bye));
    assert_eq!(sent.to, ALICE.parse().unwrap());
    let ok = only(scene.receive(ALICE, &answer(&sent, 200)));
    assert_eq!(ok.to, BOB.parse().unwrap());
    scene.close();
}
