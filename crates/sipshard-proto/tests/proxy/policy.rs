//! What the policy is asked, when, and what its answers do.

use crate::draft::{ack_to_failure, answer, cancel, invite, request};
use crate::scene::{only, target, Scene, Sent, ALICE, BOB, CAROL, TO_BOB, TO_CAROL};
use sipshard_proto::proxy::{DecisionError, Edits, ForwardOptions, OwnResponse, Plan};
use sipshard_proto::Count;

const CONSULT: ForwardOptions = ForwardOptions {
    record_route: false,
    ring_timeout_ms: None,
    report_failure: true,
    recurse: false,
    response_edits: Edits::NONE,
    inspect_responses: false,
};

fn busy(scene: &mut Scene) -> Sent {
    let copy = only(scene.ring_as(vec![target(TO_BOB)], CONSULT));
    assert!(only(scene.receive(BOB, &answer(&copy, 486))).is("ACK "));
    copy
}

#[test]
fn on_failure_the_policy_sees_the_best_response_and_may_try_elsewhere() {
    let mut scene = Scene::new();
    busy(&mut scene);
    let (question, response) = scene.failure();
    assert_eq!(response.status(), 486);
    assert_eq!(response.to_tag(), Some(&b"bob"[..]));
    assert_eq!(question.request.request_uri(), b"sip:bob@example.com");
    let copy = only(scene.forward(question.id, &[TO_CAROL]));
    assert_eq!(copy.to, CAROL.parse().unwrap());
    assert!(only(scene.receive(CAROL, &answer(&copy, 200))).is("SIP/2.0 200"));
    scene.close();
}

#[test]
fn on_failure_the_policy_is_asked_once_for_each_time_it_wants_to_be() {
    let mut scene = Scene::new();
    busy(&mut scene);
    let id = scene.failure().0.id;
    let copy = only(scene.forward_as(id, vec![target(TO_CAROL)], CONSULT));
    scene.receive(CAROL, &answer(&copy, 404));
    let (question, response) = scene.failure();
    assert_eq!(response.status(), 404);
    assert!(scene.proxy.pass_on(scene.now, question.id));
    assert!(only(scene.take_sent()).is("SIP/2.0 404 "));
    assert!(!scene.proxy.pass_on(scene.now, question.id), "only once");
    scene.close();
}

#[test]
fn on_failure_the_policy_may_answer_itself() {
    let mut scene = Scene::new();
    busy(&mut scene);
    let id = scene.failure().0.id;
    assert!(only(scene.respond(id, 302).unwrap()).is("SIP/2.0 302 "));
    scene.close();
}

#[test]
fn on_failure_a_timeout_is_shown_as_408() {
    let mut scene = Scene::new();
    scene.ring_as(vec![target(TO_BOB)], CONSULT);
    let sent = scene.pass_ms(32_000);
    assert!(sent.iter().all(|sent| sent.is("INVITE ")));
    assert_eq!(scene.failure().1.status(), 408);
}

#[test]
fn on_failure_a_cancel_is_not_a_failure() {
    let mut scene = Scene::new();
    let copy = only(scene.ring_as(vec![target(TO_BOB)], CONSULT));
    scene.receive(BOB, &answer(&copy, 180));
    scene.receive(ALICE, &cancel());
    let sent = scene.receive(BOB, &answer(&copy, 487));
    assert!(sent[1].is("SIP/2.0 487 "));
    scene.settled();
    assert!(scene.is_silent());
}

#[test]
fn on_failure_the_policy_is_told_once_that_there_will_be_none() {
    let mut scene = Scene::new();
    let copy = only(scene.ring_as(vec![target(TO_BOB)], CONSULT));
    scene.receive(BOB, &answer(&copy, 200));
    scene.settled();
    scene.receive(BOB, &answer(&copy, 200));
    assert!(scene.is_silent());
}

#[test]
fn section_9_2_a_cancel_while_the_policy_is_consulted_ends_the_request() {
    let mut scene = Scene::new();
    busy(&mut scene);
    let id = scene.failure().0.id;
    let sent = scene.receive(ALICE, &cancel());
    assert!(sent[0].is("SIP/2.0 200 ") && sent[1].is("SIP/2.0 487 "));
    assert_eq!(scene.cancelled().id, id);
    assert!(!scene.proxy.pass_on(scene.now, id));
    scene.close();
}

#[test]
fn a_policy_that_never_decides_costs_a_500() {
    for (method, decides_by_ms) in [("INVITE", 32_200), ("MESSAGE", 32_000)] {
        let mut scene = Scene::new();
        scene.receive(ALICE, &request(method));
        let id = scene.question().id;
        let sent = scene.pass_ms(33_000);
        let last = sent.iter().find(|sent| sent.is("SIP/2.0 500 "));
        assert_eq!(last.map(|sent| sent.at_ms), Some(decides_by_ms));
        assert_eq!(scene.cancelled().id, id);
        assert_eq!(scene.count(Count::DecisionTimeouts), 1);
        assert!(scene.respond(id, 200).is_none(), "too late");
        scene.receive(ALICE, &ack_to_failure());
        scene.close();
    }
}

#[test]
fn a_policy_that_never_decides_about_a_failure_lets_it_pass() {
    let mut scene = Scene::new();
    busy(&mut scene);
    let id = scene.failure().0.id;
    let sent = scene.pass_ms(32_000);
    assert!(only(sent).is("SIP/2.0 486 "));
    assert_eq!(scene.cancelled().id, id);
    assert_eq!(scene.count(Count::DecisionTimeouts), 1);
    scene.close();
}

