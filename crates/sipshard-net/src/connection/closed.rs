//! How connections end.

use crate::proxy_protocol::BadHeader;
use crate::websocket::FrameError;
use std::io;

/// Why a connection has ended. It is over then: drop it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// The peer has closed, in whatever orderly way the layers have.
    ByPeer,
    /// [`Connection::close`](super::Connection::close) was called.
    ByUs,
    /// The peer or a middle box has reset the connection.
    Reset,
    /// TLS could not be agreed on, or was broken; the certificate was refused by one of the two.
    Tls,
    /// The HTTP request was no WebSocket upgrade for SIP.
    BadUpgrade,
    /// The bytes were no WebSocket frame (RFC 6455 §5), or its text was not UTF-8.
    BadFrame,
    /// A WebSocket message was longer than `max_message_bytes`.
    MessageTooLarge,
    /// The connection did not begin with a PROXY protocol v2 header.
    BadProxyHeader,
    /// More than `max_queued_bytes` would wait: the peer does not read.
    QueueFull,
    /// The operating system refused, with this `errno`.
    Io(i32),
}

impl Closed {
    /// The reason as counters and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            Closed::ByPeer => "closed-by-peer",
            Closed::ByUs => "closed-by-us",
            Closed::Reset => "reset",
            Closed::Tls => "tls",
            Closed::BadUpgrade => "bad-upgrade",
            Closed::BadFrame => "bad-frame",
            Closed::MessageTooLarge => "message-too-large",
            Closed::BadProxyHeader => "bad-proxy-header",
            Closed::QueueFull => "queue-full",
            Closed::Io(_) => "io",
        }
    }
}

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Closed {
        match error.raw_os_error() {
            Some(libc::ECONNRESET | libc::EPIPE) => Closed::Reset,
            errno => Closed::Io(errno.unwrap_or(libc::EIO)),
        }
    }
}

impl From<FrameError> for Closed {
    fn from(error: FrameError) -> Closed {
        match error {
            FrameError::TooLarge => Closed::MessageTooLarge,
            FrameError::Protocol | FrameError::NotText => Closed::BadFrame,
        }
    }
}

impl From<BadHeader> for Closed {
    fn from(_: BadHeader) -> Closed {
        Closed::BadProxyHeader
    }
}

/// Why a message was not taken for sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// More than `max_queued_bytes` would wait. Close the connection: a slow peer is never waited
    /// for.
    QueueFull,
    /// The connection has ended.
    Closed(Closed),
}

impl From<Closed> for SendError {
    fn from(closed: Closed) -> SendError {
        match closed {
            Closed::QueueFull => SendError::QueueFull,
            closed => SendError::Closed(closed),
        }
    }
}
