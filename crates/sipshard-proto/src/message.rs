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
