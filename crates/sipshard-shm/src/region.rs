//! The shared region: what it holds, and how a process gets hold of it.

use crate::mailbox::{Consumer, Producer, Ring, MAILBOX_CONTROL_WORDS};
use crate::mapping::{file_bytes, reserve, Mapping, WORD_BYTES};
use crate::page::{WorkerPage, PAGE_WORDS};
use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// "SIPSHARD" in ASCII, the first word of a region.
const MAGIC: u64 = u64::from_be_bytes(*b"SIPSHARD");

/// Changes with every change of the layout, so that a new program never reads an old one's memory.
const LAYOUT_VERSION: u64 = 1;

/// Words of the header, of which the first four are used.
const HEADER_WORDS: usize = 512;

/// A mailbox must carry at least one small message, and must be a number of pages.
const LEAST_MAILBOX_BYTES: u32 = 4096;

/// The partitions of the hash number the workers' bound.
const MOST_WORKERS: u16 = 256;

/// The dimensions of a region, from which everything else follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Shards, 1 to 256.
    pub workers: u16,
    /// Room of one mailbox: a power of two of at least 4096. A record takes its length, rounded up
    /// to eight, and eight bytes more; 128 KiB carry the longest datagram.
    pub mailbox_bytes: u32,
}

impl Layout {
    /// Bytes of the region. It grows with the square of the workers: there is a mailbox for every
    /// ordered pair, of which the one from a shard to itself hands over to a successor.
    pub fn size(&self) -> usize {
        let mailboxes = usize::from(self.workers) * usize::from(self.workers);
        let words = self.mailbox(0) + mailboxes * self.mailbox_words();
        words * WORD_BYTES
    }

    fn check(&self) -> Result<(), ShmError> {
        let has_workers = (1..=MOST_WORKERS).contains(&self.workers);
        let has_room =
            self.mailbox_bytes.is_power_of_two() && self.mailbox_bytes >= LEAST_MAILBOX_BYTES;
        if has_workers && has_room {
            return Ok(());
        }
        Err(ShmError::Layout(*self))
    }

    fn mailbox_words(&self) -> usize {
        MAILBOX_CONTROL_WORDS + self.mailbox_bytes as usize / WORD_BYTES
    }

    /// The word at which a shard's page starts.
    fn page(&self, shard: u16) -> usize {
        HEADER_WORDS + usize::from(shard) * PAGE_WORDS
    }

    /// The word at which a mailbox starts.
    fn mailbox(&self, index: usize) -> usize {
        self.page(self.workers) + index * self.mailbox_words()
    }
}

/// Why there is no region.
#[derive(Debug)]
pub enum ShmError {
    /// The kernel refused: `ENOSPC` when there is not enough shared memory.
    Io(io::Error),
    /// The dimensions are out of bounds.
    Layout(Layout),
    /// The memory does not start with a region's mark: it is something else, or was never finished.
    Magic(u64),
    /// The memory is of another version of the program.
    Version(u64),
    /// The memory is not as long as its header says.
    Size {
        /// Bytes that there are.
        found: u64,
        /// Bytes that there should be.
        expected: u64,
    },
}

impl fmt::Display for ShmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShmError::Io(error) => write!(f, "shared memory: {error}"),
            ShmError::Layout(Layout {
                workers,
                mailbox_bytes,
            }) => write!(
                f,
                "shared memory: {workers} workers (1 to {MOST_WORKERS}) with mailboxes of \
                 {mailbox_bytes} bytes (a power of two, at least {LEAST_MAILBOX_BYTES})"
            ),
            ShmError::Magic(found) => {
                write!(
                    f,
                    "shared memory: it starts with {found:#018x} and is none of ours"
                )
            }
            ShmError::Version(found) => write!(
                f,
                "shared memory: layout version {found}, this program has {LAYOUT_VERSION}"
            ),
            ShmError::Size { found, expected } => {
                write!(f, "shared memory: {found} bytes long instead of {expected}")
            }
        }
    }
}

impl Error for ShmError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ShmError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ShmError {
    fn from(error: io::Error) -> Self {
        ShmError::Io(error)
    }
}

