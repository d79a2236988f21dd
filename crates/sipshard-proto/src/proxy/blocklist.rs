//! Next hops that have failed lately and are tried last (RFC 3263 §4.3 knows no such list, but every call would pay for a
//! dead server with a timeout of its own).

use super::locator::Hop;
use crate::outbox::Path;
use crate::timestamp::Timestamp;
use crate::transport::Transport;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// How long a hop is avoided that could not be reached or did not answer.
pub const BLOCK_MS: u64 = 30_000;
/// Nobody keeps himself off the list of the living for longer, whatever his Retry-After says.
pub const MAX_BLOCK_MS: u64 = 300_000;
/// So many hops are remembered; the one that was listed first goes when another must be.
const MAX_ENTRIES: usize = 4_096;

type Key = (Transport, SocketAddr);

struct Entry {
    until: Timestamp,
    serial: u64,
}

/// The list of one worker.
#[derive(Default)]
pub struct Blocklist {
    entries: HashMap<Key, Entry>,
    /// The same by the order in which they were listed.
    by_serial: BTreeMap<u64, Key>,
    serial: u64,
}

impl Blocklist {
    /// Lists a hop for so long. True when another one had to go for it.
    pub fn block(&mut self, now: Timestamp, path: &Path, milliseconds: u64) -> bool {
        let key = (path.transport, path.destination);
        self.remove(key);
        let is_full = self.entries.len() >= MAX_ENTRIES;
        if is_full {
            if let Some((_, oldest)) = self.by_serial.pop_first() {
                self.entries.remove(&oldest);
            }
        }
        self.serial += 1;
        let entry = Entry {
            until: now.after_ms(milliseconds.min(MAX_BLOCK_MS)),
            serial: self.serial,
        };
        self.entries.insert(key, entry);
        self.by_serial.insert(self.serial, key);
        is_full
    }

    /// A hop has shown that it is alive.
    pub fn clear(&mut self, path: &Path) {
        // Nothing is listed as long as nothing is wrong, and then this must cost nothing: it is called for every response.
        if !self.entries.is_empty() {
            self.remove((path.transport, path.destination));
        }
    }

    /// Whether a hop is to be tried last.
    pub fn contains(&self, now: Timestamp, hop: &Hop) -> bool {
        !self.entries.is_empty()
            && self
                .entries
                .get(&(hop.transport, hop.destination))
                .is_some_and(|entry| now < entry.until)
    }

    fn remove(&mut self, key: Key) {
        if let Some(entry) = self.entries.remove(&key) {
            self.by_serial.remove(&entry.serial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(number: u16) -> Path {
        Path::udp(0, ([192, 0, 2, 1], number).into())
    }

    fn hop(number: u16) -> Hop {
        Hop {
            transport: Transport::Udp,
            destination: path(number).destination,
            priority: 0,
            weight: 0,
        }
    }

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_millis(milliseconds)
    }

    #[test]
    fn a_hop_is_listed_for_its_time_or_until_it_answers() {
        let mut list = Blocklist::default();
        list.clear(&path(1));
        list.block(at(0), &path(1), BLOCK_MS);
        assert!(list.contains(at(29_999), &hop(1)));
        assert!(!list.contains(at(30_000), &hop(1)));
        assert!(!list.contains(at(0), &hop(2)));
        let other_transport = Hop {
            transport: Transport::Tcp,
            ..hop(1)
        };
        assert!(!list.contains(at(0), &other_transport));
        list.clear(&path(1));
        assert!(!list.contains(at(0), &hop(1)));
    }

    #[test]
    fn no_hop_is_listed_for_more_than_five_minutes() {
        let mut list = Blocklist::default();
        list.block(at(0), &path(1), u64::MAX);
        assert!(list.contains(at(299_999), &hop(1)));
        assert!(!list.contains(at(300_000), &hop(1)));
    }

    #[test]
    fn the_oldest_goes_when_the_list_is_full() {
        let mut list = Blocklist::default();
        let ports = 1..=MAX_ENTRIES as u16;
        assert!(ports
            .clone()
            .all(|port| !list.block(at(0), &path(port), BLOCK_MS)));
        assert!(!list.block(at(1), &path(1), BLOCK_MS), "it is listed anew");
        assert!(list.block(at(1), &path(5_000), BLOCK_MS));
        assert!(!list.contains(at(1), &hop(2)), "now the oldest");
        assert!(list.contains(at(1), &hop(1)) && list.contains(at(1), &hop(5_000)));
        assert_eq!((list.entries.len(), list.by_serial.len()), (4_096, 4_096));
    }
}
