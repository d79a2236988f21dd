//! RFC 3261 §16.5 and §16.6, targets and the forwarded copy.

use crate::dialog::RECORD_ROUTE;
use crate::draft::{answer, invite, request, Draft};
use crate::scene::{lines, only, target, Scene, Sent, ALICE, BOB, CAROL, TO_BOB, TO_CAROL};
use sipshard_proto::proxy::{DecisionError, ForwardOptions, Plan, Target};
use sipshard_proto::Count;

fn with_q(uri: &str, q_milli: u16) -> Target {
    Target {
        q_milli,
        ..target(uri)
    }
}

fn copy_of(draft: &Draft) -> Sent {
    let mut scene = Scene::new();
    scene.receive(ALICE, draft);
    let id = scene.question().id;
    scene.forward(id, &[TO_BOB]).pop().unwrap()
}

#[test]
fn section_16_6_equal_q_values_ring_at_the_same_time_lower_ones_later() {
    let mut scene = Scene::new();
    let targets = vec![
        with_q("sip:last@192.0.2.40", 100),
        with_q(TO_BOB, 700),
        with_q(TO_CAROL, 700),
    ];
    let first = scene.ring_as(targets, ForwardOptions::default());
    assert_eq!(
        lines(&first),
        [
            "INVITE sip:bob@192.0.2.20 SIP/2.0 -> 192.0.2.20:5060",
            "INVITE sip:carol@192.0.2.30 SIP/2.0 -> 192.0.2.30:5060"
        ]
    );
    assert!(only(scene.receive(BOB, &answer(&first[0], 486))).is("ACK "));
    let sent = scene.receive(CAROL, &answer(&first[1], 404));
    assert!(sent[0].is("ACK "));
    assert_eq!(
        sent[1].line(),
        "INVITE sip:last@192.0.2.40 SIP/2.0",
        "the next group"
    );
    scene.close();
}

#[test]
fn section_16_6_every_branch_has_a_branch_parameter_of_its_own() {
    let mut scene = Scene::new();
    let sent = scene.ring(&[TO_BOB, TO_CAROL]);
    let branch = |sent: &Sent| sent.message().via().branch.unwrap().to_vec();
    assert_ne!(branch(&sent[0]), branch(&sent[1]));
}

#[test]
fn section_16_6_step_2_the_request_uri_is_the_targets() {
    let mut scene = Scene::new();
    let sent = only(scene.ring(&["sip:bob@192.0.2.20:5066;transport=udp?Subject=no"]));
    // Table 1 of §19.1.1: a Request-URI has no headers.
    assert_eq!(
        sent.line(),
        "INVITE sip:bob@192.0.2.20:5066;transport=udp SIP/2.0"
    );
    assert_eq!(sent.to, "192.0.2.20:5066".parse().unwrap());
}

#[test]
fn section_16_6_step_3_decrements_max_forwards() {
    for (received, sent) in [("70", "69"), ("1", "0"), ("255", "254")] {
        let copy = copy_of(&invite().instead("Max-Forwards", received));
        assert_eq!(copy.values("Max-Forwards"), [sent]);
    }
}

#[test]
fn section_16_6_step_3_a_missing_max_forwards_becomes_70() {
    let copy = copy_of(&invite().without("Max-Forwards"));
    assert_eq!(copy.values("Max-Forwards"), ["70"]);
}

#[test]
fn section_16_6_step_4_record_route_carries_a_proof_and_stands_first() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &invite().with("Record-Route", "<sip:upstream;lr>"));
    let id = scene.question().id;
    let sent = scene.forward_as(id, vec![target(TO_BOB)], RECORD_ROUTE);
    let values = sent[1].values("Record-Route");
    assert_eq!(values.len(), 2);
    assert!(values[0].starts_with("<sip:192.0.2.1:5060;lr;proof="));
    assert_eq!(values[1], "<sip:upstream;lr>");
}

#[test]
fn section_16_6_step_4_no_record_route_unless_wanted() {
    assert!(copy_of(&invite()).values("Record-Route").is_empty());
}

