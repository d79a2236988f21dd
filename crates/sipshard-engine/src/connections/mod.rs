//! The worker's connections: TCP, TLS and WebSocket, accepted and opened.
//!
//! A connection belongs to the worker that accepted or opened it, for life. Messages of other workers that must go
//! through it come by mailbox. Nobody waits for a peer: what it does not take is queued within a bound, and beyond that
//! the connection is closed.

mod alias;
mod held;
mod peer;
mod senders;
mod settings;
mod sources;
mod stream_listener;
mod sweep;

pub use settings::{StreamSettings, TlsSettings};

use crate::core::Core;
use crate::parcel::Sender;
use crate::ListenerSettings;
use held::Held;
use peer::Peer;
use sipshard_net::connection::{Closed, Connection, SendError};
use sipshard_net::epoll::{self, Poller};
use sipshard_net::tcp;
use sipshard_net::tls::{TlsClient, TlsError};
use sipshard_proto::outbox::Path;
use sipshard_proto::proxy::is_usable;
use sipshard_proto::slots::Slots;
use sipshard_proto::{Count, Flow, Handle, Timestamp, Transport};
use sources::Sources;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use stream_listener::StreamListener;

/// The bit that tells a connection's token from all others.
const CONNECTION: u64 = 1 << 63;
/// What one read may bring; shared by all connections, so that an idle one needs no buffer.
const SCRATCH_BYTES: usize = 64 * 1024;

/// All connections of one worker.
pub struct Connections {
    poller: Arc<Poller>,
    worker: u16,
    generation: u16,
    settings: StreamSettings,
    client_tls: Option<Arc<TlsClient>>,
    listeners: Vec<StreamListener>,
    held: Slots<Held>,
    by_peer: HashMap<Peer, Handle>,
    /// Connections with messages for the next flush.
    unflushed: Vec<Handle>,
    sources: Sources,
    /// Those that end after the next flush.
    finished: Vec<Handle>,
    scratch: Box<[u8]>,
    swept_at: Timestamp,
}

/// The message cannot be sent, now or later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsendable;

impl Connections {
    /// No connections yet; `listeners` are those of the whole configuration, datagrams included.
    ///
    /// # Errors
    /// A listener that is none, or certificates that cannot be used.
    pub fn new(
        poller: Arc<Poller>,
        (worker, generation): (u16, u64),
        listeners: &[ListenerSettings],
        settings: StreamSettings,
    ) -> Result<Self, ConnectionsError> {
        let mut connections = Self {
            poller,
            worker,
            generation: generation as u16,
            client_tls: None,
            listeners: Vec::new(),
            held: Slots::default(),
            by_peer: HashMap::new(),
            unflushed: Vec::new(),
            sources: Sources::new(settings.max_per_source),
            finished: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            swept_at: Timestamp::default(),
            settings,
        };
        for (index, listener) in listeners.iter().enumerate() {
            if listener.transport != Transport::Udp {
                let listener = StreamListener::new(index as u16, listener, &connections.settings)?;
                connections.listeners.push(listener);
            }
        }
        connections.use_certificates(None)?;
        Ok(connections)
    }

