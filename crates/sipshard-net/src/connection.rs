//! One SIP connection, whatever lies between the socket and SIP: nothing, TLS, WebSocket, or both,
//! with or without a PROXY protocol header in front.

use crate::tls::{TlsClient, TlsServer};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// What the first bytes of an accepted connection decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WebSocketUse {
    /// The bytes are SIP (RFC 3261 §18).
    Never,
    /// `GET ` at the beginning means a WebSocket (RFC 7118), all else SIP.
    Sniff,
    /// Only WebSocket.
    Always,
}

/// How much one connection may hold in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest WebSocket message that is put together.
    pub max_message_bytes: usize,
    /// What may wait for a peer that does not read.
    pub max_queued_bytes: usize,
}

/// What a listener says about the connections that it accepts.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Decrypts with these certificates when given.
    pub tls: Option<Arc<TlsServer>>,
    /// Whether connections may be or must be WebSockets.
    pub websocket: WebSocketUse,
    /// Connections must begin with a PROXY protocol v2 header.
    pub proxy_protocol: bool,
    /// The bounds of each connection.
    pub limits: Limits,
}

/// What a connection hands up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received<'a> {
    /// Some bytes of the stream, cut anywhere. The receiver finds the messages in them
    /// (RFC 3261 §18.3).
    Bytes(&'a [u8]),
    /// One whole WebSocket message, which is one SIP message (RFC 7118 §5).
    Message(&'a [u8]),
}

/// Why a connection has ended. It is over then: drop it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// The peer has closed, in whatever orderly way the layers have.
    ByPeer,
    /// [`Connection::close`] was called.
    ByUs,
    /// The peer or a middle box has reset the connection.
    Reset,
    /// TLS could not be agreed on, or was broken; the certificate was refused by one of the two.
    Tls,
    /// The HTTP request was no WebSocket upgrade for SIP.
    BadUpgrade,
    /// The bytes were no WebSocket frame (RFC 6455 §5).
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

/// Why a message was not taken for sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// More than `max_queued_bytes` would wait. Close the connection: a slow peer is never waited
    /// for.
    QueueFull,
    /// The connection has ended.
    Closed(Closed),
}

/// One connection. Register its descriptor for reading, and for writing while
/// [`wants_write`](Connection::wants_write) says so (ask after every call), with a level-triggered
/// poller; call [`handle_ready`](Connection::handle_ready) with what the poller reports, until that
/// or [`send`](Connection::send) says that it has ended; then drop it.
pub struct Connection {
    socket: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Connection {
    /// The connection over a socket that [`TcpListener::accept`](crate::tcp::TcpListener::accept)
    /// returned. Fails when the socket has already died.
    pub fn accepted(socket: TcpStream, terms: &Terms) -> io::Result<Connection> {
        let _ = terms;
        Ok(Connection {
            peer: socket.peer_addr()?,
            local: socket.local_addr()?,
            socket,
        })
    }

    /// The connection over a socket that [`connect`](crate::tcp::connect) returned for `remote`, and
    /// what it is to be encrypted with: the server's certificate must be valid for the given name.
    pub fn connecting(
        socket: TcpStream,
        remote: SocketAddr,
        tls: Option<(&TlsClient, &str)>,
        limits: Limits,
    ) -> io::Result<Connection> {
        let _ = (tls, limits);
        Ok(Connection {
            peer: remote,
            local: socket.local_addr()?,
            socket,
        })
    }

    /// Does what the poller says can be done: goes on with the handshakes, sends what is queued,
    /// reads what has come and hands it to `received` in order. `scratch` is room that all
    /// connections share, at least 16 kB, better 64 kB. It reads at most 256 kB, so that one peer
    /// cannot hold up the others; a level-triggered poller reports the rest again.
    pub fn handle_ready(
        &mut self,
        is_readable: bool,
        is_writable: bool,
        scratch: &mut [u8],
        received: &mut dyn FnMut(SocketAddr, Received<'_>),
    ) -> Result<(), Closed> {
        let _ = (is_readable, is_writable, scratch, received);
        Err(Closed::ByUs)
    }

    /// Sends one SIP message: as it is on a stream, on a WebSocket in one frame, of text when it is
    /// UTF-8 and else binary (RFC 7118 §5). What the kernel does not take at once is queued; before
    /// the connection is established, everything is.
    pub fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        let _ = message;
        Err(SendError::QueueFull)
    }

    /// Says farewell if the peer takes it at once (a close frame, a `close_notify`). The connection
    /// has ended then: drop it.
    pub fn close(&mut self) {}

    /// Whether the poller must report when the socket can be written.
    pub fn wants_write(&self) -> bool {
        false
    }

    /// Whether the socket is connected and all handshakes are done.
    pub fn is_established(&self) -> bool {
        false
    }

    /// Whether the peer has been found to speak WebSocket.
    pub fn is_websocket(&self) -> bool {
        false
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        false
    }

    /// Whether something waits to be sent.
    pub fn has_queued(&self) -> bool {
        false
    }

    /// The address of the peer: the one that the PROXY protocol header names, if there was one.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our address: the one that the PROXY protocol header names, if there was one.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The DNS names and URIs that the peer's certificate is valid for (RFC 5922 §7.1), if it had
    /// one and it was verified.
    pub fn peer_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// The `Origin` of the WebSocket upgrade (RFC 6455 §4.1), as the client sent it.
    pub fn websocket_origin(&self) -> Option<&str> {
        None
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
