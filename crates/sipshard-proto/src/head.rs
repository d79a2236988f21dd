//! The head of a message: its start line and the index of its header fields.

use memchr::{memchr, memchr2};
use smallvec::SmallVec;

use crate::fault::Fault;
use crate::header::{HeaderField, HeaderName};
use crate::method::Method;
use crate::scan::{decimal, is_token, trim, trim_end};
use crate::span::Span;
use crate::uri::Uri;

/// More header fields than any sane message has; the bound on the work that one datagram can cause.
pub(crate) const MAX_HEADERS: usize = 256;

/// Header fields kept without an allocation: an INVITE of a common phone or trunk has 12 to 20.
pub(crate) type HeaderFields = SmallVec<[HeaderField; 24]>;

/// The first line.
#[derive(Clone, Debug)]
pub(crate) enum StartLine {
    Request {
        method: Method,
        method_token: Span,
        uri: Span,
    },
    Response {
        status: u16,
        reason: Span,
    },
}

/// Start line of a message, and the values of the header fields that every message needs.
pub(crate) struct Head {
    pub(crate) start_line: StartLine,
    /// Offset behind the line end of the start line.
    pub(crate) start_line_end: usize,
    pub(crate) values: Values,
    /// Offset behind the blank line.
    pub(crate) end: usize,
}

/// The values of the first header field of each name; `None` when there is none.
#[derive(Default)]
pub(crate) struct Values {
    pub(crate) via: Option<Span>,
    pub(crate) from: Option<Span>,
    pub(crate) to: Option<Span>,
    pub(crate) call_id: Option<Span>,
    pub(crate) cseq: Option<Span>,
    pub(crate) max_forwards: Option<Span>,
    pub(crate) content_length: Option<Span>,
}

impl Values {
    #[inline]
    fn take(&mut self, name: HeaderName, value: Span) -> Result<(), Fault> {
        let (place, fault) = match name {
            HeaderName::Via => {
                self.via.get_or_insert(value);
                return Ok(());
            }
            HeaderName::From => (&mut self.from, Fault::DuplicateFrom),
            HeaderName::To => (&mut self.to, Fault::DuplicateTo),
            HeaderName::CallId => (&mut self.call_id, Fault::DuplicateCallId),
            HeaderName::CSeq => (&mut self.cseq, Fault::DuplicateCSeq),
            HeaderName::MaxForwards => (&mut self.max_forwards, Fault::DuplicateMaxForwards),
            HeaderName::ContentLength => (&mut self.content_length, Fault::DuplicateContentLength),
            _ => return Ok(()),
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(fault),
        }
    }
}

/// Reads the head of the message that starts at the first byte, and lists its header fields in `headers`.
///
/// RFC 3261 §25.1:
///
/// ```text
/// SIP-message    =  Request / Response
/// Request        =  Request-Line *( message-header ) CRLF [ message-body ]
/// Response       =  Status-Line *( message-header ) CRLF [ message-body ]
/// ```
// Not inlined: the loop needs the registers that the rest of the parser would take from it (measured: 5 %).
#[inline(never)]
pub(crate) fn read(bytes: &[u8], headers: &mut HeaderFields) -> Result<Head, Fault> {
    let line = line_at(bytes, 0)?;
    let start_line = read_start_line(&bytes[..line.end])?;
    let mut values = Values::default();
    let mut start = line.next;
    let mut count = 0;
    let end = loop {
        match bytes[start..] {
            [b'\n', ..] => break start + 1,
            [b'\r', b'\n', ..] => break start + 2,
            _ => {}
        }
        if count == MAX_HEADERS {
            return Err(Fault::TooManyHeaders);
        }
        count += 1;
        let field = read_field(bytes, start)?;
        values.take(field.name, field.value)?;
        start = field.whole.end as usize;
        headers.push(field);
    };
    Ok(Head {
        start_line,
        start_line_end: line.next,
        values,
        end,
    })
}

/// A line: the offset behind its last character, and the offset behind its line end.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub(crate) end: usize,
    pub(crate) next: usize,
}

/// Where the line that starts at `start` ends.
///
/// LF alone ends a line, too, as many senders and test files have it. CR alone does not, and is refused: to
/// some readers it ends a line, so a message with one in it could mean two things (RFC 3261 §25.1 has no rule
/// that allows it).
#[inline]
pub(crate) fn line_at(bytes: &[u8], start: usize) -> Result<Line, Fault> {
    let end = start + memchr2(b'\r', b'\n', &bytes[start..]).ok_or(Fault::UnfinishedHead)?;
    if bytes[end] == b'\n' {
        return Ok(Line { end, next: end + 1 });
    }
    match bytes.get(end + 1) {
        Some(b'\n') => Ok(Line { end, next: end + 2 }),
        Some(_) => Err(Fault::BadHeaderLine),
        None => Err(Fault::UnfinishedHead),
    }
}

/// The line at `start` with the lines that continue it.
///
/// RFC 3261 §7.3.1: a line that starts with white space continues the one before.
#[inline]
pub(crate) fn folded_line_at(bytes: &[u8], start: usize) -> Result<Line, Fault> {
    let mut line = line_at(bytes, start)?;
    while let Some(b' ' | b'\t') = bytes.get(line.next) {
        line = line_at(bytes, line.next)?;
    }
    Ok(line)
}

