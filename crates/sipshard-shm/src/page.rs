//! The page of figures that each worker shows to the supervisor and the control process.

use crate::mapping::view;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters on a page. What they count is their user's business.
pub const COUNTERS: usize = 128;

/// Words of a page.
pub(crate) const PAGE_WORDS: usize = 512;

/// One figure with one writer.
///
/// Writing releases and reading acquires: who reads a field also sees what its writer wrote before
/// it. On the machines this runs on that is a plain load and store. A field is one word, so that no
/// reader ever sees half of one, whenever the writer died.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Field(AtomicU64);

impl Field {
    /// The value last written, 0 at first.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Replaces the value. For the one writer that the field names.
    pub fn write(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }
}

/// What a worker is doing, as [`PageFields::state`] has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum WorkerState {
    /// Forked, and not yet reading its sockets.
    Booting = 0,
    /// Taking new work.
    Serving = 1,
    /// Finishing what it has, passing the rest to its successor.
    Draining = 2,
    /// Finishing what it has, refusing the rest.
    Stopping = 3,
}

impl WorkerState {
    /// The state with this number; `None` when there is none.
    pub fn from_number(number: u64) -> Option<WorkerState> {
        use WorkerState::*;
        [Booting, Serving, Draining, Stopping]
            .into_iter()
            .find(|state| *state as u64 == number)
    }
}

/// The figures of one shard.
///
/// "The worker" is the process that serves the shard now; during a replacement the predecessor is
/// the writer until it ends, and the successor writes from then on. Readers of every field are the
/// supervisor, the control process and, through it, `status`. Every field is one word, written with
/// Release and read with Acquire ([`Field`]). Unless a field says otherwise, a dead worker's last
/// value stays until its successor writes its own: read `pid` and `generation` beside it.
///
/// The worker's fields and the supervisor's are on cache lines of their own.
#[derive(Debug)]
#[repr(C)]
pub struct PageFields {
    /// Writer: the worker, when it boots. A dead worker's pid stays until the successor boots; the
    /// supervisor, which reaps it, knows better.
    pub pid: Field,
    /// Writer: the worker, when it boots, after `pid`: a reader that sees the new generation sees
    /// the new pid. How many workers this shard has had.
    pub generation: Field,
    /// Writer: the worker, when it boots. Wall clock, milliseconds since 1970.
    pub started_unix_ms: Field,
    /// Writer: the worker, on every turn of its loop, at least once a second. CLOCK_MONOTONIC in
    /// milliseconds. That it stands still is how a hung worker is found; a dead one's stands still
    /// as well.
    pub heartbeat_ms: Field,
    /// Writer: the worker. A [`WorkerState`]. A dead worker's stays, `Serving` mostly.
    pub state: Field,
    /// Writer: the worker; when it is dead the supervisor, which writes 0. Live transactions.
    pub transactions: Field,
    /// Writer: the worker. Transactions whose outcome somebody still waits for. As above.
    pub unfinished: Field,
    /// Writer: the worker; when it is dead the supervisor, which writes 0. Connections that are open.
    pub connections: Field,
    /// Writer: the supervisor, once per sample, as the four after it. Resident memory. The
    /// supervisor does not die alone: its children end with it.
    pub rss_bytes: Field,
    /// Writer: the supervisor. Memory that would be free if the worker ended.
    pub uss_bytes: Field,
    /// Writer: the supervisor. CPU time, user and system.
    pub cpu_ms: Field,
    /// Writer: the supervisor. Open descriptors.
    pub descriptors: Field,
    /// Writer: the supervisor. How often the shard's worker was replaced.
    pub restarts: Field,
    supervisor_reserve: [Field; 3],
    /// Writer: the worker, Relaxed, because nobody concludes anything from one about another. They
    /// only grow, over all generations of a shard: a successor goes on where the dead one stopped,
    /// and no addition is ever half done.
    counters: [AtomicU64; COUNTERS],
    /// Writer: the worker. How long the oldest message had waited in its socket when it was read, the longest of the last
    /// second; milliseconds.
    pub queue_delay_ms: Field,
    reserve: [Field; PAGE_WORDS - 17 - COUNTERS],
}

const _: () = assert!(size_of::<PageFields>() == PAGE_WORDS * 8);

impl PageFields {
    /// Adds `n` to a counter. While a predecessor drains, it and its successor both add. An `index`
    /// of [`COUNTERS`] or more is ignored.
    pub fn add(&self, index: usize, n: u64) {
        if let Some(counter) = self.counters.get(index) {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// The value of a counter; 0 for an `index` of [`COUNTERS`] or more.
    pub fn read(&self, index: usize) -> u64 {
        self.counters
            .get(index)
            .map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// A worker's page in the region. It is used as the [`PageFields`] that it points to.
#[derive(Clone, Copy, Debug)]
pub struct WorkerPage<'a> {
    fields: &'a PageFields,
}

impl<'a> WorkerPage<'a> {
    /// The page that these words, [`PAGE_WORDS`] of them, are.
    pub(crate) fn new(words: &'a [AtomicU64]) -> WorkerPage<'a> {
        // SAFETY: PageFields is repr(C) and consists of AtomicU64s and of Fields, which are
        // transparent AtomicU64s.
        let fields = unsafe { view(words) };
        WorkerPage { fields }
    }
}

impl Deref for WorkerPage<'_> {
    type Target = PageFields;

    fn deref(&self) -> &PageFields {
        self.fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..PAGE_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn what_is_written_is_read_through_another_view() {
        let words = words();
        WorkerPage::new(&words).pid.write(4711);
        WorkerPage::new(&words).rss_bytes.write(u64::MAX);
        WorkerPage::new(&words).add(0, 2);
        WorkerPage::new(&words).add(0, 3);
        WorkerPage::new(&words).add(COUNTERS - 1, 1);

        let page = WorkerPage::new(&words);
        assert_eq!((page.pid.read(), page.rss_bytes.read()), (4711, u64::MAX));
        assert_eq!(
            (page.read(0), page.read(1), page.read(COUNTERS - 1)),
            (5, 0, 1)
        );
    }

    #[test]
    fn a_counter_out_of_range_harms_nobody() {
        let words = words();
        let page = WorkerPage::new(&words);
        page.add(COUNTERS, 1);
        page.add(usize::MAX, 1);
        assert_eq!(page.read(COUNTERS), 0);
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn the_writers_are_on_cache_lines_of_their_own() {
        assert_eq!(std::mem::offset_of!(PageFields, rss_bytes), 64);
        assert_eq!(std::mem::offset_of!(PageFields, counters), 128);
    }

    #[test]
    fn states_have_the_numbers_that_status_shows() {
        for (number, state) in [(0, WorkerState::Booting), (1, WorkerState::Serving)] {
            assert_eq!(WorkerState::from_number(number), Some(state));
        }
        assert_eq!(WorkerState::from_number(2), Some(WorkerState::Draining));
        assert_eq!(WorkerState::from_number(3), Some(WorkerState::Stopping));
        assert_eq!(WorkerState::from_number(4), None);
    }
}
