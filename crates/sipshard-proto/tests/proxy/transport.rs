//! Where answers go (RFC 3261 §18.2, RFC 3581), and what no answer is sent to.

use crate::draft::{answer, invite, request};
use crate::scene::{only, Scene, ALICE, BOB, TO_BOB};
use sipshard_proto::Count;

/// What an OPTIONS with this Via gets: where the answer goes, and its topmost Via.
fn answered(from: &str, via: &str) -> (String, String) {
    let mut scene = Scene::new();
    let listener = u16::from(from.starts_with('['));
    let options = request("OPTIONS").instead("Via", via);
    scene.receive_by(listener, from, &options.bytes());
    let id = scene.question().id;
    let sent = only(scene.respond(id, 200).unwrap());
    assert_eq!(sent.listener, listener);
    (sent.to.to_string(), sent.values("Via").remove(0))
}

#[test]
fn section_18_2_2_without_received_the_answer_goes_to_the_sent_by() {
    let via = "SIP/2.0/UDP 192.0.2.10:5099;branch=z9hG4bKx";
    let (to, top) = answered("192.0.2.10:40000", via);
    assert_eq!(to, "192.0.2.10:5099");
    assert_eq!(top, via, "the Via is as it was");
    let (to, _) = answered("192.0.2.10:40000", "SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKx");
    assert_eq!(to, "192.0.2.10:5060");
}

#[test]
fn section_18_2_1_received_is_added_when_the_source_differs_and_decides() {
    for host in ["10.0.0.1:5099", "pbx.example.net:5099"] {
        let via = format!("SIP/2.0/UDP {host};branch=z9hG4bKx");
        let (to, top) = answered("192.0.2.10:40000", &via);
        assert_eq!(to, "192.0.2.10:5099");
        assert_eq!(top, format!("{via};received=192.0.2.10"));
    }
}

#[test]
fn section_18_2_1_what_the_sender_claims_in_received_is_dropped() {
    let (to, top) = answered(
        "192.0.2.10:5062",
        "SIP/2.0/UDP 10.0.0.1;received=198.51.100.1;branch=z9hG4bKx;maddr=198.51.100.2",
    );
    assert_eq!(to, "192.0.2.10:5060");
    assert_eq!(
        top,
        "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx;maddr=198.51.100.2;received=192.0.2.10"
    );
}

#[test]
fn rfc_3581_rport_gets_its_value_and_the_answer_goes_back_to_the_source() {
    for via in [
        "SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bKx",
        "SIP/2.0/UDP 192.0.2.10:5060 ; branch=z9hG4bKx ; rport",
        "SIP/2.0/UDP 10.0.0.1;RPORT=7;branch=z9hG4bKx",
    ] {
        let (to, top) = answered("192.0.2.10:40000", via);
        assert_eq!(to, "192.0.2.10:40000");
        assert!(
            top.ends_with(";branch=z9hG4bKx;received=192.0.2.10;rport=40000"),
            "{top}"
        );
    }
}

#[test]
fn rfc_5118_received_of_ipv6_has_no_brackets() {
    let (to, top) = answered(
        "[2001:db8::10]:40000",
        "SIP/2.0/UDP [2001:db8::99];branch=z9hG4bKx;rport",
    );
    assert_eq!(to, "[2001:db8::10]:40000");
    assert!(top.ends_with(";received=2001:db8::10;rport=40000"), "{top}");
    let via = "SIP/2.0/UDP [2001:DB8:0:0::10]:5062;branch=z9hG4bKx";
    let (to, top) = answered("[2001:db8::10]:40000", via);
    assert_eq!((to.as_str(), top.as_str()), ("[2001:db8::10]:5062", via));
}

#[test]
fn section_18_2_1_the_copy_carries_the_stamped_via() {
    let mut scene = Scene::new();
    let behind_nat = invite().instead("Via", "SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bKx");
    scene.receive(ALICE, &behind_nat);
    let id = scene.question().id;
    let copy = scene.forward(id, &[TO_BOB]).remove(1);
    assert_eq!(
        copy.values("Via")[1],
        "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx;received=192.0.2.10;rport=5062"
    );
    let ok = only(scene.receive(BOB, &answer(&copy, 200)));
    assert_eq!(ok.to, ALICE.parse().unwrap());
}

#[test]
fn section_18_2_an_answer_leaves_by_the_listener_that_the_request_came_by() {
    let mut scene = Scene::new();
    scene.receive_by(2, ALICE, &invite().bytes());
    let id = scene.question().id;
    let sent = scene.forward(id, &[TO_BOB]);
    assert_eq!((sent[0].listener, sent[1].listener), (2, 2));
    assert!(sent[1].values("Via")[0].starts_with("SIP/2.0/UDP 192.0.2.1:5080;"));
}