#[test]
fn rfc_5658_record_route_is_doubled_when_the_listeners_differ() {
    let mut scene = Scene::new();
    let to_v6 = target("sip:bob@[2001:db8::20]");
    let copy = only(scene.ring_as(vec![to_v6], RECORD_ROUTE));
    let values = copy.values("Record-Route");
    assert_eq!(values.len(), 2);
    assert!(values[0].starts_with("<sip:[2001:db8::1]:5060;lr;"));
    assert!(values[1].starts_with("<sip:192.0.2.1:5060;lr;"));
    assert_eq!(copy.listener, 1);
    assert!(copy.values("Via")[0].starts_with("SIP/2.0/UDP [2001:db8::1]:5060;branch="));
}

#[test]
fn section_16_6_step_5_all_else_is_kept_byte_for_byte() {
    let fields = "X-First:  spaced   out \r\nSubject: folded\r\n  over\r\n\tlines\r\n\
                  s: compact\r\nX-Bytes: \u{fc}\u{0}\r\nx-FIRST: again\r\n";
    let head = format!(
        "INVITE sip:bob@example.com SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bKa, \
         SIP/2.0/UDP h2;branch=z9hG4bKb\r\nVia: SIP/2.0/UDP h3\r\nMax-Forwards: 9\r\n{fields}\
         f: <sip:a@example.com>;tag=1\r\nt: <sip:b@example.com>\r\ni: c\r\nCSeq: 1 INVITE\r\n\
         l: 7\r\n\r\n"
    );
    let body = b"v=0\0\xff\r\n";
    let mut scene = Scene::new();
    scene.receive_by(0, ALICE, &[head.as_bytes(), body].concat());
    let id = scene.question().id;
    let copy = scene.forward(id, &[TO_BOB]).pop().unwrap();
    let text = copy.text();
    assert!(text.contains(fields), "{text}");
    assert!(text.contains("\r\nf: <sip:a@example.com>;tag=1\r\nt: <sip:b@example.com>\r\ni: c\r\n"));
    assert_eq!(copy.message().body(), body);
    let vias = copy.values("Via");
    assert_eq!(vias[1], "SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bKa");
    assert_eq!(
        vias[2..],
        ["SIP/2.0/UDP h2;branch=z9hG4bKb", "SIP/2.0/UDP h3"]
    );
}

#[test]
fn section_16_6_step_6_the_targets_route_set_is_pushed() {
    let mut scene = Scene::new();
    let routes = ["<sip:edge@192.0.2.30;lr>", "<sip:inner.example.net;lr>"];
    let behind_path = Target {
        routes: routes.map(|route| route.as_bytes().into()).into(),
        ..target(TO_BOB)
    };
    let copy = only(scene.ring_as(vec![behind_path], ForwardOptions::default()));
    assert_eq!(copy.line(), "INVITE sip:bob@192.0.2.20 SIP/2.0");
    assert_eq!(copy.values("Route"), routes);
    assert_eq!(copy.to, CAROL.parse().unwrap(), "step 7: the topmost Route");
}

#[test]
fn section_16_6_step_6_a_strict_router_downstream_gets_its_uri_as_request_uri() {
    let mut scene = Scene::new();
    let strict = Target {
        routes: vec![
            (*b"<sip:strict@192.0.2.30>").into(),
            (*b"<sip:loose.example.net;lr>").into(),
        ],
        ..target(TO_BOB)
    };
    let copy = only(scene.ring_as(vec![strict], ForwardOptions::default()));
    assert_eq!(copy.line(), "INVITE sip:strict@192.0.2.30 SIP/2.0");
    assert_eq!(
        copy.values("Route"),
        ["<sip:loose.example.net;lr>", "<sip:bob@192.0.2.20>"]
    );
    assert_eq!(copy.to, CAROL.parse().unwrap());
}

