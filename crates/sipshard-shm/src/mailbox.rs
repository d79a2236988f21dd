//! The mailbox: a ring of words with one producer and one consumer, in two processes, each of which
//! may be killed between any two of its instructions.
//!
//! A record is one word of header (length in bytes, and the same inverted as a check) and the bytes,
//! padded to words. Positions count words from the ring's beginning of time and never wrap (2^64
//! words take a thousand years); the place in the ring is the position modulo the ring's length, so
//! that a record may run over the end.
//!
//! | field | writer | readers | ordering | if its writer dies |
//! |---|---|---|---|---|
//! | `tail` | producer | consumer | Release / Acquire: who sees it sees the record before it | what was written behind `tail` was never there; the next producer overwrites it |
//! | `head` | consumer | producer | Release / Acquire: who sees it may overwrite what is before it | the record in hand is delivered again to the next consumer |
//! | `attempts` | consumer | next consumer | Relaxed: a successor runs after its predecessor | at most one record has too few tries left |
//! | `resets`, `skipped` | consumer | anybody | Relaxed: figures | the last addition is lost |
//! | record words | producer | consumer | Relaxed, between the two above | see `tail` |
//!
//! So a record is delivered **at least once**. One that kills its consumer is tried
//! [`MOST_ATTEMPTS`] times and then skipped: a shard must not die of one message for ever.

use crate::mapping::{Mapping, WORD_BYTES};
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// Words before the ring: one page, so that rings start at pages. The producer's and the consumer's
/// fields are on cache lines of their own, two apart because lines are fetched in pairs.
pub(crate) const MAILBOX_CONTROL_WORDS: usize = 512;

/// How often a record is given to consumers that die of it.
pub const MOST_ATTEMPTS: u64 = 3;

// Words of the control page. Their writers and readers are in the table above.
const TAIL: usize = 0;
const HEAD: usize = 16;
const ATTEMPTS: usize = 17;
const RESETS: usize = 18;
const SKIPPED: usize = 19;

/// The mailbox has no room for the record now, or never if the record is longer than the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mailbox is full")
    }
}

impl Error for Full {}

/// The words of one mailbox.
pub(crate) struct Ring {
    mapping: Arc<Mapping>,
    range: Range<usize>,
}

impl Ring {
    /// The mailbox at `range` of the mapping: a control page and a power of two of words.
    pub(crate) fn new(mapping: Arc<Mapping>, range: Range<usize>) -> Ring {
        let ring = Ring { mapping, range };
        assert!(ring.data().len().is_power_of_two());
        ring
    }

    fn control(&self, index: usize) -> &AtomicU64 {
        &self.mapping.words()[self.range.clone()][index]
    }

    fn data(&self) -> &[AtomicU64] {
        &self.mapping.words()[self.range.clone()][MAILBOX_CONTROL_WORDS..]
    }

    fn capacity(&self) -> u64 {
        self.data().len() as u64
    }
}

/// The words of a ring from `position` on, once around. `data` is a power of two long.
fn words_from(data: &[AtomicU64], position: u64) -> impl Iterator<Item = &AtomicU64> {
    let (wrapped, first) = data.split_at(position as usize & (data.len() - 1));
    first.iter().chain(wrapped)
}

/// Words that `bytes` take.
fn word_count(bytes: usize) -> u64 {
    bytes.div_ceil(WORD_BYTES) as u64
}

/// The first word of a record of `length` bytes.
fn record_header(length: u32) -> u64 {
    u64::from(length) << 32 | u64::from(!length)
}

/// The length in a record's first word; `None` when it is none.
fn record_length(header: u64) -> Option<u32> {
    let length = (header >> 32) as u32;
    (record_header(length) == header).then_some(length)
}

/// The writing end of a mailbox. Moves between threads, and is used by one at a time.
pub struct Producer {
    ring: Ring,
    /// Where head and payload become one row of bytes; kept for its memory.
    record: RefCell<Vec<u8>>,
}

impl Producer {
    pub(crate) fn new(ring: Ring) -> Producer {
        Producer {
            ring,
            record: RefCell::default(),
        }
    }

    /// Puts one record into the mailbox, `head` and then `payload`; all of it or nothing. The
    /// consumer must be woken up by other means.
    pub fn push(&self, head: &[u8], payload: &[u8]) -> Result<(), Full> {
        let mut record = self.record.borrow_mut();
        record.clear();
        record.extend_from_slice(head);
        record.extend_from_slice(payload);
        self.push_while(&record, || true)
    }

