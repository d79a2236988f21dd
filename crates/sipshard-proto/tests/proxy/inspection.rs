//! A policy that looks at responses before they go upstream.

use crate::draft::{ack_to_failure, answer, cancel, request};
use crate::scene::{only, target, Scene, Sent, ALICE, BOB, CAROL, TO_BOB, TO_CAROL};
use sipshard_proto::proxy::{Edit, Edits, FieldName, ForwardOptions};
use sipshard_proto::{Count, HeaderName};

fn added(token: &str) -> Edits {
    let name = FieldName::new(token.as_bytes(), 0).unwrap();
    Edits::new(vec![Edit::Add(name, (*b"yes").into())]).unwrap()
}

fn inspect() -> ForwardOptions {
    ForwardOptions {
        inspect_responses: true,
        ..ForwardOptions::default()
    }
}

fn ring(scene: &mut Scene) -> Sent {
    only(scene.ring_as(vec![target(TO_BOB)], inspect()))
}

#[test]
fn a_response_waits_until_the_policy_has_seen_it() {
    let mut scene = Scene::new();
    let copy = ring(&mut scene);
    for status in [180, 200] {
        assert!(scene.receive(BOB, &answer(&copy, status)).is_empty());
        let (id, response) = scene.inspection();
        assert_eq!(response.status(), status);
        let vias = response.list(HeaderName::Via).count();
        assert_eq!(vias, 1, "it is shown as it goes upstream");
        assert!(scene.proxy.inspected(scene.now, id, &added("X-Seen")));
        let sent = only(scene.take_sent());
        assert!(sent.is(&format!("SIP/2.0 {status} ")) && sent.text().contains("X-Seen: yes\r\n"));
    }
    scene.settled();
    assert_eq!(scene.count(Count::UninspectedResponses), 0);
    scene.close();
}

#[test]
fn a_100_and_a_failure_are_not_shown() {
    let mut scene = Scene::new();
    let copy = ring(&mut scene);
    scene.receive(BOB, &answer(&copy, 100));
    let sent = scene.receive(BOB, &answer(&copy, 486));
    assert!(sent[1].is("SIP/2.0 486 "));
    scene.settled();
    assert!(scene.is_silent());
    scene.receive(ALICE, &ack_to_failure());
    scene.close();
}

#[test]
fn the_order_of_responses_is_kept() {
    let mut scene = Scene::new();
    let copy = ring(&mut scene);
    for status in [180, 183, 200] {
        assert!(scene.receive(BOB, &answer(&copy, status)).is_empty());
    }
    let mut sent = Vec::new();
    for _ in 0..3 {
        let id = scene.inspection().0;
        assert!(scene.proxy.inspected(scene.now, id, &Edits::NONE));
        sent.extend(scene.take_sent());
    }
    let lines: Vec<String> = sent.iter().map(|sent| sent.line()).collect();
    let expected = ["SIP/2.0 180", "SIP/2.0 183", "SIP/2.0 200"];
    assert_eq!(lines, expected.map(|line| format!("{line} Some Reason")));
    scene.close();
}

#[test]
fn a_2xx_settles_the_call_at_once_and_is_never_lost() {
    let mut scene = Scene::new();
    let targets = vec![target(TO_BOB), target(TO_CAROL)];
    let copies = scene.ring_as(targets, inspect());
    scene.receive(CAROL, &answer(&copies[1], 180));
    let sent = scene.receive(BOB, &answer(&copies[0], 200));
    assert!(only(sent).is("CANCEL "), "the other branch");
    let late = scene.receive(ALICE, &cancel());
    assert!(only(late).is("SIP/2.0 200 "), "the CANCEL comes too late");
    let sent = scene.pass_ms(32_000);
    let upstream: Vec<&Sent> = sent.iter().filter(|sent| sent.is("SIP/2.0 ")).collect();
    let lines: Vec<String> = upstream.iter().map(|sent| sent.line()).collect();
    assert_eq!(
        lines,
        ["SIP/2.0 180 Some Reason", "SIP/2.0 200 Some Reason"]
    );
    assert_eq!(scene.count(Count::UninspectedResponses), 2);
    let id = scene.inspection().0;
    assert!(
        !scene.proxy.inspected(scene.now, id, &Edits::NONE),
        "too late"
    );
    scene.close();
}

#[test]
fn a_non_invite_is_answered_without_the_policy_too() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let copy = only(scene.forward_as(id, vec![target(TO_BOB)], inspect()));
    assert!(scene.receive(BOB, &answer(&copy, 200)).is_empty());
    let sent = scene.pass_ms(32_000);
    assert!(only(sent).is("SIP/2.0 200 "));
    scene.close();
}

#[test]
fn rfc6026_later_2xx_are_edited_as_the_first() {
    let mut scene = Scene::new();
    let copies = scene.ring_as(vec![target(TO_BOB), target(TO_CAROL)], inspect());
    scene.receive(BOB, &answer(&copies[0], 200));
    assert!(scene.receive(CAROL, &answer(&copies[1], 200)).is_empty());
    let id = scene.inspection().0;
    assert!(scene.proxy.inspected(scene.now, id, &added("X-Seen")));
    let mut sent = scene.take_sent();
    assert_eq!(sent.len(), 2, "the second had waited for its turn");
    sent.extend(scene.receive(BOB, &answer(&copies[0], 200)));
    assert_eq!(sent.len(), 3);
    for sent in sent {
        assert!(sent.is("SIP/2.0 200 ") && sent.text().contains("X-Seen: yes\r\n"));
    }
    scene.settled();
    assert!(scene.is_silent());
    scene.close();
}

#[test]
fn the_decisions_own_edits_come_first() {
    let mut scene = Scene::new();
    let options = ForwardOptions {
        response_edits: added("X-Always"),
        ..inspect()
    };
    let copy = only(scene.ring_as(vec![target(TO_BOB)], options));
    scene.receive(BOB, &answer(&copy, 180));
    let id = scene.inspection().0;
    scene.proxy.inspected(scene.now, id, &added("X-Seen"));
    let text = only(scene.take_sent()).text();
    assert!(
        text.ends_with("X-Always: yes\r\nX-Seen: yes\r\n\r\n"),
        "{text}"
    );
}

#[test]
fn more_than_a_few_are_not_held() {
    let mut scene = Scene::new();
    let copy = ring(&mut scene);
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.extend(scene.receive(BOB, &answer(&copy, 180)));
    }
    assert_eq!(sent.len(), 20);
    assert_eq!(scene.count(Count::UninspectedResponses), 17);
    let id = scene.inspection().0;
    assert!(!scene.proxy.inspected(scene.now, id, &Edits::NONE));
    assert!(only(scene.receive(BOB, &answer(&copy, 200))).is("SIP/2.0 200 "));
    scene.close();
}

#[test]
fn a_second_decision_looks_at_its_own_responses() {
    let mut scene = Scene::new();
    let options = ForwardOptions {
        report_failure: true,
        ..inspect()
    };
    let copy = only(scene.ring_as(vec![target(TO_BOB)], options));
    scene.receive(BOB, &answer(&copy, 486));
    let id = scene.failure().0.id;
    let copy = only(scene.forward(id, &[TO_CAROL]));
    assert!(only(scene.receive(CAROL, &answer(&copy, 180))).is("SIP/2.0 180 "));
    scene.receive(CAROL, &answer(&copy, 200));
    assert!(scene.is_silent());
    scene.close();
}
