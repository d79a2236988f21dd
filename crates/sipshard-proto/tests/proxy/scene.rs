//! One proxy, its clock, and the wires around it: what endpoints send goes in, what it sends comes out with the time
//! and the address.

use crate::draft::{invite, Draft};
use sipshard_proto::proxy::{
    Arrival, Edits, Event, ForwardOptions, Listener, OverloadSettings, OwnResponse, Plan, Proxy,
    Question, Settings, Target,
};
use sipshard_proto::transaction::timer::TimerValues;
use sipshard_proto::{Count, Flow, Handle, HeaderName, Message, Secret, Timestamp, Transport};
use std::net::SocketAddr;

/// The caller.
pub const ALICE: &str = "192.0.2.10:5062";
/// The first callee.
pub const BOB: &str = "192.0.2.20:5060";
/// Another callee.
pub const CAROL: &str = "192.0.2.30:5060";
/// Bob's contact.
pub const TO_BOB: &str = "sip:bob@192.0.2.20";
/// Carol's contact.
pub const TO_CAROL: &str = "sip:carol@192.0.2.30";

/// A datagram that the proxy sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The millisecond of the test.
    pub at_ms: u64,
    pub listener: u16,
    pub transport: Transport,
    pub flow: Option<Flow>,
    pub client: Option<Handle>,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// The proxy on its stage.
pub struct Scene {
    pub proxy: Proxy,
    pub now: Timestamp,
}

const ORIGIN_MS: u64 = 123_456_789;

/// Three listeners: IPv4, IPv6, IPv4 again.
pub fn settings() -> Settings {
    let listener = |host: &str, port, is_v6| Listener {
        transport: Transport::Udp,
        host: host.into(),
        port,
        is_v6,
    };
    Settings {
        listeners: vec![
            listener("192.0.2.1", 5060, false),
            listener("[2001:db8::1]", 5060, true),
            listener("192.0.2.1", 5080, false),
        ],
        domains: vec![b"example.com".to_vec()],
        secret: Secret::new([42; 16]),
        generation: 1,
        max_transactions: 10_000,
        max_branches: 12,
        asks_about_strays: false,
        overload: OverloadSettings {
            start_ms: 100,
            full_ms: 300,
        },
        udp_max_bytes: 1_300,
        timers: TimerValues::default(),
    }
}

/// A target with the highest preference.
pub fn target(uri: &str) -> Target {
    Target {
        uri: uri.as_bytes().into(),
        q_milli: 1_000,
        routes: Vec::new(),
        flow: None,
        ring_timeout_ms: None,
        edits: Edits::NONE,
    }
}