    /// Uses other certificates for connections that begin from now on; those that are there keep theirs.
    ///
    /// # Errors
    /// [`TlsError`]; everything stays as it was.
    pub fn use_certificates(&mut self, changed: Option<TlsSettings>) -> Result<(), TlsError> {
        let Some(tls) = changed.as_ref().or(self.settings.tls.as_ref()) else {
            return Ok(());
        };
        let server = tls.server()?.map(Arc::new);
        let client = Arc::new(tls.client()?);
        for listener in &mut self.listeners {
            listener.use_certificates(server.clone());
        }
        self.client_tls = Some(client);
        if changed.is_some() {
            self.settings.tls = changed;
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Begins to accept.
    ///
    /// # Errors
    /// What epoll says.
    pub fn start_accepting(&mut self) -> io::Result<()> {
        for listener in &self.listeners {
            self.poller.add(
                listener.as_raw_fd(),
                u64::from(listener.index),
                epoll::READABLE,
            )?;
        }
        Ok(())
    }

    /// Accepts no more; the listeners are the supervisor's, and go on queueing.
    pub fn stop_accepting(&mut self) {
        for listener in &self.listeners {
            // Not watched while in standby; either way it is not afterwards.
            let _ = self.poller.remove(listener.as_raw_fd());
        }
    }

    /// Whether an event of the poller's is about a connection.
    pub const fn is_connection(token: u64) -> bool {
        token & CONNECTION != 0
    }

    /// Whether `listener` takes connections, not datagrams.
    pub fn is_stream(&self, listener: u16) -> bool {
        self.listeners.iter().any(|own| own.index == listener)
    }

    /// Takes the connections that wait at a listener, up to a bound; the poller reports the rest again.
    pub fn accept(&mut self, now: Timestamp, index: u16, core: &mut Core) {
        let Some(place) = self.listeners.iter().position(|own| own.index == index) else {
            return;
        };
        for _ in 0..stream_listener::ACCEPTS_PER_TURN {
            match self.listeners[place].accept() {
                Ok(Some((connection, source))) => {
                    self.take_in(now, place, (connection, source), core)
                }
                Ok(None) => return,
                Err(_) => {
                    // No descriptors are left: the queue waits until the sweep looks at it again.
                    core.count(Count::AcceptFailures);
                    self.listeners[place].pause(&self.poller);
                    return;
                }
            }
        }
    }

    fn take_in(
        &mut self,
        now: Timestamp,
        place: usize,
        (connection, source): (Connection, Option<IpAddr>),
        core: &mut Core,
    ) {
        let is_full = self.held.len() >= self.settings.max_connections;
        if is_full || source.is_some_and(|source| !self.sources.enter(source)) {
            // Dropping it closes it, without a word: who floods us is owed none.
            return core.count(Count::ConnectionsRefused);
        }
        let listener = &self.listeners[place];
        let held = Held::accepted(now, connection, listener, source);
        if self.hold(held).is_none() {
            if let Some(source) = source {
                self.sources.leave(source);
            }
            return core.count(Count::AcceptFailures);
        }
        core.count(Count::ConnectionsAccepted);
    }

    /// Files a connection and has it watched.
    fn hold(&mut self, held: Held) -> Option<Handle> {
        let fd = held.connection.as_raw_fd();
        let mask = held.wanted_mask();
        let peers = held.peers.clone();
        let handle = self.held.insert_with(|_| held);
        if self.poller.add(fd, token_of(handle), mask).is_err() {
            self.held.remove(handle);
            return None;
        }
        self.by_peer
            .extend(peers.into_iter().map(|peer| (peer, handle)));
        Some(handle)
    }

    /// Does what a connection is ready for. What it received goes to `core`, what it is owed stays in its queue.
    pub fn handle_ready(&mut self, now: Timestamp, token: u64, mask: u32, core: &mut Core) {
        let handle = Handle::from_u64(token & !CONNECTION);
        let owner = (self.worker, self.generation);
        let Some(held) = self.held.at_mut(handle) else {
            return;
        };
        let shared = (&mut self.scratch[..], &mut self.sources);
        match held.handle_ready((now, mask), (owner, handle), shared, core) {
            Ok(()) if held.is_finished => self.finished.push(handle),
            Ok(()) => {
                self.add_aliases(handle);
                self.rearm(handle);
            }
            Err(closed) => self.end(now, handle, closed, core),
        }
    }

    fn add_aliases(&mut self, handle: Handle) {
        let Some(held) = self.held.at_mut(handle) else {
            return;
        };
        let aliases = held.take_aliases();
        held.peers.extend(aliases.iter().cloned());
        self.by_peer
            .extend(aliases.into_iter().map(|peer| (peer, handle)));
    }

    /// Sends a message with the next [`Connections::flush`], through a connection that is there or a new one.
    ///
    /// # Errors
    /// [`Unsendable`] when there is no connection and none can be made. If it fails later, the sender is told.
    pub fn send(
        &mut self,
        now: Timestamp,
        (path, sender): (&Path, Sender),
        message: &[u8],
        core: &mut Core,
    ) -> Result<(), Unsendable> {
        let handle = match self.find(path) {
            Some(handle) => handle,
            None => self.open(now, path, core)?,
        };
        let Some(held) = self.held.at_mut(handle) else {
            return Err(Unsendable);
        };
        // One whose peer does not read is watched by the poller.
        let is_first = !held.connection.has_queued();
        match held.send(now, sender, message) {
            Ok(()) => {
                core.count(Count::StreamMessagesSent);
                if is_first {
                    self.unflushed.push(handle);
                }
                Ok(())
            }
            Err(error) => {
                let closed = match error {
                    SendError::QueueFull => Closed::QueueFull,
                    SendError::Closed(closed) => closed,
                };
                self.end(now, handle, closed, core);
                Err(Unsendable)
            }
        }
    }

    /// Sends what was taken since the last flush: all that goes through one connection in one system call.
    pub fn flush(&mut self, now: Timestamp, core: &mut Core) {
        let mut unflushed = std::mem::take(&mut self.unflushed);
        for handle in unflushed.drain(..) {
            let Some(held) = self.held.at_mut(handle) else {
                continue;
            };
            match held.flush() {
                Ok(()) => self.rearm(handle),
                Err(closed) => self.end(now, handle, closed, core),
            }
        }
        self.unflushed = unflushed;
    }

    /// The connection that a path names, or one to the same peer (RFC 3261 §18.2.2, §18.1.1).
    fn find(&self, path: &Path) -> Option<Handle> {
        let named = path.flow.filter(|flow| self.owns(flow));
        if let Some(flow) = named.filter(|flow| self.held.at(flow.connection).is_some()) {
            return Some(flow.connection);
        }
        self.by_peer.get(&Peer::of(path)).copied()
    }

    fn owns(&self, flow: &Flow) -> bool {
        flow.worker == self.worker && flow.generation == self.generation
    }

    fn open(&mut self, now: Timestamp, path: &Path, core: &mut Core) -> Result<Handle, Unsendable> {
        let is_openable = is_usable(&path.destination) && !path.transport.is_websocket();
        if !is_openable || self.held.len() >= self.settings.max_connections {
            core.count(Count::FlowsLost);
            return Err(Unsendable);
        }
        let connection = self.connect(path).map_err(|()| {
            core.count(Count::ConnectFailures);
            Unsendable
        })?;
        let held = Held::opened(now, connection, path);
        core.count(Count::ConnectionsOpened);
        self.hold(held).ok_or(Unsendable)
    }

    fn connect(&self, path: &Path) -> Result<Connection, ()> {
        let own = self.listeners.iter().find(|own| own.index == path.listener);
        let local_ip = own.and_then(|own| own.local_ip);
        let tls = match path.transport {
            Transport::Tls => {
                let name = path.server_name.as_deref().ok_or(())?;
                Some((self.client_tls.as_deref().ok_or(())?, name))
            }
            _ => None,
        };
        let socket = tcp::connect(local_ip, path.destination).map_err(drop)?;
        let limits = self.settings.limits();
        Connection::connecting(socket, path.destination, tls, limits).map_err(drop)
    }

    /// Asks the poller for what the connection now waits for.
    fn rearm(&mut self, handle: Handle) {
        let Some(held) = self.held.at_mut(handle) else {
            return;
        };
        let wanted = held.wanted_mask();
        if wanted != held.watched_mask {
            let fd = held.connection.as_raw_fd();
            // It is watched, so this can only fail for lack of memory; the sweep ends what never gets its turn.
            if self.poller.modify(fd, token_of(handle), wanted).is_ok() {
                held.watched_mask = wanted;
            }
        }
    }

    /// Ends a connection: frees everything of it, and tells those whose messages are still in it.
    fn end(&mut self, now: Timestamp, handle: Handle, closed: Closed, core: &mut Core) {
        let Some(mut held) = self.held.remove(handle) else {
            return;
        };
        // Before it is closed: see `Poller::remove`.
        let _ = self.poller.remove(held.connection.as_raw_fd());
        held.connection.close();
        for peer in held.peers.drain(..) {
            if self.by_peer.get(&peer) == Some(&handle) {
                self.by_peer.remove(&peer);
            }
        }
        if let Some(source) = held.counted_source {
            self.sources.leave(source);
        }
        core.count(count_of(closed));
        for sender in held.senders {
            core.report_unsent(now, sender);
        }
    }
}

/// Why connections cannot be served.
#[derive(Debug)]
pub enum ConnectionsError {
    /// A listener cannot be used.
    Listener(io::Error),
    /// A certificate cannot be used.
    Tls(TlsError),
}

impl From<io::Error> for ConnectionsError {
    fn from(error: io::Error) -> Self {
        Self::Listener(error)
    }
}

impl From<TlsError> for ConnectionsError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

fn token_of(handle: Handle) -> u64 {
    CONNECTION | handle.as_u64()
}

fn count_of(closed: Closed) -> Count {
    match closed {
        Closed::ByPeer => Count::ConnectionsClosedByPeer,
        Closed::ByUs => Count::ConnectionsClosedByUs,
        Closed::Reset | Closed::Io(_) => Count::ConnectionsBroken,
        Closed::Tls => Count::TlsFailures,
        Closed::BadUpgrade | Closed::BadFrame | Closed::BadProxyHeader => Count::FramingErrors,
        Closed::MessageTooLarge => Count::FramingErrors,
        Closed::QueueFull => Count::SlowPeers,
    }
}

#[cfg(test)]
mod tests;
