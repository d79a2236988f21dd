//! RFC 3261 §16.4, route information preprocessing.

use crate::dialog::{self, RECORD_ROUTE};
use crate::draft::{answer, in_dialog, invite, request};
use crate::scene::{only, target, Scene, ALICE, BOB, TO_BOB};
use sipshard_proto::Count;

const OURS: &str = "<sip:192.0.2.1:5060;lr>";

#[test]
fn section_16_4_our_own_route_is_removed_and_the_rest_kept() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let bye = in_dialog("BYE", &success).with("Route", "<sip:next@192.0.2.30;lr>, <sip:last;lr>");
    let copy = only(scene.receive(ALICE, &bye));
    assert_eq!(copy.line(), "BYE sip:bob@192.0.2.20:5060 SIP/2.0");
    assert_eq!(
        copy.values("Route"),
        ["<sip:next@192.0.2.30;lr>", "<sip:last;lr>"]
    );
    assert_eq!(copy.to, "192.0.2.30:5060".parse().unwrap());
    assert!(scene.is_silent(), "the policy is not asked");
    assert_eq!(scene.count(Count::InDialogRequests), 2, "ACK and BYE");
}

#[test]
fn section_16_4_a_strict_router_upstream_left_the_request_uri_in_the_route() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let own = success.values("Record-Route").remove(0);
    let bye = in_dialog("BYE", &success)
        .without("Route")
        .at_uri(own.trim_matches(['<', '>']))
        .with(
            "Route",
            "<sip:next@192.0.2.30;lr>, <sip:bob@192.0.2.20:5060>",
        );
    let copy = only(scene.receive(ALICE, &bye));
    assert_eq!(copy.line(), "BYE sip:bob@192.0.2.20:5060 SIP/2.0");
    assert_eq!(copy.values("Route"), ["<sip:next@192.0.2.30;lr>"]);
    scene.close();
}

#[test]
fn section_16_4_a_strict_router_upstream_without_more_routes() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let own = success.values("Record-Route").remove(0);
    let bye = in_dialog("BYE", &success)
        .without("Route")
        .at_uri(own.trim_matches(['<', '>']))
        .with("Route", "<sip:bob@192.0.2.20:5060>");
    let copy = only(scene.receive(ALICE, &bye));
    assert_eq!(copy.line(), "BYE sip:bob@192.0.2.20:5060 SIP/2.0");
    assert!(copy.values("Route").is_empty());
    assert_eq!(copy.to, BOB.parse().unwrap());
}

#[test]
fn section_16_4_two_own_routes_are_both_spent() {
    let mut scene = Scene::new();
    let to_v6 = target("sip:bob@[2001:db8::20]");
    let copy = only(scene.ring_as(vec![to_v6], RECORD_ROUTE));
    let ok = answer(&copy, 200).instead("Contact", "<sip:bob@[2001:db8::20]>");
    let success = only(scene.receive_by(1, "[2001:db8::20]:5060", &ok.bytes()));
    assert_eq!(success.values("Record-Route").len(), 2);
    let copy = only(scene.receive(ALICE, &in_dialog("BYE", &success)));
    assert!(copy.values("Route").is_empty());
    assert_eq!(copy.listener, 1);
    assert_eq!(copy.to, "[2001:db8::20]:5060".parse().unwrap());
}

#[test]
fn a_forged_route_without_proof_goes_to_the_policy_and_is_never_relayed() {
    let proof = "<sip:192.0.2.1:5060;lr;proof=0123456789abcdef>";
    for route in [OURS, proof, "<sip:example.com;lr>"] {
        let mut scene = Scene::new();
        let forged = request("MESSAGE")
            .at_uri("sip:victim@198.51.100.1")
            .instead("To", "<sip:bob@example.com>;tag=x")
            .with("Route", &format!("{route}, <sip:198.51.100.2;lr>"));
        assert!(scene.receive(ALICE, &forged).is_empty(), "nothing is sent");
        let id = scene.question().id;
        assert!(only(scene.respond(id, 403).unwrap()).is("SIP/2.0 403"));
        assert_eq!(scene.count(Count::InDialogRequests), 0);
        scene.close();
    }
}

#[test]
fn the_proof_of_one_call_is_none_for_another() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let stolen = in_dialog("BYE", &success).instead("Call-ID", "another-call");
    assert!(scene.receive(ALICE, &stolen).is_empty());
    assert_eq!(scene.question().request.call_id(), b"another-call");
}

#[test]
fn a_proven_route_without_a_dialog_goes_to_the_policy() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let outside = in_dialog("MESSAGE", &success).instead("To", "<sip:bob@example.com>");
    assert!(scene.receive(ALICE, &outside).is_empty());
    scene.question();
}

#[test]
fn section_16_4_a_policy_forwards_an_initial_request_without_our_routes() {
    let mut scene = Scene::new();
    let preloaded = invite().with("Route", &format!("{OURS}, <sip:example.com:5080;lr>"));
    scene.receive(ALICE, &preloaded);
    let id = scene.question().id;
    let sent = scene.forward(id, &[TO_BOB]);
    assert!(sent[1].values("Route").is_empty());
    assert_eq!(sent[1].to, BOB.parse().unwrap());
}

#[test]
fn a_foreign_request_uri_in_front_of_a_forged_route_is_no_strict_router() {
    let mut scene = Scene::new();
    let forged = request("MESSAGE")
        .at_uri("sip:192.0.2.1:5060;lr")
        .with("Route", "<sip:victim@198.51.100.1>");
    assert!(scene.receive(ALICE, &forged).is_empty());
    let question = scene.question();
    assert_eq!(question.request.request_uri(), b"sip:192.0.2.1:5060;lr");
}

#[test]
fn section_16_4_only_what_names_us_is_removed() {
    for (route, is_ours) in [
        ("<sip:192.0.2.1;lr>", true),
        ("<sip:192.0.2.1:5080;lr>", true),
        ("<sip:192.0.2.1:5090;lr>", false),
        ("<sip:198.51.100.1:5060;lr>", false),
        ("<sip:EXAMPLE.com;lr>", true),
        ("<sip:example.com:5080;lr>", true),
        ("<sip:example.com:7000;lr>", false),
        ("<sip:sub.example.com;lr>", false),
    ] {
        let mut scene = Scene::new();
        let success = dialog::open(&mut scene);
        let bye = in_dialog("BYE", &success).with("Route", route);
        let sent = scene.receive(ALICE, &bye);
        let is_at_bob = sent.iter().any(|sent| sent.to == BOB.parse().unwrap());
        assert_eq!(is_at_bob, is_ours, "{route}");
    }
}

#[test]
fn section_16_4_a_proof_at_another_address_makes_no_strict_router() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let own = success.values("Record-Route").remove(0);
    let elsewhere = own.replace("192.0.2.1", "198.51.100.1");
    let bye = in_dialog("BYE", &success)
        .without("Route")
        .at_uri(elsewhere.trim_matches(['<', '>']))
        .with("Route", "<sip:bob@192.0.2.20:5060>");
    assert!(scene.receive(ALICE, &bye).is_empty());
    scene.question();
}
