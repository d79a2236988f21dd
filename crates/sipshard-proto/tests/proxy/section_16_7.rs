//! RFC 3261 §16.7, response processing.

use crate::dialog::RECORD_ROUTE;
use crate::draft::{ack_to_failure, answer, invite, request};
use crate::scene::{lines, only, target, Scene, Sent, ALICE, BOB, CAROL, TO_BOB, TO_CAROL};
use sipshard_proto::proxy::ForwardOptions;
use sipshard_proto::Count;

#[test]
fn section_16_7_step_3_our_via_is_removed_and_the_rest_kept() {
    let mut scene = Scene::new();
    let copy = only(scene.ring_as(vec![target(TO_BOB)], RECORD_ROUTE));
    let body = b"v=0\0\xfe";
    let ok = answer(&copy, 200).with("X-Kept", "as  it is").body(body);
    let sent = only(scene.receive(BOB, &ok));
    assert!(sent.is("SIP/2.0 200 Some Reason\r\n"));
    assert_eq!(
        sent.values("Via"),
        ["SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK-invite"]
    );
    assert!(sent.text().contains("\r\nX-Kept: as  it is\r\n"));
    assert_eq!(sent.message().body(), body);
    assert_eq!(sent.to, ALICE.parse().unwrap());
}

#[test]
fn section_16_7_step_3_vias_in_one_field_are_told_apart() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    let vias = copy.values("Via").join(" ,\r\n ");
    let ok = answer(&copy, 200).without("Via").with("v", &vias);
    let sent = only(scene.receive(BOB, &ok));
    assert_eq!(
        sent.values("Via"),
        ["SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK-invite"]
    );
}

#[test]
fn section_16_7_step_3_a_response_that_was_for_us_alone_is_dropped() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    let own = copy.values("Via").remove(0);
    let odd = answer(&copy, 200).without("Via").with("Via", &own);
    assert!(scene.receive(BOB, &odd).is_empty());
    assert_eq!(scene.count(Count::StrayResponses), 1);
    let sent = only(scene.receive(BOB, &answer(&copy, 200)));
    assert!(sent.is("SIP/2.0 200"), "the call goes on");
}

#[test]
fn section_16_7_step_5_a_100_is_not_forwarded_other_provisionals_are() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    assert!(scene.receive(BOB, &answer(&copy, 100)).is_empty());
    for status in [180, 183, 199] {
        let sent = only(scene.receive(BOB, &answer(&copy, status)));
        assert!(sent.is(&format!("SIP/2.0 {status} ")));
        assert_eq!(sent.to, ALICE.parse().unwrap());
    }
    scene.close();
}

#[test]
fn rfc_4320_no_provisional_response_but_100_goes_to_a_non_invite() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let copy = only(scene.forward(id, &[TO_BOB]));
    assert!(scene.receive(BOB, &answer(&copy, 183)).is_empty());
    assert!(only(scene.receive(BOB, &answer(&copy, 200))).is("SIP/2.0 200"));
    scene.close();
}

#[test]
fn section_16_7_step_5_a_2xx_goes_at_once_and_the_other_branch_is_cancelled() {
    let mut scene = Scene::new();
    let copies = scene.ring(&[TO_BOB, TO_CAROL]);
    scene.receive(CAROL, &answer(&copies[1], 180));
    let sent = scene.receive(BOB, &answer(&copies[0], 200));
    assert_eq!(
        lines(&sent),
        [
            "SIP/2.0 200 Some Reason -> 192.0.2.10:5062",
            "CANCEL sip:carol@192.0.2.30 SIP/2.0 -> 192.0.2.30:5060"
        ]
    );
    assert_eq!(scene.count(Count::CallsAnswered), 1);
    assert_eq!(scene.proxy.unfinished_count(), 0);
    let sent = scene.receive(CAROL, &answer(&copies[1], 487));
    assert_eq!(
        lines(&sent),
        ["ACK sip:carol@192.0.2.30 SIP/2.0 -> 192.0.2.30:5060"]
    );
    scene.close();
}

