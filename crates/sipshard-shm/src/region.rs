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
const LAYOUT_VERSION: u64 = 2;

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
    /// ordered pair, of which the one from a shard to itself hands over to a successor, and for
    /// each shard one that leads back from there.
    pub fn size(&self) -> usize {
        let workers = usize::from(self.workers);
        self.mailbox(workers * workers + workers) * WORD_BYTES
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

    /// The writing end of the mailbox from a shard's worker that stands by to the one before it,
    /// which alone uses the shard's other mailboxes until it is gone.
    pub fn return_producer(&self, shard: u16) -> Producer {
        Producer::new(self.return_ring(shard))
    }

    /// The reading end of the same.
    pub fn return_consumer(&self, shard: u16) -> Consumer {
        Consumer::new(self.return_ring(shard))
    }

    fn ring(&self, from: u16, to: u16) -> Ring {
        self.assert_shard(from);
        self.assert_shard(to);
        self.ring_at(usize::from(from) * usize::from(self.layout.workers) + usize::from(to))
    }

    fn return_ring(&self, shard: u16) -> Ring {
        self.assert_shard(shard);
        let workers = usize::from(self.layout.workers);
        self.ring_at(workers * workers + usize::from(shard))
    }

    fn ring_at(&self, index: usize) -> Ring {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::tests::memory_file;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;

    const LAYOUT: Layout = Layout {
        workers: 3,
        mailbox_bytes: 4096,
    };

    fn region_file() -> (File, Region) {
        let file = File::from(memory_file());
        let region = Region::create(file.as_raw_fd(), LAYOUT).unwrap();
        (file, region)
    }

    #[test]
    fn who_attaches_sees_what_the_creator_wrote() {
        let (file, region) = region_file();
        region.page(2).pid.write(42);
        region.producer(0, 2).push(b"to ", b"two").unwrap();

        let attached = Region::attach(file.as_raw_fd()).unwrap();
        assert_eq!(attached.layout(), LAYOUT);
        assert_eq!(attached.page(2).pid.read(), 42);
        assert_eq!(
            (attached.page(0).pid.read(), attached.page(1).pid.read()),
            (0, 0)
        );
        assert!(attached
            .consumer(0, 2)
            .pop(|record| assert_eq!(record, b"to two")));
    }

    #[test]
    fn parts_of_the_region_do_not_overlap() {
        let (file, region) = region_file();
        let size = file.metadata().unwrap().len();
        assert_eq!((size, size % 4096), (LAYOUT.size() as u64, 0));
        for from in 0..3 {
            region
                .page(from)
                .add(crate::COUNTERS - 1, u64::from(from) + 1);
            for to in 0..3 {
                // As full as it gets, so that the ends of the rings are written, too.
                let record = [from as u8, to as u8].repeat(2036);
                let producer = region.producer(from, to);
                producer.push(&[], &record).unwrap();
                producer.push(&[], &[from as u8; 8]).unwrap();
                assert_eq!(producer.push(&[], &[]), Err(crate::Full));
            }
            let back = region.return_producer(from);
            back.push(&[], &[from as u8; 4072]).unwrap();
            back.push(&[], &[from as u8; 8]).unwrap();
        }
        for from in 0..3 {
            assert_eq!(
                region.page(from).read(crate::COUNTERS - 1),
                u64::from(from) + 1
            );
            for to in 0..3 {
                let record = [from as u8, to as u8].repeat(2036);
                assert!(region
                    .consumer(from, to)
                    .pop(|bytes| assert_eq!(bytes, record)));
                assert!(region
                    .consumer(from, to)
                    .pop(|bytes| assert_eq!(bytes, [from as u8; 8])));
            }
            let back = region.return_consumer(from);
            assert!(back.pop(|bytes| assert_eq!(bytes, [from as u8; 4072])));
            assert!(back.pop(|bytes| assert_eq!(bytes, [from as u8; 8])));
        }
    }

    #[test]
    fn producers_and_consumers_keep_the_memory_mapped() {
        let (_file, region) = region_file();
        let (producer, consumer) = (region.producer(1, 1), region.consumer(1, 1));
        drop(region);
        producer.push(b"still ", b"here").unwrap();
        assert!(consumer.pop(|record| assert_eq!(record, b"still here")));
    }

    #[test]
    fn each_mismatch_is_named() {
        let spoilt = |offset: u64, value: u64| {
            let (file, _region) = region_file();
            file.write_all_at(&value.to_ne_bytes(), offset).unwrap();
            Region::attach(file.as_raw_fd()).unwrap_err()
        };
        assert!(matches!(spoilt(0, 5), ShmError::Magic(5)));
        assert!(matches!(spoilt(8, 99), ShmError::Version(99)));
        assert!(matches!(spoilt(16, 4), ShmError::Size { .. }));
        assert!(matches!(spoilt(16, 0), ShmError::Layout(_)));
        assert!(matches!(spoilt(16, u64::MAX), ShmError::Layout(_)));
        assert!(matches!(spoilt(24, 4097), ShmError::Layout(_)));
        assert!(spoilt(8, 99).to_string().contains("version 99"));
    }

    #[test]
    fn memory_of_another_length_is_refused_before_it_is_touched() {
        for bytes in [
            0,
            100,
            LAYOUT.size() as u64 - 1,
            LAYOUT.size() as u64 + 4096,
        ] {
            let (file, _region) = region_file();
            file.set_len(bytes).unwrap();
            let error = Region::attach(file.as_raw_fd()).unwrap_err();
            assert!(
                matches!(error, ShmError::Size { found, .. } if found == bytes),
                "{error}"
            );
        }
    }

    #[test]
    fn a_region_that_was_never_finished_is_refused() {
        let file = File::from(memory_file());
        file.set_len(LAYOUT.size() as u64).unwrap();
        assert!(matches!(
            Region::attach(file.as_raw_fd()),
            Err(ShmError::Magic(0))
        ));
    }

    #[test]
    fn dimensions_out_of_bounds_are_refused() {
        for (workers, mailbox_bytes) in [
            (0, 4096),
            (257, 4096),
            (1, 0),
            (1, 2048),
            (1, 4095),
            (1, 12288),
        ] {
            let file = memory_file();
            let layout = Layout {
                workers,
                mailbox_bytes,
            };
            let error = Region::create(file.as_raw_fd(), layout).unwrap_err();
            assert!(matches!(error, ShmError::Layout(found) if found == layout));
        }
        assert!(Region::create(-1, LAYOUT).unwrap_err().source().is_some());
    }

    #[test]
    #[should_panic(expected = "shard 3 of 3")]
    fn a_shard_that_there_is_not_is_a_fault_of_the_caller() {
        region_file().1.page(3);
    }
}
