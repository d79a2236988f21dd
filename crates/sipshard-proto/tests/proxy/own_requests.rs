//! Requests that the server sends itself (RFC 3261 §8.1).

use crate::draft::answer;
use crate::locating::{question, TO_NAME};
use crate::scene::{only, settings, Scene, Sent, ALICE, BOB, TO_BOB};
use sipshard_proto::proxy::{
    DecisionError, Event, LocateQuestion, OwnOutcome, OwnRequest, OwnRequestError, Settings,
    MAX_OWN_REQUESTS,
};
use sipshard_proto::Count;

fn message(uri: &str) -> OwnRequest {
    OwnRequest {
        method: (*b"MESSAGE").into(),
        uri: uri.as_bytes().into(),
        from_uri: (*b"sip:example.com").into(),
        to_uri: uri.as_bytes().into(),
        call_id: (*b"own-call").into(),
        routes: Vec::new(),
        headers: vec![((*b"Content-Type").into(), (*b"text/plain").into())],
        body: (*b"hello").into(),
    }
}

fn send(scene: &mut Scene, request: OwnRequest) -> (u64, Sent) {
    let id = scene.proxy.send_request(scene.now, request).unwrap();
    (id, only(scene.take_sent()))
}

fn outcome(scene: &mut Scene) -> (u64, Result<u16, &'static str>) {
    match scene.proxy.poll_event() {
        Some(Event::OwnRequestEnded(id, OwnOutcome::Response(response))) => {
            (id, Ok(response.status()))
        }
        Some(Event::OwnRequestEnded(id, OwnOutcome::Timeout)) => (id, Err("timeout")),
        Some(Event::OwnRequestEnded(id, OwnOutcome::Unreachable)) => (id, Err("unreachable")),
        _ => panic!("the outcome of a request"),
    }
}

#[test]
fn section_8_1_1_the_request_has_what_a_request_needs() {
    let mut scene = Scene::new();
    let (_, sent) = send(&mut scene, message(TO_BOB));
    assert_eq!(sent.to, BOB.parse().unwrap());
    assert_eq!(sent.line(), "MESSAGE sip:bob@192.0.2.20 SIP/2.0");
    assert_eq!(sent.values("Via").len(), 1);
    assert!(sent.values("Via")[0].starts_with("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK"));
    assert_eq!(sent.values("Max-Forwards"), ["70"]);
    assert!(sent.values("From")[0].starts_with("<sip:example.com>;tag="));
    assert_eq!(sent.values("To"), ["<sip:bob@192.0.2.20>"]);
    assert_eq!(sent.values("Call-ID"), ["own-call"]);
    assert_eq!(sent.values("CSeq"), ["1 MESSAGE"]);
    assert_eq!(sent.values("Content-Type"), ["text/plain"]);
    assert_eq!(sent.message().body(), b"hello");
}

#[test]
fn its_final_response_is_told_once() {
    let mut scene = Scene::new();
    let (id, sent) = send(&mut scene, message(TO_BOB));
    scene.receive(BOB, &answer(&sent, 100));
    assert!(scene.is_silent());
    for _ in 0..2 {
        assert!(scene.receive(BOB, &answer(&sent, 200)).is_empty());
    }
    assert_eq!(outcome(&mut scene), (id, Ok(200)));
    assert!(scene.is_silent());
    scene.close();
}

#[test]
fn section_17_1_2_it_is_repeated_until_timer_f() {
    let mut scene = Scene::new();
    let (id, first) = send(&mut scene, message(TO_BOB));
    let sent = scene.pass_ms(32_000);
    assert_eq!(sent.len(), 10);
    assert!(sent.iter().all(|again| again.bytes == first.bytes));
    assert_eq!(outcome(&mut scene), (id, Err("timeout")));
    scene.close();
}

#[test]
fn what_nobody_waits_for_is_not_repeated() {
    let mut scene = Scene::new();
    let (id, sent) = send(&mut scene, message(TO_BOB));
    scene.proxy.abandon_request(id);
    assert!(scene.pass_ms(32_000).is_empty());
    scene.receive(BOB, &answer(&sent, 200));
    assert!(scene.is_silent());
    assert_eq!(scene.count(Count::StrayResponses), 1);
    scene.close();
}

#[test]
fn section_16_7_step_3_a_response_with_another_via_is_not_its_answer() {
    let mut scene = Scene::new();
    let (_, sent) = send(&mut scene, message(TO_BOB));
    let forged = answer(&sent, 200).with("Via", "SIP/2.0/UDP 192.0.2.99");
    assert!(scene.receive(BOB, &forged).is_empty());
    assert!(scene.is_silent());
    assert_eq!(scene.count(Count::StrayResponses), 1);
}

