//! Properties that hold for every input: nothing panics, nothing is lost, and what was put together comes
//! apart again.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, Index};
use sipshard_proto::{
    malformed, parameter, split_list, Contact, Fault, HeaderName, Host, Message, NameAddr, Rport,
    Scheme, Uri, Via,
};

/// The torture messages: real ones, well-formed and not.
fn vectors() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let mut vectors = Vec::new();
    for set in ["rfc4475", "rfc5118/wire"] {
        for entry in fs::read_dir(folder.join(set)).expect("the vectors are there") {
            vectors
                .push(fs::read(entry.expect("the folder is readable").path()).expect("readable"));
        }
    }
    vectors
}

/// Everything that reads a message, on a message that may be anything.
fn read_all(datagram: &[u8]) {
    let message = match Message::parse(datagram) {
        Ok(message) => message,
        Err(fault) => return check_refusal(datagram, fault),
    };
    check_copy(&message);
    for field in message.headers() {
        for item in split_list(message.text(field.value)) {
            let _ = (
                Via::parse(item),
                NameAddr::parse(item),
                Contact::parse(item),
            );
            assert!(parameter::parameters(item).count() <= item.len() + 1);
        }
    }
    let via = message.via();
    assert!(via.rport_name_end <= via.rport_end && via.rport_end <= via.raw.len());
    if message.is_request() {
        let uri = Uri::parse(message.request_uri()).expect("Message::parse has looked at it");
        assert!(uri.equivalent(&uri), "a URI is itself");
        let _ = uri.aor();
    }
    check_reparse(&message);
}

/// Start line, header fields, blank line and body make up the message again.
fn check_copy(message: &Message<'_>) {
    let mut copy = message.start_line().to_vec();
    for field in message.headers() {
        copy.extend_from_slice(message.text(field.whole));
    }
    let rest = &message.bytes()[copy.len()..];
    let blank = &rest[..rest.len() - message.body().len()];
    assert!(blank == b"\r\n" || blank == b"\n");
    copy.extend_from_slice(blank);
    copy.extend_from_slice(message.body());
    assert_eq!(copy, message.bytes());
}

/// What was cut out of a datagram parses to the same, and so does an owned copy.
fn check_reparse(message: &Message<'_>) {
    let again = Message::parse(message.bytes()).expect("it parsed before");
    assert_eq!(again.bytes(), message.bytes());
    assert_eq!(again.headers(), message.headers());
    let owned = again.into_owned();
    assert_eq!(owned.via(), message.via());
    assert_eq!((owned.from(), owned.to()), (message.from(), message.to()));
    assert_eq!(
        (owned.from_tag(), owned.to_tag()),
        (message.from_tag(), message.to_tag())
    );
    assert_eq!(
        (owned.call_id(), owned.cseq()),
        (message.call_id(), message.cseq())
    );
    assert_eq!(owned.body(), message.body());
}

