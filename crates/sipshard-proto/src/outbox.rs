//! What the core wants sent: one arena of bytes and a list of ranges, cleared after each flush, so that a
//! message costs no allocation.

use crate::flow::Flow;
use crate::framing::add_content_length;
use crate::slots::Handle;
use crate::transport::Transport;
use std::net::SocketAddr;
use std::sync::Arc;

/// Through which listener or connection, and to whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    /// Index of the listener in the order of the configuration: our socket for UDP, and our name in all cases.
    pub listener: u16,
    /// What carries the message.
    pub transport: Transport,
    /// The connection to use; `None` for UDP, and for any connection to `destination`, new if there is none.
    pub flow: Option<Flow>,
    /// Where the message goes. With a flow: where a new connection is opened when that is gone; unspecified when it
    /// must not be.
    pub destination: SocketAddr,
    /// Whom the peer must prove to be, for TLS.
    pub server_name: Option<Arc<str>>,
}

impl Path {
    /// A path of datagrams.
    pub const fn udp(listener: u16, destination: SocketAddr) -> Self {
        Self {
            listener,
            transport: Transport::Udp,
            flow: None,
            destination,
            server_name: None,
        }
    }
}

struct Range {
    path: Path,
    client: Option<Handle>,
    start: usize,
    end: usize,
}

/// One message that waits to be sent.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// Where it goes.
    pub path: &'a Path,
    /// The client transaction that must hear of it when it cannot be sent (RFC 3261 §17.1.4).
    pub client: Option<Handle>,
    /// The message.
    pub bytes: &'a [u8],
}

/// Messages that wait to be sent.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    ranges: Vec<Range>,
    has_streams: bool,
}

impl Outbox {
    /// Lets `write` append one message and files it under `path`; returns its bytes.
    pub fn push(&mut self, path: &Path, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.file(path, None, write)
    }

    /// The same for a request of a client transaction, which is told when the message cannot be sent.
    pub fn push_for(
        &mut self,
        client: Handle,
        path: &Path,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> &[u8] {
        self.file(path, Some(client), write)
    }

    fn file(
        &mut self,
        path: &Path,
        client: Option<Handle>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> &[u8] {
        self.has_streams |= path.transport.is_reliable();
        let start = self.bytes.len();
        write(&mut self.bytes);
        if matches!(path.transport, Transport::Tcp | Transport::Tls) {
            add_content_length(&mut self.bytes, start);
        }
        let end = self.bytes.len();
        self.ranges.push(Range {
            path: path.clone(),
            client,
            start,
            end,
        });
        &self.bytes[start..end]
    }

    /// Every waiting message, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Outgoing<'_>> {
        self.ranges.iter().map(|range| Outgoing {
            path: &range.path,
            client: range.client,
            bytes: &self.bytes[range.start..range.end],
        })
    }

    /// Whether any of them goes through a connection.
    pub fn has_streams(&self) -> bool {
        self.has_streams
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Forgets all messages and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
        self.has_streams = false;
    }
}