#[test]
fn section_16_7_step_5_every_2xx_to_an_invite_is_forwarded() {
    let mut scene = Scene::new();
    let copies = scene.ring(&[TO_BOB, TO_CAROL]);
    scene.receive(CAROL, &answer(&copies[1], 180));
    scene.receive(BOB, &answer(&copies[0], 200));
    for _ in 0..2 {
        // Carol picked up before the CANCEL came, and repeats her 200 until the ACK.
        let sent = only(scene.receive(CAROL, &answer(&copies[1], 200)));
        assert!(sent.is("SIP/2.0 200"));
        assert_eq!(sent.to, ALICE.parse().unwrap());
    }
    assert_eq!(scene.count(Count::CallsAnswered), 1);
    scene.close();
}

#[test]
fn section_16_7_step_5_a_2xx_after_a_failure_went_upstream_is_forwarded_still() {
    let mut scene = Scene::new();
    let options = ForwardOptions {
        ring_timeout_ms: Some(1_000),
        ..ForwardOptions::default()
    };
    let copy = only(scene.ring_as(vec![target(TO_BOB)], options));
    scene.receive(BOB, &answer(&copy, 180));
    let sent = scene.pass_ms(1_000 + 32_000);
    assert!(sent.iter().any(|sent| sent.is("SIP/2.0 408 ")));
    scene.receive(ALICE, &ack_to_failure());
    let sent = only(scene.receive(BOB, &answer(&copy, 200)));
    assert!(sent.is("SIP/2.0 200"));
    assert_eq!(sent.to, ALICE.parse().unwrap());
    scene.close();
}

#[test]
fn section_16_7_step_5_the_second_2xx_to_a_non_invite_is_dropped() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let copies = scene.forward(id, &[TO_BOB, TO_CAROL]);
    assert_eq!(scene.receive(BOB, &answer(&copies[0], 200)).len(), 1);
    assert!(scene.receive(CAROL, &answer(&copies[1], 200)).is_empty());
    scene.close();
}

#[test]
fn section_16_7_step_6_the_best_failure_goes_when_the_last_branch_has_ended() {
    for (first, second, best) in [
        (486, 404, 486),
        (500, 404, 404),
        (404, 302, 302),
        (404, 407, 407),
        (503, 500, 500),
        (603, 302, 603),
        (302, 603, 603),
        (408, 480, 480),
    ] {
        let mut scene = Scene::new();
        let copies = scene.ring(&[TO_BOB, TO_CAROL]);
        let sent = scene.receive(BOB, &answer(&copies[0], first));
        assert!(only(sent).is("ACK "), "it waits for the other");
        let sent = scene.receive(CAROL, &answer(&copies[1], second));
        assert!(sent[0].is("ACK "));
        let line = sent[1].line();
        assert!(line.starts_with(&format!("SIP/2.0 {best} ")), "{line}");
        scene.receive(ALICE, &ack_to_failure());
        scene.close();
    }
}

#[test]
fn section_16_7_step_6_a_lone_503_goes_upstream_as_500() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    let sent = scene.receive(BOB, &answer(&copy, 503).with("Retry-After", "9"));
    assert!(sent[1].is("SIP/2.0 500 "));
    assert!(sent[1].values("Retry-After").is_empty());
    scene.close();
}

#[test]
fn section_16_7_step_7_challenges_of_all_branches_are_collected() {
    let mut scene = Scene::new();
    let copies = scene.ring(&[TO_BOB, TO_CAROL]);
    let bob = answer(&copies[0], 401).with("WWW-Authenticate", "Digest realm=\"b\"");
    scene.receive(BOB, &bob);
    let carol = answer(&copies[1], 407).with("Proxy-Authenticate", "Digest realm=\"c\"");
    let sent = scene.receive(CAROL, &carol);
    assert!(sent[1].is("SIP/2.0 401 "));
    assert_eq!(sent[1].values("WWW-Authenticate"), ["Digest realm=\"b\""]);
    assert_eq!(sent[1].values("Proxy-Authenticate"), ["Digest realm=\"c\""]);
}

