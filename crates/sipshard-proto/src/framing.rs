//! Messages in a stream: where one ends and the next begins (RFC 3261 §18.3, §7.5).
//!
//! A stream has no borders but what Content-Length says. A framer keeps only what is unfinished: an idle connection
//! costs nothing here, and one that sends whole messages is framed in the buffer that it was read into.

use memchr::memchr;

use crate::message::MAX_MESSAGE_BYTES;
use crate::scan::{decimal, trim};

/// What was found in a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// A whole message; whether it parses is another matter.
    Message(&'a [u8]),
    /// Two line ends where a message could begin: the peer asks whether we are there, and wants one line end back
    /// (RFC 5626 §3.5.1, §4.4.1).
    Ping,
}

/// Why nothing more can be found in a stream: it is to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FramingFault {
    /// The head does not end where the longest message would.
    TooLarge,
    /// Content-Length is no number, or a larger one than any message has, or is there twice with different ones. The
    /// head was handed out as the last message, so that its sender gets his 400.
    NoLength,
}

/// Cuts one stream into messages.
#[derive(Default)]
pub struct Framer {
    /// The beginning of a message whose end has not come yet.
    pending: Vec<u8>,
    /// How far `pending` was looked at.
    scan: Scan,
}

/// How far the head of a message was read.
#[derive(Clone, Copy, Default)]
struct Scan {
    /// The offset of the first line that was not looked at.
    line_start: usize,
    /// What Content-Length said.
    content_length: Option<usize>,
    /// Where the message ends, once its head has.
    end: Option<usize>,
    /// Content-Length has no value yet: the next line may be its fold (§7.3.1).
    is_value_awaited: bool,
    is_unframeable: bool,
}