/// An answer to a broken request is bounded, has one line per field, and a Via that parses.
fn check_refusal(datagram: &[u8], fault: Fault) {
    let mut out = Vec::new();
    if malformed::refuse(datagram, fault, &mut out).is_none() {
        assert!(out.is_empty());
        return;
    }
    assert!(out.len() <= datagram.len() + 70 * 5 + 200);
    assert!(out.starts_with(b"SIP/2.0 4") || out.starts_with(b"SIP/2.0 5"));
    assert!(out.ends_with(b"\r\nContent-Length: 0\r\n\r\n"));
    let via = out
        .split(|byte| *byte == b'\n')
        .nth(1)
        .expect("there is a second line");
    let via = via.strip_prefix(b"Via: ").expect("it is a Via");
    Via::parse(via).expect("the topmost Via parses");
    let head_end = out.windows(4).position(|four| four == b"\r\n\r\n");
    assert_eq!(
        head_end,
        Some(out.len() - 4),
        "there is one blank line, at the end"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_on_arbitrary_bytes(bytes in vec(any::<u8>(), 0..400)) {
        read_all(&bytes);
        let _ = (Via::parse(&bytes), NameAddr::parse(&bytes), Contact::parse(&bytes));
        if let Ok(uri) = Uri::parse(&bytes) {
            prop_assert!(uri.equivalent(&uri));
        }
        prop_assert!(split_list(&bytes).count() <= bytes.len() + 1);
    }

    #[test]
    fn nothing_panics_on_bytes_that_mean_something(
        bytes in vec(select(b"SIP/2.0 sip:@<>\"\\;=,%?&[]:\r\n\tVvFtlb0159\0\xff".to_vec()), 0..200),
    ) {
        read_all(&bytes);
        let _ = (Via::parse(&bytes), NameAddr::parse(&bytes), Contact::parse(&bytes), Uri::parse(&bytes));
        for parameter in parameter::parameters(&bytes).map_while(Result::ok) {
            prop_assert!(!parameter.name.is_empty());
        }
    }

    #[test]
    fn nothing_panics_on_mutated_messages(
        which in any::<Index>(),
        edits in vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..12),
    ) {
        let vectors = vectors();
        let mut bytes = which.get(&vectors).clone();
        for (place, byte, edit) in edits {
            let at = place.index(bytes.len().max(1));
            match edit {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at.min(bytes.len()), byte),
                2 if at < bytes.len() => { bytes.remove(at); }
                _ => bytes.truncate(at.max(1)),
            }
        }
        read_all(&bytes);
    }

    #[test]
    fn a_message_put_together_comes_apart_again(parts in message_parts()) {
        let text = parts.text();
        let message = Message::parse(&text).expect("it is well-formed");
        check_copy(&message);
        check_reparse(&message);
        prop_assert_eq!(message.call_id(), parts.call_id.as_bytes());
        prop_assert_eq!(message.cseq(), parts.cseq);
        prop_assert_eq!(message.from_tag(), Some(parts.tag.as_bytes()));
        prop_assert_eq!(message.body(), &parts.body[..]);
        prop_assert_eq!(message.headers().len(), 6 + parts.extensions.len());
        for (field, (name, value)) in message.headers()[6..].iter().zip(&parts.extensions) {
            prop_assert_eq!(message.text(field.name_span), name.as_bytes());
            prop_assert_eq!(message.text(field.value), value.trim_matches([' ', '\t', '\r', '\n']).as_bytes());
        }
    }

    #[test]
    fn a_uri_put_together_comes_apart_again(parts in uri_parts()) {
        let text = parts.text();
        let uri = Uri::parse(text.as_bytes()).expect("it is well-formed");
        prop_assert_eq!(uri.scheme, if parts.secure { Scheme::Sips } else { Scheme::Sip });
        prop_assert_eq!(uri.user, parts.user.as_deref().map(str::as_bytes));
        prop_assert_eq!(uri.password, parts.password().map(str::as_bytes));
        prop_assert_eq!(uri.host_raw, parts.host.as_bytes());
        prop_assert_eq!(uri.port, parts.port);
        for (name, value) in &parts.parameters {
            let found = uri.parameter(&name.to_ascii_uppercase());
            prop_assert!(found.is_some(), "{} is missing", name);
            let first = parts.parameters.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            if first == Some(&(name.clone(), value.clone())) {
                prop_assert_eq!(found.flatten(), value.as_deref().map(str::as_bytes));
            }
        }
        prop_assert!(uri.equivalent(&uri));
    }

    #[test]
    fn rfc3261_19_1_4_escaping_a_user_does_not_change_what_it_names(user in "[a-zA-Z0-9._-]{1,12}") {
        let escaped: String = user.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let plain = format!("sip:{user}@Example.com;transport=udp");
        let escaped = format!("SIP:{escaped}@example.COM;Transport=UDP");
        let plain = Uri::parse(plain.as_bytes()).expect("it is well-formed");
        let escaped = Uri::parse(escaped.as_bytes()).expect("it is well-formed");
        prop_assert!(plain.equivalent(&escaped));
        prop_assert_eq!(plain.aor(), escaped.aor());
    }

    #[test]
    fn a_via_put_together_comes_apart_again(parts in via_parts()) {
        let text = parts.text();
        let via = Via::parse(text.as_bytes()).expect("it is well-formed");
        prop_assert_eq!(via.transport, parts.transport.as_bytes());
        prop_assert_eq!(Some(via.host), Host::parse(parts.host.as_bytes()));
        prop_assert_eq!(via.port, parts.port);
        prop_assert_eq!(via.branch, Some(parts.branch.as_bytes()));
        prop_assert_eq!(via.rport, parts.rport);
        prop_assert_eq!(via.received, parts.received.as_deref().map(str::as_bytes));
        if parts.rport == Rport::Absent {
            prop_assert_eq!((via.rport_name_end, via.rport_end), (0, 0));
        } else {
            prop_assert!(via.raw[..via.rport_name_end].ends_with(b"rport"));
            prop_assert!(matches!(via.raw.get(via.rport_end), None | Some(b';' | b' ')));
        }
        if let Some(received) = &parts.received {
            prop_assert!(via.received_span.of(via.raw).ends_with(received.as_bytes()));
            prop_assert!(via.received_span.of(via.raw).starts_with(b"received"));
        }
    }

    #[test]
    fn a_name_addr_put_together_comes_apart_again(
        display in prop_oneof![Just(String::new()), "[a-zA-Z0-9!%*_+`'~.-]{1,8}", quoted_string()],
        space in "[ \t]{0,2}",
        uri in uri_parts(),
        tag in option::of(TOKEN),
    ) {
        let uri = uri.text();
        let tail = tag.as_ref().map_or(String::new(), |tag| format!("{space};{space}tag{space}={space}{tag}"));
        let text = format!("{display}{space}<{uri}>{tail}");
        let parsed = NameAddr::parse(text.as_bytes()).expect("it is well-formed");
        prop_assert_eq!(parsed.display, display.as_bytes());
        prop_assert_eq!(parsed.uri, uri.as_bytes());
        prop_assert_eq!(parsed.tag(), tag.as_deref().map(str::as_bytes));
        prop_assert!(parsed.in_brackets);
        prop_assert_eq!(split_list(text.as_bytes()).count(), 1);
    }

    #[test]
    fn a_contact_put_together_comes_apart_again(
        uri in uri_parts(),
        q in option::of(0..=1000_u16),
        expires in option::of(any::<u32>()),
        instance in option::of("urn:uuid:[0-9a-f-]{1,12}"),
        reg_id in option::of(any::<u32>()),
        semicolon in ";| ; |;\r\n ",
    ) {
        let mut text = format!("<{}>", uri.text());
        let parameters = [
            q.map(|q| format!("q={}.{:03}", q / 1000, q % 1000)),
            expires.map(|seconds| format!("Expires={seconds}")),
            instance.as_ref().map(|urn| format!("+sip.instance=\"<{urn}>\"")),
            reg_id.map(|number| format!("reg-id={number}")),
        ];
        for parameter in parameters.into_iter().flatten() {
            text += &format!("{semicolon}{parameter}");
        }
        let parsed = Contact::parse(text.as_bytes()).expect("it is well-formed");
        let expected = Contact::Address {
            name_addr: NameAddr::parse(text.as_bytes()).expect("it is well-formed"),
            q,
            expires,
            instance: instance.as_deref().map(str::as_bytes),
            reg_id,
        };
        prop_assert_eq!(parsed, expected);
    }

    #[test]
    fn a_list_put_together_comes_apart_again(
        items in vec(prop_oneof![TOKEN.prop_map(String::from), quoted_string(), Just("<sip:a,b@c>".to_owned())], 1..8),
        separator in "[ \t]{0,2},[ \t]{0,2}",
    ) {
        let text = items.join(&separator);
        let found: Vec<&[u8]> = split_list(text.as_bytes()).collect();
        let expected: Vec<&[u8]> = items.iter().map(|item| item.as_bytes()).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn rfc3261_7_3_1_a_name_means_the_same_in_any_case(letters in vec(any::<bool>(), 20), which in any::<Index>()) {
        let names = ["Via", "Call-ID", "WWW-Authenticate", "Content-Length", "P-Asserted-Identity", "m", "X-Other"];
        let name = which.get(&names);
        let mixed: String = name
            .chars()
            .zip(letters)
            .map(|(letter, upper)| if upper { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() })
            .collect();
        prop_assert_eq!(HeaderName::from_token(mixed.as_bytes()), HeaderName::from_token(name.as_bytes()));
    }
}

