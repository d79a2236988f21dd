//! What the core wants sent: one arena of bytes and a list of ranges, cleared after each flush, so that a
//! datagram costs no allocation.

use std::net::SocketAddr;

/// Through which listener, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Index of the listener in the order of the configuration.
    pub listener: u16,
    /// Where the datagram goes.
    pub destination: SocketAddr,
}

#[derive(Clone, Copy)]
struct Range {
    path: Path,
    start: usize,
    end: usize,
}

/// Datagrams that wait to be sent.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    ranges: Vec<Range>,
}

impl Outbox {
    /// Lets `write` append one datagram and files it under `path`; returns its bytes.
    pub fn push(&mut self, path: Path, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        self.ranges.push(Range { path, start, end });
        &self.bytes[start..end]
    }

    /// Every waiting datagram, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Path, &[u8])> {
        self.ranges
            .iter()
            .map(|range| (range.path, &self.bytes[range.start..range.end]))
    }

    /// How many datagrams wait.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Forgets all datagrams and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
    }
}
