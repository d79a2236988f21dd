//! Every header field of RFC 3261 §20 in every form that §7.3 allows: any case, the compact form, blanks before the
//! colon, none or many behind it, and a value that is folded.

use proptest::prelude::*;
use proptest::sample::{select, Index};
use sipshard_proto::{HeaderName, Message};

/// One header field: subsection of §20, name, compact form or nothing, and a value. What the blanks of a value
/// separate may be folded there.
struct Field {
    section: usize,
    header: HeaderName,
    name: &'static str,
    compact: &'static str,
    value: &'static str,
}

macro_rules! fields {
    ($($section:literal $header:ident $name:literal $compact:literal $value:literal,)*) => {
        const FIELDS: &[Field] = &[$(Field {
            section: $section,
            header: HeaderName::$header,
            name: $name,
            compact: $compact,
            value: $value,
        },)*];
    };
}

fields! {
    1 Accept "Accept" "" "application/sdp;level=1, application/x-private, text/html",
    2 AcceptEncoding "Accept-Encoding" "" "gzip, identity;q=0.5",
    3 AcceptLanguage "Accept-Language" "" "da, en-gb;q=0.8, en;q=0.7",
    4 AlertInfo "Alert-Info" "" "<http://www.example.com/sounds/moo.wav> ;a=b",
    5 Allow "Allow" "" "INVITE, ACK, OPTIONS, CANCEL, BYE",
    6 AuthenticationInfo "Authentication-Info" "" "nextnonce=\"47364c23432d2e131a5fb210812c\", qop=auth",
    7 Authorization "Authorization" "" "Digest username=\"Alice\", realm=\"example.com\", nonce=\"84a4cc6f\"",
    8 CallId "Call-ID" "i" "f81d4fae-7dec-11d0-a765-00a0c91e6bf6@biloxi.example.com",
    9 CallInfo "Call-Info" "" "<http://www.example.com/alice/photo.jpg> ;purpose=icon",
    10 Contact "Contact" "m" "\"Mr. Watson\" <sip:watson@worcester.example.org> ;q=0.7; expires=3600",
    11 ContentDisposition "Content-Disposition" "" "session; handling=optional",
    12 ContentEncoding "Content-Encoding" "e" "tar, gzip",
    13 ContentLanguage "Content-Language" "" "fr, en",
    14 ContentLength "Content-Length" "l" "4",
    15 ContentType "Content-Type" "c" "text/html; charset=ISO-8859-4",
    16 CSeq "CSeq" "" "4711 OPTIONS",
    17 Date "Date" "" "Sat, 13 Nov 2010 23:29:00 GMT",
    18 ErrorInfo "Error-Info" "" "<sip:not-in-service@atlanta.example.com> ;a=b",
    19 Expires "Expires" "" "5",
    20 From "From" "f" "\"A. G. Bell\" <sip:agb@example.com> ;tag=a48s",
    21 InReplyTo "In-Reply-To" "" "70710@saturn.example.com, 17320@saturn.example.com",
    22 MaxForwards "Max-Forwards" "" "6",
    23 MinExpires "Min-Expires" "" "60",
    24 MimeVersion "MIME-Version" "" "1.0",
    25 Organization "Organization" "" "Boxes by Bob",
    26 Priority "Priority" "" "non-urgent",
    27 ProxyAuthenticate "Proxy-Authenticate" "" "Digest realm=\"atlanta.example.com\", qop=\"auth\", stale=FALSE",
    28 ProxyAuthorization "Proxy-Authorization" "" "Digest username=\"Alice\", realm=\"atlanta.example.com\"",
    29 ProxyRequire "Proxy-Require" "" "foo, bar",
    30 RecordRoute "Record-Route" "" "<sip:server10.biloxi.example.com;lr>, <sip:bigbox3.example.com;lr>",
    31 ReplyTo "Reply-To" "" "Bob <sip:bob@biloxi.example.com>",
    32 Require "Require" "" "100rel, path",
    33 RetryAfter "Retry-After" "" "18000;duration=3600 (in a meeting)",
    34 Route "Route" "" "<sip:bigbox3.example.com;lr>, <sip:server10.biloxi.example.com;lr>",
    35 Server "Server" "" "HomeServer v2",
    36 Subject "Subject" "s" "Need more boxes",
    37 Supported "Supported" "k" "100rel, path",
    38 Timestamp "Timestamp" "" "54.21 0.5",
    39 To "To" "t" "The Operator <sip:operator@cs.example.edu>;tag=287447",
    40 Unsupported "Unsupported" "" "foo, bar",
    41 UserAgent "User-Agent" "" "Softphone Beta1.5 (any)",
    42 Via "Via" "v" "SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;maddr=192.0.2.2 ;branch=z9hG4bKa7c6a8dlze.1",
    43 Warning "Warning" "" "307 isi.example.edu \"Session parameter 'foo' not understood\"",
    44 WwwAuthenticate "WWW-Authenticate" "" "Digest realm=\"atlanta.example.com\", domain=\"sip:boxesbybob.example.com\"",
}

/// What no request can do without, and the length of the body.
const MANDATORY: &[(HeaderName, &str)] = &[
    (HeaderName::Via, "Via: SIP/2.0/UDP a;branch=z9hG4bK1"),
    (HeaderName::From, "From: <sip:a@a>;tag=1"),
    (HeaderName::To, "To: <sip:b@b>"),
    (HeaderName::CallId, "Call-ID: 1"),
    (HeaderName::CSeq, "CSeq: 1 OPTIONS"),
    (HeaderName::ContentLength, "Content-Length: 4"),
];

