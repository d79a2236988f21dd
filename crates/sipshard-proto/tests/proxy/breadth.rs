//! RFC 5393 §5, Max-Breadth, and how many targets one request may have.

use crate::draft::{answer, invite, request};
use crate::scene::{only, settings, target, Scene, Sent, ALICE, BOB, TO_BOB, TO_CAROL};
use sipshard_proto::proxy::{ForwardOptions, Settings, Target};
use sipshard_proto::Count;

fn targets(count: usize) -> Vec<Target> {
    let uri = |number| format!("sip:phone@192.0.2.{}", 100 + number);
    (0..count).map(|number| target(&uri(number))).collect()
}

/// The copies of Alice's MESSAGE, which came with that Max-Breadth.
fn forked(scene: &mut Scene, breadth: Option<&str>, count: usize) -> Vec<Sent> {
    let mut message = request("MESSAGE");
    if let Some(breadth) = breadth {
        message = message.with("Max-Breadth", breadth);
    }
    scene.receive(ALICE, &message);
    let id = scene.question().id;
    scene.forward_as(id, targets(count), ForwardOptions::default())
}

fn shares(sent: &[Sent]) -> Vec<String> {
    sent.iter()
        .flat_map(|sent| sent.values("Max-Breadth"))
        .collect()
}

#[test]
fn rfc_5393_5_3_3_the_breadth_is_divided_among_parallel_branches() {
    let mut scene = Scene::new();
    assert_eq!(shares(&forked(&mut scene, Some("7"), 3)), ["3", "2", "2"]);
}

#[test]
fn rfc_5393_5_3_3_without_the_header_60_are_divided() {
    let mut scene = Scene::new();
    assert_eq!(shares(&forked(&mut scene, None, 2)), ["30", "30"]);
}

#[test]
fn rfc_5393_5_3_3_a_request_that_is_not_forked_keeps_what_it_has() {
    let mut scene = Scene::new();
    assert_eq!(shares(&forked(&mut scene, Some("7"), 1)), ["7"]);
    let mut scene = Scene::new();
    assert!(shares(&forked(&mut scene, None, 1)).is_empty());
}

#[test]
fn rfc_5393_5_3_3_what_exceeds_the_breadth_is_tried_one_after_the_other() {
    let mut scene = Scene::new();
    let mut copies = forked(&mut scene, Some("2"), 5);
    assert_eq!(shares(&copies), ["1", "1"]);
    for more in [2, 1] {
        assert!(scene.receive(BOB, &answer(&copies[0], 404)).is_empty());
        copies = scene.receive(BOB, &answer(&copies[1], 404));
        assert_eq!(copies.len(), more, "the breadth is used anew");
    }
    assert_eq!(shares(&copies), ["2"]);
    assert!(only(scene.receive(BOB, &answer(&copies[0], 404))).is("SIP/2.0 404 "));
    scene.close();
}

#[test]
fn rfc_5393_5_3_3_without_breadth_a_request_gets_440() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &invite().with("Max-Breadth", "0"));
    let id = scene.question().id;
    let sent = scene.forward(id, &[TO_BOB]);
    assert!(sent.last().unwrap().is("SIP/2.0 440 Max-Breadth Exceeded"));
    assert!(sent.iter().all(|sent| !sent.is("INVITE ")));
    scene.close();
}

#[test]
fn rfc_5393_5_3_3_without_breadth_a_request_may_be_answered_here() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("OPTIONS").with("Max-Breadth", "0"));
    let id = scene.question().id;
    assert!(only(scene.respond(id, 200).unwrap()).is("SIP/2.0 200 "));
}

#[test]
fn rfc_5393_5_a_breadth_that_is_no_number_counts_as_absent() {
    let mut scene = Scene::new();
    assert_eq!(shares(&forked(&mut scene, Some("many"), 2)), ["30", "30"]);
}

#[test]
fn rfc_5393_3_a_request_has_so_many_targets_and_the_least_preferred_are_left_out() {
    let mut scene = Scene::with(Settings {
        max_branches: 2,
        ..settings()
    });
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let mut given = targets(4);
    given[0].q_milli = 100;
    let copies = scene.forward_as(id, given, ForwardOptions::default());
    let called: Vec<String> = copies.iter().map(|copy| copy.to.to_string()).collect();
    assert_eq!(called, ["192.0.2.101:5060", "192.0.2.102:5060"]);
    assert_eq!(scene.count(Count::TargetsDropped), 2);
    for copy in &copies {
        scene.receive(BOB, &answer(copy, 404));
    }
    assert_eq!(scene.proxy.unfinished_count(), 0, "nothing else is tried");
}

#[test]
fn rfc_5393_5_the_next_group_gets_the_whole_breadth() {
    let mut scene = Scene::new();
    let mut later = target(TO_CAROL);
    later.q_milli = 100;
    scene.receive(ALICE, &request("MESSAGE").with("Max-Breadth", "1"));
    let id = scene.question().id;
    let first = only(scene.forward_as(id, vec![target(TO_BOB), later], ForwardOptions::default()));
    let second = only(scene.receive(BOB, &answer(&first, 404)));
    assert_eq!(shares(&[first, second]), ["1", "1"]);
}
