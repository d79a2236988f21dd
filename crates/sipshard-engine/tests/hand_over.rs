//! One worker follows another while both live: standby, drain, take-over.

mod common;

use common::{answer, asked, turn, turn_until, Client, Estate};
use sipshard_engine::Engine;
use sipshard_net::wake;
use std::os::fd::RawFd;

const LOOPBACK: &str = "127.0.0.1:0";

/// A shard whose first worker has one request in hand and drains to the second.
struct Recycle {
    estate: Estate,
    client: Client,
    predecessor: Engine,
    successor: Engine,
    /// What the predecessor was asked before.
    pending: (sipshard_proto::Handle, String),
}

impl Recycle {
    fn new() -> Self {
        let estate = Estate::new(1, LOOPBACK);
        let client = Client::new(LOOPBACK);
        let mut predecessor = estate.engine(0, 1);
        client.send(estate.address(0), "old");
        let pending = asked(&mut predecessor, 1).remove(0);
        let successor = estate.engine(0, 2);
        predecessor.drain_to_successor();
        Self {
            estate,
            client,
            predecessor,
            successor,
            pending,
        }
    }

    /// Sends a new request and lets the predecessor hand it over.
    fn hand_over(&mut self, call_id: &str) {
        let before = self.estate.counter(0, "handed_over");
        self.client.send(self.estate.address(0), call_id);
        turn_until(&mut self.predecessor, || {
            self.estate.counter(0, "handed_over") > before
        });
    }
}

#[test]
fn a_worker_that_stands_by_leaves_sockets_signals_and_page_to_its_predecessor() {
    let estate = Estate::new(2, LOOPBACK);
    let client = Client::new(LOOPBACK);
    let mut predecessor = estate.engine(0, 1);
    turn(&mut predecessor);
    let mut successor = estate.engine(0, 2);
    let call_id = estate.call_id(0, 0);
    client.send(estate.address(0), &call_id);
    wake::signal(estate.wakeup(0)).unwrap();
    for _ in 0..20 {
        assert_eq!(turn(&mut successor), []);
    }
    assert_eq!(estate.region.page(0).generation.read(), 1);
    assert_eq!(
        wake::drain(estate.wakeup(0)).unwrap(),
        1,
        "the signal is still there"
    );
    assert_eq!(asked(&mut predecessor, 1).remove(0).1, call_id);
}

#[test]
fn a_draining_worker_keeps_its_own_and_hands_over_the_rest() {
    let mut recycle = Recycle::new();
    recycle.hand_over("new");
    let (id, call_id) = asked(&mut recycle.successor, 1).remove(0);
    assert_eq!(call_id, "new");
    answer(&mut recycle.successor, id);
    assert_eq!(recycle.client.response().1, "new");

    // Repeated, because no answer came: that is still the predecessor's.
    recycle.client.send(recycle.estate.address(0), "old");
    turn_until(&mut recycle.predecessor, || {
        recycle.estate.counter(0, "request_retransmissions") > 0
    });
    answer(&mut recycle.predecessor, recycle.pending.0);
    assert_eq!(recycle.client.response().1, "old");
    assert_eq!(recycle.estate.counter(0, "handed_over"), 1);
}

#[test]
fn the_page_is_the_predecessors_until_it_is_gone() {
    let mut recycle = Recycle::new();
    turn(&mut recycle.predecessor);
    turn(&mut recycle.successor);
    let page = recycle.estate.region.page(0);
    assert_eq!(
        (page.generation.read(), page.state.read()),
        (1, 2),
        "draining"
    );
    assert_eq!(page.unfinished.read(), 1, "its own, not the successor's");
    drop(recycle.predecessor);
    recycle.successor.take_over().unwrap();
    turn(&mut recycle.successor);
    assert_eq!(
        (page.generation.read(), page.state.read()),
        (2, 1),
        "serving"
    );
    assert_eq!(page.unfinished.read(), 0);
    assert_eq!(
        recycle.estate.counter(0, "requests"),
        1,
        "counters go on where the predecessor's stopped"
    );
}

#[test]
fn who_takes_over_gets_the_ring_the_mailboxes_and_the_sockets() {
    let mut recycle = Recycle::new();
    recycle.hand_over("in-the-ring");
    recycle
        .client
        .send(recycle.estate.address(0), "in-the-socket");
    drop(recycle.predecessor);
    recycle.successor.take_over().unwrap();
    let mut found: Vec<_> = asked(&mut recycle.successor, 2)
        .into_iter()
        .map(|(_, call_id)| call_id)
        .collect();
    found.sort();
    assert_eq!(found, ["in-the-ring", "in-the-socket"]);
    recycle.successor.take_over().unwrap();
    assert_eq!(
        turn(&mut recycle.successor),
        [],
        "a second time changes nothing"
    );
}

#[test]
fn who_takes_over_is_woken_by_mail_from_then_on() {
    let estate = Estate::new(2, LOOPBACK);
    let predecessor = estate.engine(1, 1);
    let mut successor = estate.engine(1, 2);
    drop(predecessor);
    successor.take_over().unwrap();
    let mut other = estate.engine(0, 1);
    let call_id = estate.call_id(1, 0);
    Client::new(LOOPBACK).send(estate.address(0), &call_id);
    turn_until(&mut other, || estate.counter(0, "mailbox_sent") > 0);
    assert!(is_readable(estate.wakeup(1)));
    assert_eq!(asked(&mut successor, 1).remove(0).1, call_id);
    assert!(!is_readable(estate.wakeup(1)), "it took the signal");
}

#[test]
fn what_a_successor_that_died_had_not_taken_waits_for_the_next() {
    let mut recycle = Recycle::new();
    drop(std::mem::replace(
        &mut recycle.successor,
        recycle.estate.engine(0, 3),
    ));
    recycle.hand_over("orphan");
    recycle.successor = recycle.estate.engine(0, 4);
    assert_eq!(asked(&mut recycle.successor, 1).remove(0).1, "orphan");
}

/// Whether an eventfd has been signalled; leaves it as it is.
fn is_readable(fd: RawFd) -> bool {
    let count = wake::drain(fd).unwrap();
    for _ in 0..count {
        wake::signal(fd).unwrap();
    }
    count > 0
}
