//! What it costs to parse a message. Budget: at most 0.5 µs for an INVITE with SDP and twenty header fields.

use std::hint::black_box;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use sipshard_proto::{Message, NameAddr, Uri, Via};

const INVITE_HEAD: &str = "\
INVITE sip:+4930123456@edge.example.com:5060;user=phone;transport=udp SIP/2.0\r
Via: SIP/2.0/UDP 198.51.100.20:5060;branch=z9hG4bK-524287-1---6f1c9a0d3b7e2f44;rport\r
Via: SIP/2.0/UDP 10.20.30.40:5062;received=203.0.113.77;branch=z9hG4bK776asdhds;rport=5062\r
Record-Route: <sip:198.51.100.20;lr;ftag=9fxced76sl>\r
Route: <sip:edge.example.com;lr>\r
Max-Forwards: 69\r
From: \"Alice Example\" <sip:alice@example.com>;tag=9fxced76sl\r
To: <sip:+4930123456@edge.example.com;user=phone>\r
Call-ID: 3848276298220188511@atlanta.example.com\r
CSeq: 314159 INVITE\r
Contact: <sip:alice@10.20.30.40:5062;transport=udp>;+sip.instance=\"<urn:uuid:f81d4fae-7dec>\"\r
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY\r
Supported: 100rel, timer, replaces, outbound, path\r
Session-Expires: 1800;refresher=uac\r
Min-SE: 90\r
User-Agent: Example Desk Phone 7.1.0-build.4711\r
P-Asserted-Identity: \"Alice Example\" <sip:+4940987654@example.com>\r
Privacy: none\r
P-Charging-Vector: icid-value=1234bc9876e;icid-generated-at=192.0.2.8\r
Content-Type: application/sdp\r
Content-Length: ";

const SDP: &str = "\
v=0\r
o=alice 2890844526 2890844526 IN IP4 10.20.30.40\r
s=-\r
c=IN IP4 10.20.30.40\r
t=0 0\r
m=audio 49170 RTP/AVP 9 8 0 101\r
a=rtpmap:9 G722/8000\r
a=rtpmap:8 PCMA/8000\r
a=rtpmap:0 PCMU/8000\r
a=rtpmap:101 telephone-event/8000\r
a=fmtp:101 0-16\r
a=sendrecv\r
";

const OK: &str = "\
SIP/2.0 200 OK\r
Via: SIP/2.0/UDP 198.51.100.20:5060;branch=z9hG4bK-524287-1---6f1c9a0d3b7e2f44;rport=5060\r
From: \"Alice Example\" <sip:alice@example.com>;tag=9fxced76sl\r
To: <sip:bob@example.com>;tag=314159\r
Call-ID: 3848276298220188511@atlanta.example.com\r
CSeq: 2 BYE\r
Content-Length: 0\r
\r
";

fn messages(criterion: &mut Criterion) {
    let invite = format!("{INVITE_HEAD}{}\r\n\r\n{SDP}", SDP.len());
    let parsed = Message::parse(invite.as_bytes()).expect("the benchmark's INVITE is valid");
    assert_eq!(parsed.headers().len(), 20);
    let mut group = criterion.benchmark_group("message");
    group.throughput(Throughput::Bytes(invite.len() as u64));
    group.bench_function("parse INVITE with SDP, 20 header fields", |bencher| {
        bencher.iter(|| Message::parse(black_box(invite.as_bytes())));
    });
    group.bench_function("parse the same and own it", |bencher| {
        bencher.iter(|| Message::parse(black_box(invite.as_bytes())).map(Message::into_owned));
    });
    group.throughput(Throughput::Bytes(OK.len() as u64));
    group.bench_function("parse 200 to BYE, 6 header fields", |bencher| {
        bencher.iter(|| Message::parse(black_box(OK.as_bytes())));
    });
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("part");
    group.bench_function("via", |bencher| {
        let via = b"SIP/2.0/UDP 198.51.100.20:5060;branch=z9hG4bK-524287-1---6f1c9a0d;rport";
        bencher.iter(|| Via::parse(black_box(via)));
    });
    group.bench_function("uri", |bencher| {
        let uri = b"sip:+4930123456@edge.example.com:5060;user=phone;transport=udp";
        bencher.iter(|| Uri::parse(black_box(uri)));
    });
    group.bench_function("name-addr", |bencher| {
        let address = b"\"Alice Example\" <sip:alice@example.com>;tag=9fxced76sl";
        bencher.iter(|| NameAddr::parse(black_box(address)));
    });
    group.finish();
}

criterion_group!(benches, messages, parts);
criterion_main!(benches);
