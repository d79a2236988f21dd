//! What a policy changes in messages that pass.

use crate::dialog;
use crate::draft::{ack_to_failure, answer, in_dialog, invite, Draft};
use crate::locating::TO_NAME;
use crate::scene::{only, target, Scene, Sent, ALICE, BOB, CAROL, TO_BOB, TO_CAROL};
use proptest::prelude::*;
use sipshard_proto::proxy::{
    DecisionError, Edit, Edits, FieldName, ForwardOptions, Target, MAX_EDITS, MAX_EDIT_BYTES,
};
use sipshard_proto::{HeaderName, Message};

fn name(token: &str) -> FieldName {
    FieldName::new(token.as_bytes(), 0).unwrap()
}

fn add(token: &str, value: &str) -> Edit {
    Edit::Add(name(token), value.as_bytes().into())
}

fn remove(token: &str) -> Edit {
    Edit::Remove(name(token))
}

fn replace(token: &str, value: &str) -> Edit {
    Edit::Replace(name(token), value.as_bytes().into())
}

fn body(bytes: &str, content_type: &str) -> Edit {
    Edit::Body(bytes.as_bytes().into(), content_type.as_bytes().into())
}

fn edited(uri: &str, edits: Vec<Edit>) -> Target {
    Target {
        edits: Edits::new(edits).unwrap(),
        ..target(uri)
    }
}

/// The copy of a datagram that a target with these edits gets.
fn copy_of(datagram: &[u8], edits: Vec<Edit>) -> Sent {
    let mut scene = Scene::new();
    scene.receive_by(0, ALICE, datagram);
    let id = scene.question().id;
    let targets = vec![edited(TO_BOB, edits)];
    let sent = scene.forward_as(id, targets, ForwardOptions::default());
    let copy = sent.into_iter().find(|sent| sent.is("INVITE ")).unwrap();
    copy.message();
    copy
}

/// An INVITE with these lines among its header fields, as they are.
fn with_lines(lines: &str) -> Vec<u8> {
    let text = String::from_utf8(invite().bytes()).unwrap();
    text.replacen("Contact:", &format!("{lines}\r\nContact:"), 1)
        .into_bytes()
}

const SPELLINGS: [&str; 6] = [
    "Subject: tea",
    "SUBJECT: tea",
    "subject   : tea",
    "s: tea",
    "S\t:tea",
    "Subject: black\r\n tea\r\n\twith milk",
];

#[test]
fn remove_finds_a_field_however_it_is_written() {
    for spelling in SPELLINGS {
        for token in ["Subject", "sUBJECT", "s", "S"] {
            let copy = copy_of(&with_lines(spelling), vec![remove(token)]);
            assert!(copy.values("Subject").is_empty(), "{spelling:?} {token}");
            assert!(!copy.text().contains("tea"), "{spelling:?}: a fold is left");
        }
    }
}

#[test]
fn an_unknown_name_is_found_in_any_case_and_nothing_else_is() {
    let lines = "X-Account: one\r\nx-aCCOUNT \t: two\r\nX-Account-Name: kept\r\nX-Accoun: kept";
    let copy = copy_of(&with_lines(lines), vec![remove("x-account")]);
    let text = copy.text();
    assert!(!text.contains("one") && !text.contains("two"), "{text}");
    assert!(text.contains("X-Account-Name: kept\r\nX-Accoun: kept\r\n"));
}

#[test]
fn replace_puts_one_field_at_the_place_of_the_first() {
    let lines = "X-Before: 1\r\nSubject: a\r\nX-Between: 2\r\ns: b\r\nX-Behind: 3";
    let copy = copy_of(&with_lines(lines), vec![replace("subject", "c")]);
    let expected = "X-Before: 1\r\nsubject: c\r\nX-Between: 2\r\nX-Behind: 3\r\n";
    assert!(copy.text().contains(expected), "{}", copy.text());
}

#[test]
fn replace_adds_what_was_not_there() {
    let copy = copy_of(&invite().bytes(), vec![replace("Subject", "tea")]);
    assert!(copy.text().ends_with("Subject: tea\r\n\r\n"));
}

#[test]
fn add_puts_a_field_behind_all_others_beside_those_of_its_name() {
    let edits = vec![add("X-Account", "7"), add("Subject", "second")];
    let copy = copy_of(&with_lines("Subject: first"), edits);
    assert_eq!(copy.values("Subject"), ["first", "second"]);
    let end = "X-Account: 7\r\nSubject: second\r\n\r\n";
    assert!(copy.text().ends_with(end), "{}", copy.text());
}

#[test]
fn edits_are_applied_in_their_order() {
    let copy = copy_of(&invite().bytes(), vec![add("X-A", "1"), remove("x-a")]);
    assert!(!copy.text().contains("X-A"));
    let copy = copy_of(&with_lines("X-A: 0"), vec![remove("x-a"), add("X-A", "1")]);
    assert!(copy.text().contains("X-A: 1\r\n") && !copy.text().contains("X-A: 0"));
}