#[test]
fn section_16_6_step_7_what_cannot_be_reached_by_udp_is_not_tried() {
    for uri in [
        "sip:bob@192.0.2.20;transport=tcp",
        "sips:bob@192.0.2.20",
        "sip:bob@255.255.255.255",
        "sip:bob@224.0.0.1",
        "sip:bob@[ff02::1]",
        "sip:bob@0.0.0.0",
        "sip:bob@192.0.2.20:0",
    ] {
        let mut scene = Scene::new();
        scene.receive(ALICE, &invite());
        let id = scene.question().id;
        let sent = scene.forward(id, &[uri]);
        assert_eq!(sent.len(), 2, "{uri}: {:?}", lines(&sent));
        assert!(sent[1].is("SIP/2.0 500 "), "{uri}: {}", sent[1].line());
        assert_eq!(scene.count(Count::UnreachableTargets), 1);
    }
}

#[test]
fn section_16_6_an_unreachable_group_is_passed_over() {
    let mut scene = Scene::new();
    let targets = vec![
        with_q("sip:bob@192.0.2.20;transport=tcp", 900),
        with_q(TO_CAROL, 800),
    ];
    let copy = only(scene.ring_as(targets, ForwardOptions::default()));
    assert_eq!(copy.to, CAROL.parse().unwrap());
}

#[test]
fn section_16_6_step_8_our_via_is_on_top_with_the_cookie() {
    let copy = copy_of(&invite());
    let vias = copy.values("Via");
    assert!(vias[0].starts_with("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK"));
    assert_eq!(vias.len(), 2);
}

#[test]
fn section_17_2_1_an_invite_gets_its_100_when_it_is_forwarded() {
    let mut scene = Scene::new();
    assert!(scene.receive(ALICE, &invite()).is_empty());
    let id = scene.question().id;
    let sent = scene.forward(id, &[TO_BOB]);
    assert!(sent[0].is("SIP/2.0 100 Trying\r\n"));
    assert_eq!(sent[0].to, ALICE.parse().unwrap());
    assert_eq!(sent[0].values("To"), ["<sip:bob@example.com>"], "no tag");
    let again = only(scene.receive(ALICE, &invite()));
    assert!(again.is("SIP/2.0 100 Trying\r\n"), "and again when it asks");
    scene.close();
}

#[test]
fn section_17_2_1_a_slow_policy_does_not_keep_the_100_back() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &invite());
    let sent = only(scene.pass_ms(1_000));
    assert!(sent.is("SIP/2.0 100 Trying\r\n"));
    assert_eq!(sent.at_ms, 200);
    let id = scene.question().id;
    assert_eq!(scene.forward(id, &[TO_BOB]).len(), 1, "no second 100");
}

#[test]
fn section_17_2_1_no_100_follows_another_provisional_response() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &invite());
    let id = scene.question().id;
    assert!(only(scene.respond(id, 183).unwrap()).is("SIP/2.0 183"));
    assert!(scene.pass_ms(1_000).is_empty());
    assert_eq!(scene.forward(id, &[TO_BOB]).len(), 1);
}

#[test]
fn section_8_2_6_1_a_100_repeats_the_timestamp() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &invite().with("Timestamp", "54"));
    let sent = only(scene.pass_ms(200));
    assert_eq!(sent.values("Timestamp"), ["54"]);
}

#[test]
fn a_plan_that_makes_no_sense_leaves_the_question_open() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("OPTIONS"));
    let id = scene.question().id;
    let routed = Target {
        routes: vec![(*b"no route").into()],
        ..target(TO_BOB)
    };
    for (targets, error) in [
        (vec![], DecisionError::NoTargets),
        (vec![target(TO_BOB); 65], DecisionError::TooManyTargets(65)),
        (vec![target("tel:+49")], DecisionError::BadTarget(0)),
        (
            vec![target(TO_BOB), target("sip:\r\n")],
            DecisionError::BadTarget(1),
        ),
        (vec![routed], DecisionError::BadTarget(0)),
    ] {
        let options = ForwardOptions::default();
        let plan = Plan { targets, options };
        assert_eq!(scene.proxy.forward(scene.now, id, plan), Err(error));
    }
    assert!(scene.take_sent().is_empty());
    assert_eq!(scene.forward(id, &[TO_BOB]).len(), 1);
}
