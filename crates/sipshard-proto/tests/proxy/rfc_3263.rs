//! RFC 3263 §4.3 and §4.4: which of several hops is tried, and what happens when it fails.

use crate::draft::{ack_to_failure, answer, cancel, request};
use crate::locating::{hops, TO_NAME};
use crate::scene::{only, target, Scene, Sent, ALICE, BOB, CAROL, TO_CAROL};
use sipshard_proto::proxy::{ForwardOptions, Hop};
use sipshard_proto::Count;

const DAVE: &str = "192.0.2.40:5060";
const TIMER_B_MS: u64 = 32_000;

/// Alice's INVITE on its way to the first of these hops.
fn ring(scene: &mut Scene, addresses: &[&str]) -> Sent {
    ring_as(scene, addresses, ForwardOptions::default())
}

fn ring_as(scene: &mut Scene, addresses: &[&str], options: ForwardOptions) -> Sent {
    assert!(scene.ring_as(vec![target(TO_NAME)], options).is_empty());
    scene.lookup();
    only(scene.located(addresses))
}

/// Another request to the same name; where it goes.
fn next_goes_to(scene: &mut Scene, branch: &str) -> String {
    scene.receive(ALICE, &request("MESSAGE").branch(branch));
    let id = scene.question().id;
    let copy = only(scene.forward(id, &[TO_NAME]));
    copy.to.to_string()
}

/// The connection or socket of the copy that was sent last has failed.
fn fail_to_send(scene: &mut Scene, copy: &Sent) -> Vec<Sent> {
    let via = copy.values("Via").remove(0);
    let digits = via.split("branch=z9hG4bK").nth(1).unwrap();
    let handle = u64::from_str_radix(&digits[2..18], 16).unwrap();
    let client = sipshard_proto::Handle::from_u64(handle);
    scene.proxy.handle_unsent(scene.now, client);
    scene.take_sent()
}

fn branch_of(sent: &Sent) -> String {
    let via = sent.values("Via").remove(0);
    via.split("branch=").nth(1).unwrap().into()
}

fn with_retry_after(copy: &Sent, seconds: &str) -> crate::draft::Draft {
    answer(copy, 503).with("Retry-After", seconds)
}

#[test]
fn section_3263_4_3_a_hop_that_does_not_answer_is_followed_by_the_next_one() {
    let mut scene = Scene::new();
    let first = ring(&mut scene, &[BOB, CAROL]);
    assert_eq!(first.to, BOB.parse().unwrap());
    let sent = scene.pass_ms(TIMER_B_MS);
    let second = sent.last().unwrap();
    assert_eq!(
        (second.to, second.at_ms),
        (CAROL.parse().unwrap(), TIMER_B_MS)
    );
    assert_eq!(second.line(), first.line());
    assert_ne!(
        branch_of(second),
        branch_of(&first),
        "§4.3: a new branch ID"
    );
    assert_eq!(scene.count(Count::Failovers), 1);
    let sent = scene.receive(CAROL, &answer(second, 200));
    assert!(only(sent).is("SIP/2.0 200 "));
    assert!(scene.pass_ms(1_000).is_empty(), "nothing goes on to Bob");
    scene.close();
}

#[test]
fn section_3263_4_3_a_hop_that_cannot_be_reached_is_followed_at_once() {
    let mut scene = Scene::new();
    let first = ring(&mut scene, &[BOB, CAROL, DAVE]);
    let second = only(fail_to_send(&mut scene, &first));
    let third = only(fail_to_send(&mut scene, &second));
    assert_eq!(
        (second.to, third.to),
        (CAROL.parse().unwrap(), DAVE.parse().unwrap())
    );
    let sent = only(fail_to_send(&mut scene, &third));
    assert!(sent.is("SIP/2.0 500 "), "none is left");
    scene.receive(ALICE, &ack_to_failure());
    scene.close();
}

#[test]
fn section_3263_4_3_a_503_is_acknowledged_and_followed_by_the_next_hop() {
    let mut scene = Scene::new();
    let first = ring(&mut scene, &[BOB, CAROL]);
    let mut sent = scene.receive(BOB, &answer(&first, 503));
    let second = sent.pop().unwrap();
    assert!(only(sent).is("ACK "));
    assert_eq!(second.to, CAROL.parse().unwrap());
    let repeated = only(scene.receive(BOB, &answer(&first, 503)));
    assert!(repeated.is("ACK "), "and no third copy");
    // The ACK to the first hop's failure is lost: that is not the second one's fault.
    assert!(fail_to_send(&mut scene, &first).is_empty());
    let sent = scene.receive(CAROL, &answer(&second, 503));
    assert!(
        sent[0].is("ACK ") && sent[1].is("SIP/2.0 500 "),
        "none is left"
    );
    scene.receive(ALICE, &ack_to_failure());
    scene.close();
}