/// Reads the header field that starts at `start`.
///
/// RFC 3261 §25.1:
///
/// ```text
/// HCOLON            =  *( SP / HTAB ) ":" SWS
/// extension-header  =  header-name HCOLON header-value
/// header-name       =  token
/// header-value      =  *(TEXT-UTF8char / UTF8-CONT / LWS)
/// ```
///
/// The value is opaque here: NUL and broken UTF-8 pass.
// Inlined always: a field that is returned through memory stalls the loads that copy it into the list.
#[inline(always)]
pub(crate) fn read_field(bytes: &[u8], start: usize) -> Result<HeaderField, Fault> {
    let line = folded_line_at(bytes, start)?;
    let content = &bytes[start..line.end];
    let colon = find_colon(content).ok_or(Fault::BadHeaderLine)?;
    let mut name_length = colon;
    while name_length > 0 && matches!(content[name_length - 1], b' ' | b'\t') {
        name_length -= 1;
    }
    let token = &content[..name_length];
    let name = HeaderName::from_token(token);
    if name == HeaderName::Other && !is_token(token) {
        return Err(Fault::BadHeaderLine);
    }
    Ok(HeaderField {
        name,
        name_span: Span::new(start, start + name_length),
        value: Span::locate(bytes, trim(&content[colon + 1..])),
        whole: Span::new(start, line.next),
    })
}

/// The index of the first colon.
///
/// Header names are short, so the first words are looked at here and only the rest is left to memchr, whose
/// call costs more than such a name does.
#[inline]
fn find_colon(line: &[u8]) -> Option<usize> {
    const LOW_BITS: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    const COLONS: u64 = LOW_BITS * b':' as u64;
    let (words, _) = line.as_chunks::<8>();
    let inspected = words.len().min(3);
    for (index, word) in words[..inspected].iter().enumerate() {
        // A byte of `difference` is zero where there is a colon; the lowest high bit of `zeros` marks the first.
        let difference = u64::from_le_bytes(*word) ^ COLONS;
        let zeros = difference.wrapping_sub(LOW_BITS) & !difference & HIGH_BITS;
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    let rest = inspected * 8;
    memchr(b':', &line[rest..]).map(|index| rest + index)
}

#[inline]
fn read_start_line(line: &[u8]) -> Result<StartLine, Fault> {
    match line.get(..4) {
        Some(prefix) if prefix.eq_ignore_ascii_case(b"SIP/") => read_status_line(line),
        _ => read_request_line(line),
    }
}

/// RFC 3261 §25.1:
///
/// ```text
/// Request-Line   =  Method SP Request-URI SP SIP-Version CRLF
/// ```
///
/// Exactly two spaces: a line with more can be cut in more than one way (RFC 4475 §3.1.2.8, §3.1.2.9).
#[inline]
fn read_request_line(line: &[u8]) -> Result<StartLine, Fault> {
    let method_end = memchr(b' ', line).ok_or(Fault::BadStartLine)?;
    let uri_start = method_end + 1;
    let uri_length = memchr(b' ', &line[uri_start..]).ok_or(Fault::BadStartLine)?;
    let uri_end = uri_start + uri_length;
    let method_token = &line[..method_end];
    let method = Method::from_token(method_token);
    if method == Method::Other && !is_token(method_token) {
        return Err(Fault::BadStartLine);
    }
    check_version(&line[uri_end + 1..])?;
    Uri::parse(&line[uri_start..uri_end]).map_err(|_| Fault::BadRequestUri)?;
    Ok(StartLine::Request {
        method,
        method_token: Span::new(0, method_end),
        uri: Span::new(uri_start, uri_end),
    })
}

/// RFC 3261 §25.1, case does not count (§7.1):
///
/// ```text
/// SIP-Version    =  "SIP" "/" 1*DIGIT "." 1*DIGIT
/// ```
#[inline]
fn check_version(version: &[u8]) -> Result<(), Fault> {
    if version.eq_ignore_ascii_case(b"SIP/2.0") {
        return Ok(());
    }
    match version.split_at_checked(4) {
        Some((name, number)) if name.eq_ignore_ascii_case(b"SIP/") => {
            let (major, minor) = crate::scan::cut(number, b'.');
            match (decimal(major), minor.and_then(decimal)) {
                (Some(_), Some(_)) => Err(Fault::UnsupportedVersion),
                _ => Err(Fault::BadStartLine),
            }
        }
        _ => Err(Fault::BadStartLine),
    }
}

/// RFC 3261 §25.1:
///
/// ```text
/// Status-Line     =  SIP-Version SP Status-Code SP Reason-Phrase CRLF
/// Status-Code     =  3DIGIT
/// ```
///
/// The space behind the code may be missing when there is no phrase.
#[inline]
fn read_status_line(line: &[u8]) -> Result<StartLine, Fault> {
    let version_end = memchr(b' ', line).ok_or(Fault::BadStartLine)?;
    check_version(&line[..version_end])?;
    let rest = &line[version_end + 1..];
    let (code, reason) = crate::scan::cut(rest, b' ');
    let status = match decimal(code) {
        Some(status @ 100..=699) if code.len() == 3 => status as u16,
        _ => return Err(Fault::BadStatusCode),
    };
    Ok(StartLine::Response {
        status,
        reason: Span::locate(line, trim_end(reason.unwrap_or(&line[line.len()..]))),
    })
}
