//! RFC 3261 §16.8, Timer C, and the policy's own shorter limit.

use crate::draft::answer;
use crate::scene::{only, target, Scene, Sent, BOB, TO_BOB};
use sipshard_proto::proxy::ForwardOptions;

const C_MS: u64 = 180_000;

fn start(sent: &[Sent], start: &str) -> Option<u64> {
    let found = sent.iter().find(|sent| sent.is(start));
    found.map(|sent| sent.at_ms)
}

fn ring_for(scene: &mut Scene, ring_timeout_ms: u64) -> Sent {
    let options = ForwardOptions {
        ring_timeout_ms: Some(ring_timeout_ms),
        ..ForwardOptions::default()
    };
    only(scene.ring_as(vec![target(TO_BOB)], options))
}

#[test]
fn section_16_8_a_branch_that_only_rings_is_cancelled_and_counts_as_408() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 100));
    let sent = only(scene.pass_ms(C_MS));
    assert!(sent.is("CANCEL "));
    assert_eq!(sent.at_ms, C_MS);
    assert!(scene.receive(BOB, &answer(&sent, 200)).is_empty());
    let sent = scene.receive(BOB, &answer(&copy, 487));
    assert!(sent[0].is("ACK ") && sent[1].is("SIP/2.0 408 "));
    scene.close();
}

#[test]
fn section_16_7_step_2_timer_c_starts_again_with_every_101_to_199() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    for _ in 0..3 {
        scene.receive(BOB, &answer(&copy, 180));
        assert_eq!(start(&scene.pass_ms(C_MS - 1), "CANCEL"), None);
    }
    scene.receive(BOB, &answer(&copy, 180));
    // A 100 says nothing new.
    scene.pass_ms(C_MS - 1);
    scene.receive(BOB, &answer(&copy, 100));
    assert!(only(scene.pass_ms(1)).is("CANCEL "));
    scene.close();
}

#[test]
fn section_16_8_without_a_provisional_response_the_branch_ends_as_408_without_cancel() {
    let mut scene = Scene::new();
    ring_for(&mut scene, 3_000);
    let sent = scene.pass_ms(3_000);
    assert_eq!(start(&sent, "SIP/2.0 408"), Some(3_000));
    assert_eq!(start(&sent, "CANCEL"), None);
    scene.close();
}

#[test]
fn the_policys_limit_is_for_the_whole_time_of_ringing() {
    let mut scene = Scene::new();
    let copy = ring_for(&mut scene, 20_000);
    scene.pass_ms(300);
    for _ in 0..3 {
        scene.receive(BOB, &answer(&copy, 180));
        assert!(scene.pass_ms(6_000).is_empty());
    }
    let sent = scene.pass_ms(2_000);
    assert_eq!(start(&sent, "CANCEL"), Some(20_000));
    scene.close();
}

#[test]
fn a_limit_beyond_timer_c_does_not_keep_a_dead_branch() {
    let mut scene = Scene::new();
    let copy = ring_for(&mut scene, 2 * C_MS);
    scene.receive(BOB, &answer(&copy, 180));
    assert_eq!(start(&scene.pass_ms(C_MS - 1), "CANCEL"), None);
    scene.receive(BOB, &answer(&copy, 180));
    assert_eq!(start(&scene.pass_ms(C_MS - 1), "CANCEL"), None, "alive");
    assert!(only(scene.pass_ms(1)).is("CANCEL "));
    scene.close();
}

#[test]
fn section_9_1_a_cancelled_branch_that_never_answers_is_given_up_after_64_t1() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    assert!(only(scene.pass_ms(C_MS)).is("CANCEL "));
    let sent = scene.pass_ms(32_000);
    assert_eq!(start(&sent, "SIP/2.0 408"), Some(C_MS + 32_000));
    scene.close();
}

#[test]
fn section_9_1_a_branch_that_rings_on_after_the_cancel_is_given_up_all_the_same() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    assert!(only(scene.pass_ms(C_MS)).is("CANCEL "));
    scene.pass_ms(1_000);
    scene.receive(BOB, &answer(&copy, 180));
    let sent = scene.pass_ms(31_000);
    assert_eq!(start(&sent, "SIP/2.0 408"), Some(C_MS + 32_000));
    scene.close();
}

#[test]
fn a_2xx_in_spite_of_timer_c_is_forwarded() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_BOB]));
    scene.receive(BOB, &answer(&copy, 180));
    scene.pass_ms(C_MS);
    assert!(only(scene.receive(BOB, &answer(&copy, 200))).is("SIP/2.0 200"));
    scene.close();
}

#[test]
fn section_16_8_a_slow_phone_that_was_given_up_is_cancelled_when_it_rings() {
    let mut scene = Scene::new();
    let copy = ring_for(&mut scene, 3_000);
    assert_eq!(start(&scene.pass_ms(3_000), "SIP/2.0 408"), Some(3_000));
    let cancel = only(scene.receive(BOB, &answer(&copy, 180)));
    assert!(cancel.is("CANCEL "));
    assert!(scene.receive(BOB, &answer(&copy, 180)).is_empty());
    assert!(scene.receive(BOB, &answer(&cancel, 200)).is_empty());
    assert!(only(scene.receive(BOB, &answer(&copy, 487))).is("ACK "));
    scene.close();
}

#[test]
fn section_16_8_a_phone_that_was_given_up_is_not_called_again() {
    let mut scene = Scene::new();
    ring_for(&mut scene, 3_000);
    scene.pass_ms(3_000);
    let sent = scene.pass_ms(32_000);
    assert_eq!(start(&sent, "INVITE"), None);
    scene.close();
}

#[test]
fn section_16_7_step_5_a_phone_that_was_given_up_and_answers_is_heard() {
    let mut scene = Scene::new();
    let copy = ring_for(&mut scene, 3_000);
    scene.pass_ms(3_000);
    let sent = only(scene.receive(BOB, &answer(&copy, 200)));
    assert!(sent.is("SIP/2.0 200"));
    scene.close();
}
