//! Connections that take too long over something.

use crate::common::TLS;
use crate::support::{request, Line, World};
use rcgen::{CertificateParams, KeyPair};
use sipshard_engine::{ClientAuth, MinVersion, PemIdentity, TlsSettings, Verify};

/// What has to wait for the sweep, waits for a second at most.
const SHORT_MS: u64 = 100;

pub fn certificates() -> TlsSettings {
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    TlsSettings {
        identities: vec![PemIdentity {
            certificates: certificate.pem().into_bytes(),
            private_key: key.serialize_pem().into_bytes(),
        }],
        client_ca: None,
        client_auth: ClientAuth::Off,
        trusted: Vec::new(),
        verify: Verify::Nobody,
        min_version: MinVersion::Tls12,
        ticket_secret: [0; 16],
    }
}

#[test]
fn half_a_message_ends_its_connection_and_a_whole_one_does_not() {
    let mut world = World::with(1, |streams| streams.message_timeout_ms = SHORT_MS);
    let (mut half, mut whole) = (world.line(0), world.line(0));
    let text = request("OPTIONS", "half");
    half.send(&text[..text.len() / 2]);
    whole.send(&text);
    let asked = world.question();
    half.wait_for_end(&mut world);
    assert_eq!(world.estate.counter(0, "connections_timed_out"), 1);
    world.answer(&asked, 200);
    assert!(whole.message(&mut world).starts_with("SIP/2.0 200 "));
}

#[test]
fn a_single_line_end_is_no_half_of_a_message() {
    let mut world = World::with(1, |streams| streams.message_timeout_ms = SHORT_MS);
    let (mut kept, mut half) = (world.line(0), world.line(0));
    // Phones that keep their connections alive by one line end do not know that it is half a ping.
    kept.send("\r\n");
    world.until_counted(0, "connections_accepted", 2);
    half.send("OPTIONS");
    half.wait_for_end(&mut world);
    assert!(!kept.has_ended());
    assert_eq!(world.estate.counter(0, "connections_timed_out"), 1);
}

#[test]
fn a_silent_tls_handshake_ends_and_a_silent_connection_may_stay() {
    let mut world = World::with(1, |streams| {
        streams.handshake_timeout_ms = SHORT_MS;
        streams.tls = Some(certificates());
    });
    let mut silent = world.line(0);
    let mut handshake = Line::new(world.estate.stream_address(0, TLS));
    handshake.wait_for_end(&mut world);
    assert!(!silent.has_ended());
    assert_eq!(world.estate.counter(0, "connections_timed_out"), 1);
}

#[test]
fn half_an_upgrade_to_websocket_ends() {
    let mut world = World::with(1, |streams| streams.handshake_timeout_ms = SHORT_MS);
    let mut line = world.line(0);
    line.send("GET / HTTP/1.1\r\nHost: a\r\n");
    line.wait_for_end(&mut world);
    assert_eq!(world.estate.counter(0, "connections_timed_out"), 1);
}

#[test]
fn silence_ends_a_connection_and_pings_keep_it() {
    let mut world = World::with(1, |streams| streams.idle_timeout_ms = 1_500);
    let (mut silent, mut kept) = (world.line(0), world.line(0));
    world.until_counted(0, "connections_accepted", 2);
    world.until(|_| {
        kept.send("\r\n\r\n");
        silent.has_ended().then_some(())
    });
    assert!(!kept.has_ended());
    assert_eq!(world.estate.counter(0, "connections_timed_out"), 1);
}

#[test]
fn a_connection_that_nobody_answers_fails_within_the_time_of_handshakes() {
    let mut world = World::with(1, |streams| streams.handshake_timeout_ms = SHORT_MS);
    let alice = crate::support::Datagrams::new();
    alice.send(&world, 0, &crate::support::datagram("OPTIONS", "nobody"));
    let asked = world.question();
    let deaf = Deaf::new();
    let uri = format!("sip:bob@{};transport=tcp", deaf.address);
    world.forward(&asked, &uri, None);
    let answered = alice.final_response(&mut world);
    assert!(answered.starts_with("SIP/2.0 500 "), "{answered}");
    assert_eq!(world.estate.counter(0, "connections_timed_out"), 1);
}

/// A listener whose queue is full, so that the kernel answers no further SYN.
struct Deaf {
    address: std::net::SocketAddr,
    _listener: std::net::TcpListener,
    _queued: Vec<std::net::TcpStream>,
}

impl Deaf {
    fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let patience = std::time::Duration::from_millis(100);
        let queued =
            std::iter::from_fn(|| std::net::TcpStream::connect_timeout(&address, patience).ok());
        Self {
            address,
            _queued: queued.collect(),
            _listener: listener,
        }
    }
}
