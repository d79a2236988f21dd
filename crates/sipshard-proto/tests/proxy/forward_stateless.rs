//! RFC 3261 §16.11 and §16.10, requests that a policy forwards without state.

use crate::draft::{ack_to_failure, answer, cancel, invite, request, Draft};
use crate::scene::{lines, only, settings, target, Scene, Sent, ALICE, BOB, TO_BOB};
use sipshard_proto::proxy::{DecisionError, Settings};
use sipshard_proto::Count;

/// A worker whose policy wants to see CANCEL and ACK as well.
fn scene(generation: u8) -> Scene {
    Scene::with(Settings {
        asks_about_strays: true,
        generation,
        ..settings()
    })
}

fn forwarded(scene: &mut Scene, draft: &Draft) -> Sent {
    assert!(scene.receive(ALICE, draft).is_empty());
    let id = scene.question().id;
    let done = scene.proxy.forward_stateless(scene.now, id, target(TO_BOB));
    assert_eq!(done, Ok(true));
    let sent = only(scene.take_sent());
    assert_eq!(scene.proxy.transaction_count(), 0);
    assert_eq!(scene.proxy.unfinished_count(), 0);
    sent
}

fn branch(sent: &Sent) -> Vec<u8> {
    sent.message().via().branch.unwrap().to_vec()
}

#[test]
fn section_16_11_a_request_leaves_without_a_transaction() {
    for draft in [invite(), request("MESSAGE"), request("SUBSCRIBE")] {
        let mut scene = scene(1);
        let copy = forwarded(&mut scene, &draft);
        assert_eq!(copy.to, BOB.parse().unwrap());
        assert_eq!(copy.values("Max-Forwards"), ["69"]);
        assert!(scene.pass_ms(60_000).is_empty(), "it repeats nothing");
        assert_eq!(scene.count(Count::StatelessRequests), 1);
    }
}

#[test]
fn section_16_11_a_retransmission_has_the_same_branch_even_after_a_worker_was_replaced() {
    let mut first = scene(1);
    let copy = forwarded(&mut first, &invite());
    assert_eq!(forwarded(&mut first, &invite()).bytes, copy.bytes);
    assert_eq!(forwarded(&mut scene(2), &invite()).bytes, copy.bytes);
    let other = forwarded(&mut first, &invite().branch("other"));
    assert_ne!(branch(&other), branch(&copy));
}

#[test]
fn section_16_11_responses_go_on_by_the_next_via() {
    let mut scene = scene(1);
    let copy = forwarded(&mut scene, &invite());
    for status in [100, 180, 200, 486, 603] {
        let sent = only(scene.receive(BOB, &answer(&copy, status)));
        assert!(sent.is(&format!("SIP/2.0 {status} ")));
        assert_eq!(sent.to, ALICE.parse().unwrap());
        assert_eq!(sent.values("Via").len(), 1);
    }
    let flipped = String::from_utf8(branch(&copy))
        .unwrap()
        .replace("z9hG4bK00", "z9hG4bK01");
    let via = format!("SIP/2.0/UDP 192.0.2.1:5060;branch={flipped}");
    let forged = answer(&copy, 200).instead("Via", &via);
    assert!(
        scene.receive(BOB, &forged).is_empty(),
        "only our own branch"
    );
}

#[test]
fn section_16_10_a_cancel_follows_its_invite_with_the_same_branch() {
    let mut scene = scene(1);
    let copy = forwarded(&mut scene, &invite());
    let cancel = forwarded(&mut scene, &cancel());
    assert!(cancel.is("CANCEL "));
    assert_eq!(branch(&cancel), branch(&copy));
    let sent = only(scene.receive(BOB, &answer(&cancel, 200)));
    assert_eq!(sent.to, ALICE.parse().unwrap());
}

#[test]
fn section_16_11_the_ack_to_a_failure_follows_its_invite_with_the_same_branch() {
    let mut scene = scene(1);
    let copy = forwarded(&mut scene, &invite());
    let ack = forwarded(&mut scene, &ack_to_failure());
    assert!(ack.is("ACK "));
    assert_eq!(branch(&ack), branch(&copy));
}

#[test]
fn section_16_10_a_cancel_that_the_policy_does_not_forward_gets_481() {
    let mut scene = scene(1);
    scene.receive(ALICE, &cancel());
    let id = scene.question().id;
    let sent = scene.forward(id, &[TO_BOB]);
    assert!(only(sent).is("SIP/2.0 481 "), "not with state");
    scene.close();
}

#[test]
fn section_17_1_1_3_an_ack_that_the_policy_does_not_forward_is_not_answered() {
    let mut scene = scene(1);
    scene.receive(ALICE, &ack_to_failure());
    let id = scene.question().id;
    assert!(scene.respond(id, 404).unwrap().is_empty());
    scene.receive(ALICE, &ack_to_failure());
    let id = scene.question().id;
    assert!(scene.forward(id, &[TO_BOB]).is_empty());
    scene.receive(ALICE, &ack_to_failure());
    scene.question();
    assert!(scene.pass_ms(60_000).is_empty(), "nobody has decided");
    scene.cancelled();
    scene.close();
}

#[test]
fn section_16_10_a_policy_that_does_not_ask_is_not_asked() {
    let mut scene = Scene::new();
    assert!(only(scene.receive(ALICE, &cancel())).is("SIP/2.0 481 "));
    assert!(scene.receive(ALICE, &ack_to_failure()).is_empty());
    assert!(scene.is_silent());
}

#[test]
fn section_16_10_the_cancel_of_a_stateful_invite_is_ours_all_the_same() {
    let mut scene = scene(1);
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    let sent = scene.receive(ALICE, &cancel());
    assert!(sent[0].is("SIP/2.0 200 ") && sent[1].is("CANCEL "));
    assert!(scene.is_silent());
}

#[test]
fn section_16_11_a_name_that_must_be_looked_up_is_waited_for_with_state() {
    let mut scene = scene(1);
    scene.receive(ALICE, &invite());
    let id = scene.question().id;
    let named = target("sip:bob@pbx.example.net");
    assert_eq!(
        scene.proxy.forward_stateless(scene.now, id, named),
        Ok(true)
    );
    assert_eq!(
        lines(&scene.take_sent()),
        ["SIP/2.0 100 Trying -> 192.0.2.10:5062"]
    );
    assert_eq!(scene.proxy.transaction_count(), 1);
}

#[test]
fn section_16_3_holds_for_stateless_requests_too() {
    for (name, value, status) in [("Max-Forwards", "0", 483), ("Max-Breadth", "0", 440)] {
        let mut scene = scene(1);
        let draft = request("MESSAGE").without(name).with(name, value);
        scene.receive(ALICE, &draft);
        let id = scene.question().id;
        let done = scene.proxy.forward_stateless(scene.now, id, target(TO_BOB));
        assert_eq!(done, Ok(true));
        assert!(only(scene.take_sent()).is(&format!("SIP/2.0 {status} ")));
    }
    let mut scene = scene(1);
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let bad = scene
        .proxy
        .forward_stateless(scene.now, id, target("tel:+49"));
    assert_eq!(bad, Err(DecisionError::BadTarget(0)));
    assert!(scene.respond(id, 404).is_some(), "the question stays");
}
