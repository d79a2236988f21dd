//! The answer to a request that does not parse.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::fault::Fault;
use crate::head::{folded_line_at, read_field, MAX_HEADERS};
use crate::header::HeaderName;
use crate::message::MAX_MESSAGE_BYTES;
use crate::name_addr::NameAddr;
use crate::scan::split_list;
use crate::via::sound_part;

/// Most Via values that are copied into an answer; more hops than Max-Forwards usually allows.
const MAX_VIAS: usize = 70;

/// Writes the response that refuses `datagram` because of `fault` into `out`.
///
/// It has the status and reason of the fault and what could be read of Via, From, To, Call-ID and CSeq
/// (RFC 3261 §8.2.6). To gets a tag that is the same for each retransmission, because no state is kept
/// (§8.2.7). The response goes to where the datagram came from.
///
/// `None`, and nothing written, when there is no Via that an answer could go by, or when the message is a
/// response or an ACK, which are never answered. Reads each byte a fixed number of times at most.
pub fn refuse(datagram: &[u8], fault: Fault, out: &mut Vec<u8>) -> Option<()> {
    let datagram = &datagram[..datagram.len().min(MAX_MESSAGE_BYTES)];
    let salvage = Salvage::read(datagram)?;
    let start = format!("SIP/2.0 {} {}\r\n", fault.status(), fault.reason());
    out.extend_from_slice(start.as_bytes());
    for via in &salvage.vias {
        write_field(out, HeaderName::Via, via);
    }
    for (name, value) in [
        (HeaderName::From, salvage.from),
        (HeaderName::To, salvage.to),
        (HeaderName::CallId, salvage.call_id),
        (HeaderName::CSeq, salvage.cseq),
    ] {
        let Some(value) = value else {
            continue;
        };
        write_field(out, name, value);
        if name == HeaderName::To && lacks_tag(value) {
            out.truncate(out.len() - 2);
            let tag = format!(";tag={:016x}\r\n", salvage.fingerprint());
            out.extend_from_slice(tag.as_bytes());
        }
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    Some(())
}

/// Folds become spaces: a response of ours has none.
fn write_field(out: &mut Vec<u8>, name: HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend(value.iter().map(|byte| match byte {
        b'\r' | b'\n' => b' ',
        other => *other,
    }));
    out.extend_from_slice(b"\r\n");
}

/// A To that parses and has no tag. A broken one is sent back as it came.
fn lacks_tag(to: &[u8]) -> bool {
    NameAddr::parse(to).is_ok_and(|to| to.parameter("tag").is_none())
}

/// What is left of a broken request.
#[derive(Default)]
struct Salvage<'a> {
    vias: Vec<&'a [u8]>,
    from: Option<&'a [u8]>,
    to: Option<&'a [u8]>,
    call_id: Option<&'a [u8]>,
    cseq: Option<&'a [u8]>,
}