    /// Pushes, asking before every store whether this process is still alive. Only tests let it
    /// die; otherwise the question costs nothing.
    fn push_while(&self, record: &[u8], mut is_alive: impl FnMut() -> bool) -> Result<(), Full> {
        let length = u32::try_from(record.len()).map_err(|_| Full)?;
        let needed = 1 + word_count(record.len());
        // Relaxed: this is the only writer of `tail`, or runs after its predecessor has died.
        let tail = self.ring.control(TAIL).load(Ordering::Relaxed);
        // Acquire: what the consumer has read before it moved `head` may be overwritten now.
        let head = self.ring.control(HEAD).load(Ordering::Acquire);
        // If the positions make no sense (`head` beyond `tail`) this is a huge number: full.
        let used = tail.wrapping_sub(head);
        let free = self.ring.capacity().checked_sub(used).ok_or(Full)?;
        if needed > free {
            return Err(Full);
        }
        let words = [record_header(length)]
            .into_iter()
            .chain(padded_words(record));
        for (place, word) in words_from(self.ring.data(), tail).zip(words) {
            if !is_alive() {
                return Ok(());
            }
            place.store(word, Ordering::Relaxed);
        }
        if is_alive() {
            // Release: the record is complete for whoever sees the new tail.
            self.ring
                .control(TAIL)
                .store(tail.wrapping_add(needed), Ordering::Release);
        }
        Ok(())
    }
}

/// The bytes as words, the first byte lowest in memory, zeros behind the last.
fn padded_words(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let (whole, rest) = bytes.as_chunks::<WORD_BYTES>();
    let mut last = [0; WORD_BYTES];
    last[..rest.len()].copy_from_slice(rest);
    let last = (!rest.is_empty()).then_some(last);
    whole.iter().copied().chain(last).map(u64::from_ne_bytes)
}

/// The reading end of a mailbox. Moves between threads, and is used by one at a time.
pub struct Consumer {
    ring: Ring,
    /// A record's bytes while it is delivered; kept for its memory.
    record: RefCell<Vec<u8>>,
}

impl Consumer {
    pub(crate) fn new(ring: Ring) -> Consumer {
        Consumer {
            ring,
            record: RefCell::default(),
        }
    }

    /// Whether there is nothing to pop.
    pub fn is_empty(&self) -> bool {
        self.head() == self.ring.control(TAIL).load(Ordering::Acquire)
    }

    /// Gives the oldest record (head and payload in one row) to `deliver` and removes it
    /// afterwards; returns whether there was one. `deliver` must not pop from the same consumer.
    ///
    /// A record that makes no sense empties the mailbox, because nothing tells where the next one
    /// begins; [`resets`](Self::resets) counts that. A record whose earlier deliveries did not come
    /// to an end is skipped in the end; [`skipped`](Self::skipped) counts that.
    pub fn pop(&self, deliver: impl FnOnce(&[u8])) -> bool {
        let mut record = self.record.borrow_mut();
        loop {
            let head = self.head();
            // Acquire: the records before `tail` are complete.
            let tail = self.ring.control(TAIL).load(Ordering::Acquire);
            if head == tail {
                return false;
            }
            let Some(next) = self.read_record(head, tail, &mut record) else {
                self.advance(tail);
                self.bump(RESETS);
                return false;
            };
            let attempts = self.ring.control(ATTEMPTS).load(Ordering::Relaxed);
            if attempts >= MOST_ATTEMPTS {
                self.advance(next);
                self.bump(SKIPPED);
                continue;
            }
            self.ring
                .control(ATTEMPTS)
                .store(attempts + 1, Ordering::Relaxed);
            deliver(&record);
            self.advance(next);
            return true;
        }
    }

    /// How often this mailbox was emptied because it was corrupt, over all its consumers.
    pub fn resets(&self) -> u64 {
        self.ring.control(RESETS).load(Ordering::Relaxed)
    }

    /// How many records were skipped because consumers died of them, over all its consumers.
    pub fn skipped(&self) -> u64 {
        self.ring.control(SKIPPED).load(Ordering::Relaxed)
    }

    fn head(&self) -> u64 {
        // Relaxed: this is the only writer of `head`, or runs after its predecessor has died.
        self.ring.control(HEAD).load(Ordering::Relaxed)
    }

    /// Copies the record at `head` out and returns the position behind it; `None` when it cannot be
    /// one. The positions are not trusted either.
    fn read_record(&self, head: u64, tail: u64, record: &mut Vec<u8>) -> Option<u64> {
        let filled = tail.wrapping_sub(head);
        if filled > self.ring.capacity() {
            return None;
        }
        let mut places = words_from(self.ring.data(), head);
        let length = record_length(places.next()?.load(Ordering::Relaxed))? as usize;
        let words = word_count(length);
        if words >= filled {
            return None;
        }
        record.resize(words as usize * WORD_BYTES, 0);
        for (bytes, place) in record.chunks_exact_mut(WORD_BYTES).zip(places) {
            bytes.copy_from_slice(&place.load(Ordering::Relaxed).to_ne_bytes());
        }
        record.truncate(length);
        Some(head.wrapping_add(1 + words))
    }

    /// Gives everything before `position` back to the producer.
    fn advance(&self, position: u64) {
        // Release: the record was read before the producer may overwrite it.
        self.ring.control(HEAD).store(position, Ordering::Release);
        // After `head`: a death in between leaves the next record too few tries, never this one
        // too many.
        self.ring.control(ATTEMPTS).store(0, Ordering::Release);
    }

    fn bump(&self, index: usize) {
        let counter = self.ring.control(index);
        counter.store(
            counter.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }
}

#[cfg(test)]
mod tests;
