//! One connection that the worker holds, and what is known of its peer.

use super::alias::{alias_port, aliases};
use super::peer::Peer;
use super::senders::Senders;
use super::sources::Sources;
use super::stream_listener::StreamListener;
use crate::core::Core;
use crate::parcel::Sender;
use sipshard_net::connection::{Closed, Connection, Received, SendError};
use sipshard_net::epoll;
use sipshard_proto::outbox::Path;
use sipshard_proto::proxy::Arrival;
use sipshard_proto::{Count, Flow, Frame, Framer, Handle, PeerId, Timestamp, Transport};
use std::net::{IpAddr, SocketAddr};

/// A connection, and what the worker keeps beside it.
pub struct Held {
    pub connection: Connection,
    /// Under which it is found.
    pub peers: Vec<Peer>,
    /// The address under which it is counted, if it was accepted and is known.
    pub counted_source: Option<IpAddr>,
    /// Whose messages may not have arrived.
    pub senders: Senders,
    /// Nothing more can be understood of it; it ends as soon as what is to be said was sent.
    pub is_finished: bool,
    pub watched_mask: u32,
    framer: Framer,
    listener: u16,
    transport: Transport,
    opened_at: Timestamp,
    is_ours: bool,
    active_at: Timestamp,
    /// Since when a message is incomplete.
    incomplete_since: Option<Timestamp>,
    alias: Alias,
    /// What the peer has proven to be called.
    proven: Option<PeerId>,
}

/// Whether the peer wants our requests through its connection (RFC 5923).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Alias {
    /// Its first message will tell.
    Possible,
    /// It does, in place of one to this port.
    Wanted(u16),
    /// Nothing more is to be found out.
    Settled,
}

/// Who owns a connection: shard and generation, and its place there.
type Name = ((u16, u16), Handle);

impl Held {
    /// One that a listener accepted, and the source that it is counted under. Over TCP its peer may also be reached at the
    /// address that it came from, unless that is a load balancer's; whoever speaks TLS must have proven a name for that,
    /// which clients rarely do (RFC 5923 §4).
    pub fn accepted(
        now: Timestamp,
        connection: Connection,
        listener: &StreamListener,
        source: Option<IpAddr>,
    ) -> Self {
        let is_peer_known = source.is_some() && listener.transport == Transport::Tcp;
        let peer = is_peer_known.then(|| Peer::plain(listener.index, connection.peer()));
        let mut held = Self::new(now, connection, (listener.index, listener.transport));
        held.peers.extend(peer);
        held.alias = Alias::Possible;
        held.counted_source = source;
        held
    }

    /// One that was opened for `path`.
    pub fn opened(now: Timestamp, connection: Connection, path: &Path) -> Self {
        let mut held = Self::new(now, connection, (path.listener, path.transport));
        held.peers.push(Peer::of(path));
        held.is_ours = true;
        held
    }

    fn new(
        now: Timestamp,
        connection: Connection,
        (listener, transport): (u16, Transport),
    ) -> Self {
        let mut held = Self {
            connection,
            peers: Vec::new(),
            alias: Alias::Settled,
            proven: None,
            counted_source: None,
            senders: Senders::default(),
            is_finished: false,
            watched_mask: 0,
            framer: Framer::default(),
            listener,
            transport,
            opened_at: now,
            is_ours: false,
            active_at: now,
            incomplete_since: None,
        };
        held.watched_mask = held.wanted_mask();
        held
    }

    /// What the poller is to report.
    pub fn wanted_mask(&self) -> u32 {
        if self.connection.wants_write() {
            epoll::READABLE | epoll::WRITABLE
        } else {
            epoll::READABLE
        }
    }

    /// Queues a message for the next [`Held::flush`], and remembers who did.
    ///
    /// # Errors
    /// [`SendError`]: the connection is to be ended.
    pub fn send(
        &mut self,
        now: Timestamp,
        sender: Sender,
        message: &[u8],
    ) -> Result<(), SendError> {
        self.connection.send(message)?;
        self.active_at = now;
        self.senders.note(now, sender);
        Ok(())
    }

    /// Sends what is queued, as far as the peer takes it.
    ///
    /// # Errors
    /// Why it has ended.
    pub fn flush(&mut self) -> Result<(), Closed> {
        self.connection.flush()
    }

    /// Goes on with handshakes, sends what is queued, reads, and gives whole messages to `core`.
    ///
    /// # Errors
    /// Why it has ended.
    pub fn handle_ready(
        &mut self,
        (now, mask): (Timestamp, u32),
        name: Name,
        (scratch, sources): (&mut [u8], &mut Sources),
        core: &mut Core,
    ) -> Result<(), Closed> {
        if self.is_finished {
            return Ok(());
        }
        let failed = mask & (epoll::ERROR | epoll::HANG_UP) != 0;
        let is_readable = failed || mask & epoll::READABLE != 0;
        let is_writable = failed || mask & epoll::WRITABLE != 0;
        let mut reading = Reading {
            arrival: self.arrival(name),
            framer: &mut self.framer,
            counted_source: &mut self.counted_source,
            sources,
            now,
            core,
            pings: 0,
            messages: 0,
            alias: &mut self.alias,
            proven: &mut self.proven,
            end: None,
        };
        let outcome =
            self.connection
                .handle_ready(is_readable, is_writable, scratch, &mut |received| {
                    reading.take(received)
                });
        let (pings, messages, end) = (reading.pings, reading.messages, reading.end);
        outcome?;
        if is_readable {
            self.active_at = now;
        }
        self.note_incomplete(now, messages);
        match end {
            Some(count @ Count::FramingErrors) => {
                core.count(count);
                self.is_finished = true;
                Ok(())
            }
            Some(count) => {
                core.count(count);
                Err(Closed::ByUs)
            }
            None => self.pong(pings),
        }
    }