#[test]
fn rfc3261_20_14_and_20_15_a_new_body_brings_its_length_and_type() {
    let had = invite().with("Content-Type", "application/sdp");
    for draft in [invite(), had.clone(), had.clone().body(b"v=0\r\n")] {
        let copy = copy_of(&draft.bytes(), vec![body("hello", "text/plain")]);
        assert_eq!(copy.values("Content-Type"), ["text/plain"]);
        assert_eq!(copy.values("Content-Length"), ["5"]);
        assert_eq!(copy.message().body(), b"hello");
    }
    let copy = copy_of(&had.body(b"v=0\r\n").bytes(), vec![body("", "")]);
    assert!(copy.values("Content-Type").is_empty());
    assert_eq!(copy.values("Content-Length"), ["0"]);
    assert_eq!(copy.message().body(), b"");
}

#[test]
fn a_new_body_is_found_by_compact_headers_and_none() {
    let text = String::from_utf8(invite().body(b"old").bytes()).unwrap();
    let compact = text.replace("Content-Length: 3", "c: text/html\r\nl : 3\r\nE: gzip");
    let without = text.replace("Content-Length: 3\r\n", "");
    for datagram in [compact, without] {
        let copy = copy_of(datagram.as_bytes(), vec![body("newer", "text/plain")]);
        assert_eq!(copy.values("Content-Type"), ["text/plain"]);
        assert_eq!(copy.values("Content-Length"), ["5"]);
        assert!(copy.values("Content-Encoding").is_empty());
        assert_eq!(copy.message().body(), b"newer");
    }
}

#[test]
fn without_edits_the_copy_is_the_same_byte_for_byte() {
    let draft = invite().with("Subject", "tea").body(b"v=0\r\n");
    let plain = copy_of(&draft.bytes(), Vec::new());
    let changed = copy_of(&draft.bytes(), vec![remove("X-Not-There")]);
    assert_eq!(plain.bytes, changed.bytes);
}

#[test]
fn each_branch_has_its_own_edits() {
    let mut scene = Scene::new();
    let targets = vec![
        edited(TO_BOB, vec![add("X-For", "bob")]),
        edited(TO_CAROL, vec![add("X-For", "carol")]),
    ];
    let copies = scene.ring_as(targets, ForwardOptions::default());
    assert!(copies[0].text().contains("X-For: bob\r\n") && copies[0].to == BOB.parse().unwrap());
    assert!(copies[1].text().contains("X-For: carol\r\n"));
    let again = scene.pass_ms(500);
    let is_repeated = |copy: &Sent| again.iter().any(|sent| sent.bytes == copy.bytes);
    assert!(copies.iter().all(is_repeated), "retransmissions");
    scene.receive(BOB, &answer(&copies[0], 180));
    scene.receive(CAROL, &answer(&copies[1], 200));
}

#[test]
fn rfc3263_4_3_the_next_hop_gets_the_same_edits() {
    let mut scene = Scene::new();
    scene.ring_as(
        vec![edited(TO_NAME, vec![add("X-A", "1")])],
        ForwardOptions::default(),
    );
    let first = only(scene.located(&[BOB, CAROL]));
    let later = scene.pass_ms(32_000);
    let second = later.iter().find(|sent| sent.to == CAROL.parse().unwrap());
    for copy in [&first, second.unwrap()] {
        assert!(copy.text().contains("X-A: 1\r\n"));
    }
}

#[test]
fn a_branch_of_an_edited_invite_is_cancelled_and_acknowledged() {
    let mut scene = Scene::new();
    let edits = vec![add("X-A", "1"), body("hello", "text/plain")];
    let copy = only(scene.ring_as(vec![edited(TO_BOB, edits)], ForwardOptions::default()));
    scene.receive(BOB, &answer(&copy, 180));
    let sent = scene.receive(ALICE, &crate::draft::cancel());
    let cancel = sent.iter().find(|sent| sent.is("CANCEL ")).unwrap();
    assert_eq!(cancel.values("Via"), [copy.values("Via")[0].clone()]);
    assert_eq!(cancel.message().body(), b"");
    let sent = scene.receive(BOB, &answer(&copy, 487));
    assert!(sent[0].is("ACK ") && !sent[0].text().contains("X-A"));
    scene.receive(ALICE, &ack_to_failure());
    scene.close();
}

#[test]
fn requests_inside_the_dialog_and_acks_are_not_edited() {
    let mut scene = Scene::new();
    let targets = vec![edited(TO_BOB, vec![add("X-A", "1")])];
    let copy = only(scene.ring_as(targets, dialog::RECORD_ROUTE));
    let success = only(scene.receive(BOB, &answer(&copy, 200)));
    for method in ["ACK", "BYE"] {
        let sent = only(scene.receive(ALICE, &in_dialog(method, &success)));
        assert!(sent.is(method) && !sent.text().contains("X-A"));
    }
}

