//! Frames (RFC 6455 §5), read from bytes that may be cut anywhere, and put together to messages.

use std::io::Cursor;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::FrameHeader;

/// The head of a frame with an extended length of 8 bytes and a mask of 4.
const MAX_HEAD_BYTES: usize = 14;

/// RFC 6455 §5.5: control frames carry no more.
const MAX_CONTROL_BYTES: u64 = 125;

/// What frames bring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FrameEvent<'a> {
    /// A whole message.
    Message(&'a [u8]),
    /// The peer wants to know whether we live; the bytes go back in a pong.
    Ping(&'a [u8]),
    /// The peer says farewell; the status code, if any, goes back in the answer.
    Close(&'a [u8]),
}

/// Why a connection must be failed (RFC 6455 §7.1.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FrameError {
    /// The peer breaks the protocol.
    Protocol,
    /// A text message is not UTF-8.
    NotText,
    /// A message would be longer than is allowed.
    TooLarge,
}

impl FrameError {
    /// The status code that the peer is told (RFC 6455 §7.4.1).
    pub(crate) fn status_code(self) -> u16 {
        match self {
            FrameError::Protocol => 1002,
            FrameError::NotText => 1007,
            FrameError::TooLarge => 1009,
        }
    }
}

/// The frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    mask: [u8; 4],
    length: usize,
    read_bytes: usize,
}

/// Reads the frames of a client.
#[derive(Debug)]
pub(crate) struct FrameReader {
    max_message_bytes: usize,
    head: [u8; MAX_HEAD_BYTES],
    head_bytes: usize,
    frame: Option<Frame>,
    /// What has come of a message that is not complete, and whether it is text.
    message: Vec<u8>,
    message_kind: Option<Data>,
    /// What has come of a control frame that is not complete. It may stand between the fragments
    /// of a message.
    control: Vec<u8>,
}

impl FrameReader {
    pub(crate) fn new(max_message_bytes: usize) -> FrameReader {
        FrameReader {
            max_message_bytes,
            head: [0; MAX_HEAD_BYTES],
            head_bytes: 0,
            frame: None,
            message: Vec::new(),
            message_kind: None,
            control: Vec::new(),
        }
    }

    /// Whether a part of a frame or of a message has come.
    pub(crate) fn is_midway(&self) -> bool {
        self.head_bytes > 0 || self.frame.is_some() || self.message_kind.is_some()
    }

