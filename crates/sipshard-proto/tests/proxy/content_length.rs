//! What came in a datagram without Content-Length must have one in a stream, or its body would be taken for the next
//! message (RFC 3261 §16.6 step 9, §18.3, §20.14).

use crate::draft::{answer, invite, Draft};
use crate::scene::{settings, Scene, Sent, ALICE, BOB};
use sipshard_proto::proxy::{Arrival, Listener, Settings};
use sipshard_proto::{Frame, Framer, Message, Transport};

const BOB_BY_TCP: &str = "sip:bob@192.0.2.20;transport=tcp";

/// A body that would be a request.
const INSIDE: &[u8] = b"BYE sip:victim@example.com SIP/2.0\r\nVia: SIP/2.0/TCP a\r\n\r\n";

fn with_tcp() -> Scene {
    let mut settings: Settings = settings();
    settings.listeners.push(Listener {
        transport: Transport::Tcp,
        host: (*b"192.0.2.1").into(),
        port: 5060,
        is_v6: false,
    });
    Scene::with(settings)
}

fn without_length(draft: &Draft) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n", draft.body.len());
    let (head, body) = split(&draft.bytes());
    let head = String::from_utf8(head).expect("the draft is text");
    [head.replace(&length, "").into_bytes(), body].concat()
}

fn split(message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let end = message.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = message.split_at(end.expect("it has a blank line") + 4);
    (head.to_vec(), body.to_vec())
}

fn frames_of(sent: &Sent) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut each = |frame: Frame<'_>| match frame {
        Frame::Message(message) => frames.push(message.to_vec()),
        Frame::Ping => frames.push(Vec::new()),
    };
    Framer::default()
        .feed(&sent.bytes, &mut each)
        .expect("it is a stream");
    frames
}

#[test]
fn section_16_6_step_9_a_request_from_a_datagram_gets_its_length_in_a_stream() {
    let mut scene = with_tcp();
    scene.receive_by(0, ALICE, &without_length(&invite().body(INSIDE)));
    let id = scene.question().id;
    let sent = scene.forward(id, &[BOB_BY_TCP]);
    let copy = sent.iter().find(|sent| sent.is("INVITE ")).unwrap();
    assert_eq!(copy.transport, Transport::Tcp);
    assert_eq!(copy.values("Content-Length"), [INSIDE.len().to_string()]);
    assert_eq!(copy.message().body(), INSIDE);
    assert_eq!(frames_of(copy), std::slice::from_ref(&copy.bytes));
}

#[test]
fn section_16_6_step_9_a_datagram_stays_as_it_is() {
    let mut scene = with_tcp();
    scene.receive_by(0, ALICE, &without_length(&invite().body(INSIDE)));
    let id = scene.question().id;
    let sent = scene.forward(id, &["sip:bob@192.0.2.20"]);
    let copy = sent.iter().find(|sent| sent.is("INVITE ")).unwrap();
    assert_eq!(copy.transport, Transport::Udp);
    assert!(copy.values("Content-Length").is_empty());
    assert_eq!(copy.message().body(), INSIDE);
}

#[test]
fn section_18_3_a_response_from_a_datagram_gets_its_length_in_a_stream() {
    let mut scene = with_tcp();
    let arrival = Arrival {
        transport: Transport::Tcp,
        ..Arrival::udp(3, ALICE.parse().unwrap())
    };
    let invite = invite().instead("Via", "SIP/2.0/TCP 192.0.2.10:5062;branch=z9hG4bK-1");
    let bytes = invite.bytes();
    let message = Message::parse(&bytes).unwrap();
    scene.proxy.handle_message(scene.now, arrival, &message);
    let id = scene.question().id;
    let sent = scene.forward(id, &["sip:bob@192.0.2.20"]);
    let copy = sent.iter().find(|sent| sent.is("INVITE ")).unwrap();
    let ok = answer(copy, 200).body(INSIDE);
    let sent = scene.receive_by(0, BOB, &without_length(&ok));
    let upstream = sent.iter().find(|sent| sent.is("SIP/2.0 200 ")).unwrap();
    assert_eq!(upstream.transport, Transport::Tcp);
    assert_eq!(
        upstream.values("Content-Length"),
        [INSIDE.len().to_string()]
    );
    assert_eq!(frames_of(upstream), std::slice::from_ref(&upstream.bytes));
}