fn with_response_edits(edits: Vec<Edit>) -> ForwardOptions {
    ForwardOptions {
        response_edits: Edits::new(edits).unwrap(),
        ..ForwardOptions::default()
    }
}

fn with_agent(copy: &Sent, status: u16) -> Draft {
    answer(copy, status).with("Server", "phone 1.0")
}

#[test]
fn response_edits_change_provisional_responses_and_every_2xx() {
    let mut scene = Scene::new();
    let options = with_response_edits(vec![remove("server"), add("X-Edge", "1")]);
    let copy = only(scene.ring_as(vec![target(TO_BOB)], options));
    for status in [180, 183, 200, 200] {
        let sent = only(scene.receive(BOB, &with_agent(&copy, status)));
        assert!(sent.is(&format!("SIP/2.0 {status} Some Reason\r\nVia: ")));
        assert_eq!(sent.values("Via").len(), 1);
        assert!(!sent.text().contains("phone 1.0"));
        assert!(sent.text().contains("X-Edge: 1\r\n"));
    }
    scene.close();
}

#[test]
fn response_edits_change_the_failure_that_goes_upstream() {
    let mut scene = Scene::new();
    let options = with_response_edits(vec![remove("server"), body("no", "text/plain")]);
    let copy = only(scene.ring_as(vec![target(TO_BOB)], options));
    let sent = scene.receive(BOB, &with_agent(&copy, 486));
    assert!(sent[1].is("SIP/2.0 486 ") && !sent[1].text().contains("phone"));
    assert_eq!(sent[1].message().body(), b"no");
    scene.receive(ALICE, &ack_to_failure());
    scene.close();
}

#[test]
fn the_policy_sees_a_failure_as_it_came() {
    let mut scene = Scene::new();
    let options = ForwardOptions {
        report_failure: true,
        ..with_response_edits(vec![remove("server")])
    };
    let copy = only(scene.ring_as(vec![target(TO_BOB)], options));
    scene.receive(BOB, &with_agent(&copy, 486));
    let (question, failure) = scene.failure();
    assert_eq!(failure.value(HeaderName::Server), Some(&b"phone 1.0"[..]));
    scene.proxy.pass_on(scene.now, question.id);
    assert!(scene.take_sent()[0].values("Server").is_empty());
}

#[test]
fn a_target_has_a_ring_timeout_of_its_own() {
    let mut scene = Scene::new();
    let targets = vec![
        Target {
            ring_timeout_ms: Some(2_000),
            ..target(TO_BOB)
        },
        target(TO_CAROL),
    ];
    let options = ForwardOptions {
        ring_timeout_ms: Some(10_000),
        ..ForwardOptions::default()
    };
    let copies = scene.ring_as(targets, options);
    scene.receive(BOB, &answer(&copies[0], 180));
    scene.receive(CAROL, &answer(&copies[1], 180));
    let sent = scene.pass_ms(10_000);
    let cancels = sent.iter().filter(|sent| sent.is("CANCEL "));
    let first: Vec<_> = cancels.map(|sent| (sent.at_ms, sent.to)).collect();
    assert_eq!(first[0], (2_000, BOB.parse().unwrap()));
    assert!(first.contains(&(10_000, CAROL.parse().unwrap())));
}

#[test]
fn what_only_the_server_writes_cannot_be_edited() {
    let protected = [
        "Via",
        "v",
        "VIA",
        "From",
        "f",
        "To",
        "t",
        "Call-ID",
        "I",
        "CSeq",
        "Route",
        "Record-Route",
        "max-forwards",
        "Content-Length",
        "l",
        "max-breadth",
    ];
    for token in protected {
        let error = FieldName::new(token.as_bytes(), 0).unwrap_err();
        assert!(
            matches!(error, DecisionError::ProtectedHeader(_)),
            "{token}"
        );
    }
    let error = FieldName::new(b"f", 0).unwrap_err().to_string();
    assert_eq!(
        error,
        "From cannot be set: that needs a back-to-back user agent"
    );
}

#[test]
fn what_would_break_the_message_is_refused() {
    for token in ["", "X Y", "X:", "X\r\nVia", "X\0"] {
        let error = FieldName::new(token.as_bytes(), 3).unwrap_err();
        assert_eq!(error, DecisionError::BadHeader(3), "{token:?}");
    }
    for value in ["a\r\nVia: b", "a\nb", "a\rb", "\0"] {
        for edit in [add("X", value), replace("X", value)] {
            assert_eq!(Edits::new(vec![edit]), Err(DecisionError::BadHeader(0)));
        }
    }
    for (bytes, content_type) in [("x", ""), ("x", "text"), ("x", "text/plain\r\nX: y")] {
        let edits = Edits::new(vec![body(bytes, content_type)]);
        assert_eq!(edits, Err(DecisionError::BadContentType));
    }
}

