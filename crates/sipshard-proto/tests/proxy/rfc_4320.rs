//! RFC 4320 §4: when a non-INVITE gets a provisional response, and when it gets nothing.

use crate::draft::{answer, request};
use crate::scene::{only, settings, Scene, ALICE, BOB, TO_BOB};
use sipshard_proto::proxy::Settings;
use sipshard_proto::transaction::timer::TimerValues;

#[test]
fn rfc_4320_4_1_a_non_invite_gets_a_100_when_timer_e_has_grown_to_t2_and_not_before() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE").with("Timestamp", "7"));
    let id = scene.question().id;
    scene.forward(id, &[TO_BOB]);
    let sent = scene.pass_ms(20_000);
    let to_alice: Vec<_> = sent
        .iter()
        .filter(|sent| sent.to == ALICE.parse().unwrap())
        .collect();
    assert_eq!(to_alice.len(), 1);
    assert!(to_alice[0].is("SIP/2.0 100 Trying"));
    assert_eq!(to_alice[0].at_ms, 500 + 1_000 + 2_000);
    let again = only(scene.receive(ALICE, &request("MESSAGE")));
    assert!(
        again.is("SIP/2.0 100 "),
        "a repeated request hears it again"
    );
}

#[test]
fn rfc_4320_4_1_the_time_follows_t1_and_t2() {
    let timers = TimerValues {
        t1_ms: 100,
        t2_ms: 300,
        ..TimerValues::default()
    };
    let mut scene = Scene::with(Settings {
        timers,
        ..settings()
    });
    scene.receive(ALICE, &request("MESSAGE"));
    scene.question();
    assert_eq!(only(scene.pass_ms(2_000)).at_ms, 100 + 200);
}

#[test]
fn rfc_4320_4_1_a_policy_that_thinks_for_long_does_not_keep_the_100_back() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("REGISTER"));
    let id = scene.question().id;
    assert!(only(scene.pass_ms(5_000)).is("SIP/2.0 100 "));
    assert!(only(scene.respond(id, 200).unwrap()).is("SIP/2.0 200 "));
    scene.close();
}

#[test]
fn rfc_4320_4_1_an_answer_in_time_makes_the_100_needless() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let copy = only(scene.forward(id, &[TO_BOB]));
    scene.pass_ms(400);
    assert!(only(scene.receive(BOB, &answer(&copy, 200))).is("SIP/2.0 200 "));
    assert!(scene.pass_ms(20_000).is_empty());
    scene.close();
}

#[test]
fn rfc_4320_4_1_a_100_from_downstream_is_not_passed_on() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let copy = only(scene.forward(id, &[TO_BOB]));
    assert!(scene.receive(BOB, &answer(&copy, 100)).is_empty());
    assert!(only(scene.receive(BOB, &answer(&copy, 202))).is("SIP/2.0 202 "));
}

#[test]
fn rfc_4320_4_2_after_a_408_from_downstream_nothing_is_said_at_all() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let copy = only(scene.forward(id, &[TO_BOB]));
    assert!(scene.receive(BOB, &answer(&copy, 408)).is_empty());
    assert!(scene.pass_ms(40_000).is_empty());
    scene.close();
}