#[test]
fn rfc_2543_requests_without_a_cookie_are_told_apart_and_recognised() {
    let mut scene = Scene::new();
    let via = "SIP/2.0/UDP 192.0.2.10:5062";
    for branch in ["", ";branch=1", ";branch=z9hG4bK"] {
        let old = invite()
            .instead("Via", &format!("{via}{branch}"))
            .instead("Call-ID", &format!("old{branch}"));
        scene.receive(ALICE, &old);
        let id = scene.question().id;
        let copy = scene.forward(id, &[TO_BOB]).remove(1);
        let again = only(scene.receive(ALICE, &old));
        assert!(again.is("SIP/2.0 100 "), "a retransmission");
        let other = old.clone().instead("CSeq", "2 INVITE");
        assert!(scene.receive(ALICE, &other).is_empty(), "a new request");
        scene.question();
        let failure = scene.receive(BOB, &answer(&copy, 486)).remove(1);
        let mut ack = old.clone().instead("CSeq", "1 ACK");
        ack.line = "ACK sip:bob@example.com SIP/2.0".into();
        let ack = ack.instead("To", &failure.values("To")[0]);
        assert!(scene.receive(ALICE, &ack).is_empty());
        assert_eq!(scene.count(Count::StrayAcks), 0, "it belongs to the INVITE");
    }
    scene.close();
}

#[test]
fn section_17_2_3_another_sent_by_is_another_transaction() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("OPTIONS"));
    scene.question();
    let other =
        request("OPTIONS").instead("Via", "SIP/2.0/UDP 192.0.2.10:5063;branch=z9hG4bK-options");
    scene.receive(ALICE, &other);
    scene.question();
    scene.receive(ALICE, &request("OPTIONS"));
    assert!(scene.is_silent());
    assert_eq!(scene.count(Count::RequestRetransmissions), 1);
}

#[test]
fn a_malformed_request_is_answered_at_its_source_only() {
    let mut scene = Scene::new();
    let bad = request("OPTIONS").instead("CSeq", "one OPTIONS").instead(
        "Via",
        "SIP/2.0/UDP 198.51.100.9:7;branch=z9hG4bKx;maddr=198.51.100.8",
    );
    let sent = only(scene.receive(ALICE, &bad));
    assert!(sent.is("SIP/2.0 400 "));
    assert_eq!(sent.to, "192.0.2.10:7".parse().unwrap());
    assert_eq!(scene.count(Count::MalformedRequests), 1);
}

#[test]
fn malformed_responses_and_acks_are_dropped_and_counted() {
    let mut scene = Scene::new();
    let ack = request("ACK").instead("CSeq", "one ACK");
    assert!(scene.receive(ALICE, &ack).is_empty());
    assert!(scene
        .receive_by(0, ALICE, b"SIP/2.0 200 OK\r\n\r\n")
        .is_empty());
    assert!(scene
        .receive_by(0, ALICE, b"OPTIONS sip:a SIP/2.0\r\n\r\n")
        .is_empty());
    assert_eq!(scene.count(Count::MalformedRequests), 2);
    assert_eq!(scene.count(Count::MalformedResponses), 1);
}

#[test]
fn nothing_is_sent_to_broadcast_multicast_or_port_0() {
    for source in [
        "255.255.255.255:5060",
        "224.0.1.75:5060",
        "0.0.0.0:5060",
        "192.0.2.10:0",
    ] {
        let mut scene = Scene::new();
        let rport = "SIP/2.0/UDP 192.0.2.10;rport;branch=z9hG4bKx";
        let bad = request("OPTIONS").instead("Via", rport).without("To");
        assert!(scene.receive(source, &bad).is_empty(), "{source}");
        let demanding = request("OPTIONS")
            .instead("Via", rport)
            .with("Proxy-Require", "x");
        assert!(scene.receive(source, &demanding).is_empty(), "{source}");
        scene.receive(source, &request("OPTIONS").instead("Via", rport));
        assert!(scene.is_silent(), "{source}: nobody could be answered");
        scene.close();
    }
}

#[test]
fn section_17_2_3_branch_sent_by_and_method_decide_alone() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("OPTIONS"));
    scene.question();
    let same = request("OPTIONS").instead(
        "Via",
        "SIP/2.0/UDP 192.0.2.10:5062;rport;branch=z9HG4bk-Options",
    );
    assert!(scene.receive(ALICE, &same).is_empty());
    assert!(scene.is_silent());
    assert_eq!(scene.count(Count::RequestRetransmissions), 1);
    scene.receive(ALICE, &request("MESSAGE").branch("options"));
    scene.question();
}