#[test]
fn section_3263_4_3_any_other_failure_is_an_answer() {
    for status in [404, 486, 500, 504, 603] {
        let mut scene = Scene::new();
        let first = ring(&mut scene, &[BOB, CAROL]);
        let sent = scene.receive(BOB, &answer(&first, status));
        assert!(sent[1].is(&format!("SIP/2.0 {status} ")));
        assert_eq!(sent.len(), 2);
        scene.receive(ALICE, &ack_to_failure());
        scene.close();
    }
}

#[test]
fn section_3263_4_3_holds_for_every_method() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    scene.forward(id, &[TO_NAME]);
    let first = only(scene.located(&[BOB, CAROL, DAVE]));
    let second = only(scene.receive(BOB, &answer(&first, 503)));
    let sent = scene.pass_ms(TIMER_B_MS);
    let third = sent.last().unwrap();
    assert_eq!(
        (second.to, third.to),
        (CAROL.parse().unwrap(), DAVE.parse().unwrap())
    );
    assert!(only(scene.receive(DAVE, &answer(third, 200))).is("SIP/2.0 200 "));
    scene.close();
}

#[test]
fn section_3263_4_3_a_hop_that_has_said_anything_is_not_left() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    scene.forward(id, &[TO_NAME]);
    let first = only(scene.located(&[BOB, CAROL]));
    scene.receive(BOB, &answer(&first, 100));
    let mut sent = scene.pass_ms(TIMER_B_MS);
    sent.retain(|sent| !sent.is("SIP/2.0 100 "));
    assert!(sent.iter().all(|sent| sent.to == first.to), "{sent:?}");
    scene.close();

    let mut scene = Scene::new();
    let first = ring(&mut scene, &[BOB, CAROL]);
    scene.receive(BOB, &answer(&first, 180));
    let sent = fail_to_send(&mut scene, &first);
    assert!(sent.is_empty(), "a phone must not ring twice: {sent:?}");
    let picked_up = only(scene.receive(BOB, &answer(&first, 200)));
    assert!(picked_up.is("SIP/2.0 200 "), "whatever it comes through");
    scene.close();
}

#[test]
fn section_3263_4_3_nothing_is_tried_for_a_caller_who_gave_up() {
    for status in [None, Some(503)] {
        let mut scene = Scene::new();
        let first = ring(&mut scene, &[BOB, CAROL]);
        scene.receive(ALICE, &cancel());
        let sent = match status {
            Some(status) => scene.receive(BOB, &answer(&first, status)),
            None => scene.pass_ms(TIMER_B_MS),
        };
        assert!(sent.iter().all(|sent| sent.to != CAROL.parse().unwrap()));
        assert_eq!(scene.count(Count::Failovers), 0);
        scene.receive(ALICE, &ack_to_failure());
        scene.close();
    }
}

#[test]
fn section_3263_4_3_the_policys_limit_is_for_all_hops_together() {
    let mut scene = Scene::new();
    let options = ForwardOptions {
        ring_timeout_ms: Some(20_000),
        ..ForwardOptions::default()
    };
    let first = ring_as(&mut scene, &[BOB, CAROL, DAVE], options);
    scene.pass_ms(15_000);
    let second = scene.receive(BOB, &answer(&first, 503)).remove(1);
    scene.receive(CAROL, &answer(&second, 180));
    let sent = scene.pass_ms(5_000);
    let last = only(sent);
    assert!(last.is("CANCEL ") && last.at_ms == 20_000);
    let sent = scene.receive(CAROL, &answer(&second, 503));
    assert!(
        sent[1].is("SIP/2.0 408 "),
        "its time is over, no third hop: {sent:?}"
    );
    scene.receive(ALICE, &ack_to_failure());
    scene.close();
}

#[test]
fn section_3263_4_3_a_limit_that_ends_in_silence_ends_the_branch() {
    let mut scene = Scene::new();
    let options = ForwardOptions {
        ring_timeout_ms: Some(5_000),
        ..ForwardOptions::default()
    };
    ring_as(&mut scene, &[BOB, CAROL], options);
    let sent = scene.pass_ms(5_000);
    assert!(sent.last().unwrap().is("SIP/2.0 408 "));
    scene.receive(ALICE, &ack_to_failure());
    scene.pass_ms(TIMER_B_MS);
    assert_eq!(scene.count(Count::Failovers), 0);
    assert_eq!(
        scene.count(Count::HopsBlocked),
        1,
        "but Bob was silent for 64*T1"
    );
    scene.close();
}

#[test]
fn section_3263_4_3_a_6xx_elsewhere_ends_the_search_here() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let carol = only(scene.forward(id, &[TO_NAME, TO_CAROL]));
    let first = only(scene.located(&[BOB, DAVE]));
    scene.receive(CAROL, &answer(&carol, 603));
    let sent = only(scene.receive(BOB, &answer(&first, 503)));
    assert!(sent.is("SIP/2.0 603 "));
    scene.close();
}

#[test]
fn section_3263_4_3_a_dead_hop_is_tried_last_for_half_a_minute() {
    let mut scene = Scene::new();
    let first = ring(&mut scene, &[BOB, CAROL]);
    fail_to_send(&mut scene, &first);
    assert_eq!(scene.count(Count::HopsBlocked), 1);
    assert_eq!(next_goes_to(&mut scene, "1"), CAROL);
    scene.pass_ms(29_999);
    assert_eq!(next_goes_to(&mut scene, "2"), CAROL);
    scene.pass_ms(1);
    assert_eq!(next_goes_to(&mut scene, "3"), BOB);
}

