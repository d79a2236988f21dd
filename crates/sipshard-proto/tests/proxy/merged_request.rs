//! RFC 3261 §8.2.2.2, merged requests: refused where this server answers, forwarded where it is a proxy.

use crate::draft::{invite, request, Draft};
use crate::scene::{only, Scene, Sent, ALICE, BOB, TO_BOB, TO_CAROL};
use sipshard_proto::Count;

/// Another branch of the same request, forked by a proxy before us.
fn twin(draft: Draft) -> Draft {
    draft.branch("forked-upstream")
}

/// What the driver does before the registrar or the policy answers as what the request was meant for.
fn served(scene: &mut Scene, draft: &Draft) -> Sent {
    scene.receive(ALICE, draft);
    let id = scene.question().id;
    if scene.proxy.refuse_merged(scene.now, id) {
        return only(scene.take_sent());
    }
    only(scene.respond(id, 200).unwrap())
}

#[test]
fn section_8_2_2_2_the_second_copy_of_a_request_that_we_answer_gets_482() {
    for method in ["REGISTER", "OPTIONS"] {
        let mut scene = Scene::new();
        assert!(served(&mut scene, &request(method)).is("SIP/2.0 200 "));
        let refused = served(&mut scene, &twin(request(method)));
        assert!(refused.is("SIP/2.0 482 Loop Detected"));
        assert_eq!(scene.count(Count::MergedRequests), 1);
        scene.close();
    }
}

#[test]
fn section_8_2_2_2_the_first_copy_may_still_wait_for_its_answer() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("REGISTER"));
    let id = scene.question().id;
    assert!(!scene.proxy.refuse_merged(scene.now, id), "it is the first");
    assert!(!scene.proxy.refuse_merged(scene.now, id), "and stays it");
    assert!(served(&mut scene, &twin(request("REGISTER"))).is("SIP/2.0 482 "));
    assert!(only(scene.respond(id, 200).unwrap()).is("SIP/2.0 200 "));
}

#[test]
fn section_8_2_2_2_another_request_is_no_copy() {
    let differences: [fn(Draft) -> Draft; 4] = [
        |draft| draft.instead("CSeq", "2 OPTIONS"),
        |draft| draft.instead("Call-ID", "call-2"),
        |draft| draft.instead("From", "<sip:alice@example.com>;tag=other"),
        |draft| draft.instead("To", "<sip:bob@example.com>;tag=in-a-dialog"),
    ];
    for differ in differences {
        let mut scene = Scene::new();
        served(&mut scene, &request("OPTIONS"));
        let other = differ(twin(request("OPTIONS")));
        assert!(served(&mut scene, &other).is("SIP/2.0 200 "));
    }
}

#[test]
fn section_8_2_2_2_when_the_first_transaction_has_ended_it_is_a_new_request() {
    let mut scene = Scene::new();
    served(&mut scene, &request("OPTIONS"));
    scene.pass_ms(40_000);
    assert!(served(&mut scene, &twin(request("OPTIONS"))).is("SIP/2.0 200 "));
}

#[test]
fn section_16_the_branches_of_a_fork_upstream_are_all_forwarded() {
    for draft in [invite(), request("MESSAGE")] {
        let mut scene = Scene::new();
        for (copy, uri) in [(draft.clone(), TO_BOB), (twin(draft), TO_CAROL)] {
            scene.receive(ALICE, &copy);
            let id = scene.question().id;
            let sent = scene.forward(id, &[uri]);
            assert!(sent.iter().all(|sent| !sent.is("SIP/2.0 4")));
        }
        assert_eq!(scene.count(Count::MergedRequests), 0);
    }
}

#[test]
fn section_8_2_2_2_a_spiral_that_ends_here_is_answered() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("OPTIONS"));
    let id = scene.question().id;
    let copy = only(scene.forward(id, &[TO_BOB]));
    // Bob's box sends it back for the server itself: the same request, but we have only forwarded it before.
    let mut back = request("OPTIONS").at_uri("sip:192.0.2.1");
    back = back.instead("Via", "SIP/2.0/UDP 192.0.2.20;branch=z9hG4bK-box");
    back = back.with("Via", &copy.values("Via")[0]);
    scene.receive(BOB, &back);
    let id = scene.question().id;
    assert!(!scene.proxy.refuse_merged(scene.now, id));
}
