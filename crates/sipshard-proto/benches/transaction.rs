//! What the transaction layer and the proxy cost per message: finding the transaction, writing what goes out.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{criterion_group, criterion_main, Criterion};
use sipshard_proto::outbox::{Outbox, Path};
use sipshard_proto::proxy::{
    Arrival, Edits, Event, ForwardOptions, Listener, OverloadSettings, OwnResponse, Plan, Proxy,
    Settings, Target,
};
use sipshard_proto::transaction::branch::Branch;
use sipshard_proto::transaction::key::TransactionKey;
use sipshard_proto::transaction::timer::TimerValues;
use sipshard_proto::transaction::TransactionLayer;
use sipshard_proto::{Handle, Message, Secret, Timestamp, Transport};

/// So many transactions are in the tables: a worker with some thousand calls in a minute.
const CROWD: u32 = 20_000;
const SECRET: Secret = Secret::new([9; 16]);
const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn invite(number: u32) -> String {
    let sdp = "v=0\r\no=alice 2890844526 2890844526 IN IP4 10.20.30.40\r\ns=-\r\n\
               c=IN IP4 10.20.30.40\r\nt=0 0\r\nm=audio 49170 RTP/AVP 8 0 101\r\n\
               a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";
    format!(
        "INVITE sip:bob@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK-524287-1---{number:016x};rport\r\n\
         Max-Forwards: 70\r\nContact: <sip:alice@192.0.2.10:5062>\r\n\
         To: <sip:bob@example.com>\r\nFrom: \"Alice\" <sip:alice@example.com>;tag=9fxced76sl\r\n\
         Call-ID: 3848276298220188511-{number}@192.0.2.10\r\nCSeq: 1 INVITE\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nUser-Agent: Example Phone 7.1\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

fn path() -> Path {
    Path::udp(0, SocketAddr::from(([192, 0, 2, 10], 5062)))
}

fn arrival() -> Arrival {
    Arrival::udp(0, path().destination)
}

/// Finding the server transaction of a request, and the client transaction of a response.
fn matching(criterion: &mut Criterion) {
    let mut layer = TransactionLayer::<u32, u32>::new(TimerValues::default());
    let mut outbox = Outbox::default();
    let mut clients: Vec<Handle> = Vec::new();
    for number in 0..CROWD {
        let text = invite(number);
        let message = Message::parse(text.as_bytes()).expect("the benchmark's INVITE is valid");
        let key = TransactionKey::of(&SECRET, &message);
        layer.open_server(key, true, path(), number);
        let driver = (NOW, &mut outbox);
        clients.push(layer.open_client(driver, true, path(), number, |_, _| {}));
        outbox.clear();
    }
    let texts: Vec<String> = (0..CROWD).step_by(97).map(invite).collect();
    let messages: Vec<_> = texts
        .iter()
        .map(|text| Message::parse(text.as_bytes()).expect("valid"))
        .collect();
    let mut group = criterion.benchmark_group("transaction");
    let mut turn = messages.iter().cycle();
    group.bench_function("request: key and lookup", |bencher| {
        bencher.iter(|| {
            let key = TransactionKey::of(&SECRET, black_box(turn.next().expect("endless")));
            layer.find_server(key).expect("it is there")
        });
    });
    let branches: Vec<(Vec<u8>, Vec<u8>)> = messages
        .iter()
        .zip(clients.iter().step_by(97))
        .map(|(message, &handle)| {
            let mut text = Vec::new();
            let generation = 1;
            let call_id = message.call_id().to_vec();
            let loop_hash = 0;
            let branch = Branch {
                generation,
                handle,
                loop_hash,
            };
            branch.write(&SECRET, &call_id, &mut text);
            (call_id, text)
        })
        .collect();
    let mut turn = branches.iter().cycle();
    group.bench_function("response: branch, proof and lookup", |bencher| {
        bencher.iter(|| {
            let (call_id, branch) = black_box(turn.next().expect("endless"));
            let branch = Branch::verify(&SECRET, call_id, branch).expect("ours");
            layer.client(branch.handle).expect("it is there").user
        });
    });
    group.finish();
}

fn proxy() -> Proxy {
    Proxy::new(Settings {
        listeners: vec![Listener {
            transport: Transport::Udp,
            host: b"192.0.2.1".to_vec(),
            port: 5060,
            is_v6: false,
        }],
        domains: vec![b"example.com".to_vec()],
        secret: SECRET,
        generation: 1,
        max_transactions: usize::MAX,
        max_branches: 12,
        asks_about_strays: false,
        overload: OverloadSettings {
            start_ms: 100,
            full_ms: 300,
        },
        udp_max_bytes: 1_300,
        timers: TimerValues::default(),
    })
}

/// A proxy with INVITEs that wait for their decision.
fn asked(count: u32) -> (Proxy, Vec<Handle>) {
    let mut proxy = proxy();
    let mut ids = Vec::new();
    for number in 0..count {
        let text = invite(number);
        let message = Message::parse(text.as_bytes()).expect("the benchmark's INVITE is valid");
        proxy.handle_message(NOW, arrival(), &message);
        if let Some(Event::RequestReceived(question)) = proxy.poll_event() {
            ids.push(question.id);
        }
    }
    (proxy, ids)
}

/// How long it takes to forward so many INVITEs; making the transactions is not counted, sending is left out.
fn forward(count: u64) -> Duration {
    let mut elapsed = Duration::ZERO;
    let mut left = count;
    while left > 0 {
        let batch = left.min(500);
        left -= batch;
        let (mut proxy, ids) = asked(batch as u32);
        let plans: Vec<Plan> = ids.iter().map(|_| plan()).collect();
        let start = Instant::now();
        for (id, plan) in ids.into_iter().zip(plans) {
            let is_forwarded = proxy.forward(NOW, id, plan);
            assert_eq!(is_forwarded, Ok(true));
            proxy.outbox().clear();
        }
        elapsed += start.elapsed();
    }
    elapsed
}

fn plan() -> Plan {
    Plan {
        targets: vec![Target {
            uri: (*b"sip:bob@192.0.2.20:5060").into(),
            q_milli: 1_000,
            routes: Vec::new(),
            flow: None,
            ring_timeout_ms: None,
            edits: Edits::NONE,
        }],
        options: ForwardOptions {
            record_route: true,
            ..ForwardOptions::default()
        },
    }
}

/// Writing what goes out, with the transactions that this makes.
fn writing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("serialise");
    let text = invite(1);
    let request = Message::parse(text.as_bytes()).expect("the benchmark's INVITE is valid");
    let mut bytes = Vec::with_capacity(2_048);
    group.bench_function("our own response", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            OwnResponse::of(black_box(480)).write(&SECRET, &request, arrival(), &mut bytes);
            bytes.len()
        });
    });
    group.bench_function("forward an INVITE: 100, copy, transaction", |bencher| {
        bencher.iter_custom(forward);
    });
    group.finish();
}

criterion_group!(benches, matching, writing);
criterion_main!(benches);