/// How a field is written.
#[derive(Clone, Debug)]
struct Form {
    which: Index,
    is_compact: bool,
    upper: Vec<bool>,
    before_colon: &'static str,
    after_colon: &'static str,
    /// What each blank of the value is replaced by.
    blanks: Vec<&'static str>,
    at_end: &'static str,
    line_end: &'static str,
    place: Index,
}

fn forms() -> impl Strategy<Value = Form> {
    let fold = || select(vec![" ", "\t", "  ", "\r\n ", " \r\n\t", "\r\n  \r\n "]);
    (
        (any::<Index>(), any::<bool>(), any::<Index>()),
        prop::collection::vec(any::<bool>(), 20),
        select(vec!["", " ", "\t", "  \t "]),
        select(vec!["", " ", "\t ", "   ", "\r\n ", " \r\n\t"]),
        prop::collection::vec(fold(), 12),
        (select(vec!["", " ", "\t "]), select(vec!["\r\n", "\n"])),
    )
        .prop_map(
            |((which, is_compact, place), upper, before_colon, after_colon, blanks, ends)| Form {
                which,
                is_compact,
                upper,
                before_colon,
                after_colon,
                blanks,
                at_end: ends.0,
                line_end: ends.1,
                place,
            },
        )
}

impl Form {
    fn name(&self, field: &Field) -> String {
        let name = match (self.is_compact, field.compact) {
            (false, _) | (_, "") => field.name,
            (true, compact) => compact,
        };
        let letters = name.chars().zip(self.upper.iter().cycle());
        letters
            .map(|(letter, upper)| match upper {
                true => letter.to_ascii_uppercase(),
                false => letter.to_ascii_lowercase(),
            })
            .collect()
    }

    fn value(&self, field: &Field) -> String {
        let mut blanks = self.blanks.iter().cycle();
        field
            .value
            .split(' ')
            .map(String::from)
            .reduce(|value, next| value + blanks.next().expect("they never end") + &next)
            .unwrap_or_default()
    }

    /// A request with the field, between what else a request needs.
    fn request(&self, field: &Field) -> String {
        let others = MANDATORY.iter().filter(|(name, _)| *name != field.header);
        let mut lines: Vec<String> = others.map(|(_, line)| (*line).to_owned()).collect();
        let (name, value) = (self.name(field), self.value(field));
        let (before, after, end) = (self.before_colon, self.after_colon, self.at_end);
        let place = self.place.index(lines.len() + 1);
        lines.insert(place, format!("{name}{before}:{after}{value}{end}"));
        let head = lines.join(self.line_end);
        let end = self.line_end;
        format!("OPTIONS sip:b@b SIP/2.0{end}{head}{end}{end}body")
    }
}

/// A value with each run of blanks and folds as one blank (RFC 3261 §7.3.1).
fn unfolded(value: &[u8]) -> String {
    let text = std::str::from_utf8(value).expect("the values are ASCII");
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn section_20_is_complete() {
    let sections: Vec<usize> = FIELDS.iter().map(|field| field.section).collect();
    assert_eq!(sections, (1..=44).collect::<Vec<_>>());
    for field in FIELDS {
        assert_eq!(field.header.as_str(), field.name);
    }
}

#[test]
fn rfc3261_7_3_1_every_field_of_section_20_may_be_empty_or_folded_before_its_value() {
    let is_mandatory = |field: &&Field| MANDATORY.iter().any(|(name, _)| *name == field.header);
    let numbers = [HeaderName::MaxForwards, HeaderName::ContentLength];
    for field in FIELDS.iter().filter(|field| !is_mandatory(field)) {
        let others: String = MANDATORY
            .iter()
            .map(|(_, line)| format!("{line}\r\n"))
            .collect();
        for value in ["", " ", "\t", "\r\n ", " \r\n \r\n\t"] {
            let name = field.name;
            let text = format!("OPTIONS sip:b@b SIP/2.0\r\n{name}:{value}\r\n{others}\r\nbody");
            match Message::parse(text.as_bytes()) {
                Ok(message) => assert_eq!(message.value(field.header), Some(&b""[..]), "{text:?}"),
                Err(fault) => assert!(numbers.contains(&field.header), "{fault:?}: {text:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn rfc3261_7_3_every_field_of_section_20_is_found_in_every_form(form in forms()) {
        let field = form.which.get(FIELDS);
        let request = form.request(field);
        let message = match Message::parse(request.as_bytes()) {
            Ok(message) => message,
            Err(fault) => return Err(TestCaseError::fail(format!("{fault:?}: {request:?}"))),
        };
        let values: Vec<&[u8]> = message.values(field.header).collect();
        prop_assert_eq!(values.len(), 1, "{:?}", request);
        prop_assert_eq!(unfolded(values[0]), field.value);
        prop_assert_eq!(values[0], values[0].trim_ascii());
        prop_assert_eq!(message.value(field.header), Some(values[0]));
        prop_assert_eq!(message.body(), b"body");
        let by_name: Vec<&[u8]> = message.value_by_token(field.name.as_bytes()).collect();
        prop_assert_eq!(by_name, values);
    }
}
