//! The upper half of a connection: what the plaintext is, a SIP stream or a WebSocket.

use super::wire::Wire;
use super::{Closed, Limits, Received, WebSocketUse};
use crate::websocket::{frame_head, FrameEvent, FrameReader, Upgrade, UpgradeStep};
use std::io::IoSlice;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// How a WebSocket upgrade begins. No SIP request does: its method would be unknown.
const UPGRADE: &[u8] = b"GET ";

/// A WebSocket that is open.
pub(super) struct WebSocket {
    frames: FrameReader,
    origin: Option<Box<str>>,
}

/// What the plaintext is.
pub(super) enum Framing {
    /// The first bytes will tell. So many have come and agree with an upgrade.
    Unknown(usize),
    /// A WebSocket, when the upgrade is complete.
    Upgrade(Upgrade),
    /// A WebSocket.
    WebSocket(Box<WebSocket>),
    /// A stream of SIP messages.
    Stream,
}

impl Framing {
    pub(super) fn new(websocket: WebSocketUse) -> Framing {
        match websocket {
            WebSocketUse::Never => Framing::Stream,
            WebSocketUse::Sniff => Framing::Unknown(0),
            WebSocketUse::Always => Framing::Upgrade(Upgrade::default()),
        }
    }

    /// Whether messages can be sent.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Framing::Stream | Framing::WebSocket(_))
    }

    /// Whether a part of something has come.
    pub(super) fn is_midway(&self) -> bool {
        match self {
            Framing::Unknown(seen) => *seen > 0,
            Framing::Upgrade(_) => true,
            Framing::WebSocket(websocket) => websocket.frames.is_midway(),
            Framing::Stream => false,
        }
    }

    pub(super) fn is_websocket(&self) -> bool {
        matches!(self, Framing::WebSocket(_))
    }

    pub(super) fn origin(&self) -> Option<&str> {
        match self {
            Framing::WebSocket(websocket) => websocket.origin.as_deref(),
            _ => None,
        }
    }

    /// Takes plaintext, hands up what it means, and answers on `wire` what is not for SIP to answer.
    pub(super) fn read(
        &mut self,
        mut bytes: &mut [u8],
        wire: &mut Wire,
        limits: Limits,
        received: &mut dyn FnMut(Received<'_>),
    ) -> Result<(), Closed> {
        if let Framing::Unknown(seen) = *self {
            self.recognise(seen, bytes, received);
        }
        if let Framing::Upgrade(upgrade) = self {
            let taken = match upgrade.read(bytes) {
                UpgradeStep::Incomplete => return Ok(()),
                UpgradeStep::Refused { response } => {
                    wire.reply(&mut [IoSlice::new(&response)])?;
                    return Err(Closed::BadUpgrade);
                }
                UpgradeStep::Accepted {
                    taken,
                    response,
                    origin,
                } => {
                    wire.reply(&mut [IoSlice::new(&response)])?;
                    let frames = FrameReader::new(limits.max_message_bytes);
                    *self = Framing::WebSocket(Box::new(WebSocket { frames, origin }));
                    taken
                }
            };
            bytes = &mut bytes[taken..];
        }
        match self {
            Framing::Stream if !bytes.is_empty() => received(Received::Bytes(bytes)),
            Framing::WebSocket(websocket) => websocket.read(bytes, wire, received)?,
            _ => {}
        }
        Ok(())
    }

    /// Decides by the next bytes, of which `seen` came before, and brings back those when they turn
    /// out to be a stream's.
    fn recognise(&mut self, seen: usize, bytes: &[u8], received: &mut dyn FnMut(Received<'_>)) {
        let expected = &UPGRADE[seen..];
        let compared = expected.len().min(bytes.len());
        if bytes[..compared] != expected[..compared] {
            *self = Framing::Stream;
            if seen > 0 {
                received(Received::Bytes(&UPGRADE[..seen]));
            }
        } else if compared < expected.len() {
            *self = Framing::Unknown(seen + compared);
        } else {
            let mut upgrade = Upgrade::default();
            // Incomplete: it is the beginning of any request.
            upgrade.read(&UPGRADE[..seen]);
            *self = Framing::Upgrade(upgrade);
        }
    }

    /// Queues one message on an open connection.
    pub(super) fn send(&self, message: &[u8], wire: &mut Wire) -> Result<(), Closed> {
        if !self.is_websocket() {
            return wire.write(&mut [IoSlice::new(message)]);
        }
        // RFC 7118 §5: text or binary. Browsers hand text to their scripts as a string.
        let kind = match std::str::from_utf8(message) {
            Ok(_) => Data::Text,
            Err(_) => Data::Binary,
        };
        let head = frame_head(OpCode::Data(kind), message.len());
        wire.write(&mut [IoSlice::new(head.as_bytes()), IoSlice::new(message)])
    }

    /// Says farewell, as far as the peer takes it.
    pub(super) fn close(&self, wire: &mut Wire) {
        if self.is_websocket() {
            // RFC 6455 §7.4.1: 1000 is a normal closure.
            send_close(wire, &1000_u16.to_be_bytes());
        }
    }
}

impl WebSocket {
    fn read(
        &mut self,
        mut bytes: &mut [u8],
        wire: &mut Wire,
        received: &mut dyn FnMut(Received<'_>),
    ) -> Result<(), Closed> {
        loop {
            match self.frames.next(&mut bytes) {
                Ok(None) => return Ok(()),
                Ok(Some(FrameEvent::Message(message))) => received(Received::Message(message)),
                Ok(Some(FrameEvent::Ping(payload))) => {
                    let head = frame_head(OpCode::Control(Control::Pong), payload.len());
                    wire.reply(&mut [IoSlice::new(head.as_bytes()), IoSlice::new(payload)])?;
                }
                Ok(Some(FrameEvent::Close(code))) => {
                    send_close(wire, code);
                    return Err(Closed::ByPeer);
                }
                Err(error) => {
                    send_close(wire, &error.status_code().to_be_bytes());
                    return Err(error.into());
                }
            }
        }
    }
}

/// The connection ends after a close frame, so that it does not matter whether it could be sent.
fn send_close(wire: &mut Wire, code: &[u8]) {
    let head = frame_head(OpCode::Control(Control::Close), code.len());
    let _ = wire.reply(&mut [IoSlice::new(head.as_bytes()), IoSlice::new(code)]);
}