/// The shared memory of one server. Clones, producers and consumers share the mapping; the last one
/// unmaps it.
///
/// The header is written once, by the supervisor in [`Region::create`] before it forks, and only
/// read afterwards; its first word comes last, with Release, so that who attaches in between (or
/// after the supervisor died in between) finds no magic and refuses.
#[derive(Clone, Debug)]
pub struct Region {
    mapping: Arc<Mapping>,
    layout: Layout,
}

impl Region {
    /// Makes the file behind `fd` a region, all zero: whatever was in it is lost, and who has it
    /// mapped must not use it any more. Reserves the memory. `fd` may be closed afterwards.
    pub fn create(fd: RawFd, layout: Layout) -> Result<Region, ShmError> {
        layout.check()?;
        reserve(fd, layout.size())?;
        let mapping = Arc::new(Mapping::new(fd, layout.size())?);
        let words = mapping.words();
        words[1].store(LAYOUT_VERSION, Ordering::Relaxed);
        words[2].store(u64::from(layout.workers), Ordering::Relaxed);
        words[3].store(u64::from(layout.mailbox_bytes), Ordering::Relaxed);
        words[0].store(MAGIC, Ordering::Release);
        Ok(Region { mapping, layout })
    }

    /// Maps the region that [`Region::create`] made of the file behind `fd`. Refuses what is none,
    /// is of another version or has another length. `fd` may be closed afterwards.
    pub fn attach(fd: RawFd) -> Result<Region, ShmError> {
        let found = file_bytes(fd)?;
        let header_bytes = HEADER_WORDS * WORD_BYTES;
        if found < header_bytes as u64 {
            return Err(ShmError::Size {
                found,
                expected: header_bytes as u64,
            });
        }
        let layout = read_header(Mapping::new(fd, header_bytes)?.words())?;
        let expected = layout.size() as u64;
        if found != expected {
            return Err(ShmError::Size { found, expected });
        }
        let mapping = Arc::new(Mapping::new(fd, layout.size())?);
        Ok(Region { mapping, layout })
    }

    /// The dimensions.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The page of a shard. Panics when there is no such shard.
    pub fn page(&self, shard: u16) -> WorkerPage<'_> {
        self.assert_shard(shard);
        let start = self.layout.page(shard);
        WorkerPage::new(&self.mapping.words()[start..start + PAGE_WORDS])
    }

    /// The writing end of the mailbox from a shard to another; from a shard to itself, its worker's
    /// to its successor. There must be one producer at a time. Panics when there is no such shard.
    pub fn producer(&self, from: u16, to: u16) -> Producer {
        Producer::new(self.ring(from, to))
    }

    /// The reading end of the same. There must be one consumer at a time.
    pub fn consumer(&self, from: u16, to: u16) -> Consumer {
        Consumer::new(self.ring(from, to))
    }

    fn ring(&self, from: u16, to: u16) -> Ring {
        self.assert_shard(from);
        self.assert_shard(to);
        let index = usize::from(from) * usize::from(self.layout.workers) + usize::from(to);
        let start = self.layout.mailbox(index);
        Ring::new(
            Arc::clone(&self.mapping),
            start..start + self.layout.mailbox_words(),
        )
    }

    fn assert_shard(&self, shard: u16) {
        assert!(
            shard < self.layout.workers,
            "shard {shard} of {}",
            self.layout.workers
        );
    }
}

fn read_header(words: &[AtomicU64]) -> Result<Layout, ShmError> {
    let magic = words[0].load(Ordering::Acquire);
    if magic != MAGIC {
        return Err(ShmError::Magic(magic));
    }
    let version = words[1].load(Ordering::Relaxed);
    if version != LAYOUT_VERSION {
        return Err(ShmError::Version(version));
    }
    // A number that does not fit becomes 0, which the check refuses.
    let layout = Layout {
        workers: words[2].load(Ordering::Relaxed).try_into().unwrap_or(0),
        mailbox_bytes: words[3].load(Ordering::Relaxed).try_into().unwrap_or(0),
    };
    layout.check()?;
    Ok(layout)
}