#[test]
fn edits_are_bounded() {
    let many = vec![remove("X"); MAX_EDITS + 1];
    assert_eq!(
        Edits::new(many),
        Err(DecisionError::TooManyEdits(MAX_EDITS + 1))
    );
    assert!(Edits::new(vec![remove("X"); MAX_EDITS]).is_ok());
    let long = "x".repeat(MAX_EDIT_BYTES);
    let edits = Edits::new(vec![add("X", &long)]);
    assert_eq!(edits, Err(DecisionError::EditsTooLong(MAX_EDIT_BYTES + 1)));
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["Subject", "s", "SUBJECT", "X-One", "x-one", "X-Two"])
}

fn any_line() -> impl Strategy<Value = String> {
    let blank = prop::sample::select(vec!["", " ", " \t"]);
    let fold = prop::sample::select(vec!["", "\r\n more", "\r\n\tmore\r\n  still"]);
    (any_name(), blank, "[a-z]{0,6}", fold)
        .prop_map(|(name, blank, value, fold)| format!("{name}{blank}: {value}{fold}\r\n"))
}

fn any_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any_name(), "[a-z]{0,6}").prop_map(|(name, value)| add(name, &value)),
        any_name().prop_map(remove),
        (any_name(), "[a-z]{0,6}").prop_map(|(name, value)| replace(name, &value)),
        "[a-z]{0,9}".prop_map(|bytes| body(&bytes, "text/plain")),
    ]
}

/// A header field by its name in one spelling, and its bytes.
type Line = (&'static str, String);

fn canonical(name: &str) -> &'static str {
    match name.to_ascii_lowercase().as_str() {
        "s" | "subject" => "subject",
        "x-one" => "x-one",
        _ => "x-two",
    }
}

/// The lines that an edit leaves, computed in the plainest way.
fn model(mut lines: Vec<Line>, edit: &Edit) -> Vec<Line> {
    match edit {
        Edit::Body(..) => {}
        Edit::Add(name, value) => lines.push(line(name, value)),
        Edit::Remove(name) => lines.retain(|each| each.0 != line(name, b"").0),
        Edit::Replace(name, value) => {
            let new = line(name, value);
            let place = lines.iter().position(|each| each.0 == new.0);
            lines.retain(|each| each.0 != new.0);
            lines.insert(place.unwrap_or(lines.len()), new);
        }
    }
    lines
}

fn line(name: &FieldName, value: &[u8]) -> Line {
    let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
    let value = String::from_utf8_lossy(value);
    (canonical(&name), format!("{name}: {value}\r\n"))
}

/// The header fields of these names, byte for byte.
fn lines_in(message: &Message<'_>) -> Vec<String> {
    let is_meant = |name: &[u8]| {
        let name = name.to_ascii_lowercase();
        [&b"s"[..], b"subject", b"x-one", b"x-two"].contains(&&name[..])
    };
    let fields = message.headers().iter();
    let meant = fields.filter(|field| is_meant(message.text(field.name_span)));
    meant
        .map(|field| String::from_utf8_lossy(message.text(field.whole)).into_owned())
        .collect()
}

proptest! {
    #[test]
    fn an_edited_copy_parses_and_has_exactly_the_wanted_fields(
        lines in prop::collection::vec(any_line(), 0..6),
        edits in prop::collection::vec(any_edit(), 1..6),
    ) {
        let datagram = if lines.is_empty() {
            invite().body(b"old").bytes()
        } else {
            let text = String::from_utf8(invite().body(b"old").bytes()).unwrap();
            text.replacen("Contact:", &format!("{}Contact:", lines.concat()), 1).into_bytes()
        };
        let spelt = lines.iter().map(|each| {
            let name = each.split([' ', '\t', ':']).next().unwrap();
            (canonical(name), each.clone())
        });
        let wanted = edits.iter().fold(spelt.collect(), model);
        let wanted: Vec<String> = wanted.into_iter().map(|each| each.1).collect();
        let copy = copy_of(&datagram, edits.clone());
        let message = copy.message();
        prop_assert_eq!(lines_in(&message), wanted);
        let last = edits.iter().rev().find_map(|edit| match edit {
            Edit::Body(bytes, _) => Some(bytes.to_vec()),
            _ => None,
        });
        prop_assert_eq!(message.body(), &last.unwrap_or(b"old".to_vec())[..]);
        let plain = copy_of(&datagram, Vec::new());
        for kept in ["From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards", "Via"] {
            prop_assert_eq!(copy.values(kept), plain.values(kept));
        }
    }
}
