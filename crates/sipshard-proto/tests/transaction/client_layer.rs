//! Figures 5 and 6 through the layer: what is sent when, what the user hears, when the transaction ends.

use crate::stage::{Seen, Stage};
use sipshard_proto::transaction::timer::Timer;
use sipshard_proto::transaction::{Side, Told};

const INVITE: bool = true;
const NON_INVITE: bool = false;

#[test]
fn figure_5_timer_a_doubles_without_bound_until_timer_b() {
    let mut stage = Stage::new();
    let client = stage.client(INVITE);
    assert_eq!(stage.take_sent(), ["request"]);
    let seen = stage.run_until(31_999);
    let times = [500, 1_500, 3_500, 7_500, 15_500, 31_500];
    let expected = times.map(|at_ms| Seen::Sent(at_ms, "request".into()));
    assert_eq!(seen, expected);
    assert_eq!(stage.run_until(32_000), [Seen::Told(32_000, Told::Timeout)]);
    assert!(!stage.is_there(Side::Client(client)));
    assert_eq!(stage.run_until(400_000), []);
}

#[test]
fn figure_5_a_provisional_response_stops_timers_a_and_b() {
    let mut stage = Stage::new();
    let client = stage.client(INVITE);
    stage.run_until(600);
    assert_eq!(stage.hear(client, 100), Some(Told::Response));
    assert_eq!(stage.hear(client, 180), Some(Told::Response));
    assert_eq!(stage.run_until(600_000), []);
    let transaction = stage.layer.client(client).unwrap();
    assert!(transaction.has_provisional() && transaction.state.is_pending());
    assert!(!transaction.stored.is_empty(), "ACK and CANCEL need it");
}

#[test]
fn figure_5_a_failure_is_acknowledged_each_time_until_timer_d() {
    for provisional in [None, Some(180)] {
        let mut stage = Stage::new();
        let client = stage.client(INVITE);
        stage.run_until(100);
        provisional.map(|status| stage.hear(client, status));
        stage.take_sent();
        assert_eq!(stage.hear(client, 486), Some(Told::Response));
        assert_eq!(stage.take_sent(), ["ack"]);
        stage.run_until(20_000);
        assert_eq!(stage.hear(client, 486), None);
        assert_eq!(stage.take_sent(), ["ack"]);
        assert_eq!(stage.hear(client, 180), None);
        assert_eq!(stage.hear(client, 200), None);
        assert!(stage.take_sent().is_empty());
        assert!(stage.ends_at(Side::Client(client), 32_100));
    }
}

#[test]
fn rfc_6026_every_2xx_is_told_until_timer_m_and_the_request_is_freed() {
    for provisional in [None, Some(180)] {
        let mut stage = Stage::new();
        let client = stage.client(INVITE);
        stage.run_until(100);
        provisional.map(|status| stage.hear(client, status));
        assert_eq!(stage.hear(client, 200), Some(Told::Response));
        assert!(stage.layer.client(client).unwrap().stored.is_empty());
        stage.take_sent();
        stage.run_until(32_000);
        assert_eq!(stage.hear(client, 200), Some(Told::Response));
        assert_eq!(stage.hear(client, 180), None);
        assert_eq!(stage.hear(client, 486), None);
        assert!(stage.take_sent().is_empty(), "nothing is acknowledged here");
        assert!(stage.ends_at(Side::Client(client), 32_100));
    }
}

#[test]
fn figure_5_a_transport_error_ends_the_transaction_where_the_figure_says() {
    for responses in [&[][..], &[180], &[486]] {
        let mut stage = Stage::new();
        let client = stage.client(INVITE);
        for &status in responses {
            stage.hear(client, status);
        }
        let told = stage.layer.handle_transport_error(client);
        assert_eq!(told, Some(Told::TransportError));
        stage.layer.bury(Side::Client(client));
        assert!(!stage.is_there(Side::Client(client)));
    }
    let mut stage = Stage::new();
    let client = stage.client(INVITE);
    stage.hear(client, 200);
    assert_eq!(stage.layer.handle_transport_error(client), None);
    assert!(stage.is_there(Side::Client(client)));
}

#[test]
fn figure_6_timer_e_doubles_up_to_t2_until_timer_f() {
    let mut stage = Stage::new();
    let client = stage.client(NON_INVITE);
    assert_eq!(stage.take_sent(), ["request"]);
    let times = stage.sent_until(31_999);
    let intervals: Vec<u64> = [0]
        .iter()
        .chain(&times)
        .zip(&times)
        .map(|(earlier, later)| later - earlier)
        .collect();
    let t2 = [4_000; 7];
    assert_eq!(intervals, [&[500, 1_000, 2_000][..], &t2].concat());
    assert_eq!(stage.run_until(32_000), [Seen::Told(32_000, Told::Timeout)]);
    assert!(!stage.is_there(Side::Client(client)));
}

#[test]
fn figure_6_after_a_provisional_response_timer_e_runs_at_t2_and_timer_f_goes_on() {
    let mut stage = Stage::new();
    let client = stage.client(NON_INVITE);
    stage.run_until(100);
    assert_eq!(stage.hear(client, 100), Some(Told::Response));
    assert_eq!(stage.hear(client, 183), Some(Told::Response));
    // The interval that runs is finished, the next one is T2.
    assert_eq!(stage.sent_until(9_000), [500, 4_500, 8_500]);
    let seen = stage.run_until(32_000);
    assert_eq!(seen.last(), Some(&Seen::Told(32_000, Told::Timeout)));
}

#[test]
fn figure_6_a_final_response_is_told_once_and_its_copies_absorbed_for_t4() {
    for responses in [&[200][..], &[486], &[100, 200]] {
        let mut stage = Stage::new();
        let client = stage.client(NON_INVITE);
        stage.run_until(700);
        for &status in responses {
            assert_eq!(stage.hear(client, status), Some(Told::Response));
        }
        let transaction = stage.layer.client(client).unwrap();
        assert!(transaction.stored.is_empty(), "nothing is sent again");
        for status in [100, 200, 500] {
            assert_eq!(stage.hear(client, status), None);
        }
        assert_eq!(stage.layer.handle_transport_error(client), None);
        assert_eq!(stage.sent_until(5_000), []);
        assert!(stage.ends_at(Side::Client(client), 5_700));
    }
}

#[test]
fn figure_6_a_transport_error_ends_the_transaction_before_a_final_response() {
    for responses in [&[][..], &[100]] {
        let mut stage = Stage::new();
        let client = stage.client(NON_INVITE);
        for &status in responses {
            stage.hear(client, status);
        }
        let told = stage.layer.handle_transport_error(client);
        assert_eq!(told, Some(Told::TransportError));
        stage.layer.bury(Side::Client(client));
        assert!(stage.layer.is_empty());
    }
}

#[test]
fn section_16_8_timer_c_is_reported_and_leaves_the_transaction_alone() {
    let mut stage = Stage::new();
    let client = stage.client(INVITE);
    stage.hear(client, 180);
    let now = stage.now;
    stage
        .layer
        .start_client_timer(now, client, Timer::C, 180_000);
    assert_eq!(stage.run_until(179_999), []);
    assert_eq!(
        stage.run_until(400_000),
        [Seen::Told(180_000, Told::Fired(Timer::C))]
    );
    assert!(stage.is_there(Side::Client(client)));
}
