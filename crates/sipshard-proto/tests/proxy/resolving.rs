//! Next hops that are names (RFC 3263 §4): the question goes out, the answer comes, late, or never.

use crate::dialog;
use crate::draft::{answer, cancel, in_dialog, invite, request};
use crate::locating::{hops, question, TO_NAME};
use crate::scene::{lines, only, Scene, ALICE, BOB, CAROL, TO_BOB};
use sipshard_proto::proxy::LocateQuestion;
use sipshard_proto::{Count, Transport};

#[test]
fn rfc_3263_section_4_a_name_is_asked_for_and_the_copy_leaves_with_the_answer() {
    let mut scene = Scene::new();
    assert!(scene.ring(&[TO_NAME]).is_empty());
    assert!(scene.proxy.has_events());
    assert_eq!(scene.lookup(), question());
    assert!(!scene.proxy.has_events());
    let copy = only(scene.located(&["[2001:db8::20]:5060", BOB]));
    assert_eq!(copy.line(), "INVITE sip:bob@pbx.example.net SIP/2.0");
    assert_eq!(copy.to, "[2001:db8::20]:5060".parse().unwrap());
    scene.receive(ALICE, &cancel());
    scene.close();
}

#[test]
fn an_address_family_that_nobody_speaks_is_passed_over() {
    let mut settings = crate::scene::settings();
    settings.listeners.remove(1);
    let mut scene = Scene::with(settings);
    scene.ring(&[TO_NAME]);
    let copy = only(scene.located(&["[2001:db8::20]:5060", BOB]));
    assert_eq!(copy.to, BOB.parse().unwrap());
}

#[test]
fn a_known_name_is_not_asked_for_again() {
    let mut scene = Scene::new();
    scene.ring(&[TO_NAME]);
    scene.proxy.take_questions();
    scene.located(&[BOB]);
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    assert!(only(scene.forward(id, &["sip:bob@PBX.example.net"])).is("MESSAGE "));
    assert!(scene.proxy.take_questions().is_empty());
}

#[test]
fn a_name_that_does_not_exist_is_an_unreachable_target() {
    let mut scene = Scene::new();
    scene.ring(&[TO_NAME]);
    let sent = only(scene.located(&[]));
    assert!(sent.is("SIP/2.0 500 "));
    assert_eq!(scene.count(Count::UnreachableTargets), 1);
    scene.close();
}

#[test]
fn a_question_that_is_never_answered_ends_the_branch_after_64_t1() {
    let mut scene = Scene::new();
    scene.ring(&[TO_NAME]);
    let sent = scene.pass_ms(32_000);
    assert_eq!(
        lines(&sent[..1]),
        ["SIP/2.0 500 Server Internal Error -> 192.0.2.10:5062"]
    );
    assert_eq!(sent[0].at_ms, 32_000);
    assert!(scene.located(&[BOB]).is_empty(), "too late");
    scene.close();
}

#[test]
fn a_branch_with_an_address_does_not_wait_for_one_with_a_name() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&[TO_NAME, TO_BOB]));
    assert_eq!(copy.to, BOB.parse().unwrap());
    assert_eq!(scene.receive(BOB, &answer(&copy, 200)).len(), 1);
    assert!(scene.located(&[CAROL]).is_empty(), "too late");
    scene.close();
}

#[test]
fn a_non_invite_that_was_answered_does_not_leave_for_a_late_name() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    let copy = only(scene.forward(id, &[TO_NAME, TO_BOB]));
    scene.receive(BOB, &answer(&copy, 200));
    assert!(scene.located(&[CAROL]).is_empty());
    scene.close();
}

#[test]
fn section_16_10_a_cancel_ends_a_branch_that_waits_for_its_name() {
    let mut scene = Scene::new();
    scene.ring(&[TO_NAME]);
    let sent = scene.receive(ALICE, &cancel());
    assert!(sent[0].is("SIP/2.0 200 ") && sent[1].is("SIP/2.0 487 "));
    assert!(scene.located(&[BOB]).is_empty());
    scene.close();
}

#[test]
fn a_reinvite_whose_next_hop_is_looked_up_gets_its_100_meanwhile() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let reinvite = in_dialog("INVITE", &success).at_uri(TO_NAME).branch("re");
    assert!(only(scene.receive(ALICE, &reinvite)).is("SIP/2.0 100 "));
    assert!(only(scene.located(&[BOB])).is("INVITE "));
    scene.close();
}

#[test]
fn an_ack_waits_for_its_name_but_not_for_long() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    let ack = in_dialog("ACK", &success).at_uri(TO_NAME);
    assert!(scene.receive(ALICE, &ack).is_empty());
    scene.pass_ms(4_999);
    assert!(only(scene.located(&[BOB])).is("ACK "));
    assert!(scene.located(&[BOB]).is_empty(), "only once");

    let other = in_dialog("ACK", &success).at_uri("sip:bob@late.example.net");
    assert!(scene.receive(ALICE, &other).is_empty());
    scene.pass_ms(5_000);
    let late = LocateQuestion {
        host: "late.example.net".into(),
        ..question()
    };
    assert!(scene.located_as(&late, hops(&[BOB])).is_empty());
}

#[test]
fn parked_acks_are_bounded() {
    let mut scene = Scene::new();
    let success = dialog::open(&mut scene);
    for number in 0..1_002 {
        let ack = in_dialog("ACK", &success)
            .at_uri(TO_NAME)
            .branch(&number.to_string());
        scene.receive(ALICE, &ack);
    }
    assert_eq!(scene.count(Count::ParkedFull), 2);
    assert_eq!(scene.located(&[BOB]).len(), 1_000);
}

