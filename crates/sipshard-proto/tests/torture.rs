//! The torture messages of RFC 4475 and RFC 5118, and what the parser must make of each.
//!
//! `tests/vectors/expect.tsv` says what the whole server must do; the table below is the parser's share of it.
//! Vectors are found by folder: a file that the table does not list fails the test, so none is forgotten.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use sipshard_proto::{
    malformed, parameter, Contact, Fault, HeaderName, Host, Message, Method, NameAddr, Rport,
    Scheme, Uri, Via,
};

/// What becomes of a vector.
enum Expected {
    /// It parses, and this holds.
    Valid(fn(&Message<'_>)),
    /// It is refused, and a 4xx or 5xx with this status goes back.
    Answered(Fault, u16),
    /// It is refused in silence.
    Dropped(Fault),
}

use Expected::{Answered, Dropped, Valid};

/// RFC 4475, in the order of its sections.
const RFC4475: &[(&str, Expected)] = &[
    ("wsinv", Valid(section_3_1_1_1_white_space)),
    ("intmeth", Valid(section_3_1_1_2_odd_characters)),
    ("esc01", Valid(section_3_1_1_3_escapes)),
    ("escnull", Valid(section_3_1_1_4_escaped_nul)),
    ("esc02", Valid(section_3_1_1_5_escapes_that_are_none)),
    ("lwsdisp", Valid(section_3_1_1_6_no_space_before_bracket)),
    ("longreq", Valid(section_3_1_1_7_long_values)),
    ("dblreq", Valid(section_3_1_1_8_bytes_behind_the_body)),
    ("semiuri", Valid(section_3_1_1_9_semicolon_in_user)),
    ("transports", Valid(section_3_1_1_10_unknown_transports)),
    ("mpart01", Valid(section_3_1_1_11_binary_body)),
    ("unreason", Valid(section_3_1_1_12_utf8_reason)),
    ("noreason", Valid(section_3_1_1_13_no_reason)),
    ("badinv01", Answered(Fault::BadVia, 400)),
    ("clerr", Answered(Fault::ShortBody, 400)),
    ("ncl", Answered(Fault::BadContentLength, 400)),
    ("scalar02", Answered(Fault::BadCSeq, 400)),
    ("scalarlg", Dropped(Fault::BadCSeq)),
    ("quotbal", Answered(Fault::BadTo, 400)),
    ("ltgtruri", Answered(Fault::BadRequestUri, 400)),
    ("lwsruri", Answered(Fault::BadStartLine, 400)),
    ("lwsstart", Answered(Fault::BadStartLine, 400)),
    ("trws", Answered(Fault::BadStartLine, 400)),
    ("escruri", Valid(section_3_1_2_11_headers_in_request_uri)),
    ("baddate", Valid(opaque_until_asked_for)),
    ("regbadct", Valid(section_3_1_2_13_contact_without_brackets)),
    ("badaspec", Answered(Fault::BadTo, 400)),
    // The file ends without a blank line; the unquoted comma is in `section_3_1_2_15_unquoted_comma`.
    ("baddn", Answered(Fault::UnfinishedHead, 400)),
    ("badvers", Answered(Fault::UnsupportedVersion, 505)),
    ("mismatch01", Answered(Fault::CSeqMethodMismatch, 400)),
    ("mismatch02", Answered(Fault::UnknownMethodMismatch, 501)),
    ("bigcode", Dropped(Fault::BadStatusCode)),
    ("badbranch", Valid(section_3_2_1_bare_cookie)),
    ("insuf", Answered(Fault::MissingFrom, 400)),
    ("unkscm", Valid(unknown_scheme)),
    ("novelsc", Valid(unknown_scheme)),
    ("unksm2", Valid(section_3_3_4_unknown_schemes_in_fields)),
    ("bext01", Valid(section_3_3_5_unknown_extensions)),
    ("invut", Valid(opaque_until_asked_for)),
    ("regaut01", Valid(opaque_until_asked_for)),
    ("multi01", Answered(Fault::DuplicateCSeq, 400)),
    ("mcl01", Answered(Fault::DuplicateContentLength, 400)),
    ("bcast", Valid(section_3_3_10_broadcast_via)),
    ("zeromf", Valid(section_3_3_11_max_forwards_zero)),
    ("cparam01", Valid(section_3_3_12_header_parameter)),
    ("cparam02", Valid(section_3_3_13_uri_parameter)),
    ("regescrt", Valid(section_3_3_14_escaped_route)),
    ("sdp01", Valid(opaque_until_asked_for)),
    ("inv2543", Valid(section_3_4_1_rfc2543)),
    // Not described in the RFC: no version in the start line.
    ("test", Dropped(Fault::BadStartLine)),
];

/// RFC 5118, in the order of its sections.
const RFC5118: &[(&str, Expected)] = &[
    ("ipv6-good", Valid(rfc5118_section_4_1)),
    ("ipv6-bad", Answered(Fault::BadRequestUri, 400)),
    ("port-ambiguous", Valid(rfc5118_section_4_3)),
    ("port-unambiguous", Valid(rfc5118_section_4_4)),
    (
        "via-received-param-with-delim",
        Valid(rfc5118_section_4_5_brackets),
    ),
    (
        "via-received-param-no-delim",
        Valid(rfc5118_section_4_5_no_brackets),
    ),
    ("ipv6-in-sdp", Valid(opaque_until_asked_for)),
    ("mult-ip-in-header", Valid(rfc5118_section_4_7)),
    ("mult-ip-in-sdp", Valid(opaque_until_asked_for)),
    ("ipv4-mapped-ipv6", Valid(rfc5118_section_4_9)),
    ("ipv6-bug-abnf-3-colons", Valid(rfc5118_section_4_10)),
    ("ipv6-correct-abnf-2-colons", Valid(rfc5118_section_4_10)),
];

#[test]
fn rfc4475_torture_messages() {
    check_folder("rfc4475", RFC4475);
}

#[test]
fn rfc5118_torture_messages() {
    check_folder("rfc5118/wire", RFC5118);
}

#[test]
fn every_line_of_the_expectations_is_in_the_table() {
    let text = fs::read_to_string(vectors().join("expect.tsv")).expect("expect.tsv is readable");
    for (set, table) in [("rfc4475", RFC4475), ("rfc5118", RFC5118)] {
        let expected: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix(set)?.split('\t').nth(1))
            .collect();
        let listed: BTreeSet<&str> = table.iter().map(|(name, _)| *name).collect();
        assert_eq!(listed, expected, "{set}");
    }
}

#[test]
fn section_3_1_2_15_unquoted_comma() {
    let mut datagram =
        fs::read(vectors().join("rfc4475/baddn.dat")).expect("the vector is readable");
    datagram.extend_from_slice(b"\r\n");
    check(&datagram, &Answered(Fault::BadFrom, 400));
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn check_folder(folder: &str, table: &[(&str, Expected)]) {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(vectors().join(folder)).expect("the vectors are there") {
        let path = entry.expect("the folder is readable").path();
        if path.extension().is_none_or(|extension| extension != "dat") {
            continue;
        }
        let name = path
            .file_stem()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        let datagram = fs::read(&path).expect("the vector is readable");
        let (_, expected) = table
            .iter()
            .find(|(listed, _)| *listed == name)
            .unwrap_or_else(|| panic!("{name} is not in the table"));
        println!("{folder}/{name}");
        check(&datagram, expected);
        found.insert(name);
    }
    assert_eq!(
        found.len(),
        table.len(),
        "some vectors of {folder} are gone"
    );
}

fn check(datagram: &[u8], expected: &Expected) {
    let parsed = Message::parse(datagram);
    match expected {
        Valid(holds) => {
            let message = parsed.expect("it is valid");
            assert_copies_verbatim(datagram, &message);
            holds(&message);
        }
        Answered(fault, status) => {
            assert_eq!(parsed.err(), Some(*fault));
            let response = refusal(datagram, *fault).expect("it is answered");
            let start = format!("SIP/2.0 {status} ");
            assert!(response.starts_with(start.as_bytes()));
            assert!(response.ends_with(b"Content-Length: 0\r\n\r\n"));
        }
        Dropped(fault) => {
            assert_eq!(parsed.err(), Some(*fault));
            assert_eq!(refusal(datagram, *fault), None);
        }
    }
}

fn refusal(datagram: &[u8], fault: Fault) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    malformed::refuse(datagram, fault, &mut out).map(|()| out)
}

fn assert_copies_verbatim(datagram: &[u8], message: &Message<'_>) {
    let mut copy = message.start_line().to_vec();
    for field in message.headers() {
        copy.extend_from_slice(message.text(field.whole));
    }
    copy.extend_from_slice(b"\r\n");
    copy.extend_from_slice(message.body());
    assert_eq!(copy, message.bytes());
    assert!(datagram.starts_with(message.bytes()));
}

fn contacts<'m>(message: &'m Message<'_>) -> Vec<(Uri<'m>, NameAddr<'m>)> {
    message
        .list(HeaderName::Contact)
        .map(|item| match Contact::parse(item) {
            Ok(Contact::Address { name_addr, .. }) => (
                Uri::parse(name_addr.uri).expect("the URI parses"),
                name_addr,
            ),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn vias<'m>(message: &'m Message<'_>) -> Vec<Via<'m>> {
    message
        .list(HeaderName::Via)
        .map(|item| Via::parse(item).expect("the Via parses"))
        .collect()
}

fn request_uri<'m>(message: &'m Message<'_>) -> Uri<'m> {
    Uri::parse(message.request_uri()).expect("Message::parse has looked at it")
}

fn v6(text: &str) -> Host<'static> {
    Host::V6(
        text.parse::<Ipv6Addr>()
            .expect("the test's address is right"),
    )
}

fn opaque_until_asked_for(message: &Message<'_>) {
    assert!(message.is_request());
}

fn section_3_1_1_1_white_space(message: &Message<'_>) {
    assert_eq!(message.method(), Method::Invite);
    assert_eq!(message.to_tag(), Some(&b"1918181833n"[..]));
    assert_eq!(message.to().uri, b"sip:vivekg@chair-dnrc.example.com");
    assert_eq!(message.from().display, br#""J Rosenberg \\\"""#);
    assert_eq!(message.from_tag(), Some(&b"98asjd8"[..]));
    assert_eq!(message.max_forwards(), Some(68));
    assert_eq!(message.cseq(), 9);
    assert_eq!(message.value(HeaderName::Subject), Some(&b""[..]));
    let unusual: Vec<_> = message
        .value_by_token(b"unknownheaderwithunusualvalue")
        .collect();
    assert_eq!(unusual, [b";;,,;;,;"]);
    let vias = vias(message);
    assert_eq!(vias.len(), 3);
    assert_eq!(message.via(), vias[0]);
    assert_eq!(
        (vias[0].transport, vias[0].branch),
        (&b"UDP"[..], Some(&b"390skdjuw"[..]))
    );
    assert_eq!(vias[1].host, Host::Name(b"spindle.example.com"));
    assert_eq!(vias[1].branch, Some(&b"z9hG4bK9ikj8"[..]));
    assert_eq!(vias[2].branch, Some(&b"z9hG4bK30239"[..]));
    let route = message.list(HeaderName::Route).next().map(NameAddr::parse);
    let route = route.expect("there is one").expect("it parses");
    assert!(Uri::parse(route.uri).expect("it parses").is_loose_router());
    let Ok(Contact::Address { q, name_addr, .. }) =
        Contact::parse(message.value(HeaderName::Contact).expect("there is one"))
    else {
        panic!("the Contact does not parse");
    };
    assert_eq!(q, Some(330));
    assert_eq!(
        name_addr.parameter("newparam"),
        Some(Some(&b"newvalue"[..]))
    );
    assert_eq!(name_addr.parameter("secondparam"), Some(None));
    assert_eq!(message.body().len(), 150);
}

fn section_3_1_1_2_odd_characters(message: &Message<'_>) {
    assert_eq!(message.method(), Method::Other);
    assert_eq!(
        message.method_token(),
        b"!interesting-Method0123456789_*+`.%indeed'~"
    );
    let uri = request_uri(message);
    assert_eq!(
        uri.user,
        Some(&b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"[..])
    );
    assert_eq!(
        uri.password,
        Some(&b"&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"[..])
    );
    assert_eq!(uri.host, Host::Name(b"example.com"));
    assert_eq!(message.to().display, b"\"BEL:\\\x07 NUL:\\\0 DEL:\\\x7f\"");
    assert_eq!(message.from().display, b"token1~` token2'+_ token3*%!.-");
    assert_eq!(message.from_tag(), Some(&b"_token~1'+`*%!-."[..]));
    assert_eq!(
        message.call_id(),
        br#"intmeth.word%ZK-!.*_+'@word`~)(><:\/"][?}{"#
    );
    assert_eq!(message.via().branch, Some(&b"z9hG4bK-.!%66*_+`'~"[..]));
    assert_eq!(message.cseq(), 139_122_385);
}

fn section_3_1_1_3_escapes(message: &Message<'_>) {
    let uri = request_uri(message);
    assert_eq!(uri.user, Some(&b"sips%3Auser%40example.com"[..]));
    assert_eq!(uri.aor(), b"sips:user@example.com@example.net");
    let to = Uri::parse(message.to().uri).expect("it parses");
    let same = Uri::parse(b"sip:user@example.com").expect("it parses");
    assert!(to.equivalent(&same));
    assert_eq!(to.aor(), b"user@example.com");
}

fn section_3_1_1_4_escaped_nul(message: &Message<'_>) {
    let to = Uri::parse(message.to().uri).expect("it parses");
    assert_eq!(to.aor(), b"null-\0-null@example.com");
    let contacts = contacts(message);
    assert_eq!(contacts.len(), 2);
    assert_eq!(contacts[0].0.user, Some(&b"%00"[..]));
    assert_eq!(contacts[1].0.user, Some(&b"%00%00"[..]));
    assert!(!contacts[0].0.equivalent(&contacts[1].0));
}

fn section_3_1_1_5_escapes_that_are_none(message: &Message<'_>) {
    assert_eq!(message.method(), Method::Other);
    assert_eq!(message.method_token(), b"RE%47IST%45R");
    assert_eq!(message.to().display, br#""%Z%45""#);
    assert_eq!(contacts(message).len(), 2);
    assert_eq!(message.value_by_token(b"C%6Fntact").count(), 1);
}

fn section_3_1_1_6_no_space_before_bracket(message: &Message<'_>) {
    assert_eq!(message.from().display, b"caller");
    assert_eq!(message.from().uri, b"sip:caller@example.com");
}

fn section_3_1_1_7_long_values(message: &Message<'_>) {
    assert_eq!(vias(message).len(), 34);
    assert_eq!(message.values(HeaderName::Via).count(), 34);
    assert!(message.from_tag().is_some_and(|tag| tag.len() > 100));
    assert!(message.call_id().len() > 100);
    assert!(message.from().uri.len() > 100);
    assert_eq!(contacts(message).len(), 1);
}

fn section_3_1_1_8_bytes_behind_the_body(message: &Message<'_>) {
    assert_eq!(message.method(), Method::Register);
    assert_eq!(message.body(), b"");
    assert!(!message.bytes().windows(6).any(|window| window == b"INVITE"));
}

fn section_3_1_1_9_semicolon_in_user(message: &Message<'_>) {
    let uri = request_uri(message);
    assert_eq!(uri.user, Some(&b"user;par=u%40example.net"[..]));
    assert_eq!(uri.aor(), b"user;par=u@example.net@example.com");
    assert_eq!(uri.parameters, b"");
    assert_eq!(message.list(HeaderName::Accept).count(), 6);
}

fn section_3_1_1_10_unknown_transports(message: &Message<'_>) {
    let transports: Vec<_> = vias(message).iter().map(|via| via.transport).collect();
    assert_eq!(
        transports,
        [&b"UDP"[..], b"SCTP", b"TLS", b"UNKNOWN", b"TCP"]
    );
}

fn section_3_1_1_11_binary_body(message: &Message<'_>) {
    assert_eq!(message.method(), Method::Message);
    let length = message
        .value(HeaderName::ContentLength)
        .expect("it has one");
    assert_eq!(message.body().len().to_string().as_bytes(), length);
    assert!(message.body().contains(&0));
}

fn section_3_1_1_12_utf8_reason(message: &Message<'_>) {
    assert!(!message.is_request());
    assert_eq!(message.status(), 200);
    assert_eq!(message.method(), Method::Invite);
    let reason = std::str::from_utf8(message.reason()).expect("it is UTF-8");
    assert!(reason.starts_with("= 2**3 * 5**2 но сто"));
}

fn section_3_1_1_13_no_reason(message: &Message<'_>) {
    assert_eq!((message.status(), message.reason()), (100, &b""[..]));
}

fn section_3_1_2_11_headers_in_request_uri(message: &Message<'_>) {
    let uri = request_uri(message);
    assert_eq!(uri.headers, b"Route=%3Csip:example.com%3E");
    assert_eq!(uri.host_raw, b"example.com");
    assert_eq!(message.list(HeaderName::Route).count(), 0);
}

fn section_3_1_2_13_contact_without_brackets(message: &Message<'_>) {
    let contact = message.value(HeaderName::Contact).expect("there is one");
    assert_eq!(Contact::parse(contact), Err(Fault::BadContact));
}

fn section_3_2_1_bare_cookie(message: &Message<'_>) {
    assert_eq!(message.via().branch, Some(&b"z9hG4bK"[..]));
}

fn unknown_scheme(message: &Message<'_>) {
    assert_eq!(request_uri(message).scheme, Scheme::Other);
}

fn section_3_3_4_unknown_schemes_in_fields(message: &Message<'_>) {
    assert_eq!(
        Uri::parse(message.to().uri).map(|uri| uri.scheme),
        Ok(Scheme::Other)
    );
    assert_eq!(
        Uri::parse(message.from().uri).map(|uri| uri.scheme),
        Ok(Scheme::Other)
    );
    assert_eq!(contacts(message)[0].0.scheme, Scheme::Other);
}

fn section_3_3_5_unknown_extensions(message: &Message<'_>) {
    let proxy_require: Vec<_> = message.list(HeaderName::ProxyRequire).collect();
    assert_eq!(
        proxy_require,
        [&b"noProxiesSupportThis"[..], b"norDoAnyProxiesSupportThis"]
    );
    assert_eq!(message.list(HeaderName::Require).count(), 2);
}

fn section_3_3_10_broadcast_via(message: &Message<'_>) {
    let host = vias(message)[1].host;
    assert_eq!(
        host,
        Host::V4("255.255.255.255".parse().expect("it is an address"))
    );
}

fn section_3_3_11_max_forwards_zero(message: &Message<'_>) {
    assert_eq!(message.max_forwards(), Some(0));
}

fn section_3_3_12_header_parameter(message: &Message<'_>) {
    let (uri, name_addr) = contacts(message)[0];
    assert_eq!(name_addr.parameter("unknownparam"), Some(None));
    assert_eq!(uri.parameter("unknownparam"), None);
    assert!(!name_addr.in_brackets);
}

fn section_3_3_13_uri_parameter(message: &Message<'_>) {
    let (uri, name_addr) = contacts(message)[0];
    assert_eq!(name_addr.parameter("unknownparam"), None);
    assert_eq!(uri.parameter("unknownparam"), Some(None));
}

fn section_3_3_14_escaped_route(message: &Message<'_>) {
    let (uri, _) = contacts(message)[0];
    assert_eq!(uri.headers, b"Route=%3Csip:sip.example.com%3E");
}

fn section_3_4_1_rfc2543(message: &Message<'_>) {
    assert_eq!(message.via().branch, None);
    assert_eq!(message.via().rport, Rport::Absent);
    assert_eq!(message.from_tag(), None);
    assert_eq!(message.max_forwards(), None);
    assert!(message.body().starts_with(b"v=0"));
    assert!(message.bytes().ends_with(message.body()));
}

fn rfc5118_section_4_1(message: &Message<'_>) {
    assert_eq!(request_uri(message).host, v6("2001:db8::10"));
    assert_eq!(message.via().host, v6("2001:db8::9:1"));
}

fn rfc5118_section_4_3(message: &Message<'_>) {
    let uri = request_uri(message);
    assert_eq!((uri.host, uri.port), (v6("2001:db8::10:5070"), None));
}

fn rfc5118_section_4_4(message: &Message<'_>) {
    let uri = request_uri(message);
    assert_eq!((uri.host, uri.port), (v6("2001:db8::10"), Some(5070)));
}

fn rfc5118_section_4_5_brackets(message: &Message<'_>) {
    assert_eq!(message.via().received, Some(&b"[2001:db8::9:255]"[..]));
    assert_eq!(message.via().branch, Some(&b"z9hG4bKas3-111"[..]));
}

fn rfc5118_section_4_5_no_brackets(message: &Message<'_>) {
    assert_eq!(message.via().received, Some(&b"2001:db8::9:255"[..]));
    assert_eq!(
        parameter::find(message.via().parameters, "branch"),
        Some(Some(&b"z9hG4bKas3"[..]))
    );
}

fn rfc5118_section_4_7(message: &Message<'_>) {
    let vias = vias(message);
    assert_eq!(
        (vias[0].host, vias[0].port),
        (v6("2001:db8::9:1"), Some(6050))
    );
    assert!(matches!(vias[1].host, Host::V4(_)));
    assert_eq!(vias[2].received, Some(&b"192.0.2.200"[..]));
}

fn rfc5118_section_4_9(message: &Message<'_>) {
    assert_eq!(message.via().host, v6("::ffff:192.0.2.10"));
    assert_eq!(message.via().port, Some(19823));
    assert_eq!(contacts(message)[0].0.host, v6("::ffff:192.0.2.2"));
}

fn rfc5118_section_4_10(message: &Message<'_>) {
    assert_eq!(request_uri(message).host, v6("2001:db8::192.0.2.1"));
}
