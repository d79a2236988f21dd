//! One SIP message.

use std::borrow::Cow;

use crate::essential::Essentials;
use crate::fault::Fault;
use crate::head::{self, HeaderFields, StartLine};
use crate::header::{HeaderField, HeaderName};
use crate::method::Method;
use crate::name_addr::NameAddr;
use crate::scan::decimal;
pub use crate::scan::{split_list, ListItems};
use crate::span::Span;
use crate::via::Via;

/// The largest message that is read: what fits a datagram.
pub const MAX_MESSAGE_BYTES: usize = 65_536;

/// A request or a response, parsed without copying it.
///
/// What every message needs (topmost Via, From, To, Call-ID, CSeq, Max-Forwards) is parsed and checked at
/// once; all other header fields are indexed and parsed when they are asked for. Malformed ones among those
/// do no harm until then.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    bytes: Cow<'a, [u8]>,
    start_line: StartLine,
    start_line_end: u32,
    body_start: u32,
    method: Method,
    headers: HeaderFields,
    essentials: Essentials,
}

impl<'a> Message<'a> {
    /// Parses the message in one datagram (RFC 3261 §18.3).
    ///
    /// The body has as many bytes as Content-Length says, or reaches to the end of the datagram without it;
    /// bytes behind it are cut off. Line ends in front of the start line are skipped (§7.5).
    ///
    /// # Errors
    /// The first [`Fault`] that was met; [`crate::malformed::refuse`] makes the answer.
    pub fn parse(datagram: &'a [u8]) -> Result<Message<'a>, Fault> {
        if datagram.len() > MAX_MESSAGE_BYTES {
            return Err(Fault::TooLarge);
        }
        let bytes = without_leading_line_ends(datagram);
        if bytes.is_empty() {
            return Err(Fault::Empty);
        }
        let mut headers = HeaderFields::new();
        let head = head::read(bytes, &mut headers)?;
        let essentials = Essentials::parse(bytes, &head.values)?;
        let method = method_of(bytes, &head.start_line, &essentials)?;
        let length = message_length(bytes, head.end, head.values.content_length)?;
        Ok(Message {
            bytes: Cow::Borrowed(&bytes[..length]),
            start_line: head.start_line,
            start_line_end: head.start_line_end as u32,
            body_start: head.end as u32,
            method,
            headers,
            essentials,
        })
    }

    /// The same message with its own copy of the bytes.
    pub fn into_owned(self) -> Message<'static> {
        Message {
            bytes: Cow::Owned(self.bytes.into_owned()),
            start_line: self.start_line,
            start_line_end: self.start_line_end,
            body_start: self.body_start,
            method: self.method,
            headers: self.headers,
            essentials: self.essentials,
        }
    }

    /// The message from its start line to the end of its body.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start_line, StartLine::Request { .. })
    }

    /// The method of the Request-Line; for a response the one of its CSeq.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method as it was written.
    pub fn method_token(&self) -> &[u8] {
        self.text(match self.start_line {
            StartLine::Request { method_token, .. } => method_token,
            StartLine::Response { .. } => self.essentials.cseq_method,
        })
    }

    /// The start line with its line end. The header fields follow it without a gap.
    pub fn start_line(&self) -> &[u8] {
        &self.bytes[..self.start_line_end as usize]
    }

    /// The Request-URI as it was written; it parses. Empty for a response.
    pub fn request_uri(&self) -> &[u8] {
        match self.start_line {
            StartLine::Request { uri, .. } => self.text(uri),
            StartLine::Response { .. } => b"",
        }
    }

    /// The status code, 100 to 699; 0 for a request.
    pub fn status(&self) -> u16 {
        match self.start_line {
            StartLine::Request { .. } => 0,
            StartLine::Response { status, .. } => status,
        }
    }

    /// The reason phrase; empty for a request.
    pub fn reason(&self) -> &[u8] {
        match self.start_line {
            StartLine::Request { .. } => b"",
            StartLine::Response { reason, .. } => self.text(reason),
        }
    }

    /// All header fields in their order.
    pub fn headers(&self) -> &[HeaderField] {
        &self.headers
    }

    /// The bytes of a span of this message.
    #[inline]
    pub fn text(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// The value of the first header field with this name.
    pub fn value(&self, name: HeaderName) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The values of all header fields with this name, one for each field.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> + '_ {
        self.headers
            .iter()
            .filter(move |field| field.name == name)
            .map(|field| self.text(field.value))
    }

    /// The comma-separated items of all header fields with this name, in order (RFC 3261 §7.3.1).
    pub fn list(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> + '_ {
        self.values(name).flat_map(split_list)
    }

    /// The values of all header fields with this name: any name, any case, compact or long form.
    pub fn value_by_token<'m>(&'m self, name: &'m [u8]) -> impl Iterator<Item = &'m [u8]> + 'm {
        let known = HeaderName::from_token(name);
        self.headers
            .iter()
            .filter(move |field| {
                field.name == known
                    && (known != HeaderName::Other
                        || self.text(field.name_span).eq_ignore_ascii_case(name))
            })
            .map(|field| self.text(field.value))
    }

    /// The topmost Via.
    #[inline]
    pub fn via(&self) -> Via<'_> {
        self.essentials.via.view(&self.bytes)
    }

    /// The Call-ID.
    #[inline]
    pub fn call_id(&self) -> &[u8] {
        self.text(self.essentials.call_id)
    }

    /// The number of the CSeq.
    #[inline]
    pub fn cseq(&self) -> u32 {
        self.essentials.cseq
    }

    /// From.
    pub fn from(&self) -> NameAddr<'_> {
        self.essentials.from.view(&self.bytes)
    }

    /// To.
    pub fn to(&self) -> NameAddr<'_> {
        self.essentials.to.view(&self.bytes)
    }

    /// The tag of From; RFC 2543 clients send none.
    #[inline]
    pub fn from_tag(&self) -> Option<&[u8]> {
        self.essentials.from.tag.map(|tag| self.text(tag))
    }

    /// The tag of To; none in a request outside of a dialog.
    #[inline]
    pub fn to_tag(&self) -> Option<&[u8]> {
        self.essentials.to.tag.map(|tag| self.text(tag))
    }

    /// Max-Forwards; 255 for larger numbers.
    #[inline]
    pub fn max_forwards(&self) -> Option<u8> {
        self.essentials.max_forwards
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body_start as usize..]
    }
}

