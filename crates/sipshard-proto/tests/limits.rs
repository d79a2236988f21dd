//! More of something than anybody needs: it is refused or passed over, in time that grows with its length only.

use std::fmt::Write;

use sipshard_proto::{
    parameter, split_list, Contact, Fault, Message, NameAddr, Uri, Via, MAX_LIST_ITEMS,
};

const NINES: &str = "9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999";

fn request(cseq: &str, fields: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\n\
         Call-ID: c\r\nCSeq: {cseq} OPTIONS\r\n{fields}\r\n"
    )
    .into_bytes()
}

fn fault(fields: &str) -> Option<Fault> {
    Message::parse(&request("1", fields)).err()
}

#[test]
fn ten_thousand_header_fields() {
    assert_eq!(
        fault(&"a: b\r\n".repeat(10_000)),
        Some(Fault::TooManyHeaders)
    );
}

#[test]
fn lines_of_64_kilobytes() {
    for field in [
        format!("X: {}\r\n", "y".repeat(65_000)),
        format!("{}: y\r\n", "X".repeat(65_000)),
        format!("X:{}\r\n", "\r\n ".repeat(21_000)),
    ] {
        assert_eq!(fault(&field), None);
    }
    assert_eq!(
        fault(&format!("X: {}\r\n", "y".repeat(65_536))),
        Some(Fault::TooLarge)
    );
    let line = format!("OPTIONS sip:{} SIP/2.0\r\n", "a".repeat(65_000));
    assert_eq!(
        Message::parse(line.as_bytes()).err(),
        Some(Fault::UnfinishedHead)
    );
}

#[test]
fn lists_of_ten_thousand_items() {
    let items = vec!["<sip:a@b>"; 10_000].join(",");
    let found: Vec<&[u8]> = split_list(items.as_bytes()).collect();
    assert_eq!(found.len(), MAX_LIST_ITEMS);
    let rest = found[MAX_LIST_ITEMS - 1];
    assert!(
        Contact::parse(rest).is_err(),
        "the rest is taken for nothing"
    );
    let vias = vec!["SIP/2.0/UDP a;branch=z9hG4bK1"; 2_000].join(",");
    assert_eq!(fault(&format!("Via: {vias}\r\n")), None);
}

#[test]
fn ten_thousand_parameters() {
    let parameters = ";a=b".repeat(10_000);
    let found = parameter::parameters(parameters.as_bytes());
    assert!(found.map_while(Result::ok).count() <= 10_000);
    assert!(Via::parse(format!("SIP/2.0/UDP a{parameters};branch=z9hG4bK1").as_bytes()).is_ok());
}

#[test]
fn quotes_and_brackets_that_nest_or_never_end() {
    for open in [
        "\"", "<", "\\", "\"\\", "\"\\\"", "(", "(\"", "<\"", "\"<", "[", "\"\",",
    ] {
        let text = open.repeat(20_000);
        for value in [
            text.clone(),
            format!("{text}<sip:a@b>"),
            format!("<sip:a@b>;x={text}"),
        ] {
            let bytes = value.as_bytes();
            let _ = (
                NameAddr::parse(bytes),
                Contact::parse(bytes),
                Via::parse(bytes),
                Uri::parse(bytes),
            );
            assert!(split_list(bytes).count() <= MAX_LIST_ITEMS);
            assert!(parameter::parameters(bytes).count() <= bytes.len() + 1);
            let fault = fault(&format!("Warning: {value}\r\n"));
            assert!(matches!(fault, None | Some(Fault::TooLarge)), "{open}");
        }
    }
}

#[test]
fn numbers_of_a_hundred_digits() {
    assert_eq!(
        Message::parse(&request(NINES, "")).err(),
        Some(Fault::BadCSeq)
    );
    assert_eq!(
        fault(&format!("Content-Length: {NINES}\r\n")),
        Some(Fault::ShortBody)
    );
    assert_eq!(
        fault(&format!("Content-Length: -{NINES}\r\n")),
        Some(Fault::BadContentLength)
    );
    assert_eq!(fault(&format!("Max-Forwards: {NINES}\r\n")), None);
    assert!(Uri::parse(format!("sip:a:{NINES}").as_bytes()).is_err());
    assert!(Via::parse(format!("SIP/2.0/UDP a:{NINES}").as_bytes()).is_err());
    let contact = format!("<sip:a@b>;expires={NINES};reg-id={NINES}");
    let Ok(Contact::Address {
        expires, reg_id, ..
    }) = Contact::parse(contact.as_bytes())
    else {
        panic!("large numbers are no faults");
    };
    assert_eq!((expires, reg_id), (Some(u32::MAX), Some(u32::MAX)));
}

#[test]
fn a_name_of_many_labels() {
    let mut host = String::new();
    for _ in 0..10_000 {
        write!(host, "a.").expect("a String takes everything");
    }
    let _ = Uri::parse(format!("sip:{host}").as_bytes());
    assert_eq!(fault(&format!("Route: <sip:{host}>\r\n")), None);
}
