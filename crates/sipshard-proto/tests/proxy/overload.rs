//! What is refused when messages wait too long to be read, and what never is.

use crate::dialog;
use crate::draft::{in_dialog, invite, request, Draft};
use crate::scene::{only, Scene, ALICE};
use sipshard_proto::Count;

/// The driver has reported that delay for two seconds.
fn delayed(scene: &mut Scene, delay_ms: u64) {
    for _ in 0..200 {
        scene.pass_ms(10);
        scene.proxy.note_delay(scene.now, delay_ms);
    }
}

fn overloaded() -> Scene {
    let mut scene = Scene::new();
    delayed(&mut scene, 300);
    scene
}

#[test]
fn section_21_5_4_new_work_gets_503_and_is_told_when_to_come_back() {
    for method in ["INVITE", "REGISTER", "SUBSCRIBE", "MESSAGE"] {
        let mut scene = overloaded();
        let first = only(scene.receive(ALICE, &request(method)));
        assert!(first.is("SIP/2.0 503 "), "{method}: {}", first.line());
        let retry_after: u32 = first.values("Retry-After")[0].parse().unwrap();
        assert!((5..=15).contains(&retry_after));
        let again = only(scene.receive(ALICE, &request(method)));
        assert_eq!(again.bytes, first.bytes, "a retransmission hears the same");
        assert_eq!(scene.count(Count::RefusedOverload), 2);
        assert_eq!(scene.proxy.transaction_count(), 0);
    }
}

#[test]
fn other_requests_and_those_inside_dialogs_are_served() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    delayed(&mut scene, 300);
    for method in ["BYE", "INVITE", "UPDATE", "MESSAGE", "INFO"] {
        let branch = format!("again-{method}");
        let sent = scene.receive(ALICE, &in_dialog(method, &success).branch(&branch));
        assert!(sent.last().unwrap().is(method), "{method}");
    }
    assert!(scene.receive(ALICE, &request("OPTIONS")).is_empty());
    assert_eq!(scene.count(Count::RefusedOverload), 0);
}

#[test]
fn emergency_calls_are_never_refused() {
    let emergencies: [fn(Draft) -> Draft; 5] = [
        |draft| draft.at_uri("urn:service:sos"),
        |draft| draft.at_uri("URN:service:sos.police"),
        |draft| draft.with("Priority", "Emergency"),
        |draft| draft.with("Resource-Priority", "wps.3, esnet.1"),
        |draft| draft.with("Resource-Priority", "emergency.0"),
    ];
    for mark in emergencies {
        let mut scene = overloaded();
        assert!(scene.receive(ALICE, &mark(invite())).is_empty());
        scene.question();
        assert_eq!(scene.count(Count::EmergenciesSpared), 1);
    }
    let mut scene = overloaded();
    let urgent = invite()
        .with("Priority", "urgent")
        .with("Resource-Priority", "wps.0");
    assert!(only(scene.receive(ALICE, &urgent)).is("SIP/2.0 503 "));
}

#[test]
fn between_the_two_delays_a_share_of_the_calls_is_refused() {
    let mut scene = Scene::new();
    delayed(&mut scene, 200);
    let mut refused = 0;
    for number in 0..400 {
        let draft = invite().instead("Call-ID", &format!("call-{number}"));
        let sent = scene.receive(ALICE, &draft.branch(&format!("b{number}")));
        refused += sent.len();
    }
    assert!((150..250).contains(&refused), "{refused} of 400");
}

#[test]
fn it_ends_when_the_delay_has_gone() {
    let mut scene = overloaded();
    delayed(&mut scene, 60);
    assert!(only(scene.receive(ALICE, &invite())).is("SIP/2.0 503 "));
    delayed(&mut scene, 0);
    delayed(&mut scene, 0);
    delayed(&mut scene, 0);
    assert!(scene.receive(ALICE, &invite()).is_empty());
    scene.question();
}

#[test]
fn rfc_5031_a_service_is_the_policys_to_find() {
    let mut scene = Scene::new();
    assert!(scene
        .receive(ALICE, &invite().at_uri("urn:service:sos.fire"))
        .is_empty());
    scene.question();
    let other = invite().at_uri("urn:isbn:0451450523").branch("other");
    assert!(only(scene.receive(ALICE, &other)).is("SIP/2.0 416 "));
}
