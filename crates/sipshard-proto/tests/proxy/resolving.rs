//! Next hops that are names (RFC 3263 §4): the question goes out, the answer comes, late, or never.

use crate::dialog;
use crate::draft::{answer, cancel, in_dialog, invite, request};
use crate::scene::{lines, only, Scene, Sent, ALICE, BOB, TO_BOB};
use sipshard_proto::Count;

const TO_NAME: &str = "sip:bob@pbx.example.net";

fn resolved(scene: &mut Scene, addresses: &[&str]) -> Vec<Sent> {
    let addresses = addresses.iter().map(|address| address.parse().unwrap());
    scene
        .proxy
        .handle_resolved(scene.now, "pbx.example.net", addresses.collect(), 60);
    scene.take_sent()
}

#[test]
fn rfc_3263_section_4_a_name_is_asked_for_and_the_copy_leaves_with_the_answer() {
    let mut scene = Scene::new();
    assert!(scene.ring(&[TO_NAME]).is_empty());
    assert!(scene.proxy.has_events());
    assert_eq!(scene.proxy.take_questions(), ["pbx.example.net"]);
    assert!(!scene.proxy.has_events());
    let copy = only(resolved(&mut scene, &["2001:db8::20", "192.0.2.20"]));
    assert_eq!(copy.line(), "INVITE sip:bob@pbx.example.net SIP/2.0");
    assert_eq!(copy.to, "[2001:db8::20]:5060".parse().unwrap());
    scene.receive(ALICE, &cancel());
    scene.close();
}

#[test]
fn an_address_family_that_nobody_speaks_is_passed_over() {
    let mut settings = crate::scene::settings();
    settings.listeners.remove(1);
    let mut scene = Scene::with(settings);
    scene.ring(&[TO_NAME]);
    let copy = only(resolved(&mut scene, &["2001:db8::20", "192.0.2.20"]));
    assert_eq!(copy.to, BOB.parse().unwrap());
}

#[test]
fn a_known_name_is_not_asked_for_again() {
    let mut scene = Scene::new();
    scene.ring(&[TO_NAME]);
    scene.proxy.take_questions();
    resolved(&mut scene, &["192.0.2.20"]);
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    assert!(only(scene.forward(id, &["sip:bob@PBX.example.net:5070"])).is("MESSAGE "));
    assert!(scene.proxy.take_questions().is_empty());
}

#[test]
fn a_name_that_does_not_exist_is_an_unreachable_target() {
    let mut scene = Scene::new();
    scene.ring(&[TO_NAME]);
    let sent = only(resolved(&mut scene, &[]));
    assert!(sent.is("SIP/2.0 500 "));
    assert_eq!(scene.count(Count::UnreachableTargets), 1);
    scene.close();
}

#[test]
fn a_question_that_is_never_answered_ends_the_branch_after_64_t1() {
    let mut scene = Scene::new();
    scene.ring(&[TO_NAME]);
    let sent = scene.pass_ms(32_000);
    assert_eq!(
        lines(&sent[..1]),
        ["SIP/2.0 500 Server Internal Error -> 192.0.2.10:5062"]
    );
    assert_eq!(sent[0].at_ms, 32_000);
    assert!(resolved(&mut scene, &["192.0.2.20"]).is_empty(), "too late");
    scene.close();
}

#[test]
fn a_branch_with_an_address_does_not_wait_for_one_with_a_name() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_NAME, TO_BOB]));
    assert_eq!(copy.to, BOB.parse().unwrap());
    assert_eq!(scene.receive(BOB, &answer(&copy, 200)).len(), 1);
    assert!(resolved(&mut scene, &["192.0.2.30"]).is_empty(), "too late");
    scene.close();
}

#[test]
fn a_non_invite_that_was_answered_does_not_leave_for_a_late_name() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let copy = only(scene.forward(id, &[TO_NAME, TO_BOB]));
    scene.receive(BOB, &answer(&copy, 200));
    assert!(resolved(&mut scene, &["192.0.2.30"]).is_empty());
    scene.close();
}

#[test]
fn section_16_10_a_cancel_ends_a_branch_that_waits_for_its_name() {
    let mut scene = Scene::new();
    scene.ring(&[TO_NAME]);
    let sent = scene.receive(ALICE, &cancel());
    assert!(sent[0].is("SIP/2.0 200 ") && sent[1].is("SIP/2.0 487 "));
    assert!(resolved(&mut scene, &["192.0.2.20"]).is_empty());
    scene.close();
}

#[test]
fn a_reinvite_whose_next_hop_is_looked_up_gets_its_100_meanwhile() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let reinvite = in_dialog("INVITE", &success).at_uri(TO_NAME).branch("re");
    assert!(only(scene.receive(ALICE, &reinvite)).is("SIP/2.0 100 "));
    assert!(only(resolved(&mut scene, &["192.0.2.20"])).is("INVITE "));
    scene.close();
}

#[test]
fn an_ack_waits_for_its_name_but_not_for_long() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let ack = in_dialog("ACK", &success).at_uri(TO_NAME);
    assert!(scene.receive(ALICE, &ack).is_empty());
    scene.pass_ms(4_999);
    assert!(only(resolved(&mut scene, &["192.0.2.20"])).is("ACK "));
    assert!(
        resolved(&mut scene, &["192.0.2.20"]).is_empty(),
        "only once"
    );

    let other = in_dialog("ACK", &success).at_uri("sip:bob@late.example.net");
    assert!(scene.receive(ALICE, &other).is_empty());
    scene.pass_ms(5_000);
    let address = vec!["192.0.2.20".parse().unwrap()];
    scene
        .proxy
        .handle_resolved(scene.now, "late.example.net", address, 60);
    assert!(scene.take_sent().is_empty());
}

#[test]
fn parked_acks_are_bounded() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    for number in 0..1_002 {
        let ack = in_dialog("ACK", &success)
            .at_uri(TO_NAME)
            .branch(&number.to_string());
        scene.receive(ALICE, &ack);
    }
    assert_eq!(scene.count(Count::ParkedFull), 2);
    assert_eq!(resolved(&mut scene, &["192.0.2.20"]).len(), 1_000);
}

#[test]
fn an_unanswered_question_is_asked_again_for_a_later_request() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &invite());
    let id = scene.question().id;
    scene.forward(id, &[TO_NAME]);
    assert_eq!(scene.proxy.take_questions().len(), 1);
    scene.pass_ms(10_000);
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    assert!(scene.forward(id, &[TO_NAME]).is_empty());
    assert_eq!(scene.proxy.take_questions().len(), 1);
    let sent = resolved(&mut scene, &["192.0.2.20"]);
    assert_eq!(sent.len(), 2, "both leave with one answer");
}
