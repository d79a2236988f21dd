//! RFC 3261 §16.10 and §9, CANCEL.

use crate::draft::{ack_to_failure, answer, cancel, invite, request};
use crate::scene::{lines, only, Scene, ALICE, BOB, CAROL, TO_BOB, TO_CAROL};

#[test]
fn section_16_10_while_ringing_every_branch_is_cancelled() {
    let mut scene = Scene::new();
    let copies = scene.ring(&[TO_BOB, TO_CAROL]);
    scene.receive(BOB, &answer(&copies[0], 180));
    scene.receive(CAROL, &answer(&copies[1], 180));
    let sent = scene.receive(ALICE, &cancel());
    assert_eq!(
        lines(&sent),
        [
            "SIP/2.0 200 OK -> 192.0.2.10:5062",
            "CANCEL sip:bob@192.0.2.20 SIP/2.0 -> 192.0.2.20:5060",
            "CANCEL sip:carol@192.0.2.30 SIP/2.0 -> 192.0.2.30:5060"
        ]
    );
    assert!(scene.receive(BOB, &answer(&sent[1], 200)).is_empty());
    assert!(only(scene.receive(BOB, &answer(&copies[0], 487))).is("ACK "));
    let last = scene.receive(CAROL, &answer(&copies[1], 487));
    assert!(last[1].is("SIP/2.0 487 "));
    scene.receive(ALICE, &ack_to_failure());
    scene.close();
}

#[test]
fn section_9_1_a_cancel_is_the_invites_sibling() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    let sent = scene.receive(ALICE, &cancel()).remove(1);
    assert_eq!(sent.values("Via"), [copy.values("Via").remove(0)]);
    for name in ["From", "To", "Call-ID"] {
        assert_eq!(sent.values(name), copy.values(name), "{name}");
    }
    assert_eq!(sent.values("CSeq"), ["1 CANCEL"]);
    assert_eq!(sent.values("Max-Forwards"), ["70"]);
    assert!(sent.values("Require").is_empty());
}

#[test]
fn section_9_1_a_cancel_is_repeated_until_its_answer_and_then_not() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    let sent = scene.receive(ALICE, &cancel()).remove(1);
    assert_eq!(scene.pass_ms(1_500).len(), 2, "at 500 and 1500 ms");
    scene.receive(BOB, &answer(&sent, 200));
    assert!(scene.pass_ms(10_000).is_empty());
    scene.close();
}

#[test]
fn section_9_1_before_a_provisional_response_the_cancel_waits() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    assert!(only(scene.receive(ALICE, &cancel())).is("SIP/2.0 200 OK"));
    let sent = only(scene.receive(BOB, &answer(&copy, 100)));
    assert!(sent.is("CANCEL "));
    // Ringing after that is no reason for a second one.
    let sent = scene.receive(BOB, &answer(&copy, 180));
    assert!(sent.iter().all(|sent| !sent.is("CANCEL ")));
    let sent = scene.receive(BOB, &answer(&copy, 487));
    assert!(sent[1].is("SIP/2.0 487 "));
    scene.close();
}

#[test]
fn section_9_1_a_branch_that_never_answers_the_cancelled_invite_ends_as_487() {
    for ringing in [false, true] {
        let mut scene = Scene::new();
        let copy = only(scene.ring(&[TO_BOB]));
        if ringing {
            scene.receive(BOB, &answer(&copy, 180));
        }
        scene.receive(ALICE, &cancel());
        let sent = scene.pass_ms(32_000);
        let last = sent.last().unwrap();
        assert!(last.is("SIP/2.0 487 "), "{}", last.line());
        scene.receive(ALICE, &ack_to_failure());
        scene.close();
    }
}

#[test]
fn section_9_1_a_branch_that_rings_on_after_the_cancel_ends_too() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    scene.receive(ALICE, &cancel());
    scene.pass_ms(1_000);
    scene.receive(BOB, &answer(&copy, 183));
    let sent = scene.pass_ms(31_000);
    assert!(sent.last().unwrap().is("SIP/2.0 487 "));
    scene.close();
}

#[test]
fn section_9_2_before_the_decision_the_invite_gets_487_and_the_policy_is_told() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &invite());
    let id = scene.question().id;
    let sent = scene.receive(ALICE, &cancel());
    assert!(sent[0].is("SIP/2.0 200 ") && sent[1].is("SIP/2.0 487 "));
    assert_eq!(
        sent[0].values("To"),
        sent[1].values("To"),
        "§9.2: the same tag in both"
    );
    assert_eq!(scene.cancelled().id, id);
    assert_eq!(scene.respond(id, 200).map(|sent| lines(&sent)), None);
    scene.receive(ALICE, &ack_to_failure());
    scene.close();
}

#[test]
fn section_9_2_after_the_answer_a_cancel_has_no_effect() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 200));
    assert!(only(scene.receive(ALICE, &cancel())).is("SIP/2.0 200 OK"));
    assert!(scene.pass_ms(20_000).is_empty());
    scene.close();
}

