//! RFC 3261 §16.3, request validation.

use crate::draft::{invite, request};
use crate::scene::{lines, only, Scene, ALICE, TO_BOB};
use sipshard_proto::Count;

#[test]
fn section_16_3_step_1_an_unreadable_request_uri_gets_400() {
    let mut scene = Scene::new();
    let bad = request("OPTIONS").at_uri("sip:bob@:5060");
    let sent = only(scene.receive(ALICE, &bad));
    assert!(sent.is("SIP/2.0 400 "), "{}", sent.line());
    assert_eq!(sent.to, ALICE.parse().unwrap());
    assert_eq!(scene.count(Count::MalformedRequests), 1);
    assert!(scene.is_silent());
    scene.close();
}

#[test]
fn section_16_3_step_2_a_foreign_scheme_gets_416() {
    let mut scene = Scene::new();
    let strange = request("OPTIONS").at_uri("mailto:bob@example.com");
    let sent = only(scene.receive(ALICE, &strange));
    assert!(sent.is("SIP/2.0 416 "), "{}", sent.line());
    assert!(scene.is_silent());
    scene.close();
}

#[test]
fn section_16_3_step_2_a_tel_uri_is_the_policys_to_translate() {
    let mut scene = Scene::new();
    assert!(scene
        .receive(ALICE, &request("OPTIONS").at_uri("tel:+4930123456"))
        .is_empty());
    assert_eq!(scene.question().request.request_uri(), b"tel:+4930123456");
}

#[test]
fn section_16_3_step_3_max_forwards_0_gets_483_when_it_would_be_forwarded() {
    for method in ["INVITE", "OPTIONS"] {
        let mut scene = Scene::new();
        scene.receive(ALICE, &request(method).instead("Max-Forwards", "0"));
        let id = scene.question().id;
        let sent = only(scene.forward(id, &[TO_BOB]));
        assert!(sent.is("SIP/2.0 483 "), "{}", sent.line());
        scene.close();
    }
}

#[test]
fn section_16_3_step_3_max_forwards_0_may_be_answered_here() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("OPTIONS").instead("Max-Forwards", "0"));
    let id = scene.question().id;
    let sent = only(scene.respond(id, 200).unwrap());
    assert!(sent.is("SIP/2.0 200 OK"));
    scene.close();
}

#[test]
fn section_16_3_step_3_holds_inside_a_dialog_too() {
    let mut scene = Scene::new();
    let success = crate::dialog::open(&mut scene);
    let bye = crate::draft::in_dialog("BYE", &success).instead("Max-Forwards", "0");
    let sent = only(scene.receive(ALICE, &bye));
    assert!(sent.is("SIP/2.0 483 "), "{}", sent.line());
    scene.close();
}

#[test]
fn section_16_3_step_5_unknown_extensions_get_420_and_are_named() {
    let mut scene = Scene::new();
    let demanding = invite()
        .with("Proxy-Require", "foo, bar")
        .with("Proxy-Require", "baz");
    let sent = only(scene.receive(ALICE, &demanding));
    assert!(sent.is("SIP/2.0 420 Bad Extension"), "{}", sent.line());
    assert_eq!(sent.values("Unsupported"), ["foo", "bar", "baz"]);
    assert!(scene.is_silent());
    // Require is between the endpoints (§20.32).
    scene.receive(ALICE, &invite().with("Require", "foo"));
    let id = scene.question().id;
    assert_eq!(lines(&scene.forward(id, &[TO_BOB])).len(), 2);
}

#[test]
fn section_8_2_7_a_stateless_refusal_is_the_same_each_time() {
    let mut scene = Scene::new();
    let demanding = invite().with("Proxy-Require", "foo");
    let first = only(scene.receive(ALICE, &demanding));
    let second = only(scene.receive(ALICE, &demanding));
    assert_eq!(first.bytes, second.bytes);
    assert!(first.values("To")[0].contains(";tag="));
    assert_eq!(scene.proxy.transaction_count(), 0);
}

#[test]
fn section_16_3_step_5_an_empty_proxy_require_demands_nothing() {
    let mut scene = Scene::new();
    let sent = scene.receive(ALICE, &invite().with("Proxy-Require", ""));
    assert!(sent.is_empty());
    scene.question();
}
