//! The outgoing mail of one worker: the mailboxes of the others, and whom it has to wake.

use crate::backlog::Backlog;
use crate::parcel::Head;
use sipshard_net::wake;
use sipshard_shm::{Producer, Region};
use std::os::fd::RawFd;

/// What became of a message that must not be lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is in the mailbox.
    Now,
    /// It waits for room there.
    Later,
    /// So much waits already that it was dropped.
    Never,
}

/// The mailboxes that one worker fills.
pub struct Post {
    shard: u16,
    mailboxes: Vec<Producer>,
    /// To the predecessor, for a worker that stands by.
    to_predecessor: Producer,
    backlog: Backlog,
    wakeups: Vec<RawFd>,
    to_wake: Vec<u16>,
}

impl Post {
    /// `wakeups` has one eventfd per shard, each inherited.
    pub fn new(region: &Region, shard: u16, wakeups: Vec<RawFd>) -> Self {
        let mailboxes = (0..wakeups.len() as u16).map(|receiver| region.producer(shard, receiver));
        Self {
            shard,
            mailboxes: mailboxes.collect(),
            to_predecessor: region.return_producer(shard),
            backlog: Backlog::default(),
            wakeups,
            to_wake: Vec::new(),
        }
    }

    /// The eventfd that wakes this worker.
    pub fn own_wakeup(&self) -> RawFd {
        self.wakeups[usize::from(self.shard)]
    }

    /// Puts a message into the mailbox of `receiver`; of its own shard: into the hand-over ring for the successor, who
    /// looks there by itself and needs no waking. False when that is full.
    pub fn send(&mut self, receiver: u16, head: &Head, message: &[u8]) -> bool {
        let mailbox = &self.mailboxes[usize::from(receiver)];
        if mailbox.push(head.bytes(), message).is_err() {
            return false;
        }
        if receiver != self.shard {
            self.wake_later(receiver);
        }
        true
    }

    /// The same for what nobody would repeat: it waits here when the mailbox is full, within a bound.
    pub fn send_surely(&mut self, receiver: u16, head: &Head, message: &[u8]) -> Sent {
        if !self.backlog.holds(receiver) && self.send(receiver, head, message) {
            return Sent::Now;
        }
        match self.backlog.push(receiver, head.bytes(), message) {
            true => Sent::Later,
            false => Sent::Never,
        }
    }

    /// Whether something waits for room in a mailbox.
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    fn retry_backlog(&mut self) {
        let (mailboxes, to_wake) = (&self.mailboxes, &mut self.to_wake);
        self.backlog.retry(|receiver, record| {
            let is_sent = mailboxes[usize::from(receiver)].push(record, &[]).is_ok();
            if is_sent && !to_wake.contains(&receiver) {
                to_wake.push(receiver);
            }
            is_sent
        });
    }

    /// Gives a message to the predecessor, which deals with it as if it were its own: whoever stands by has no other
    /// mailbox, because each has one producer. False when that is full.
    pub fn send_back(&mut self, head: &Head, message: &[u8]) -> bool {
        if self.to_predecessor.push(head.bytes(), message).is_err() {
            return false;
        }
        self.wake_later(self.shard);
        true
    }

    /// Wakes the worker of a shard, perhaps ourselves, with the others.
    pub fn wake_later(&mut self, receiver: u16) {
        if !self.to_wake.contains(&receiver) {
            self.to_wake.push(receiver);
        }
    }

    /// Wakes everybody who got mail since the last call.
    pub fn wake_receivers(&mut self) {
        if self.has_backlog() {
            self.retry_backlog();
        }
        for receiver in self.to_wake.drain(..) {
            // The eventfd lives as long as the supervisor; should it fail all the same, the receiver looks into its
            // mailboxes once a second anyhow (MAIL_LOOK_MS).
            let _ = wake::signal(self.wakeups[usize::from(receiver)]);
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> u16 {
        self.wakeups.len() as u16
    }
}