    /// Takes from the front of `bytes` what the next event consists of. Returns `None` when they are
    /// used up; call it until then. Payloads are unmasked where they are, so that a message that
    /// has come in one piece is never copied.
    pub(crate) fn next<'s, 'b: 's>(
        &'s mut self,
        bytes: &mut &'b mut [u8],
    ) -> Result<Option<FrameEvent<'s>>, FrameError> {
        self.forget_delivered();
        loop {
            let Some(mut frame) = self.frame.take() else {
                match self.read_head(bytes)? {
                    Some(frame) => self.frame = Some(frame),
                    None => return Ok(None),
                }
                continue;
            };
            let payload = frame.take_payload(bytes);
            if frame.read_bytes < frame.length {
                self.keep(frame.opcode, payload);
                self.frame = Some(frame);
                return Ok(None);
            }
            match frame.opcode {
                OpCode::Data(_) if !frame.is_final => self.keep(frame.opcode, payload),
                OpCode::Data(_) => return self.message(payload).map(Some),
                OpCode::Control(Control::Pong) => self.control = Vec::new(),
                OpCode::Control(control) => return self.control(control, payload).map(Some),
            }
        }
    }

    /// Frees what the previous event has shown.
    fn forget_delivered(&mut self) {
        if self.message_kind.is_none() {
            self.message = Vec::new();
        }
        if self.frame.is_none() {
            self.control = Vec::new();
        }
    }

    fn read_head(&mut self, bytes: &mut &mut [u8]) -> Result<Option<Frame>, FrameError> {
        while self.head_bytes < self.head_length() {
            let Some((first, rest)) = std::mem::take(bytes).split_first_mut() else {
                return Ok(None);
            };
            self.head[self.head_bytes] = *first;
            self.head_bytes += 1;
            *bytes = rest;
        }
        let length = std::mem::take(&mut self.head_bytes);
        let parsed = FrameHeader::parse(&mut Cursor::new(&self.head[..length]));
        let (header, length) = parsed.ok().flatten().ok_or(FrameError::Protocol)?;
        self.begin(&header, length).map(Some)
    }

    /// How long the head is that has begun (RFC 6455 §5.2).
    fn head_length(&self) -> usize {
        if self.head_bytes < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 != 0 { 4 } else { 0 };
        match self.head[1] & 0x7F {
            126 => 4 + mask,
            127 => 10 + mask,
            _ => 2 + mask,
        }
    }

    /// Checks whether a frame with this head may come now.
    fn begin(&mut self, header: &FrameHeader, length: u64) -> Result<Frame, FrameError> {
        // RFC 6455 §5.2: no extension was agreed on that gives these bits a meaning.
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(FrameError::Protocol);
        }
        // RFC 6455 §5.1: a client masks everything.
        let mask = header.mask.ok_or(FrameError::Protocol)?;
        match (header.opcode, self.message_kind) {
            (OpCode::Control(Control::Reserved(_)), _) | (OpCode::Data(Data::Reserved(_)), _) => {
                return Err(FrameError::Protocol);
            }
            (OpCode::Control(_), _) if !header.is_final || length > MAX_CONTROL_BYTES => {
                return Err(FrameError::Protocol);
            }
            (OpCode::Control(_), _) | (OpCode::Data(Data::Continue), Some(_)) => {}
            (OpCode::Data(Data::Continue), None) | (OpCode::Data(_), Some(_)) => {
                return Err(FrameError::Protocol);
            }
            (OpCode::Data(kind), None) => self.message_kind = Some(kind),
        }
        // What a control frame may have always has room, whatever waits of a message.
        let limit = match header.opcode {
            OpCode::Control(_) => MAX_CONTROL_BYTES as usize,
            OpCode::Data(_) => self.max_message_bytes.saturating_sub(self.message.len()),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limit {
            return Err(FrameError::TooLarge);
        }
        Ok(Frame {
            opcode: header.opcode,
            is_final: header.is_final,
            mask,
            length,
            read_bytes: 0,
        })
    }

    fn keep(&mut self, opcode: OpCode, payload: &[u8]) {
        match opcode {
            OpCode::Data(_) => self.message.extend_from_slice(payload),
            OpCode::Control(_) => self.control.extend_from_slice(payload),
        }
    }

    /// The message that ends with `payload`.
    fn message<'s, 'b: 's>(&'s mut self, payload: &'b [u8]) -> Result<FrameEvent<'s>, FrameError> {
        let kind = self.message_kind.take();
        let message = joined(&mut self.message, payload);
        // RFC 6455 §8.1.
        if kind == Some(Data::Text) && std::str::from_utf8(message).is_err() {
            return Err(FrameError::NotText);
        }
        Ok(FrameEvent::Message(message))
    }

    /// The ping or farewell that ends with `payload`.
    fn control<'s, 'b: 's>(
        &'s mut self,
        control: Control,
        payload: &'b [u8],
    ) -> Result<FrameEvent<'s>, FrameError> {
        let payload = joined(&mut self.control, payload);
        match (control, payload.len()) {
            (Control::Close, 0) => Ok(FrameEvent::Close(payload)),
            // RFC 6455 §5.5.1: the status code has two bytes, or is not there.
            (Control::Close, 1) => Err(FrameError::Protocol),
            (Control::Close, _) => Ok(FrameEvent::Close(&payload[..2])),
            _ => Ok(FrameEvent::Ping(payload)),
        }
    }
}

impl Frame {
    /// Takes what `bytes` have of the payload, and unmasks it (RFC 6455 §5.3).
    fn take_payload<'b>(&mut self, bytes: &mut &'b mut [u8]) -> &'b [u8] {
        let available = std::mem::take(bytes);
        let taken = available.len().min(self.length - self.read_bytes);
        let (payload, rest) = available.split_at_mut(taken);
        *bytes = rest;
        let mut key = self.mask;
        key.rotate_left(self.read_bytes % 4);
        let mut words = payload.chunks_exact_mut(4);
        for word in &mut words {
            mask(word, key);
        }
        mask(words.into_remainder(), key);
        self.read_bytes += taken;
        payload
    }
}

fn mask(bytes: &mut [u8], key: [u8; 4]) {
    for (byte, key) in bytes.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// `kept` and what follows it, copied only when both are there.
fn joined<'s, 'b: 's>(kept: &'s mut Vec<u8>, payload: &'b [u8]) -> &'s [u8] {
    if kept.is_empty() {
        return payload;
    }
    kept.extend_from_slice(payload);
    kept
}

/// The head of an unfragmented frame of a server, which masks nothing.
pub(crate) fn frame_head(opcode: OpCode, payload_bytes: usize) -> FrameHead {
    let header = FrameHeader {
        is_final: true,
        rsv1: false,
        rsv2: false,
        rsv3: false,
        opcode,
        mask: None,
    };
    let mut cursor = Cursor::new([0; MAX_HEAD_BYTES]);
    // Cannot fail: the longest head has room.
    let _ = header.format(payload_bytes as u64, &mut cursor);
    FrameHead {
        length: cursor.position() as usize,
        bytes: cursor.into_inner(),
    }
}

/// A head as [`frame_head`] makes it.
pub(crate) struct FrameHead {
    bytes: [u8; MAX_HEAD_BYTES],
    length: usize,
}

impl FrameHead {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests;
