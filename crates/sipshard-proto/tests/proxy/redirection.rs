//! RFC 3261 §16.5 and §16.7 step 4, recursion on a 3xx.

use crate::draft::{answer, cancel, invite, request, Draft};
use crate::scene::{
    lines, only, settings, target, Scene, Sent, ALICE, BOB, CAROL, TO_BOB, TO_CAROL,
};
use sipshard_proto::proxy::{Edit, Edits, FieldName, ForwardOptions, Settings, Target};
use sipshard_proto::Count;

const RECURSE: ForwardOptions = ForwardOptions {
    record_route: false,
    ring_timeout_ms: None,
    report_failure: false,
    recurse: true,
    response_edits: Edits::NONE,
    inspect_responses: false,
};

fn called(scene: &mut Scene) -> Sent {
    only(scene.ring_as(vec![target(TO_BOB)], RECURSE))
}

fn moved(copy: &Sent, contacts: &str) -> Draft {
    answer(copy, 302).instead("Contact", contacts)
}

#[test]
fn section_16_7_step_4_the_contacts_of_a_3xx_are_tried_by_q() {
    let mut scene = Scene::new();
    let copy = called(&mut scene);
    let contacts = "<sip:last@192.0.2.40>;q=0.2, <sip:carol@192.0.2.30?Subject=x>;q=0.7, \
                    <sip:dave@192.0.2.50>;q=0.7";
    let sent = scene.receive(BOB, &moved(&copy, contacts));
    assert_eq!(
        lines(&sent),
        [
            "ACK sip:bob@192.0.2.20 SIP/2.0 -> 192.0.2.20:5060",
            "INVITE sip:carol@192.0.2.30 SIP/2.0 -> 192.0.2.30:5060",
            "INVITE sip:dave@192.0.2.50 SIP/2.0 -> 192.0.2.50:5060"
        ]
    );
    scene.receive(CAROL, &answer(&sent[1], 404));
    let sent = scene.receive(CAROL, &answer(&sent[2], 480));
    assert_eq!(sent[1].line(), "INVITE sip:last@192.0.2.40 SIP/2.0");
    let sent = scene.receive(CAROL, &answer(&sent[1], 486));
    assert!(
        sent[1].is("SIP/2.0 404 "),
        "no 302, it was followed: {}",
        sent[1].line()
    );
    assert_eq!(scene.count(Count::RedirectionsFollowed), 3);
    scene.close();
}

#[test]
fn section_16_7_step_4_without_recursion_the_caller_gets_the_3xx() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    let sent = scene.receive(BOB, &moved(&copy, "<sip:carol@192.0.2.30>"));
    assert!(sent[1].is("SIP/2.0 302 "));
    assert_eq!(sent[1].values("Contact"), ["<sip:carol@192.0.2.30>"]);
    scene.close();
}

#[test]
fn section_16_7_step_4_what_is_not_tried_stays_in_the_response() {
    let mut scene = Scene::new();
    let copy = called(&mut scene);
    let contacts = "<tel:+4930123>, <sip:carol@192.0.2.30>, <mailto:bob@example.com>;q=0.1";
    let redirection = moved(&copy, contacts).with("X-Kept", "yes").body(b"body");
    let sent = scene.receive(BOB, &redirection);
    assert!(sent[1].is("INVITE sip:carol@192.0.2.30 "));
    let sent = scene.receive(CAROL, &answer(&sent[1], 404));
    assert!(sent[1].is("SIP/2.0 302 "), "{}", sent[1].line());
    assert_eq!(
        sent[1].values("Contact"),
        ["<tel:+4930123>", "<mailto:bob@example.com>;q=0.1"]
    );
    assert_eq!(sent[1].values("X-Kept"), ["yes"]);
    assert_eq!(sent[1].message().body(), b"body");
    assert_eq!(sent[1].values("Via").len(), 1);
}