    /// New names under which the peer is to be found, once, if it has proven any (RFC 5923 §8.1).
    pub fn take_aliases(&mut self) -> Vec<Peer> {
        let Alias::Wanted(port) = self.alias else {
            return Vec::new();
        };
        self.alias = Alias::Settled;
        let names = self.connection.peer_names();
        aliases(self.listener, self.connection.peer().ip(), port, &names)
    }

    /// What is incomplete now began just now if something was completed meanwhile.
    fn note_incomplete(&mut self, now: Timestamp, messages: u32) {
        self.incomplete_since = match self.incomplete_since {
            _ if !self.framer.is_waiting() && !self.connection.is_midway() => None,
            Some(since) if messages == 0 => Some(since),
            _ => Some(now),
        };
    }

    /// RFC 5626 §4.4.1: one line end answers two.
    fn pong(&mut self, pings: u32) -> Result<(), Closed> {
        if pings == 0 {
            return Ok(());
        }
        // One answer shows that we are there, however often was asked.
        self.connection.send(b"\r\n").map_err(|error| match error {
            SendError::QueueFull => Closed::QueueFull,
            SendError::Closed(closed) => closed,
        })?;
        self.connection.flush()
    }

    fn arrival(&self, ((worker, generation), connection): Name) -> Arrival {
        Arrival {
            listener: self.listener,
            source: self.connection.peer(),
            transport: self.transport,
            flow: Some(Flow {
                worker,
                generation,
                listener: self.listener,
                transport: self.transport,
                connection,
            }),
            peer: self.proven,
        }
    }

    /// Since when something has been waited for that is overdue at `now`, if anything is.
    pub fn is_overdue(&self, now: Timestamp, limits: &super::StreamSettings) -> bool {
        let is_over = |since: Timestamp, limit_ms: u64| now.ms_since(since) >= limit_ms;
        let is_handshaking = !self.connection.is_established() && self.connection.is_midway();
        let handshake_limit_ms = match self.is_ours {
            true => limits.connect_timeout_ms,
            false => limits.handshake_timeout_ms,
        };
        (is_handshaking && is_over(self.opened_at, handshake_limit_ms))
            || self
                .incomplete_since
                .is_some_and(|since| is_over(since, limits.message_timeout_ms))
            || is_over(self.active_at, limits.idle_timeout_ms)
    }
}

impl Alias {
    fn look_at(&mut self, arrival: Arrival, message: &[u8]) {
        if *self == Self::Possible {
            let port = Some(message).filter(|_| arrival.transport == Transport::Tls);
            *self = port
                .and_then(alias_port)
                .map_or(Self::Settled, Self::Wanted);
        }
    }
}

/// One turn of reading from one connection.
struct Reading<'a> {
    arrival: Arrival,
    framer: &'a mut Framer,
    counted_source: &'a mut Option<IpAddr>,
    sources: &'a mut Sources,
    now: Timestamp,
    core: &'a mut Core,
    pings: u32,
    messages: u32,
    alias: &'a mut Alias,
    proven: &'a mut Option<PeerId>,
    /// Why nothing more is taken.
    end: Option<Count>,
}

impl Reading<'_> {
    fn take(&mut self, received: Received<'_>) {
        if self.end.is_some() {
            return;
        }
        match received {
            Received::Peer(peer) => self.take_peer(peer),
            Received::Names(names) => {
                *self.proven = self.core.proxy().file_peer(&names.join(" "));
                self.arrival.peer = *self.proven;
            }
            Received::Bytes(bytes) => self.take_bytes(bytes),
            Received::Message(message) => self.take_message(message),
        }
    }

    /// A load balancer has said who is behind it; that is who may have so many connections.
    fn take_peer(&mut self, peer: SocketAddr) {
        self.arrival.source = peer;
        let source = peer.ip().to_canonical();
        if !self.sources.enter(source) {
            self.end = Some(Count::ConnectionsRefused);
            return;
        }
        *self.counted_source = Some(source);
    }

    fn take_bytes(&mut self, bytes: &[u8]) {
        let (now, arrival) = (self.now, self.arrival);
        let (core, alias) = (&mut *self.core, &mut *self.alias);
        let (pings, messages) = (&mut self.pings, &mut self.messages);
        let outcome = self.framer.feed(bytes, &mut |frame| match frame {
            Frame::Message(message) => {
                *messages += 1;
                alias.look_at(arrival, message);
                core.handle_message(now, arrival, message);
            }
            Frame::Ping => {
                core.count(Count::Keepalives);
                *pings += 1;
            }
        });
        self.end = outcome.err().map(|_| Count::FramingErrors);
    }

    /// RFC 7118 §5: one WebSocket message is one SIP message, and §6 allows the keepalive of streams.
    fn take_message(&mut self, message: &[u8]) {
        let transport = match self.arrival.transport {
            Transport::Tls | Transport::Wss => Transport::Wss,
            _ => Transport::Ws,
        };
        self.arrival.transport = transport;
        if let Some(flow) = &mut self.arrival.flow {
            flow.transport = transport;
        }
        if message.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            self.core.count(Count::Keepalives);
            self.pings += u32::from(message.len() >= 4);
            return;
        }
        self.core.handle_message(self.now, self.arrival, message);
    }
}