const TOKEN: &str = "[a-zA-Z0-9.!%*_+`'~-]{1,10}";
const HOST: &str = "[a-z][a-z0-9-]{0,8}(\\.[a-z]{1,4}){0,2}|[1-9]\\.[1-9][0-9]\\.0\\.1[0-9]{2}|\\[2001:db8::[1-9a-f]{1,4}\\]";

fn quoted_string() -> impl Strategy<Value = String> {
    "\"([a-z ;,<>=@ä]|\\\\[\"\\\\a]){0,10}\""
}

#[derive(Clone, Debug)]
struct UriParts {
    secure: bool,
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<u16>,
    parameters: Vec<(String, Option<String>)>,
}

impl UriParts {
    fn password(&self) -> Option<&str> {
        self.user.as_ref().and(self.password.as_deref())
    }

    fn text(&self) -> String {
        let mut text = String::from(if self.secure { "sips:" } else { "sip:" });
        if let Some(user) = &self.user {
            text += user;
            text += &self
                .password()
                .map_or(String::new(), |password| format!(":{password}"));
            text += "@";
        }
        text += &self.host;
        text += &self.port.map_or(String::new(), |port| format!(":{port}"));
        for (name, value) in &self.parameters {
            text += &format!(";{name}");
            text += &value
                .as_ref()
                .map_or(String::new(), |value| format!("={value}"));
        }
        text
    }
}