impl<'a> Salvage<'a> {
    fn read(datagram: &'a [u8]) -> Option<Salvage<'a>> {
        let start = datagram
            .iter()
            .position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let first = folded_line_at(datagram, start).ok()?;
        if !is_answerable(&datagram[start..first.end]) {
            return None;
        }
        let mut salvage = Salvage::default();
        let mut next = first.next;
        for _ in 0..MAX_HEADERS {
            let Ok(line) = folded_line_at(datagram, next) else {
                break;
            };
            if line.end == next {
                break;
            }
            if let Ok(field) = read_field(datagram, next) {
                salvage.take(field.name, field.value.of(datagram));
            }
            next = line.next;
        }
        (!salvage.vias.is_empty()).then_some(salvage)
    }

    fn take(&mut self, name: HeaderName, value: &'a [u8]) {
        let place = match name {
            HeaderName::Via => return self.take_vias(value),
            HeaderName::From => &mut self.from,
            HeaderName::To => &mut self.to,
            HeaderName::CallId => &mut self.call_id,
            HeaderName::CSeq => &mut self.cseq,
            _ => return,
        };
        place.get_or_insert(value);
    }

    /// The first Via must be readable, else the answer would go by the wrong one.
    fn take_vias(&mut self, value: &'a [u8]) {
        let free = MAX_VIAS.saturating_sub(self.vias.len());
        self.vias
            .extend(split_list(value).filter_map(sound_part).take(free));
    }

    /// A number that the same request gives again.
    fn fingerprint(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        let parts = [
            self.vias.first().copied(),
            self.from,
            self.call_id,
            self.cseq,
        ];
        for part in parts.into_iter().flatten() {
            hasher.write(part);
        }
        hasher.finish()
    }
}

/// Whether the first line is that of a request, well-formed or not, other than ACK.
fn is_answerable(line: &[u8]) -> bool {
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_response = line
        .get(..4)
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"SIP/"));
    !is_response && crate::scan::is_token(method) && method != b"ACK"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(datagram: &str, fault: Fault) -> Option<String> {
        let mut out = Vec::new();
        refuse(datagram.as_bytes(), fault, &mut out)
            .map(|()| String::from_utf8(out).expect("the test's message is UTF-8"))
    }

    #[test]
    fn rfc3261_8_2_6_the_answer_has_what_the_request_had() {
        let request = "INVITE sip:bob@example.com SIP/2.0\r\n\
            Via: SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b;branch=2\r\n\
            v: SIP/2.0/UDP c;branch=3\r\n\
            f: <sip:alice@example.com>\r\n ;tag=1\r\n\
            t: <sip:bob@example.com>;tag=2\r\n\
            broken line\r\n\
            i: abc\r\n\
            CSeq: x INVITE\r\n\
            Subject: not copied\r\n\r\nbody";
        let expected = "SIP/2.0 400 Bad CSeq\r\n\
            Via: SIP/2.0/UDP a;branch=1\r\n\
            Via: SIP/2.0/UDP b;branch=2\r\n\
            Via: SIP/2.0/UDP c;branch=3\r\n\
            From: <sip:alice@example.com>   ;tag=1\r\n\
            To: <sip:bob@example.com>;tag=2\r\n\
            Call-ID: abc\r\n\
            CSeq: x INVITE\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(refusal(request, Fault::BadCSeq).as_deref(), Some(expected));
    }

    #[test]
    fn rfc3261_8_2_7_the_tag_is_the_same_for_a_retransmission_only() {
        let request = "OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=1\r\nTo: sip:b\r\n\r\n";
        let once = refusal(request, Fault::MissingFrom).expect("it has a Via");
        let again = refusal(request, Fault::MissingFrom).expect("it has a Via");
        let other =
            refusal(&request.replace("=1", "=2"), Fault::MissingFrom).expect("it has a Via");
        assert_eq!(once, again);
        let tag = |response: &str| {
            response
                .split(";tag=")
                .nth(1)
                .map(|tag| tag[..16].to_owned())
        };
        assert!(tag(&once).is_some());
        assert_ne!(tag(&once), tag(&other));
    }

    #[test]
    fn rfc4475_3_1_2_6_a_broken_to_is_sent_back_as_it_came() {
        let request = "OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nTo: \"open <sip:b>\r\n\r\n";
        let response = refusal(request, Fault::BadTo).expect("it has a Via");
        assert!(response.contains("\r\nTo: \"open <sip:b>\r\n"));
    }

    #[test]
    fn rfc3261_17_1_1_3_and_18_3_what_is_never_answered() {
        let with_via = |line: &str| format!("{line}\r\nVia: SIP/2.0/UDP a\r\n\r\n");
        assert!(refusal(&with_via("INVITE sip:b SIP/2.0"), Fault::MissingFrom).is_some());
        assert_eq!(
            refusal(&with_via("ACK sip:b SIP/2.0"), Fault::MissingFrom),
            None
        );
        assert_eq!(
            refusal(&with_via("SIP/2.0 200 OK"), Fault::MissingFrom),
            None
        );
        assert_eq!(
            refusal(&with_via("sip/2.0 200 OK"), Fault::MissingFrom),
            None
        );
        assert_eq!(
            refusal(
                "INVITE sip:b SIP/2.0\r\nTo: sip:b\r\n\r\n",
                Fault::MissingVia
            ),
            None
        );
        assert_eq!(
            refusal("INVITE sip:b SIP/2.0\r\nVia: x\r\n\r\n", Fault::BadVia),
            None
        );
        assert_eq!(refusal("\r\n\r\n", Fault::Empty), None);
        assert_eq!(refusal("", Fault::Empty), None);
    }

    #[test]
    fn nothing_of_the_body_is_taken_for_a_header_field() {
        let request = "MESSAGE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n\r\nFrom: <sip:x>\r\n\r\n";
        let response = refusal(request, Fault::MissingFrom).expect("it has a Via");
        assert!(!response.contains("\r\nFrom:"));
    }

    #[test]
    fn at_most_70_vias_are_copied() {
        let vias = "SIP/2.0/UDP a,".repeat(40) + "SIP/2.0/UDP a";
        let request = format!("MESSAGE sip:b SIP/2.0\r\nVia: {vias}\r\nVia: {vias}\r\n\r\n");
        let response = refusal(&request, Fault::MissingFrom).expect("it has a Via");
        assert_eq!(response.matches("Via: ").count(), MAX_VIAS);
    }
}