#[test]
fn section_16_10_an_unknown_cancel_gets_481() {
    let mut scene = Scene::new();
    assert!(only(scene.receive(ALICE, &cancel())).is("SIP/2.0 481 "));
    assert_eq!(scene.proxy.transaction_count(), 0);
}

#[test]
fn section_9_2_a_cancel_of_another_request_than_invite_gets_481() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE").branch("message"));
    scene.question();
    let sent = only(scene.receive(ALICE, &cancel().branch("message")));
    assert!(sent.is("SIP/2.0 481 "));
}

#[test]
fn section_9_2_a_repeated_cancel_gets_the_same_answer_and_cancels_nothing_twice() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    let first = scene.receive(ALICE, &cancel());
    assert_eq!(first.len(), 2);
    let second = only(scene.receive(ALICE, &cancel()));
    assert_eq!(second.bytes, first[0].bytes);
    scene.close();
}

#[test]
fn section_16_10_a_2xx_that_crosses_the_cancel_is_forwarded() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    scene.receive(ALICE, &cancel());
    let sent = only(scene.receive(BOB, &answer(&copy, 200)));
    assert!(sent.is("SIP/2.0 200"));
    scene.close();
}

#[test]
fn section_16_10_a_cancel_ends_the_search() {
    let mut scene = Scene::new();
    let mut later = crate::scene::target(TO_CAROL);
    later.q_milli = 100;
    let targets = vec![crate::scene::target(TO_BOB), later];
    let copy = only(scene.ring_as(targets, Default::default()));
    scene.receive(BOB, &answer(&copy, 180));
    scene.receive(ALICE, &cancel());
    let sent = scene.receive(BOB, &answer(&copy, 487));
    assert!(sent[1].is("SIP/2.0 487 "));
    assert_eq!(sent.len(), 2, "Carol is not called");
}

#[test]
fn section_9_1_a_loser_that_rings_after_the_winners_2xx_is_cancelled_then() {
    let mut scene = Scene::new();
    let copies = scene.ring(&[TO_BOB, TO_CAROL]);
    assert!(only(scene.receive(BOB, &answer(&copies[0], 200))).is("SIP/2.0 200"));
    scene.pass_ms(31_000);
    let sent = only(scene.receive(CAROL, &answer(&copies[1], 180)));
    assert!(sent.is("CANCEL "), "and Alice hears no ringing");
    // The answered INVITE's own transaction is gone by then.
    scene.pass_ms(5_000);
    scene.receive(CAROL, &answer(&copies[1], 183));
    let sent = only(scene.receive(CAROL, &answer(&copies[1], 487)));
    assert!(sent.is("ACK "));
    scene.close();
}

#[test]
fn section_9_1_a_loser_that_rings_for_ever_is_given_up() {
    let mut scene = Scene::new();
    let copies = scene.ring(&[TO_BOB, TO_CAROL]);
    scene.receive(BOB, &answer(&copies[0], 200));
    scene.pass_ms(31_000);
    for _ in 0..10 {
        scene.receive(CAROL, &answer(&copies[1], 180));
        scene.pass_ms(10_000);
    }
    scene.close();
}

#[test]
fn section_9_1_a_branch_is_cancelled_once_whoever_wants_it() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    let sent = only(scene.pass_ms(180_000));
    assert!(sent.is("CANCEL "), "Timer C");
    scene.receive(BOB, &answer(&sent, 200));
    assert!(only(scene.receive(ALICE, &cancel())).is("SIP/2.0 200 OK"));
    scene.close();
}

#[test]
fn section_9_1_other_requests_than_invite_are_not_cancelled() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let copies = scene.forward(id, &[TO_BOB, TO_CAROL]);
    scene.receive(CAROL, &answer(&copies[1], 100));
    assert!(scene.receive(BOB, &answer(&copies[0], 603)).is_empty());
    let sent = only(scene.receive(CAROL, &answer(&copies[1], 404)));
    assert!(sent.is("SIP/2.0 603 "));
    scene.close();
}

#[test]
fn section_9_1_cancel_and_ack_carry_the_route_set_of_their_invite() {
    let mut scene = Scene::new();
    let routes = vec![(*b"<sip:edge@192.0.2.30;lr>").into()];
    let behind_path = sipshard_proto::proxy::Target {
        routes,
        ..crate::scene::target(TO_BOB)
    };
    let copy = only(scene.ring_as(vec![behind_path], Default::default()));
    scene.receive(CAROL, &answer(&copy, 180));
    let cancel = scene.receive(ALICE, &cancel()).remove(1);
    let ack = scene.receive(CAROL, &answer(&copy, 487)).remove(0);
    for sibling in [cancel, ack] {
        assert_eq!(sibling.values("Route"), ["<sip:edge@192.0.2.30;lr>"]);
        assert_eq!(sibling.to, CAROL.parse().unwrap());
    }
}