fn uri_parts() -> impl Strategy<Value = UriParts> {
    let parameter = (
        "[a-zA-Z][a-zA-Z0-9-]{0,5}",
        option::of("[a-zA-Z0-9:/&+$.-]{1,6}"),
    );
    (
        any::<bool>(),
        option::of("([a-zA-Z0-9_.!~*'()&=+$,;?/-]|%[0-9a-fA-F]{2}){1,10}"),
        option::of("[a-zA-Z0-9&=+$,]{0,5}"),
        HOST,
        option::of(any::<u16>()),
        vec(parameter, 0..4),
    )
        .prop_map(
            |(secure, user, password, host, port, parameters)| UriParts {
                secure,
                user,
                password,
                host,
                port,
                parameters,
            },
        )
}

#[derive(Clone, Debug)]
struct ViaParts {
    transport: String,
    host: String,
    port: Option<u16>,
    branch: String,
    rport: Rport,
    received: Option<String>,
    slash: String,
    semicolon: String,
}

impl ViaParts {
    fn text(&self) -> String {
        let (slash, semicolon) = (&self.slash, &self.semicolon);
        let mut text = format!("SIP{slash}2.0{slash}{} {}", self.transport, self.host);
        text += &self.port.map_or(String::new(), |port| format!(":{port}"));
        text += &match self.rport {
            Rport::Absent => String::new(),
            Rport::Requested => format!("{semicolon}rport"),
            Rport::Value(port) => format!("{semicolon}rport={port}"),
        };
        text += &format!("{semicolon}branch={}", self.branch);
        text += &self.received.as_ref().map_or(String::new(), |received| {
            format!("{semicolon}received={received}")
        });
        text
    }
}