impl Framer {
    /// True in the middle of a message. One line end is none: it may be all that a peer keeps its connection alive by.
    pub fn is_waiting(&self) -> bool {
        !matches!(
            self.pending[..],
            [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r']
        )
    }

    /// How many bytes it keeps.
    pub fn pending_bytes(&self) -> usize {
        self.pending.capacity()
    }

    /// Hands each message that `bytes` completes to `each`, in order, and keeps the rest.
    ///
    /// # Errors
    /// [`FramingFault`]; nothing that comes later can be understood. Whoever goes on all the same begins a new stream.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(Frame<'_>),
    ) -> Result<(), FramingFault> {
        if self.pending.is_empty() {
            let used = self.cut(bytes, each)?;
            self.pending.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let used = self.cut(&pending, each)?;
        if used < pending.len() {
            pending.drain(..used);
            self.pending = pending;
        }
        Ok(())
    }

    /// Returns how many bytes were whole messages.
    fn cut(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(Frame<'_>),
    ) -> Result<usize, FramingFault> {
        let mut start = 0;
        loop {
            let rest = &bytes[start..];
            if self.scan.line_start == 0 {
                if let Some(blank) = skip_blank(rest, each) {
                    start += blank;
                    continue;
                }
            }
            self.scan.go_on(rest);
            let end = self.scan.end.unwrap_or(rest.len());
            if end > MAX_MESSAGE_BYTES {
                return self.fail(FramingFault::TooLarge);
            }
            if self.scan.end.is_none() || rest.len() < end {
                return Ok(start);
            }
            each(Frame::Message(&rest[..end]));
            if self.scan.is_unframeable {
                return self.fail(FramingFault::NoLength);
            }
            self.scan = Scan::default();
            start += end;
        }
    }

    fn fail(&mut self, fault: FramingFault) -> Result<usize, FramingFault> {
        self.scan = Scan::default();
        Err(fault)
    }
}

/// The length of line ends where a message could begin, if there are any (§7.5), or of what is certain to become one.
fn skip_blank(rest: &[u8], each: &mut dyn FnMut(Frame<'_>)) -> Option<usize> {
    match rest {
        [b'\r', b'\n', b'\r', b'\n', ..] => {
            each(Frame::Ping);
            Some(4)
        }
        // This may be the first half of a ping: what follows will tell.
        [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => None,
        [b'\r', b'\n', ..] => Some(2),
        [b'\n', ..] => Some(1),
        _ => None,
    }
}

impl Scan {
    /// Looks at the lines of the head that have not been looked at.
    fn go_on(&mut self, bytes: &[u8]) {
        if matches!(bytes, [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r']) {
            return;
        }
        while self.end.is_none() {
            let Some(length) = memchr(b'\n', &bytes[self.line_start..]) else {
                return;
            };
            let line_end = self.line_start + length;
            let line = &bytes[self.line_start..line_end];
            let is_blank = line.is_empty() || line == b"\r";
            if std::mem::take(&mut self.is_value_awaited) {
                let is_fold = matches!(line.first(), Some(b' ' | b'\t'));
                self.take_length(if is_fold { trim(line) } else { b"" });
            }
            if is_blank {
                self.end = Some(self.message_end(line_end + 1));
                return;
            }
            match content_length(line) {
                Some([]) => self.is_value_awaited = true,
                Some(value) => self.take_length(value),
                None => {}
            }
            self.line_start = line_end + 1;
        }
    }

    fn take_length(&mut self, value: &[u8]) {
        let length = decimal(value).filter(|&length| length <= MAX_MESSAGE_BYTES as u64);
        match length.map(|length| length as usize) {
            Some(length) if self.content_length.is_none_or(|known| known == length) => {
                self.content_length = Some(length);
            }
            _ => self.is_unframeable = true,
        }
    }

    /// A message without Content-Length ends with its head: §20.14 demands the field in a stream, and who leaves it out
    /// mostly has no body.
    fn message_end(&self, head_end: usize) -> usize {
        if self.is_unframeable {
            return head_end;
        }
        head_end + self.content_length.unwrap_or(0)
    }
}

/// The value of a line that is a Content-Length, also in its compact form and with white space before the colon
/// (§7.3.1, §7.3.3).
fn content_length(line: &[u8]) -> Option<&[u8]> {
    if !matches!(line.first(), Some(b'c' | b'C' | b'l' | b'L')) {
        return None;
    }
    let colon = memchr(b':', line)?;
    let name = trim(&line[..colon]);
    let is_length = name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"l");
    is_length.then(|| trim(&line[colon + 1..]))
}

/// Gives the message that begins at `start` a Content-Length if it has none, as every message in a stream must (§18.3,
/// §16.6 step 9): what came in a datagram without one would else be followed by its body as the next message.
pub(crate) fn add_content_length(bytes: &mut Vec<u8>, start: usize) {
    let mut line_start = start;
    while let Some(length) = memchr(b'\n', &bytes[line_start..]) {
        let line = &bytes[line_start..line_start + length];
        if content_length(line).is_some() {
            return;
        }
        if line.is_empty() || line == b"\r" {
            let body_bytes = bytes.len() - (line_start + length + 1);
            let field = format!("Content-Length: {body_bytes}\r\n");
            bytes.splice(line_start..line_start, field.into_bytes());
            return;
        }
        line_start += length + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nVia: x\r\nContent-Length: 4\r\n\r\nbody";
    const SECOND: &[u8] = b"SIP/2.0 200 OK\r\nl : 2\r\nVia: y\r\n\r\nhi";
    const THIRD: &[u8] = b"BYE sip:b SIP/2.0\nVia: z\n\n";

    /// What a stream that comes in these pieces holds, pings as empty messages, and how it ended.
    fn frames(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Result<(), FramingFault>) {
        let mut framer = Framer::default();
        let mut found = Vec::new();
        for piece in pieces {
            let mut each = |frame: Frame<'_>| match frame {
                Frame::Message(bytes) => found.push(bytes.to_vec()),
                Frame::Ping => found.push(Vec::new()),
            };
            if let Err(fault) = framer.feed(piece, &mut each) {
                return (found, Err(fault));
            }
        }
        (found, Ok(()))
    }

    #[test]
    fn rfc3261_18_3_messages_are_cut_by_content_length_wherever_the_stream_breaks() {
        let stream = [FIRST, b"\r\n\r\n", SECOND, b"\r\n", THIRD].concat();
        let whole = frames(&[&stream]).0;
        assert_eq!(whole, [FIRST, b"", SECOND, THIRD]);
        for border in 0..stream.len() {
            let (head, tail) = stream.split_at(border);
            assert_eq!(frames(&[head, tail]).0, whole, "broken at {border}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(frames(&bytes).0, whole);
    }

    #[test]
    fn rfc5626_4_4_1_two_line_ends_are_a_ping_and_one_is_nothing() {
        assert_eq!(frames(&[b"\r\n\r\n"]).0, [b""]);
        assert_eq!(frames(&[b"\r\n", b"\r\n"]).0, [b""]);
        assert_eq!(frames(&[b"\r", b"\n\r", b"\n"]).0, [b""]);
        assert_eq!(frames(&[b"\r\n", FIRST]).0, [FIRST]);
    }

    #[test]
    fn rfc3261_20_14_a_length_that_is_none_ends_the_stream_behind_the_head() {
        for field in [
            "Content-Length: -1",
            "Content-Length: 1x",
            "l: 99999999999999999999",
            "Content-Length: 1\r\nl: 2",
            "Content-Length:",
        ] {
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{field}\r\n\r\nrest");
            let (found, end) = frames(&[text.as_bytes()]);
            assert_eq!(end, Err(FramingFault::NoLength), "{field}");
            assert_eq!(found, [&text.as_bytes()[..text.len() - 4]], "{field}");
        }
    }

    #[test]
    fn rfc3261_7_3_1_a_length_may_stand_on_the_next_line() {
        let text = b"OPTIONS sip:a SIP/2.0\r\nContent-Length:\r\n 4\r\n\r\nbody";
        assert_eq!(frames(&[text]), (vec![text.to_vec()], Ok(())));
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(frames(&bytes).0, [text.to_vec()]);
    }

    #[test]
    fn what_is_too_large_is_not_waited_for() {
        let text = format!("OPTIONS sip:a SIP/2.0\r\nl: {MAX_MESSAGE_BYTES}\r\n\r\n");
        assert_eq!(
            frames(&[text.as_bytes()]).1,
            Err(FramingFault::TooLarge),
            "by its own word"
        );
        let endless = vec![b'a'; MAX_MESSAGE_BYTES + 1];
        assert_eq!(frames(&[&endless]).1, Err(FramingFault::TooLarge));
    }

    #[test]
    fn rfc3261_20_14_a_message_without_a_length_gets_one() {
        let added = |text: &[u8]| {
            let mut bytes = [b"before\r\n\r\n", text].concat();
            add_content_length(&mut bytes, 10);
            bytes.split_off(10)
        };
        let without = b"BYE sip:b SIP/2.0\r\nVia: z\r\n\r\nbody".as_slice();
        let with = b"BYE sip:b SIP/2.0\r\nVia: z\r\nContent-Length: 4\r\n\r\nbody";
        assert_eq!(added(without), with);
        assert_eq!(frames(&[&added(without)]).0, [with]);
        assert_eq!(added(with), with);
        assert_eq!(added(SECOND), SECOND, "compact");
        let ended = b"BYE sip:b SIP/2.0\nVia: z\nContent-Length: 0\r\n\n";
        assert_eq!(added(THIRD), ended, "without carriage returns");
    }

    #[test]
    fn after_a_fault_a_new_stream_begins() {
        for bad in ["l: -1", "l: 1\r\nl: 2"] {
            let mut framer = Framer::default();
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{bad}\r\n\r\n");
            let (head, tail) = text.as_bytes().split_at(text.len() - 1);
            assert_eq!(framer.feed(head, &mut |_| {}), Ok(()));
            let ended = framer.feed(tail, &mut |_| {});
            assert_eq!(ended, Err(FramingFault::NoLength));
            let mut found = 0;
            assert_eq!(framer.feed(b"B", &mut |_| {}), Ok(()));
            assert_eq!(framer.feed(&THIRD[1..], &mut |_| found += 1), Ok(()));
            assert_eq!(found, 1);
        }
    }

    #[test]
    fn an_idle_stream_keeps_nothing() {
        let mut framer = Framer::default();
        framer.feed(&FIRST[..10], &mut |_| {}).unwrap();
        assert!(framer.is_waiting());
        framer.feed(&FIRST[10..], &mut |_| {}).unwrap();
        assert!(!framer.is_waiting());
        assert_eq!(framer.pending_bytes(), 0);
    }

    #[test]
    fn a_line_end_is_not_the_middle_of_a_message() {
        let mut framer = Framer::default();
        for byte in b"\r\n\r" {
            framer.feed(&[*byte], &mut |_| {}).unwrap();
            assert!(!framer.is_waiting());
        }
        framer.feed(b"I", &mut |_| {}).unwrap();
        assert!(framer.is_waiting());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_keep_more_than_a_message(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..40),
        ) {
            let mut framer = Framer::default();
            for piece in pieces {
                if framer.feed(&piece, &mut |_| {}).is_err() {
                    break;
                }
                prop_assert!(framer.pending.len() <= MAX_MESSAGE_BYTES);
            }
        }

        #[test]
        fn the_pieces_make_no_difference(
            bodies in prop::collection::vec("[a-z\\r\\n]{0,30}", 1..6),
            sizes in prop::collection::vec(1_usize..40, 1..200),
        ) {
            let texts: Vec<String> = bodies
                .iter()
                .map(|body| format!("INFO sip:a SIP/2.0\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
                .collect();
            let stream = texts.concat().into_bytes();
            let mut pieces = Vec::new();
            let mut start = 0;
            for size in sizes.iter().cycle() {
                let end = (start + size).min(stream.len());
                pieces.push(&stream[start..end]);
                start = end;
                if start == stream.len() {
                    break;
                }
            }
            let (found, end) = frames(&pieces);
            prop_assert_eq!(end, Ok(()));
            let expected: Vec<Vec<u8>> = texts.iter().map(|text| text.clone().into_bytes()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
