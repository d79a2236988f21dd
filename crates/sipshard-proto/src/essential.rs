//! The header fields that every message must have (RFC 3261 §8.1.1), parsed at once.

use crate::fault::Fault;
use crate::head::Values;
use crate::name_addr::{NameAddr, NameAddrSpans};
use crate::parameter::parameters;
use crate::scan::{decimal, is_lws, is_token, split_list, trim_start};
use crate::span::Span;
use crate::via::{Via, ViaSpans};

/// What the header fields that every message has say.
#[derive(Clone, Debug)]
pub(crate) struct Essentials {
    pub(crate) via: ViaSpans,
    pub(crate) from: NameAddrSpans,
    pub(crate) to: NameAddrSpans,
    pub(crate) call_id: Span,
    pub(crate) cseq: u32,
    pub(crate) cseq_method: Span,
    pub(crate) max_forwards: Option<u8>,
}

impl Essentials {
    /// Parses them, in the order in which the first fault is reported.
    // Not inlined, like `head::read` and for the same reason.
    #[inline(never)]
    pub(crate) fn parse(bytes: &[u8], values: &Values) -> Result<Essentials, Fault> {
        let via = values.via.ok_or(Fault::MissingVia)?.of(bytes);
        let via = Via::parse(split_list(via).next().unwrap_or(via))?;
        let from = values.from.ok_or(Fault::MissingFrom)?.of(bytes);
        let to = values.to.ok_or(Fault::MissingTo)?.of(bytes);
        let call_id = values.call_id.ok_or(Fault::MissingCallId)?;
        if !is_call_id(call_id.of(bytes)) {
            return Err(Fault::BadCallId);
        }
        let cseq = values.cseq.ok_or(Fault::MissingCSeq)?.of(bytes);
        let (cseq, cseq_method) = parse_cseq(cseq).ok_or(Fault::BadCSeq)?;
        Ok(Essentials {
            via: ViaSpans::of(&via, bytes),
            from: parse_party(from, bytes).ok_or(Fault::BadFrom)?,
            to: parse_party(to, bytes).ok_or(Fault::BadTo)?,
            call_id,
            cseq,
            cseq_method: Span::locate(bytes, cseq_method),
            max_forwards: parse_max_forwards(values.max_forwards, bytes)?,
        })
    }
}

/// From or To: the address, with all of its parameters checked, and its tag.
///
/// RFC 3261 §25.1: `from-param = tag-param / generic-param`, `tag-param = "tag" EQUAL token`.
#[inline]
fn parse_party(value: &[u8], bytes: &[u8]) -> Option<NameAddrSpans> {
    let name_addr = NameAddr::parse(value).ok()?;
    let mut tag = None;
    for parameter in parameters(name_addr.parameters) {
        let parameter = parameter.ok()?;
        if tag.is_none() && parameter.name.eq_ignore_ascii_case(b"tag") {
            tag = Some(parameter.value?);
        }
    }
    Some(NameAddrSpans::of(&name_addr, tag, bytes))
}

/// RFC 3261 §25.1: `callid = word [ "@" word ]`.
///
/// Practice has other characters than those of a `word` in it, so only white space and control characters are
/// refused: the steering program of the kernel ends the value there.
#[inline]
fn is_call_id(value: &[u8]) -> bool {
    !value.is_empty()
        && value
            .iter()
            .fold(true, |sound, byte| sound & (*byte > b' '))
}

/// RFC 3261 §25.1: `CSeq = "CSeq" HCOLON 1*DIGIT LWS Method`; the number fits 32 bits (§8.1.1.5).
#[inline]
pub(crate) fn parse_cseq(value: &[u8]) -> Option<(u32, &[u8])> {
    let digits = value
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (number, rest) = value.split_at(digits);
    let number = u32::try_from(decimal(number)?).ok()?;
    let method = trim_start(rest);
    let is_sound = rest.first().is_some_and(|byte| is_lws(*byte)) && is_token(method);
    is_sound.then_some((number, method))
}

/// RFC 3261 §20.22: a number from 0 to 255. A larger one would mean more hops than there can be: it is 255.
#[inline]
fn parse_max_forwards(value: Option<Span>, bytes: &[u8]) -> Result<Option<u8>, Fault> {
    let Some(value) = value else {
        return Ok(None);
    };
    let number = decimal(value.of(bytes)).ok_or(Fault::BadMaxForwards)?;
    Ok(Some(u8::try_from(number).unwrap_or(u8::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3261_20_16_cseq_is_a_number_and_a_method() {
        assert_eq!(parse_cseq(b"4711 INVITE"), Some((4711, &b"INVITE"[..])));
        assert_eq!(parse_cseq(b"0009\r\n  INVITE"), Some((9, &b"INVITE"[..])));
        assert_eq!(parse_cseq(b"4294967295 X"), Some((u32::MAX, &b"X"[..])));
        for bad in [
            &b""[..],
            b"1",
            b"1 ",
            b"INVITE 1",
            b"1INVITE",
            b"4294967296 X",
            b"-1 X",
            b"1 A B",
        ] {
            assert_eq!(parse_cseq(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn rfc3261_20_22_max_forwards_saturates_and_must_be_a_number() {
        let parse = |value: &[u8]| parse_max_forwards(Some(Span::new(0, value.len())), value);
        assert_eq!(parse(b"70"), Ok(Some(70)));
        assert_eq!(parse(b"0"), Ok(Some(0)));
        assert_eq!(parse(b"300"), Ok(Some(255)));
        assert_eq!(parse(b""), Err(Fault::BadMaxForwards));
        assert_eq!(parse(b"-1"), Err(Fault::BadMaxForwards));
        assert_eq!(parse_max_forwards(None, b""), Ok(None));
    }

    #[test]
    fn rfc3261_20_8_a_call_id_has_no_white_space() {
        assert!(is_call_id(br#"word%ZK-!.*_+'@word`~)(><:\/"][?}{"#));
        assert!(!is_call_id(b""));
        assert!(!is_call_id(b"a b"));
        assert!(!is_call_id(b"a\r\n b"));
        assert!(!is_call_id(b"a\0"));
    }

    #[test]
    fn rfc3261_19_3_every_parameter_of_a_party_is_checked() {
        let tag = |value: &[u8]| {
            parse_party(value, value).map(|party| party.tag.map(|tag| tag.of(value).to_vec()))
        };
        assert_eq!(tag(b"<sip:a@b>;x=y;TAG=z"), Some(Some(b"z".to_vec())));
        assert_eq!(tag(b"<sip:a@b>"), Some(None));
        assert_eq!(tag(b"<sip:a@b>;tag"), None);
        assert_eq!(tag(b"<sip:a@b>;tag=x;;"), None);
    }
}