fn via_parts() -> impl Strategy<Value = ViaParts> {
    let rport = prop_oneof![
        Just(Rport::Absent),
        Just(Rport::Requested),
        any::<u16>().prop_map(Rport::Value)
    ];
    (
        "UDP|TCP|TLS|SCTP|[A-Z]{1,5}",
        HOST,
        option::of(any::<u16>()),
        TOKEN,
        rport,
        option::of("192\\.0\\.2\\.[1-9]|2001:db8::[1-9]|\\[2001:db8::[1-9]\\]"),
        "/| / |\r\n /",
        ";| ; |;\r\n\t",
    )
        .prop_map(
            |(transport, host, port, branch, rport, received, slash, semicolon)| ViaParts {
                transport,
                host,
                port,
                branch,
                rport,
                received,
                slash,
                semicolon,
            },
        )
}

#[derive(Clone, Debug)]
struct MessageParts {
    via: ViaParts,
    from: UriParts,
    tag: String,
    call_id: String,
    cseq: u32,
    extensions: Vec<(String, String)>,
    spellings: Vec<Spelling>,
    line_end: &'static str,
    body: Vec<u8>,
}

/// How a header field is written: its name in any case or compact, white space on both sides of the colon, and the value
/// perhaps on the next line (RFC 3261 §7.3.1, §7.3.3).
#[derive(Clone, Debug)]
struct Spelling {
    form: u8,
    before: String,
    after: String,
}

impl Spelling {
    fn field(&self, name: &str, compact: &str, value: &str) -> String {
        let name = match self.form {
            0 => name.to_owned(),
            1 => name.to_ascii_uppercase(),
            2 => name.to_ascii_lowercase(),
            3 => compact.to_owned(),
            _ => compact.to_ascii_uppercase(),
        };
        format!("{name}{}:{}{value}", self.before, self.after)
    }
}

fn spelling() -> impl Strategy<Value = Spelling> {
    (0..5_u8, "[ \t]{0,2}", "[ \t]{0,2}|\r\n |\n\t").prop_map(|(form, before, after)| Spelling {
        form,
        before,
        after,
    })
}

impl MessageParts {
    fn text(&self) -> Vec<u8> {
        let fields = [
            ("Via", "v", self.via.text()),
            (
                "From",
                "f",
                format!("<{}>;tag={}", self.from.text(), self.tag),
            ),
            ("To", "t", "sip:bob@example.com".to_owned()),
            ("Call-ID", "i", self.call_id.clone()),
            ("CSeq", "CSEQ", format!("{} INVITE", self.cseq)),
            ("Content-Length", "l", self.body.len().to_string()),
        ];
        let mut lines = vec![format!("INVITE {} SIP/2.0", self.from.text())];
        for ((name, compact, value), spelling) in fields.iter().zip(&self.spellings) {
            lines.push(spelling.field(name, compact, value));
        }
        lines.extend(
            self.extensions
                .iter()
                .map(|(name, value)| format!("{name}:{value}")),
        );
        lines.push(self.line_end.to_owned());
        let mut text = lines.join(self.line_end).into_bytes();
        text.extend_from_slice(&self.body);
        text
    }
}

fn message_parts() -> impl Strategy<Value = MessageParts> {
    let extension = (
        "X-[a-z]{1,5}",
        "[ \t]?([a-zA-Z0-9;,<>=\"ä]{1,10}( |\r\n |\n\t|\t)){0,3}[a-zA-Z0-9;,<>=\"ä]{0,9}",
    );
    (
        via_parts(),
        uri_parts(),
        TOKEN,
        "[!-~]{1,40}",
        any::<u32>(),
        vec(extension, 0..40),
        vec(spelling(), 6),
        select(vec!["\r\n", "\n"]),
        vec(any::<u8>(), 0..50),
    )
        .prop_map(
            |(via, from, tag, call_id, cseq, extensions, spellings, line_end, body)| MessageParts {
                via,
                from,
                tag,
                call_id,
                cseq,
                extensions,
                spellings,
                line_end,
                body,
            },
        )
}