#[test]
fn a_second_decision_is_not_wanted() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &invite());
    let id = scene.question().id;
    scene.forward(id, &[TO_BOB]);
    assert!(scene.respond(id, 486).is_none(), "a branch rings");
    let plan = Plan {
        targets: vec![target(TO_CAROL)],
        options: ForwardOptions::default(),
    };
    assert_eq!(scene.proxy.forward(scene.now, id, plan), Ok(false));
    assert!(!scene.proxy.pass_on(scene.now, id));
    assert!(scene.take_sent().is_empty());
    scene.close();
}

#[test]
fn a_decision_about_a_request_that_is_gone_is_not_wanted() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("OPTIONS"));
    let id = scene.question().id;
    scene.respond(id, 200);
    scene.pass_ms(40_000);
    assert!(scene.respond(id, 200).is_none());
    let plan = Plan {
        targets: vec![target(TO_BOB)],
        options: ForwardOptions::default(),
    };
    assert_eq!(scene.proxy.forward(scene.now, id, plan), Ok(false));
    assert!(!scene.proxy.pass_on(scene.now, id));
}

#[test]
fn section_8_2_6_a_response_of_the_policy_has_what_a_response_needs() {
    let mut scene = Scene::new();
    let routed = invite().with("Record-Route", "<sip:up;lr>");
    scene.receive(ALICE, &routed);
    let id = scene.question().id;
    let response = OwnResponse {
        reason: Some(b"Here I Am"),
        headers: &[
            (b"Contact", b"<sip:server>"),
            (b"Content-Type", b"text/plain"),
        ],
        body: b"hello",
        ..OwnResponse::of(200)
    };
    assert_eq!(scene.proxy.respond(scene.now, id, response), Ok(true));
    let sent = only(scene.take_sent());
    assert!(sent.is("SIP/2.0 200 Here I Am\r\n"));
    for name in ["Via", "From", "Call-ID", "CSeq", "Record-Route"] {
        let asked = routed.headers.iter().find(|field| field.0 == name).unwrap();
        assert_eq!(sent.values(name), [asked.1.as_str()], "{name}");
    }
    assert!(sent.values("To")[0].starts_with("<sip:bob@example.com>;tag="));
    assert_eq!(sent.values("Content-Length"), ["5"]);
    assert_eq!(sent.message().body(), b"hello");
    assert_eq!(scene.count(Count::CallsAnswered), 1);
    scene.close();
}

#[test]
fn section_8_2_6_2_a_to_tag_that_is_there_stays() {
    let mut scene = Scene::new();
    let to = "<sip:bob@example.com>;tag=there";
    scene.receive(ALICE, &request("OPTIONS").instead("To", to));
    let id = scene.question().id;
    assert_eq!(only(scene.respond(id, 200).unwrap()).values("To"), [to]);
}

#[test]
fn a_response_that_would_be_two_is_refused_and_the_question_stays() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("OPTIONS"));
    let id = scene.question().id;
    let own = OwnResponse::of(200);
    for (response, error) in [
        (OwnResponse::of(100), DecisionError::BadStatus(100)),
        (OwnResponse::of(700), DecisionError::BadStatus(700)),
        (
            OwnResponse {
                reason: Some(b"a\r\nb"),
                ..own
            },
            DecisionError::BadReason,
        ),
        (
            OwnResponse {
                headers: &[(b"X", b"1"), (b"Y", b"a\nb")],
                ..own
            },
            DecisionError::BadHeader(1),
        ),
        (
            OwnResponse {
                headers: &[(b"X y", b"1")],
                ..own
            },
            DecisionError::BadHeader(0),
        ),
    ] {
        assert_eq!(scene.proxy.respond(scene.now, id, response), Err(error));
    }
    assert!(scene.take_sent().is_empty());
    assert!(scene.respond(id, 200).is_some());
}

#[test]
fn questions_are_counted_as_unfinished_until_they_are_answered() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("OPTIONS"));
    assert!(scene.proxy.has_events());
    assert_eq!(scene.proxy.unfinished_count(), 1);
    let id = scene.question().id;
    assert!(!scene.proxy.has_events());
    scene.respond(id, 404);
    assert_eq!(scene.proxy.unfinished_count(), 0);
    assert_eq!(scene.proxy.transaction_count(), 1, "Timer J runs");
}

#[test]
fn section_12_1_1_only_what_makes_a_dialog_repeats_the_record_route() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &invite().with("Record-Route", "<sip:up;lr>"));
    let id = scene.question().id;
    let ringing = only(scene.respond(id, 180).unwrap());
    assert_eq!(ringing.values("Record-Route"), ["<sip:up;lr>"]);
    let refused = only(scene.respond(id, 404).unwrap());
    assert!(refused.values("Record-Route").is_empty());
}

#[test]
fn on_failure_a_new_attempt_starts_with_an_empty_response_context() {
    let mut scene = Scene::new();
    let copies = scene.ring_as(vec![target(TO_BOB), target(TO_CAROL)], CONSULT);
    for (from, copy) in [(BOB, &copies[0]), (CAROL, &copies[1])] {
        let challenge = answer(copy, 401).with("WWW-Authenticate", "Digest realm=\"old\"");
        scene.receive(from, &challenge);
    }
    let id = scene.failure().0.id;
    let copy = only(scene.forward(id, &[TO_CAROL]));
    let challenge = answer(&copy, 407).with("Proxy-Authenticate", "Digest realm=\"new\"");
    let sent = scene.receive(CAROL, &challenge).remove(1);
    assert!(sent.is("SIP/2.0 407 "));
    assert!(sent.values("WWW-Authenticate").is_empty());
}
