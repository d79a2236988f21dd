//! The mailbox between real processes, of which one is killed again and again.

// Forking is the test: there is no safe form of it.
#![allow(unsafe_code)]

use sipshard_shm::{Layout, Region};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const LAYOUT: Layout = Layout {
    workers: 2,
    mailbox_bytes: 8192,
};
const KILLS: u64 = 25;

fn region() -> Region {
    // SAFETY: the name is a C string, and the descriptor returned is ours alone.
    let file = unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"test".as_ptr(), 0)) };
    Region::create(file.as_raw_fd(), LAYOUT).unwrap()
}

/// A forked process, killed and reaped when dropped.
struct Child(libc::pid_t);

impl Child {
    /// Runs `work` in a child, for ever: it comes to its end by being killed.
    fn run(work: impl Fn()) -> Child {
        // SAFETY: the child only touches memory that it has mapped and its own copy of the heap,
        // whose lock the C library keeps usable across a fork; it never returns to the harness.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            // SAFETY: prctl takes one integer here and no pointer.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            loop {
                work();
                std::thread::yield_now();
            }
        }
        Child(pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: kill takes no pointer, and the pid is of a child that was not reaped yet.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        // SAFETY: a null status pointer is allowed.
        let reaped = unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
        assert_eq!(reaped, self.0);
    }
}

fn payload(number: u64) -> Vec<u8> {
    vec![number as u8; (number * 13 % 500) as usize]
}

#[test]
fn a_killed_producer_leaves_whole_records_only() {
    let region = region();
    let consumer = region.consumer(0, 1);
    let mut total = 0;
    for generation in 0..KILLS {
        let producer = region.producer(0, 1);
        let next = std::cell::Cell::new(0u64);
        let child = Child::run(|| {
            let number = next.get();
            let head = [generation.to_ne_bytes(), number.to_ne_bytes()].concat();
            if producer.push(&head, &payload(number)).is_ok() {
                next.set(number + 1);
            }
        });
        let mut expected = 0u64;
        let mut check = |record: &[u8]| {
            let (head, rest) = record.split_at(16);
            assert_eq!(head[..8], generation.to_ne_bytes());
            assert_eq!(head[8..], expected.to_ne_bytes());
            assert_eq!(rest, payload(expected));
            expected += 1;
        };
        // It is killed after another number of records each time, in the middle of its work.
        let mut wanted = 20 + 37 * generation;
        while wanted > 0 {
            wanted -= u64::from(consumer.pop(&mut check));
            std::thread::yield_now();
        }
        drop(child);
        while consumer.pop(&mut check) {}
        total += expected;
    }
    assert!(total >= 20 * KILLS);
    assert_eq!((consumer.resets(), consumer.skipped()), (0, 0));
}

#[test]
fn a_killed_consumer_loses_no_record() {
    let region = region();
    let producer = region.producer(1, 0);
    let page = region.page(0);
    let mut last_seen = 0;
    for _ in 0..KILLS {
        let consumer = region.consumer(1, 0);
        page.pid.write(0);
        let child = Child::run(|| {
            consumer.pop(|record| {
                let number = u64::from_ne_bytes(record.try_into().unwrap());
                // Seen twice is allowed, left out is not.
                let before = page.transactions.read();
                if number != before && number != before + 1 {
                    page.unfinished.write(number);
                }
                page.transactions.write(number);
                page.pid.write(page.pid.read() + 1);
            });
        });
        while page.pid.read() < 50 {
            if producer
                .push(&(last_seen + 1u64).to_ne_bytes(), b"")
                .is_ok()
            {
                last_seen += 1;
            }
        }
        drop(child);
    }
    let consumer = region.consumer(1, 0);
    let mut next = page.transactions.read();
    while consumer.pop(|record| {
        let number = u64::from_ne_bytes(record.try_into().unwrap());
        assert!(
            number == next || number == next + 1,
            "{number} after {next}"
        );
        next = number;
    }) {}
    assert_eq!(next, last_seen);
    assert_eq!(page.unfinished.read(), 0, "a record was left out");
    assert_eq!((consumer.resets(), consumer.skipped()), (0, 0));
}