impl Scene {
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: Settings) -> Self {
        Self {
            proxy: Proxy::new(settings),
            now: Timestamp::from_millis(ORIGIN_MS),
        }
    }

    /// The millisecond of the test.
    pub fn ms(&self) -> u64 {
        self.now.as_millis() - ORIGIN_MS
    }

    pub fn count(&mut self, count: Count) -> u64 {
        self.proxy.counts().of(count)
    }

    /// A message comes in by the first listener.
    pub fn receive(&mut self, from: &str, draft: &Draft) -> Vec<Sent> {
        self.receive_by(0, from, &draft.bytes())
    }

    /// A datagram comes in.
    pub fn receive_by(&mut self, listener: u16, from: &str, datagram: &[u8]) -> Vec<Sent> {
        let source = from.parse().unwrap();
        self.receive_as(Arrival::udp(listener, source), datagram)
    }

    /// A message comes in, somehow.
    pub fn receive_as(&mut self, arrival: Arrival, datagram: &[u8]) -> Vec<Sent> {
        match Message::parse(datagram) {
            Ok(message) => self.proxy.handle_message(self.now, arrival, &message),
            Err(fault) => self.proxy.handle_malformed(arrival, datagram, fault),
        }
        self.take_sent()
    }

    /// Time passes, from deadline to deadline.
    pub fn pass_ms(&mut self, milliseconds: u64) -> Vec<Sent> {
        let end = self.now.after_ms(milliseconds);
        let mut sent = Vec::new();
        while let Some(due) = self.proxy.next_deadline().filter(|&due| due <= end) {
            self.now = due.max(self.now);
            self.proxy.handle_timeout(self.now);
            sent.extend(self.take_sent());
        }
        self.now = end;
        sent
    }

    /// What waits to be sent.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        let at_ms = self.ms();
        let outbox = self.proxy.outbox();
        let sent = outbox.iter().map(|outgoing| Sent {
            at_ms,
            listener: outgoing.path.listener,
            transport: outgoing.path.transport,
            flow: outgoing.path.flow,
            client: outgoing.client,
            to: outgoing.path.destination,
            bytes: outgoing.bytes.to_vec(),
        });
        let sent = sent.collect();
        outbox.clear();
        sent
    }

    /// The new request that the policy is asked about.
    pub fn question(&mut self) -> Question {
        match self.proxy.poll_event() {
            Some(Event::RequestReceived(question)) => question,
            _ => panic!("a question about a new request"),
        }
    }

    /// The failure that the policy is asked about.
    pub fn failure(&mut self) -> (Question, Message<'static>) {
        match self.proxy.poll_event() {
            Some(Event::BranchesFailed(question, response)) => (question, *response),
            _ => panic!("a question about a failure"),
        }
    }

    /// The response that the policy is to look at.
    pub fn inspection(&mut self) -> (Handle, Message<'static>) {
        match self.proxy.poll_event() {
            Some(Event::ResponseReceived(question, response)) => (question.id, *response),
            _ => panic!("a response to look at"),
        }
    }

    /// The request that the policy is told to forget.
    pub fn cancelled(&mut self) -> Question {
        match self.proxy.poll_event() {
            Some(Event::RequestCancelled(question)) => question,
            _ => panic!("a cancelled question"),
        }
    }

    /// The request about whose failure the policy will not be asked.
    pub fn settled(&mut self) -> Handle {
        match self.proxy.poll_event() {
            Some(Event::RequestSettled(id)) => id,
            _ => panic!("a settled request"),
        }
    }

    /// Nothing is asked.
    pub fn is_silent(&mut self) -> bool {
        self.proxy.poll_event().is_none()
    }

    pub fn forward(&mut self, id: Handle, uris: &[&str]) -> Vec<Sent> {
        let targets = uris.iter().map(|uri| target(uri)).collect();
        self.forward_as(id, targets, ForwardOptions::default())
    }

    pub fn forward_as(
        &mut self,
        id: Handle,
        targets: Vec<Target>,
        options: ForwardOptions,
    ) -> Vec<Sent> {
        let plan = Plan { targets, options };
        assert_eq!(self.proxy.forward(self.now, id, plan), Ok(true));
        self.take_sent()
    }

    /// The policy's answer; `None` when it came too late.
    pub fn respond(&mut self, id: Handle, status: u16) -> Option<Vec<Sent>> {
        let response = OwnResponse::of(status);
        let is_sent = self.proxy.respond(self.now, id, response).unwrap();
        is_sent.then(|| self.take_sent())
    }

    /// Alice's INVITE is forwarded to these contacts; the copies that left.
    pub fn ring(&mut self, uris: &[&str]) -> Vec<Sent> {
        let targets = uris.iter().map(|uri| target(uri)).collect();
        self.ring_as(targets, ForwardOptions::default())
    }

    pub fn ring_as(&mut self, targets: Vec<Target>, options: ForwardOptions) -> Vec<Sent> {
        self.receive(ALICE, &invite());
        let id = self.question().id;
        let mut sent = self.forward_as(id, targets, options);
        assert!(sent.remove(0).line().starts_with("SIP/2.0 100"));
        sent
    }

    /// Time passes until nothing can happen any more; then nothing may be left.
    pub fn close(mut self) {
        self.pass_ms(600_000);
        assert_eq!(self.proxy.transaction_count(), 0, "transactions are left");
        assert_eq!(self.proxy.unfinished_count(), 0, "requests are unfinished");
        assert_eq!(self.proxy.next_deadline(), None);
    }
}

impl Sent {
    pub fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).expect("the proxy sends sound messages")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn line(&self) -> String {
        self.text().lines().next().unwrap_or_default().into()
    }

    pub fn is(&self, start: &str) -> bool {
        self.bytes.starts_with(start.as_bytes())
    }

    /// The values of a header, one for each list item.
    pub fn values(&self, name: &str) -> Vec<String> {
        let message = self.message();
        let list = message.list(HeaderName::from_token(name.as_bytes()));
        list.map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()
    }
}

/// The start lines and destinations, for comparing at a glance.
pub fn lines(sent: &[Sent]) -> Vec<String> {
    let line = |sent: &Sent| format!("{} -> {}", sent.line(), sent.to);
    sent.iter().map(line).collect()
}

/// The only datagram of a list.
pub fn only(mut sent: Vec<Sent>) -> Sent {
    assert_eq!(sent.len(), 1, "{:?}", lines(&sent));
    sent.remove(0)
}
