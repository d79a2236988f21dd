//! RFC 3261 §16.3 step 4 and RFC 5393 §4: loops are refused, spirals go on.

use crate::dialog;
use crate::draft::{in_dialog, invite, request, Draft};
use crate::scene::{only, settings, Scene, Sent, ALICE, BOB, TO_BOB};
use sipshard_proto::proxy::Settings;
use sipshard_proto::{Count, Secret};

/// A copy of ours as the next hop sends it back: below its own Via, otherwise as it is.
fn returned(copy: &Sent) -> Draft {
    let text = copy.text();
    let turn = copy.values("Via").len();
    let via = format!("SIP/2.0/UDP 192.0.2.20;branch=z9hG4bK-returned-{turn}");
    let mut lines = text.split("\r\n\r\n").next().unwrap().lines();
    let mut draft = Draft {
        line: lines.next().unwrap().into(),
        headers: Vec::new(),
        body: Vec::new(),
    }
    .with("Via", &via);
    for line in lines.filter(|line| !line.starts_with("Content-Length")) {
        let (name, value) = line.split_once(": ").unwrap();
        draft = draft.with(name, value);
    }
    draft
}

/// The policy sends everything to Bob's box, which sends it back to us; what we forward when it comes.
fn forwarded(scene: &mut Scene, from: &str, draft: &Draft) -> Sent {
    scene.receive(from, draft);
    let id = scene.question().id;
    scene.forward(id, &[TO_BOB]).pop().unwrap()
}

#[test]
fn section_16_3_step_4_a_loop_gets_482() {
    for method in ["INVITE", "MESSAGE"] {
        let mut scene = Scene::new();
        let mut copy = forwarded(&mut scene, ALICE, &request(method));
        // From the box it comes for the first time: it might be meant for another target now.
        copy = forwarded(&mut scene, BOB, &returned(&copy));
        let refused = only(scene.receive(BOB, &returned(&copy)));
        assert!(refused.is("SIP/2.0 482 "), "{}", refused.line());
        assert_eq!(refused.to, BOB.parse().unwrap());
        assert_eq!(scene.count(Count::LoopsDetected), 1);
        assert!(scene.is_silent(), "the policy is not asked");
    }
}

#[test]
fn section_16_3_step_4_a_loop_straight_to_ourselves_gets_482() {
    let mut scene = Scene::new();
    let own = "192.0.2.1:5060";
    let uri = "sip:bob@192.0.2.1";
    let mut sent = scene.receive(ALICE, &request("MESSAGE").at_uri(uri));
    for _ in 0..2 {
        let id = scene.question().id;
        let copy = only([sent, scene.forward(id, &[uri])].concat());
        assert_eq!(copy.to, own.parse().unwrap());
        sent = scene.receive_by(0, own, &copy.bytes);
    }
    assert!(only(sent).is("SIP/2.0 482 "), "our Via is the topmost one");
}

#[test]
fn section_16_3_step_4_a_spiral_goes_on() {
    let mut scene = Scene::new();
    let changes: [fn(Draft) -> Draft; 3] = [
        |draft| draft.at_uri("sip:carol@example.com"),
        |draft| draft.with("Route", "<sip:192.0.2.1;lr>"),
        |draft| draft.with("Route", "<sip:192.0.2.1;lr>, <sip:other@192.0.2.9;lr>"),
    ];
    let mut copy = forwarded(&mut scene, ALICE, &invite());
    copy = forwarded(
        &mut scene,
        BOB,
        &returned(&copy).at_uri("sip:bob@example.com"),
    );
    for change in changes {
        copy = forwarded(&mut scene, BOB, &change(returned(&copy).without("Route")));
    }
    assert_eq!(scene.count(Count::LoopsDetected), 0);
}

#[test]
fn rfc_5393_4_2_1_another_server_with_our_secret_is_no_loop() {
    let mut scene = Scene::new();
    let copy = forwarded(&mut scene, BOB, &request("MESSAGE"));
    let mut other = settings();
    other.listeners.iter_mut().for_each(|each| each.port += 1);
    let mut other = Scene::with(other);
    let draft = returned(&copy).at_uri("sip:bob@example.com");
    assert!(other.receive(BOB, &draft).is_empty());
    other.question();
    let refused = only(scene.receive(BOB, &draft));
    assert!(refused.is("SIP/2.0 482 "), "and with us it is one");
}

#[test]
fn rfc_5393_4_2_1_a_via_that_somebody_made_up_is_none_of_ours() {
    let mut scene = Scene::with(Settings {
        secret: Secret::new([7; 16]),
        ..settings()
    });
    let forged = forwarded(&mut scene, BOB, &request("MESSAGE"));
    let mut scene = Scene::new();
    let draft = returned(&forged).at_uri("sip:bob@example.com");
    assert!(scene.receive(BOB, &draft).is_empty());
    scene.question();
}

#[test]
fn rfc_5393_4_2_1_the_method_does_not_show_in_the_branch() {
    let mut scene = Scene::new();
    let copy = forwarded(&mut scene, ALICE, &invite());
    let other = forwarded(&mut scene, ALICE, &request("MESSAGE"));
    let loop_part = |sent: &Sent| sent.message().via().branch.unwrap()[25..33].to_vec();
    assert_eq!(loop_part(&copy), loop_part(&other));
}

#[test]
fn section_16_3_step_4_a_request_in_a_dialog_that_passes_us_twice_is_no_loop() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let route = success.values("Record-Route").remove(0);
    // Bob's box has put us on the path twice: the route set leads through us, over the box, and back to us.
    let first = in_dialog("BYE", &success)
        .with("Route", "<sip:192.0.2.20;lr>")
        .with("Route", &route);
    let copy = only(scene.receive(ALICE, &first));
    assert_eq!(copy.values("Route").len(), 2);
    let mut second = returned(&copy).without("Route");
    second = second.with("Route", &route);
    let copy = only(scene.receive(BOB, &second));
    assert!(copy.is("BYE "), "{}", copy.line());
    assert!(only(scene.receive(BOB, &second.branch("again"))).is("BYE "));
}

#[test]
fn section_16_3_step_4_an_ack_that_loops_is_dropped() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let ack = in_dialog("ACK", &success)
        .instead("CSeq", "1 ACK")
        .branch("ack-2");
    let copy = only(scene.receive(BOB, &ack));
    let route = success.values("Record-Route").remove(0);
    let back = returned(&copy).with("Route", &route);
    assert!(scene.receive(BOB, &back).is_empty());
    assert_eq!(scene.count(Count::StrayAcks), 1);
}