#[test]
fn section_3263_4_3_hops_that_are_all_dead_are_tried_all_the_same() {
    let mut scene = Scene::new();
    let first = ring(&mut scene, &[BOB, CAROL]);
    let second = only(fail_to_send(&mut scene, &first));
    fail_to_send(&mut scene, &second);
    assert_eq!(next_goes_to(&mut scene, "1"), BOB);
}

#[test]
fn section_3263_4_3_a_hop_that_another_call_found_dead_meanwhile_is_passed_over() {
    let mut scene = Scene::new();
    let first = ring(&mut scene, &[BOB, CAROL, DAVE]);
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let message = only(scene.forward(id, &[TO_CAROL]));
    fail_to_send(&mut scene, &message);
    let second = only(fail_to_send(&mut scene, &first));
    assert_eq!(second.to, DAVE.parse().unwrap());
    let third = only(fail_to_send(&mut scene, &second));
    assert_eq!(third.to, CAROL.parse().unwrap(), "last, but not dropped");
}

#[test]
fn section_21_5_4_a_503_says_for_how_long_its_hop_is_avoided() {
    for (value, until_ms) in [
        ("120", 120_000),
        ("7 (lunch);duration=60", 7_000),
        ("100000", 300_000),
        ("99999999999999999999999", 300_000),
    ] {
        let mut scene = Scene::new();
        let first = ring(&mut scene, &[BOB, CAROL]);
        // The answer is kept for long enough.
        let question = crate::locating::question();
        let known = hops(&[BOB, CAROL]);
        scene
            .proxy
            .handle_located(scene.now, &question, known, 3_600);
        scene.receive(BOB, &with_retry_after(&first, value));
        scene.pass_ms(until_ms - 1);
        assert_eq!(next_goes_to(&mut scene, "1"), CAROL, "{value}");
        scene.pass_ms(1);
        assert_eq!(next_goes_to(&mut scene, "2"), BOB, "{value}");
    }
}

#[test]
fn section_21_5_4_a_503_without_retry_after_is_forgotten_with_its_request() {
    for value in [None, Some("0"), Some("soon")] {
        let mut scene = Scene::new();
        let first = ring(&mut scene, &[BOB, CAROL]);
        let failure = match value {
            Some(value) => with_retry_after(&first, value),
            None => answer(&first, 503),
        };
        scene.receive(BOB, &failure);
        assert_eq!(next_goes_to(&mut scene, "1"), BOB);
        assert_eq!(scene.count(Count::HopsBlocked), 0);
    }
}

#[test]
fn a_hop_that_answers_is_forgiven() {
    let mut scene = Scene::new();
    let first = ring(&mut scene, &[BOB, CAROL]);
    scene.receive(BOB, &with_retry_after(&first, "200"));
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let direct = only(scene.forward(id, &["sip:bob@192.0.2.20"]));
    assert_eq!(next_goes_to(&mut scene, "1"), CAROL);
    scene.receive(BOB, &answer(&direct, 404));
    assert_eq!(next_goes_to(&mut scene, "2"), BOB);
}

#[test]
fn section_3263_4_4_every_request_of_a_call_goes_to_the_same_hop_and_calls_are_spread() {
    let alike = |number: u8| Hop {
        priority: 0,
        ..hops(&[&format!("192.0.2.{number}:5060")])[0]
    };
    let mut scene = Scene::new();
    scene.ring(&[TO_NAME]);
    let question = scene.lookup();
    scene.located_as(&question, vec![alike(20), alike(30), alike(40)]);
    let mut destinations = std::collections::BTreeSet::new();
    for call in 0..30 {
        let mut first = None;
        for method in ["INVITE", "INFO", "BYE"] {
            let draft = request(method)
                .instead("Call-ID", &format!("call-{call}"))
                .branch(&format!("{method}{call}"));
            scene.receive(ALICE, &draft);
            let id = scene.question().id;
            let copy = scene.forward(id, &[TO_NAME]).pop().unwrap();
            assert_eq!(*first.get_or_insert(copy.to), copy.to);
        }
        destinations.extend(first);
        // However DNS turns the records from answer to answer.
        let turned = vec![alike(40), alike(20), alike(30)];
        scene.located_as(&question, turned);
    }
    assert_eq!(destinations.len(), 3);
}

#[test]
fn section_3263_4_3_a_late_200_of_a_hop_that_was_left_still_reaches_the_caller() {
    let mut scene = Scene::new();
    let first = ring(&mut scene, &[BOB, CAROL]);
    scene.pass_ms(TIMER_B_MS);
    let sent = only(scene.receive(BOB, &answer(&first, 200)));
    assert!(sent.is("SIP/2.0 200 "));
    assert_eq!(sent.to, ALICE.parse().unwrap());
}