#[test]
fn section_16_5_no_target_is_tried_twice() {
    let mut scene = Scene::new();
    let copies = scene.ring_as(vec![target(TO_BOB), target(TO_CAROL)], RECURSE);
    // Equal by §19.1.4, though not by their bytes.
    let contacts = "<sip:%62ob@192.0.2.20>, <sip:carol@192.0.2.30;x=y>, <sip:dave@192.0.2.50>";
    scene.receive(BOB, &moved(&copies[0], contacts));
    let sent = scene.receive(CAROL, &moved(&copies[1], "<sip:dave@192.0.2.50>"));
    assert_eq!(sent.len(), 2, "{:?}", lines(&sent));
    assert_eq!(sent[1].line(), "INVITE sip:dave@192.0.2.50 SIP/2.0");
    let sent = scene.receive(CAROL, &moved(&sent[1], "<sip:bob@192.0.2.20>"));
    // §16.7 step 6: no response is left to choose from.
    assert!(sent[1].is("SIP/2.0 408 "), "{}", sent[1].line());
    scene.close();
}

#[test]
fn section_16_5_a_sips_request_is_not_redirected_to_sip() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &invite().at_uri("sips:bob@example.com"));
    let id = scene.question().id;
    let copy = scene
        .forward_as(id, vec![target(TO_BOB)], RECURSE)
        .remove(1);
    let sent = scene.receive(BOB, &moved(&copy, "<sip:carol@192.0.2.30>"));
    assert!(sent[1].is("SIP/2.0 302 "));
}

#[test]
fn section_16_5_redirections_are_bounded() {
    let mut scene = Scene::with(Settings {
        max_branches: 3,
        ..settings()
    });
    let copy = called(&mut scene);
    let contacts = "<sip:1@192.0.2.41>, <sip:2@192.0.2.42>, <sip:3@192.0.2.43>";
    let sent = scene.receive(BOB, &moved(&copy, contacts));
    assert_eq!(sent.len(), 3);
    scene.receive(BOB, &answer(&sent[1], 404));
    let sent = scene.receive(BOB, &moved(&sent[2], "<sip:4@192.0.2.44>"));
    assert!(
        sent[1].is("SIP/2.0 302 "),
        "the first of the two that are left"
    );
    assert_eq!(sent[1].values("Contact"), ["<sip:3@192.0.2.43>"]);
}

#[test]
fn section_16_7_step_4_other_redirections_are_the_callers() {
    for status in [305, 380] {
        let mut scene = Scene::new();
        let copy = called(&mut scene);
        let sent = scene.receive(BOB, &answer(&copy, status));
        assert!(sent[1].is(&format!("SIP/2.0 {status} ")));
    }
}

#[test]
fn section_16_10_nothing_is_tried_after_a_cancel() {
    let mut scene = Scene::new();
    let copy = called(&mut scene);
    scene.receive(BOB, &answer(&copy, 180));
    scene.receive(ALICE, &cancel());
    let sent = scene.receive(BOB, &moved(&copy, "<sip:carol@192.0.2.30>"));
    assert!(sent[1].is("SIP/2.0 302 "), "{}", sent[1].line());
}

#[test]
fn section_16_7_step_5_nothing_is_tried_after_a_6xx() {
    let mut scene = Scene::new();
    let copies = scene.ring_as(vec![target(TO_BOB), target(TO_CAROL)], RECURSE);
    scene.receive(BOB, &answer(&copies[0], 603));
    let sent = scene.receive(CAROL, &moved(&copies[1], "<sip:dave@192.0.2.50>"));
    assert!(sent[1].is("SIP/2.0 603 "));
    assert_eq!(sent.len(), 2);
}

#[test]
fn section_16_7_step_4_a_message_is_redirected_too() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let copy = only(scene.forward_as(id, vec![target(TO_BOB)], RECURSE));
    let sent = only(scene.receive(BOB, &moved(&copy, "sip:carol@192.0.2.30")));
    assert_eq!(sent.line(), "MESSAGE sip:carol@192.0.2.30 SIP/2.0");
    assert!(only(scene.receive(CAROL, &answer(&sent, 200))).is("SIP/2.0 200"));
    scene.close();
}

#[test]
fn section_16_7_step_4_the_copies_for_contacts_get_the_edits_of_the_first_target() {
    let mut scene = Scene::new();
    let name = FieldName::new(b"X-Edge", 0).unwrap();
    let edit = Edit::Add(name, (*b"1").into());
    let edited = Target {
        edits: Edits::new(vec![edit]).unwrap(),
        ..target(TO_BOB)
    };
    let copy = only(scene.ring_as(vec![edited], RECURSE));
    let sent = scene.receive(BOB, &moved(&copy, "<sip:carol@192.0.2.30>"));
    assert_eq!(sent[1].values("X-Edge"), ["1"]);
}
