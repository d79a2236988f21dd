//! What holds for the layer whatever the machines do: handles, wheel entries, nothing left behind.

use crate::stage::{Seen, Stage};
use sipshard_proto::transaction::timer::Timer;
use sipshard_proto::transaction::{Side, Told};

/// Longer than any timer that a transaction starts for itself.
const LATE_MS: u64 = 64_001;

#[test]
fn nothing_is_left_after_the_longest_timer() {
    let mut stage = Stage::new();
    for (is_invite, responses) in [
        (true, &[][..]),
        (true, &[180, 486]),
        (true, &[200, 200]),
        (true, &[503]),
        (false, &[]),
        (false, &[100]),
        (false, &[200]),
    ] {
        let client = stage.client(is_invite);
        for &status in responses {
            stage.hear(client, status);
        }
    }
    for (is_invite, responses) in [
        (true, &[180, 486][..]),
        (true, &[200]),
        (true, &[600]),
        (false, &[200]),
        (false, &[100, 404]),
    ] {
        let (_, server) = stage.server(is_invite);
        for &status in responses {
            stage.respond(server, status);
        }
    }
    assert_eq!(stage.layer.len(), 12);
    stage.run_until(LATE_MS);
    assert!(stage.layer.is_empty());
    assert_eq!(stage.layer.next_deadline(), None);
}

#[test]
fn a_stale_wheel_entry_does_not_touch_the_next_tenant_of_the_slot() {
    let mut stage = Stage::new();
    let first = stage.client(true);
    stage.layer.drop_client(first);
    stage.run_until(300);
    let second = stage.client(true);
    assert_eq!(
        (second.slot, second.serial == first.serial),
        (first.slot, false)
    );
    // The first one's Timer A would fire at 500.
    assert_eq!(stage.sent_until(1_000), [800]);
    assert_eq!(stage.hear(first, 200), None);
    assert!(stage.is_there(Side::Client(second)));
}

#[test]
fn a_timer_that_moves_to_an_earlier_point_fires_there_and_only_there() {
    let mut stage = Stage::new();
    let client = stage.client(true);
    stage.hear(client, 180);
    let now = stage.now;
    for interval_ms in [180_000, 90_000, 120_000, 1_000] {
        stage
            .layer
            .start_client_timer(now, client, Timer::C, interval_ms);
    }
    let fired = Seen::Told(1_000, Told::Fired(Timer::C));
    assert_eq!(stage.run_until(400_000), [fired]);
}

#[test]
fn timers_that_are_overdue_together_fire_in_their_order() {
    let mut stage = Stage::new();
    let client = stage.client(true);
    let now = stage.now;
    stage.layer.start_client_timer(now, client, Timer::Ring, 50);
    stage.take_sent();
    // The worker was stopped for a minute: it hears of its own timer, then repeats the request once, and gives up.
    let late = now.after_ms(60_000);
    let mut told = Vec::new();
    while let Some((side, what)) = stage.layer.poll_timer(late, &mut stage.outbox) {
        assert_eq!(side, Side::Client(client));
        told.push(what);
        stage.layer.bury(side);
    }
    assert_eq!(told, [Told::Fired(Timer::Ring), Told::Timeout]);
    assert_eq!(stage.take_sent(), ["request"]);
    assert!(stage.layer.is_empty());
}

#[test]
fn what_is_done_with_an_old_handle_does_nothing() {
    let mut stage = Stage::new();
    let client = stage.client(false);
    let (_, server) = stage.server(false);
    stage.layer.drop_client(client);
    stage.layer.drop_server(server);
    stage.take_sent();
    let now = stage.now;
    assert_eq!(stage.hear(client, 200), None);
    assert!(!stage.respond(server, 200));
    assert!(stage.retransmit(server).is_empty());
    stage.layer.start_client_timer(now, client, Timer::C, 1);
    stage.layer.start_server_timer(now, server, Timer::Decision);
    stage.layer.stop_server_timer(server);
    stage.layer.bury(Side::Client(client));
    stage.layer.bury(Side::Server(server));
    assert_eq!(stage.layer.handle_transport_error(client), None);
    assert!(stage.layer.drop_server(server).is_none());
    assert_eq!(stage.run_until(LATE_MS), []);
    assert_eq!(stage.layer.next_deadline(), None);
}

#[test]
fn a_freed_key_belongs_to_the_next_transaction_with_it() {
    let mut stage = Stage::new();
    let (key, server) = stage.server(false);
    stage.respond(server, 200);
    stage.run_until(LATE_MS);
    assert_eq!(stage.layer.find_server(key), None);
    let path = crate::stage::path();
    let again = stage.layer.open_server(key, false, path, "again");
    assert_eq!(stage.layer.find_server(key), Some(again));
    assert!(stage.layer.server(server).is_none());
}
