//! Figures 7 and 8 through the layer.

use crate::stage::{Seen, Stage};
use sipshard_proto::transaction::timer::Timer;
use sipshard_proto::transaction::{Side, Told};

const INVITE: bool = true;
const NON_INVITE: bool = false;

#[test]
fn figure_7_a_retransmitted_invite_gets_the_last_provisional_response() {
    let mut stage = Stage::new();
    let (_, server) = stage.server(INVITE);
    assert!(stage.retransmit(server).is_empty(), "nothing was said yet");
    assert!(stage.respond(server, 100));
    assert_eq!(stage.retransmit(server), ["100"]);
    assert!(stage.respond(server, 180));
    assert_eq!(stage.take_sent(), ["180"]);
    assert_eq!(stage.retransmit(server), ["180"]);
    assert!(stage.acknowledge(server).is_empty(), "no ACK belongs here");
    assert_eq!(stage.run_until(600_000), []);
    assert_eq!(stage.retransmit(server), ["180"]);
}

#[test]
fn figure_7_timer_g_repeats_a_failure_up_to_t2_until_timer_h() {
    let mut stage = Stage::new();
    let (key, server) = stage.server(INVITE);
    assert!(stage.respond(server, 486));
    assert_eq!(stage.take_sent(), ["486"]);
    assert_eq!(stage.retransmit(server), ["486"]);
    let times = stage.sent_until(31_999);
    let expected = [
        500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500,
    ];
    assert_eq!(times, expected);
    assert_eq!(stage.run_until(32_000), [Seen::Told(32_000, Told::Timeout)]);
    assert_eq!(stage.layer.find_server(key), None);
}

#[test]
fn figure_7_the_ack_ends_the_repetitions_and_timer_i_absorbs_more_of_it() {
    let mut stage = Stage::new();
    let (key, server) = stage.server(INVITE);
    stage.respond(server, 486);
    stage.run_until(700);
    assert!(stage.acknowledge(server).is_empty());
    let transaction = stage.layer.server(server).unwrap();
    assert!(transaction.stored.is_empty(), "it is not sent again");
    assert!(stage.acknowledge(server).is_empty());
    assert!(stage.retransmit(server).is_empty());
    for status in [180, 200, 486] {
        assert!(!stage.respond(server, status));
    }
    assert_eq!(stage.sent_until(5_000), []);
    assert!(stage.ends_at(Side::Server(server), 5_700));
    assert_eq!(stage.layer.find_server(key), None);
}

#[test]
fn figure_7_after_a_failure_no_other_response_is_sent() {
    let mut stage = Stage::new();
    let (_, server) = stage.server(INVITE);
    stage.respond(server, 486);
    stage.take_sent();
    for status in [180, 200, 500] {
        assert!(!stage.respond(server, status));
    }
    assert!(stage.take_sent().is_empty());
    assert_eq!(stage.retransmit(server), ["486"]);
}

#[test]
fn rfc_6026_after_a_2xx_invites_are_absorbed_and_further_2xx_pass_until_timer_l() {
    let mut stage = Stage::new();
    let (key, server) = stage.server(INVITE);
    stage.respond(server, 180);
    assert!(stage.respond(server, 200));
    let transaction = stage.layer.server(server).unwrap();
    assert!(transaction.stored.is_empty(), "2xx come from downstream");
    stage.take_sent();
    assert!(stage.retransmit(server).is_empty());
    assert!(stage.acknowledge(server).is_empty());
    assert!(stage.respond(server, 200));
    assert_eq!(stage.take_sent(), ["200"]);
    for status in [180, 486] {
        assert!(!stage.respond(server, status));
    }
    assert_eq!(stage.run_until(31_999), []);
    assert!(stage.ends_at(Side::Server(server), 32_000));
    assert_eq!(stage.layer.find_server(key), None);
}

#[test]
fn figure_8_before_a_response_retransmissions_are_dropped() {
    let mut stage = Stage::new();
    let (_, server) = stage.server(NON_INVITE);
    assert!(stage.retransmit(server).is_empty());
    assert!(stage.respond(server, 100));
    assert_eq!(stage.retransmit(server), ["100"]);
    assert!(stage.respond(server, 183));
    assert_eq!(stage.retransmit(server), ["183"]);
    assert!(stage.acknowledge(server).is_empty());
}

#[test]
fn figure_8_the_final_response_answers_retransmissions_until_timer_j() {
    for responses in [&[200][..], &[100, 404]] {
        let mut stage = Stage::new();
        let (key, server) = stage.server(NON_INVITE);
        for &status in responses {
            assert!(stage.respond(server, status));
        }
        let last = responses.last().unwrap().to_string();
        stage.run_until(31_000);
        assert_eq!(stage.retransmit(server), [last]);
        for status in [100, 200, 500] {
            assert!(!stage.respond(server, status));
        }
        assert!(stage.take_sent().is_empty());
        assert!(stage.ends_at(Side::Server(server), 32_000));
        assert_eq!(stage.layer.find_server(key), None);
    }
}

#[test]
fn a_timer_of_the_user_is_reported_once_and_can_be_stopped() {
    let mut stage = Stage::new();
    let (_, server) = stage.server(INVITE);
    let now = stage.now;
    stage.layer.start_server_timer(now, server, Timer::Trying);
    assert_eq!(
        stage.run_until(1_000),
        [Seen::Told(200, Told::Fired(Timer::Trying))]
    );
    let now = stage.now;
    stage.layer.start_server_timer(now, server, Timer::Decision);
    stage.layer.stop_server_timer(server);
    assert_eq!(stage.run_until(100_000), []);
    assert!(stage.is_there(Side::Server(server)));
}
