//! One SIP connection, whatever lies between the socket and SIP: nothing, TLS, WebSocket, or both,
//! with or without a PROXY protocol header in front.

mod closed;
mod early;
mod framing;
mod outbound;
mod wire;

pub use closed::{Closed, SendError};

use crate::proxy_protocol::HeaderReader;
use crate::tls::{TlsClient, TlsServer};
use early::EarlyMessages;
use framing::Framing;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use wire::Wire;

/// What one call reads of one connection before it is the others' turn.
const READ_BUDGET_BYTES: usize = 256 * 1024;

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
    /// Who the peer is, when a PROXY protocol header has said so; before anything else.
    Peer(SocketAddr),
    /// What a verified certificate says that the peer is called, once the handshake is over.
    Names(&'a [String]),
    /// Some bytes of the stream, cut anywhere. The receiver finds the messages in them
    /// (RFC 3261 §18.3).
    Bytes(&'a [u8]),
    /// One whole WebSocket message, which is one SIP message (RFC 7118 §5).
    Message(&'a [u8]),
}

/// One connection. Register its descriptor for reading, and for writing while
/// [`wants_write`](Connection::wants_write) says so, with a level-triggered poller; call
/// [`handle_ready`](Connection::handle_ready) with what the poller reports. Give it messages by
/// [`send`](Connection::send), and have all of them leave by one [`flush`](Connection::flush). Once
/// one of the three says that it has ended, drop it. An error or a hang-up that the poller reports
/// counts as readable.
///
/// Nothing here has a deadline. Whoever never finishes a handshake, or never says anything, is the
/// owner's to close.
pub struct Connection {
    wire: Wire,
    framing: Framing,
    proxy_header: Option<Box<HeaderReader>>,
    is_connecting: bool,
    peer: SocketAddr,
    local: SocketAddr,
    early: EarlyMessages,
    are_names_told: bool,
    limits: Limits,
    ended: Option<Closed>,
}

impl Connection {
    /// The connection over a socket that [`TcpListener::accept`](crate::tcp::TcpListener::accept)
    /// returned. Fails when the socket has already died.
    pub fn accepted(socket: TcpStream, terms: &Terms) -> io::Result<Connection> {
        let peer = socket.peer_addr()?;
        let framing = Framing::new(terms.websocket);
        let mut connection = Connection::new(socket, peer, framing, terms.limits)?;
        if let Some(server) = &terms.tls {
            let session = server.start().map_err(io::Error::other)?;
            let is_verified = server.verifies_clients();
            connection.wire.encrypt(session.into(), is_verified);
        }
        if terms.proxy_protocol {
            connection.proxy_header = Some(Box::new(HeaderReader::new()));
        }
        Ok(connection)
    }

    /// The connection over a socket that [`connect`](crate::tcp::connect) returned for `remote`, and
    /// what it is to be encrypted with: the server's certificate must be valid for the given name, a
    /// DNS name or an IP address. `InvalidInput` when it is neither.
    pub fn connecting(
        socket: TcpStream,
        remote: SocketAddr,
        tls: Option<(&TlsClient, &str)>,
        limits: Limits,
    ) -> io::Result<Connection> {
        let mut connection = Connection::new(socket, remote, Framing::Stream, limits)?;
        connection.is_connecting = true;
        if let Some((client, server_name)) = tls {
            let session = client.start(server_name);
            let session =
                session.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            let is_verified = client.verifies_servers();
            connection.wire.encrypt(session.into(), is_verified);
        }
        Ok(connection)
    }

    fn new(
        socket: TcpStream,
        peer: SocketAddr,
        framing: Framing,
        limits: Limits,
    ) -> io::Result<Connection> {
        Ok(Connection {
            local: socket.local_addr()?,
            wire: Wire::new(socket, limits.max_queued_bytes),
            framing,
            proxy_header: None,
            is_connecting: false,
            peer,
            early: EarlyMessages::default(),
            are_names_told: false,
            limits,
            ended: None,
        })
    }

    /// Does what the poller says can be done: goes on with the handshakes, sends what is queued,
    /// reads what has come and hands it to `received` in order. `scratch` is room that all
    /// connections share, at least 16 kB, better 64 kB. It reads about 256 kB at most, so that one
    /// peer cannot hold up the others; a level-triggered poller reports the rest again.
    pub fn handle_ready(
        &mut self,
        is_readable: bool,
        is_writable: bool,
        scratch: &mut [u8],
        received: &mut dyn FnMut(Received<'_>),
    ) -> Result<(), Closed> {
        self.check_open()?;
        let mut go_on = || {
            if self.is_connecting && !self.is_connected()? {
                return Ok(());
            }
            if is_writable {
                self.wire.send_queued()?;
            }
            if is_readable {
                self.receive(scratch, received)?;
            }
            self.send_early()
        };
        let result = go_on();
        self.remember(result)
    }

    /// Queues one SIP message: as it is on a stream, on a WebSocket in one frame, of text when it is
    /// UTF-8 and else binary (RFC 7118 §5). It leaves with the next [`flush`](Connection::flush) or
    /// when the socket can be written, but not before the connection is established. After
    /// `QueueFull` nothing of the message has been queued.
    pub fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.check_open()?;
        if !self.is_established() {
            let waiting = self.wire.queued_bytes() + self.early.bytes();
            let has_room = waiting + message.len() <= self.limits.max_queued_bytes;
            if !has_room || !self.early.push(message) {
                return Err(SendError::QueueFull);
            }
            return Ok(());
        }
        let has_room = self.wire.has_room(message.len());
        if !self.remember(has_room)? {
            return Err(SendError::QueueFull);
        }
        let result = self.framing.send(message, &mut self.wire);
        Ok(self.remember(result)?)
    }

    /// Sends what is queued, as far as the kernel takes it. The poller reports when the rest can go.
    pub fn flush(&mut self) -> Result<(), Closed> {
        self.check_open()?;
        let result = self.wire.send_queued();
        self.remember(result)
    }

    /// Says farewell (a close frame, a `close_notify`), as far as the peer takes it at once, after
    /// what is queued. The connection has ended then: drop it.
    pub fn close(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(Closed::ByUs);
        if self.is_established() {
            self.framing.close(&mut self.wire);
        }
        self.wire.close();
    }

    /// Whether the poller must report when the socket can be written. Ask after
    /// [`flush`](Connection::flush) and [`handle_ready`](Connection::handle_ready).
    pub fn wants_write(&self) -> bool {
        self.is_connecting || self.wire.queued_bytes() > 0
    }

    /// Whether the socket is connected and all handshakes are done. Where both a stream and a
    /// WebSocket may come, the first bytes must have come too.
    pub fn is_established(&self) -> bool {
        !self.is_connecting
            && self.proxy_header.is_none()
            && !self.wire.is_handshaking()
            && self.framing.is_open()
    }

    /// Whether something is under way that must not take long: connecting, a handshake, a WebSocket
    /// message of which a part has come. A peer that has said nothing yet may be silent.
    pub fn is_midway(&self) -> bool {
        self.is_connecting
            || self.proxy_header.is_some()
            || self.wire.is_handshaking()
            || self.framing.is_midway()
    }

    /// Whether the peer has been found to speak WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.framing.is_websocket()
    }

    /// Whether the connection is encrypted, or will be when it is established.
    pub fn is_tls(&self) -> bool {
        self.wire.is_tls()
    }

    /// Whether TLS went on with an earlier session.
    pub fn is_tls_resumed(&self) -> bool {
        self.wire.is_resumed()
    }

    /// What was wrong, after [`Closed::Tls`], for the log.
    pub fn tls_error(&self) -> Option<String> {
        self.wire.tls_error().map(rustls::Error::to_string)
    }

    /// Whether something waits to be sent.
    pub fn has_queued(&self) -> bool {
        self.wire.queued_bytes() > 0 || self.early.bytes() > 0
    }

    /// The address of the peer: the one that the PROXY protocol header names, if there was one.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The address of the socket's own end. While it is being connected it may be unspecified.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The DNS names and then the URIs that the peer's certificate is for (RFC 5922 §7.1), if it
    /// had one and it was verified.
    pub fn peer_names(&self) -> Vec<String> {
        self.wire.peer_names()
    }

    /// The `Origin` of the WebSocket upgrade (RFC 6455 §4.1), as the client sent it.
    pub fn websocket_origin(&self) -> Option<&str> {
        self.framing.origin()
    }

    fn check_open(&self) -> Result<(), Closed> {
        self.ended.map_or(Ok(()), Err)
    }

    /// Remembers that the connection has ended when it has.
    fn remember<T>(&mut self, result: Result<T, Closed>) -> Result<T, Closed> {
        self.ended = result.as_ref().err().copied();
        result
    }

    /// Whether connect(2) has come to its end, and what follows from it.
    fn is_connected(&mut self) -> Result<bool, Closed> {
        let socket = self.wire.socket();
        if let Some(error) = socket.take_error()? {
            return Err(error.into());
        }
        match socket.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            result => result?,
        };
        self.local = socket.local_addr()?;
        self.is_connecting = false;
        self.wire.send_handshake()?;
        Ok(true)
    }

    fn receive(
        &mut self,
        scratch: &mut [u8],
        received: &mut dyn FnMut(Received<'_>),
    ) -> Result<(), Closed> {
        let (buffer, plain) = scratch.split_at_mut(scratch.len() / 2);
        let mut read_bytes = 0;
        while read_bytes < READ_BUDGET_BYTES {
            let length = self.wire.receive(buffer)?;
            self.take(&mut buffer[..length], plain, received)?;
            // The socket is empty, or will be reported again: one call less for most wake-ups.
            if length < buffer.len() {
                break;
            }
            read_bytes += length;
        }
        Ok(())
    }

    /// Takes bytes as they came from the socket.
    fn take(
        &mut self,
        mut bytes: &mut [u8],
        plain: &mut [u8],
        received: &mut dyn FnMut(Received<'_>),
    ) -> Result<(), Closed> {
        if let Some(reader) = &mut self.proxy_header {
            let (taken, header) = reader.read(bytes)?;
            let Some(header) = header else {
                return Ok(());
            };
            self.peer = header.source.unwrap_or(self.peer);
            self.proxy_header = None;
            received(Received::Peer(self.peer));
            bytes = &mut bytes[taken..];
        }
        if !self.wire.is_tls() {
            return self.take_plain(bytes, received);
        }
        let mut encrypted = &*bytes;
        while !encrypted.is_empty() {
            self.wire.decrypt(&mut encrypted)?;
            loop {
                let length = self.wire.decrypted(plain)?;
                if length == 0 {
                    break;
                }
                self.tell_names(received);
                self.take_plain(&mut plain[..length], received)?;
            }
        }
        Ok(())
    }

    fn tell_names(&mut self, received: &mut dyn FnMut(Received<'_>)) {
        if std::mem::replace(&mut self.are_names_told, true) {
            return;
        }
        let names = self.peer_names();
        if !names.is_empty() {
            received(Received::Names(&names));
        }
    }

    fn take_plain(
        &mut self,
        bytes: &mut [u8],
        received: &mut dyn FnMut(Received<'_>),
    ) -> Result<(), Closed> {
        self.framing
            .read(bytes, &mut self.wire, self.limits, received)
    }

    /// Sends what has waited for the connection to be established.
    fn send_early(&mut self) -> Result<(), Closed> {
        if self.early.bytes() > 0 && self.is_established() {
            for message in std::mem::take(&mut self.early).iter() {
                self.framing.send(message, &mut self.wire)?;
            }
            self.wire.send_queued()?;
        }
        Ok(())
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.wire.socket().as_raw_fd()
    }
}