#[inline]
fn without_leading_line_ends(mut bytes: &[u8]) -> &[u8] {
    while let [b'\r' | b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// The method, after a look whether the CSeq of a request agrees (RFC 3261 §8.1.1.5).
#[inline]
fn method_of(bytes: &[u8], start: &StartLine, essentials: &Essentials) -> Result<Method, Fault> {
    let cseq_method = essentials.cseq_method.of(bytes);
    match start {
        StartLine::Response { .. } => Ok(Method::from_token(cseq_method)),
        StartLine::Request {
            method,
            method_token,
            ..
        } if method_token.of(bytes) == cseq_method => Ok(*method),
        StartLine::Request {
            method: Method::Other,
            ..
        } => Err(Fault::UnknownMethodMismatch),
        StartLine::Request { .. } => Err(Fault::CSeqMethodMismatch),
    }
}

/// The length of head and body.
///
/// RFC 3261 §25.1: `Content-Length = ( "Content-Length" / "l" ) HCOLON 1*DIGIT`.
#[inline]
fn message_length(bytes: &[u8], head_end: usize, length: Option<Span>) -> Result<usize, Fault> {
    let Some(length) = length else {
        return Ok(bytes.len());
    };
    let declared = decimal(length.of(bytes)).ok_or(Fault::BadContentLength)?;
    let available = bytes.len() - head_end;
    match usize::try_from(declared) {
        Ok(declared) if declared <= available => Ok(head_end + declared),
        _ => Err(Fault::ShortBody),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: &str = "Via: SIP/2.0/UDP a.example.com;branch=z9hG4bKx\r\n\
        From: <sip:alice@example.com>;tag=1\r\n\
        To: <sip:bob@example.com>\r\n\
        Call-ID: abc@a.example.com\r\n\
        CSeq: 7 OPTIONS\r\n";

    /// A request with what it must have and some more header fields.
    fn request(more: &str) -> String {
        format!("OPTIONS sip:bob@example.com SIP/2.0\r\n{REQUIRED}{more}\r\n")
    }

    fn fault(text: &str) -> Option<Fault> {
        Message::parse(text.as_bytes()).err()
    }

    #[test]
    fn rfc3261_7_1_a_request() {
        let text = request("");
        let message = Message::parse(text.as_bytes()).expect("it is well-formed");
        assert!(message.is_request());
        assert_eq!(
            (message.method(), message.method_token()),
            (Method::Options, &b"OPTIONS"[..])
        );
        assert_eq!(message.request_uri(), b"sip:bob@example.com");
        assert_eq!(
            message.start_line(),
            b"OPTIONS sip:bob@example.com SIP/2.0\r\n"
        );
        assert_eq!((message.status(), message.reason()), (0, &b""[..]));
        assert_eq!(message.call_id(), b"abc@a.example.com");
        assert_eq!(message.cseq(), 7);
        assert_eq!(
            (message.from_tag(), message.to_tag()),
            (Some(&b"1"[..]), None)
        );
        assert_eq!(message.max_forwards(), None);
        assert_eq!(message.bytes(), text.as_bytes());
    }

    #[test]
    fn rfc3261_7_2_a_response_has_the_method_of_its_cseq() {
        let text = format!("SIP/2.0 486 Busy Here\r\n{REQUIRED}\r\n");
        let message = Message::parse(text.as_bytes()).expect("it is well-formed");
        assert!(!message.is_request());
        assert_eq!(
            (message.status(), message.reason()),
            (486, &b"Busy Here"[..])
        );
        assert_eq!(
            (message.method(), message.method_token()),
            (Method::Options, &b"OPTIONS"[..])
        );
        assert_eq!(message.request_uri(), b"");
    }

    #[test]
    fn rfc3261_7_1_start_lines_that_are_none() {
        for (line, expected) in [
            ("OPTIONS sip:a@b SIP/3.0", Fault::UnsupportedVersion),
            ("OPTIONS sip:a@b HTTP/1.1", Fault::BadStartLine),
            ("OPTIONS sip:a@b SIP/2", Fault::BadStartLine),
            ("OPTIONS sip:a@b", Fault::BadStartLine),
            ("OPTIONS", Fault::BadStartLine),
            ("OPT(IONS sip:a@b SIP/2.0", Fault::BadStartLine),
            (" OPTIONS sip:a@b SIP/2.0", Fault::BadStartLine),
            ("OPTIONS sip: SIP/2.0", Fault::BadRequestUri),
            ("SIP/2.0 99 x", Fault::BadStatusCode),
            ("SIP/2.0 700 x", Fault::BadStatusCode),
            ("SIP/2.0 2000 x", Fault::BadStatusCode),
            ("SIP/2.0 020 x", Fault::BadStatusCode),
            ("SIP/4.0 200 OK", Fault::UnsupportedVersion),
            ("SIP/2.0", Fault::BadStartLine),
        ] {
            assert_eq!(
                fault(&format!("{line}\r\n{REQUIRED}\r\n")),
                Some(expected),
                "{line}"
            );
        }
    }

    #[test]
    fn rfc3261_8_1_1_each_mandatory_field_is_missed() {
        for (name, missing) in [
            ("Via", Fault::MissingVia),
            ("From", Fault::MissingFrom),
            ("To", Fault::MissingTo),
            ("Call-ID", Fault::MissingCallId),
            ("CSeq", Fault::MissingCSeq),
        ] {
            let text = request("").replace(&format!("\n{name}:"), "\nX:");
            assert_eq!(fault(&text), Some(missing), "{name}");
        }
    }

    #[test]
    fn rfc3261_7_3_1_fields_that_may_stand_once_only() {
        for (field, duplicate) in [
            ("f: <sip:a@b>;tag=2", Fault::DuplicateFrom),
            ("t: <sip:a@b>", Fault::DuplicateTo),
            ("i: other", Fault::DuplicateCallId),
            ("cseq: 7 OPTIONS", Fault::DuplicateCSeq),
            (
                "Max-Forwards: 1\r\nmax-forwards: 1",
                Fault::DuplicateMaxForwards,
            ),
            ("l: 0\r\nContent-Length: 0", Fault::DuplicateContentLength),
        ] {
            assert_eq!(
                fault(&request(&format!("{field}\r\n"))),
                Some(duplicate),
                "{field}"
            );
        }
    }

    #[test]
    fn rfc3261_8_1_1_5_the_method_of_the_cseq_must_match() {
        let text = request("");
        assert_eq!(
            fault(&text.replace("7 OPTIONS", "7 INVITE")),
            Some(Fault::CSeqMethodMismatch)
        );
        assert_eq!(
            fault(&text.replace("OPTIONS sip", "NEW sip")),
            Some(Fault::UnknownMethodMismatch)
        );
    }

    #[test]
    fn rfc3261_18_3_the_body_ends_where_content_length_says() {
        let body = |more: &str, tail: &str| {
            let text = request(more) + tail;
            Message::parse(text.as_bytes()).map(|message| message.body().to_vec())
        };
        assert_eq!(body("Content-Length: 3\r\n", "abcdef"), Ok(b"abc".to_vec()));
        assert_eq!(body("", "abcdef"), Ok(b"abcdef".to_vec()));
        assert_eq!(
            body("Content-Length: 7\r\n", "abcdef"),
            Err(Fault::ShortBody)
        );
        assert_eq!(
            body("Content-Length: 99999999999999999999\r\n", "a"),
            Err(Fault::ShortBody)
        );
        assert_eq!(
            body("Content-Length: -1\r\n", "a"),
            Err(Fault::BadContentLength)
        );
        assert_eq!(
            body("Content-Length: five\r\n", "a"),
            Err(Fault::BadContentLength)
        );
        assert_eq!(
            body("Content-Length: \r\n", "a"),
            Err(Fault::BadContentLength)
        );
    }

    #[test]
    fn rfc3261_7_5_line_ends_before_the_start_line_are_skipped() {
        let text = format!("\r\n\r\n{}", request(""));
        let message = Message::parse(text.as_bytes()).expect("it is well-formed");
        assert!(message.bytes().starts_with(b"OPTIONS "));
        assert_eq!(fault("\r\n\r\n"), Some(Fault::Empty));
        assert_eq!(fault(""), Some(Fault::Empty));
    }

    #[test]
    fn rfc3261_7_3_1_header_fields_in_all_their_forms() {
        let text = request("Subject :  a\r\n\tb \r\ns:\r\nX-Other: 1\r\nx-oTHER: 2\r\n");
        let message = Message::parse(text.as_bytes()).expect("it is well-formed");
        let subjects: Vec<_> = message.values(HeaderName::Subject).collect();
        assert_eq!(subjects, [&b"a\r\n\tb"[..], b""]);
        assert_eq!(message.value_by_token(b"S").count(), 2);
        let others: Vec<_> = message.value_by_token(b"X-OTHER").collect();
        assert_eq!(others, [b"1", b"2"]);
        assert_eq!(message.value(HeaderName::Date), None);
    }

    #[test]
    fn rfc3261_7_3_1_a_list_may_be_spread_over_fields() {
        let text = request("Route: <sip:a;lr>, <sip:b>\r\nX: y\r\nRoute: <sip:c>\r\n");
        let message = Message::parse(text.as_bytes()).expect("it is well-formed");
        let routes: Vec<_> = message.list(HeaderName::Route).collect();
        assert_eq!(routes, [&b"<sip:a;lr>"[..], b"<sip:b>", b"<sip:c>"]);
    }

    #[test]
    fn the_topmost_via_is_the_first_of_a_list() {
        let text = request("").replace("Via: ", "Via: SIP/2.0/TCP first;branch=1 , ");
        let message = Message::parse(text.as_bytes()).expect("it is well-formed");
        assert_eq!(message.via().raw, b"SIP/2.0/TCP first;branch=1");
    }

    #[test]
    fn lines_may_end_in_lf_alone_but_never_in_cr_alone() {
        let text = request("Subject: x\r\n").replace("\r\n", "\n");
        let message = Message::parse(text.as_bytes()).expect("LF is enough");
        assert_eq!(message.headers().len(), 6);
        assert_eq!(
            fault(&request("Subject: x\rVia: y\r\n")),
            Some(Fault::BadHeaderLine)
        );
    }

    #[test]
    fn heads_that_do_not_end_or_have_broken_lines() {
        let text = request("");
        assert_eq!(fault(text.trim_end()), Some(Fault::UnfinishedHead));
        assert_eq!(fault(&text[..text.len() - 1]), Some(Fault::UnfinishedHead));
        assert_eq!(fault(&text[..text.len() - 2]), Some(Fault::UnfinishedHead));
        for line in ["no colon", ": no name", "two words: x", "na(me: x", "\0: x"] {
            assert_eq!(
                fault(&request(&format!("{line}\r\n"))),
                Some(Fault::BadHeaderLine),
                "{line}"
            );
        }
    }

    #[test]
    fn nul_and_broken_utf8_pass_in_opaque_values() {
        let mut text = request("Subject: ").into_bytes();
        text.truncate(text.len() - 2);
        text.extend_from_slice(b"\0\xff\xfe\r\n\r\n");
        let message = Message::parse(&text).expect("a Subject is opaque");
        assert_eq!(message.value(HeaderName::Subject), Some(&b"\0\xff\xfe"[..]));
    }

    #[test]
    fn at_most_256_header_fields() {
        let at_limit = request(&"X: y\r\n".repeat(head::MAX_HEADERS - 5));
        let message = Message::parse(at_limit.as_bytes()).expect("the last one that fits");
        assert_eq!(message.headers().len(), head::MAX_HEADERS);
        let beyond = request(&"X: y\r\n".repeat(head::MAX_HEADERS - 4));
        assert_eq!(fault(&beyond), Some(Fault::TooManyHeaders));
    }

    #[test]
    fn at_most_64_kib() {
        let text = request("");
        let at_limit = text.clone() + &"x".repeat(MAX_MESSAGE_BYTES - text.len());
        assert!(Message::parse(at_limit.as_bytes()).is_ok());
        assert_eq!(fault(&(at_limit + "x")), Some(Fault::TooLarge));
    }
}
