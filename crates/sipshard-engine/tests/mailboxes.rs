//! Messages that arrive at a worker to which they do not belong: two engines, one region, loopback.

mod common;

use common::{answer, asked, turn, turn_until, Client, Estate};
use sipshard_net::wake;

const LOOPBACK: &str = "127.0.0.1:0";

#[test]
fn a_message_of_another_shard_is_answered_by_its_owner() {
    for address in [LOOPBACK, "[::1]:0"] {
        let estate = Estate::new(2, address);
        let (mut first, mut second) = (estate.engine(0, 1), estate.engine(1, 1));
        let client = Client::new(address);
        let call_id = estate.call_id(1, 0);
        client.send(estate.address(0), &call_id);
        turn_until(&mut first, || estate.counter(0, "mailbox_sent") > 0);
        let (id, found) = asked(&mut second, 1).remove(0);
        assert_eq!(found, call_id);
        answer(&mut second, id);
        assert_eq!(
            client.response(),
            (200, call_id, estate.address(1)),
            "the source travelled with the message"
        );
        assert_eq!(estate.counter(1, "mailbox_received"), 1);
    }
}

#[test]
fn a_full_mailbox_drops_and_counts_and_what_it_holds_arrives() {
    let estate = Estate::cramped(2, LOOPBACK);
    let (mut first, mut second) = (estate.engine(0, 1), estate.engine(1, 1));
    let client = Client::new(LOOPBACK);
    const SENT: u64 = 40;
    for number in 0..SENT {
        client.send(estate.address(0), &estate.call_id(1, number as usize));
    }
    let dealt_with = || estate.counter(0, "mailbox_sent") + estate.counter(0, "mailbox_full");
    turn_until(&mut first, || dealt_with() == SENT);
    let accepted = estate.counter(0, "mailbox_sent");
    assert!(
        (5..SENT).contains(&accepted),
        "{accepted} fit into the ring"
    );
    let found = asked(&mut second, accepted as usize);
    assert_eq!(found[0].1, estate.call_id(1, 0));
    assert_eq!(estate.counter(1, "mailbox_received"), accepted);

    // There is room again.
    client.send(estate.address(0), &estate.call_id(1, SENT as usize));
    turn_until(&mut first, || estate.counter(0, "mailbox_sent") > accepted);
    assert_eq!(asked(&mut second, 1).len(), 1);
}

/// The first engine puts a message into the second's mailbox and dies before it wakes it.
fn leave_unannounced_mail(estate: &Estate) -> String {
    let call_id = estate.call_id(1, 0);
    let mut first = estate.engine(0, 1);
    Client::new(LOOPBACK).send(estate.address(0), &call_id);
    turn_until(&mut first, || estate.counter(0, "mailbox_sent") > 0);
    wake::drain(estate.wakeup(1)).unwrap();
    call_id
}

#[test]
fn mail_of_a_sender_that_died_before_the_signal_is_found_within_a_second() {
    let estate = Estate::new(2, LOOPBACK);
    let mut second = estate.engine(1, 1);
    wake::drain(estate.wakeup(1)).unwrap();
    let call_id = leave_unannounced_mail(&estate);
    assert_eq!(turn(&mut second), [], "nobody has told it");
    assert_eq!(asked(&mut second, 1).remove(0).1, call_id);
}

#[test]
fn the_successor_of_a_sender_wakes_everybody() {
    let estate = Estate::new(2, LOOPBACK);
    let _second = estate.engine(1, 1);
    leave_unannounced_mail(&estate);
    let mut successor = estate.engine(0, 1);
    turn(&mut successor);
    assert!(wake::drain(estate.wakeup(1)).unwrap() > 0);
    assert_eq!(wake::drain(estate.wakeup(0)).unwrap(), 0, "but not itself");
}