#[test]
fn section_16_7_step_5_a_6xx_cancels_the_others_and_ends_the_search() {
    let mut scene = Scene::new();
    let mut later = target("sip:later@192.0.2.40");
    later.q_milli = 100;
    let targets = vec![target(TO_BOB), target(TO_CAROL), later];
    let copies = scene.ring_as(targets, ForwardOptions::default());
    scene.receive(CAROL, &answer(&copies[1], 180));
    let sent = scene.receive(BOB, &answer(&copies[0], 600));
    assert_eq!(
        lines(&sent),
        [
            "ACK sip:bob@192.0.2.20 SIP/2.0 -> 192.0.2.20:5060",
            "CANCEL sip:carol@192.0.2.30 SIP/2.0 -> 192.0.2.30:5060"
        ]
    );
    let sent = scene.receive(CAROL, &answer(&copies[1], 487));
    assert!(sent[0].is("ACK ") && sent[1].is("SIP/2.0 600 "));
    assert_eq!(sent.len(), 2, "nobody new is called");
    scene.close();
}

#[test]
fn section_16_7_step_6_without_any_answer_the_caller_gets_408() {
    let mut scene = Scene::new();
    scene.ring(&[TO_BOB]);
    let sent = scene.pass_ms(32_000);
    let last = sent.last().unwrap();
    assert!(last.is("SIP/2.0 408 "));
    assert_eq!(last.at_ms, 32_000);
    assert_eq!(scene.count(Count::BranchTimeouts), 1);
    scene.receive(ALICE, &ack_to_failure());
    scene.close();
}

#[test]
fn rfc_4320_no_408_goes_to_a_non_invite() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    scene.forward(id, &[TO_BOB]);
    let sent = scene.pass_ms(40_000);
    let expected = ["MESSAGE ", "SIP/2.0 100 "];
    let is_expected = |sent: &Sent| expected.iter().any(|start| sent.is(start));
    assert!(sent.iter().all(is_expected), "{:?}", lines(&sent));
    assert_eq!(scene.proxy.unfinished_count(), 0);
    scene.close();
}

#[test]
fn rfc_4320_a_408_from_downstream_ends_in_silence_and_is_not_tried_anew() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let copy = only(scene.forward(id, &[TO_BOB]));
    assert!(scene.receive(BOB, &answer(&copy, 408)).is_empty());
    assert_eq!(scene.proxy.unfinished_count(), 0);
    // The client goes on repeating its request, and that is the same one still.
    assert!(scene.receive(ALICE, &request("MESSAGE")).is_empty());
    assert!(scene.is_silent());
    scene.close();
}

#[test]
fn section_16_7_step_10_a_failure_is_repeated_until_its_ack() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 486));
    let sent = scene.pass_ms(2_000);
    assert_eq!(sent.len(), 2, "at 500 and 1500 ms");
    assert!(scene.receive(ALICE, &ack_to_failure()).is_empty());
    assert!(scene.pass_ms(40_000).is_empty());
    assert_eq!(scene.count(Count::AcksMissing), 0);
    scene.close();
}

#[test]
fn section_17_2_1_an_ack_that_never_comes_is_counted() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 486));
    scene.pass_ms(32_000);
    assert_eq!(scene.count(Count::AcksMissing), 1);
    scene.close();
}

#[test]
fn section_17_1_3_a_response_must_have_the_method_of_its_request() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    let odd = answer(&copy, 200).instead("CSeq", "1 BYE");
    assert!(scene.receive(BOB, &odd).is_empty());
    assert!(only(scene.receive(BOB, &answer(&copy, 200))).is("SIP/2.0 200"));
}

#[test]
fn a_retransmitted_invite_after_the_2xx_is_absorbed() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 200));
    assert!(scene.receive(ALICE, &invite()).is_empty());
    assert!(scene.is_silent());
    scene.close();
}
