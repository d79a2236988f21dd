//! What is refused when there is too much work, and what is not.

use crate::dialog;
use crate::draft::{answer, cancel, in_dialog, request};
use crate::scene::{only, settings, target, Scene, ALICE, BOB, TO_BOB};
use sipshard_proto::proxy::Settings;
use sipshard_proto::Count;

fn small() -> Scene {
    Scene::with(Settings {
        max_transactions: 16,
        ..settings()
    })
}

fn fill(scene: &mut Scene, count: usize) {
    for number in 0..count {
        let options = request("OPTIONS").branch(&format!("fill-{number}"));
        scene.receive(ALICE, &options);
    }
}

#[test]
fn a_full_table_refuses_new_work_and_keeps_an_eighth_for_dialogs() {
    let mut scene = small();
    let success = dialog::open(&mut scene);
    let taken = scene.proxy.transaction_count();
    fill(&mut scene, 14 - taken);
    assert_eq!(scene.count(Count::RefusedTransactionsFull), 0);
    let sent = only(scene.receive(ALICE, &request("OPTIONS")));
    assert!(sent.is("SIP/2.0 503 "));
    assert_eq!(sent.values("Retry-After"), ["5"]);
    assert_eq!(scene.count(Count::RefusedTransactionsFull), 1);
    assert_eq!(scene.proxy.transaction_count(), 14, "it left no trace");
    let bye = only(scene.receive(ALICE, &in_dialog("BYE", &success)));
    assert!(bye.is("BYE "), "the reserve");
    assert_eq!(scene.proxy.transaction_count(), 16);
    let bye = in_dialog("BYE", &success).branch("bye-2");
    assert!(only(scene.receive(ALICE, &bye)).is("SIP/2.0 503 "));
}

#[test]
fn a_full_table_goes_on_with_what_it_has() {
    let mut scene = small();
    let copy = only(scene.ring(&[TO_BOB]));
    fill(&mut scene, 20);
    scene.receive(BOB, &answer(&copy, 180));
    let sent = scene.receive(ALICE, &cancel());
    assert!(sent[0].is("SIP/2.0 200 ") && sent[1].is("CANCEL "));
    let sent = scene.receive(BOB, &answer(&copy, 487));
    assert!(sent[1].is("SIP/2.0 487 "));
    scene.close();
}

#[test]
fn there_is_room_again_when_transactions_have_ended() {
    let mut scene = small();
    fill(&mut scene, 20);
    scene.pass_ms(70_000);
    scene.receive(ALICE, &request("OPTIONS"));
    assert_eq!(scene.count(Count::RefusedTransactionsFull), 6);
}

#[test]
fn a_stopping_worker_refuses_new_work_and_finishes_what_runs() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    assert!(!scene.proxy.is_stopping());
    scene.proxy.stop_accepting(7);
    assert!(scene.proxy.is_stopping());
    let sent = only(scene.receive(ALICE, &request("OPTIONS")));
    assert!(sent.is("SIP/2.0 503 "));
    assert_eq!(sent.values("Retry-After"), ["7"]);
    assert_eq!(scene.count(Count::RefusedStopping), 1);
    let copy = only(scene.forward_as(id, vec![target(TO_BOB)], Default::default()));
    assert_eq!(scene.receive(BOB, &answer(&copy, 200)).len(), 1);
    assert!(only(scene.receive(ALICE, &in_dialog("BYE", &success))).is("BYE "));
    scene.close();
}