#[test]
fn it_waits_for_the_name_of_its_next_hop() {
    let mut scene = Scene::new();
    let id = scene
        .proxy
        .send_request(scene.now, message(TO_NAME))
        .unwrap();
    assert!(scene.take_sent().is_empty());
    assert_eq!(scene.lookup(), question());
    let sent = only(scene.located(&[BOB]));
    assert_eq!(sent.to, BOB.parse().unwrap());
    scene.receive(BOB, &answer(&sent, 404));
    assert_eq!(outcome(&mut scene), (id, Ok(404)));
    scene.close();
}

#[test]
fn a_name_that_does_not_exist_is_unreachable() {
    let mut scene = Scene::new();
    let id = scene
        .proxy
        .send_request(scene.now, message(TO_NAME))
        .unwrap();
    scene.located(&[]);
    assert_eq!(outcome(&mut scene), (id, Err("unreachable")));
}

#[test]
fn a_name_that_nobody_looks_up_keeps_no_place() {
    let mut scene = Scene::new();
    let id = scene
        .proxy
        .send_request(scene.now, message(TO_NAME))
        .unwrap();
    scene.pass_ms(32_000);
    let other = LocateQuestion {
        host: "other.example".into(),
        ..question()
    };
    scene.located_as(&other, Vec::new());
    assert_eq!(outcome(&mut scene), (id, Err("timeout")));
}

#[test]
fn its_route_decides_where_it_goes() {
    let mut scene = Scene::new();
    let mut request = message("sip:bob@example.org");
    request.routes = vec![(*b"<sip:192.0.2.20;lr>").into()];
    let (_, sent) = send(&mut scene, request);
    assert_eq!(sent.to, BOB.parse().unwrap());
    assert_eq!(sent.values("Route"), ["<sip:192.0.2.20;lr>"]);
    assert_eq!(sent.line(), "MESSAGE sip:bob@example.org SIP/2.0");
}

#[test]
fn what_needs_a_user_agent_is_refused() {
    let mut scene = Scene::new();
    for method in ["INVITE", "ACK", "CANCEL", "", "MES SAGE"] {
        let request = OwnRequest {
            method: method.as_bytes().into(),
            ..message(TO_BOB)
        };
        let error = scene.proxy.send_request(scene.now, request);
        assert_eq!(error, Err(OwnRequestError::BadMethod), "{method}");
    }
}

#[test]
fn what_cannot_be_put_on_the_wire_is_refused() {
    let mut scene = Scene::new();
    let mut send = |request| scene.proxy.send_request(scene.now, request).unwrap_err();
    for uri in ["", "bob", "tel:123", "sip:a@b\r\nVia: x"] {
        let error = send(message(uri));
        assert!(matches!(error, OwnRequestError::BadUri(_)), "{uri:?}");
    }
    let header = |name: &str, value: &str| OwnRequest {
        headers: vec![(name.as_bytes().into(), value.as_bytes().into())],
        ..message(TO_BOB)
    };
    let field = OwnRequestError::BadField;
    assert_eq!(
        send(header("v", "x")),
        field(DecisionError::ProtectedHeader("Via"))
    );
    assert_eq!(
        send(header("X", "a\r\nb")),
        field(DecisionError::BadHeader(0))
    );
    assert_eq!(
        send(header("Subject", "tea")),
        field(DecisionError::BadContentType)
    );
    let unreachable = message("sips:bob@192.0.2.20");
    assert_eq!(send(unreachable), OwnRequestError::Unreachable);
}

#[test]
fn their_number_is_bounded() {
    let mut scene = Scene::new();
    for _ in 0..MAX_OWN_REQUESTS {
        send(&mut scene, message(TO_BOB));
    }
    let one_more = scene.proxy.send_request(scene.now, message(TO_BOB));
    assert_eq!(one_more, Err(OwnRequestError::TooMany));
    assert_eq!(scene.count(Count::OwnRequestsRefused), 1);
    scene.proxy.abandon_request(1);
    send(&mut scene, message(TO_BOB));
    scene.close();
}

#[test]
fn a_full_transaction_table_takes_none() {
    let mut scene = Scene::with(Settings {
        max_transactions: 1,
        ..settings()
    });
    scene.receive(ALICE, &crate::draft::request("OPTIONS"));
    let refused = scene.proxy.send_request(scene.now, message(TO_BOB));
    assert_eq!(refused, Err(OwnRequestError::TooMany));
}