#[test]
fn an_unanswered_question_is_asked_again_for_a_later_request() {
    let mut scene = Scene::new();
    scene.receive(ALICE, &invite());
    let id = scene.question().id;
    scene.forward(id, &[TO_NAME]);
    assert_eq!(scene.proxy.take_questions().len(), 1);
    scene.pass_ms(10_000);
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    assert!(scene.forward(id, &[TO_NAME]).is_empty());
    assert_eq!(scene.proxy.take_questions().len(), 1);
    let sent = scene.located(&[BOB]);
    assert_eq!(sent.len(), 2, "both leave with one answer");
}

#[test]
fn section_4_1_what_the_uri_says_is_part_of_the_question() {
    let asked = |uri: &str| {
        let mut scene = Scene::new();
        scene.ring(&[uri]);
        let question = scene.lookup();
        assert_eq!(&*question.host, "pbx.example.net");
        (question.port, question.transport, question.is_secure)
    };
    let tls = Some(Transport::Tls);
    assert_eq!(asked(TO_NAME), (0, None, false));
    assert_eq!(asked("sip:bob@PBX.example.net.:5070"), (5070, None, false));
    assert_eq!(
        asked("sip:pbx.example.net;transport=TCP"),
        (0, Some(Transport::Tcp), false)
    );
    assert_eq!(asked("sips:pbx.example.net"), (0, tls, true));
    assert_eq!(asked("sips:pbx.example.net;transport=tcp"), (0, tls, true));
}

#[test]
fn rfc_7118_a_websocket_cannot_be_opened_so_it_is_not_asked_for() {
    for uri in [
        "sip:pbx.example.net;transport=ws",
        "sip:192.0.2.20;transport=wss",
        "sips:pbx.example.net;transport=udp",
        "sip:pbx.example.net;transport=sctp",
    ] {
        let mut scene = Scene::new();
        assert!(only(scene.ring(&[uri])).is("SIP/2.0 500 "), "{uri}");
        assert!(scene.proxy.take_questions().is_empty());
        assert_eq!(scene.count(Count::UnreachableTargets), 1);
        scene.close();
    }
}

#[test]
fn section_19_1_1_maddr_names_the_host_to_send_to() {
    let mut scene = Scene::new();
    let copy = only(scene.ring(&["sip:bob@pbx.example.net:5070;maddr=192.0.2.30"]));
    assert_eq!(copy.to, "192.0.2.30:5070".parse().unwrap());
    assert_eq!(
        copy.line(),
        "INVITE sip:bob@pbx.example.net:5070;maddr=192.0.2.30 SIP/2.0"
    );
    let mut scene = Scene::new();
    scene.ring(&["sip:bob@192.0.2.20;maddr=pbx.example.net"]);
    assert_eq!(scene.lookup(), question());
    let copy = only(scene.located(&[CAROL]));
    assert_eq!(copy.to, CAROL.parse().unwrap());
}

#[test]
fn section_16_4_a_maddr_that_names_us_says_nothing_about_where_to_go_on() {
    for own in ["192.0.2.1", "example.com"] {
        let mut scene = Scene::new();
        let copy = only(scene.ring(&[&format!("sip:bob@192.0.2.20;maddr={own}")]));
        assert_eq!(copy.to, BOB.parse().unwrap());
    }
    let mut scene = Scene::new();
    let sent = only(scene.ring(&["sip:bob@192.0.2.20;maddr=224.0.1.75"]));
    assert!(sent.is("SIP/2.0 500 "), "never to a group");
}

#[test]
fn rfc_8767_a_dead_name_server_delays_nobody_who_goes_where_others_went() {
    let mut scene = Scene::new();
    scene.ring(&[TO_NAME]);
    scene.lookup();
    let copy = only(scene.located(&[BOB]));
    scene.receive(BOB, &answer(&copy, 486));
    scene.pass_ms(60_000);
    for (number, asks) in [("1", 1), ("2", 0)] {
        scene.receive(ALICE, &request("MESSAGE").branch(number));
        let id = scene.question().id;
        assert_eq!(scene.forward(id, &[TO_NAME]).len(), 1);
        assert_eq!(scene.proxy.take_questions().len(), asks);
    }
    assert!(scene.lookup_failed().is_empty());
    scene.receive(ALICE, &request("MESSAGE").branch("3"));
    let id = scene.question().id;
    assert_eq!(scene.forward(id, &[TO_NAME]).len(), 1);
    assert_eq!(scene.count(Count::StaleLocations), 3);
    assert_eq!(scene.count(Count::LookupFailures), 1);
}

#[test]
fn a_failed_lookup_is_an_unreachable_target_and_the_next_one_does_not_wait() {
    let mut scene = Scene::new();
    scene.ring(&[TO_NAME]);
    assert!(only(scene.lookup_failed()).is("SIP/2.0 500 "));
    scene.receive(ALICE, &request("MESSAGE"));
    let id = scene.question().id;
    assert!(only(scene.forward(id, &[TO_NAME])).is("SIP/2.0 500 "));
    scene.close();
}

#[test]
fn a_full_cache_makes_names_unreachable_and_is_counted() {
    let mut settings = crate::scene::settings();
    settings.max_transactions = 20_000;
    let mut scene = Scene::with(settings);
    for number in 0..10_001 {
        scene.receive(ALICE, &request("MESSAGE").branch(&number.to_string()));
        let id = scene.question().id;
        scene.forward(id, &[&format!("sip:host{number}.example.net")]);
    }
    assert_eq!(scene.count(Count::LocationsFull), 1);
}
