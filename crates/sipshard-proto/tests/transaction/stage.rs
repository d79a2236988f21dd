//! A transaction layer with a clock that the test turns.

use sipshard_proto::outbox::{Outbox, Path};
use sipshard_proto::secret::Secret;
use sipshard_proto::transaction::key::TransactionKey;
use sipshard_proto::transaction::server::ServerEvent;
use sipshard_proto::transaction::timer::TimerValues;
use sipshard_proto::transaction::{Side, Told, TransactionLayer};
use sipshard_proto::{Handle, Message, Timestamp};

/// Where the clock stands when a test begins.
const ORIGIN_MS: u64 = 987_654_321;

/// What was seen, and at which millisecond.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    Sent(u64, String),
    Told(u64, Told),
}

/// The layer, its outbox and the time.
pub struct Stage {
    pub layer: TransactionLayer<&'static str, &'static str>,
    pub outbox: Outbox,
    pub now: Timestamp,
    serial: u32,
}

pub fn path() -> Path {
    Path::udp(0, "192.0.2.9:5060".parse().unwrap())
}

impl Stage {
    /// An empty layer at millisecond 0 of the test, which is some odd point on the machine's clock.
    pub fn new() -> Self {
        Self {
            layer: TransactionLayer::new(TimerValues::default()),
            outbox: Outbox::default(),
            now: Timestamp::from_millis(ORIGIN_MS),
            serial: 0,
        }
    }

    pub fn client(&mut self, is_invite: bool) -> Handle {
        let driver = (self.now, &mut self.outbox);
        self.layer
            .open_client(driver, is_invite, path(), "client", |_, out| {
                out.extend_from_slice(b"request")
            })
    }

    pub fn server(&mut self, is_invite: bool) -> (TransactionKey, Handle) {
        self.serial += 1;
        let method = if is_invite { "INVITE" } else { "OPTIONS" };
        let text = format!(
            "{method} sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{}\r\n\
             From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: c\r\n\
             CSeq: 1 {method}\r\n\r\n",
            self.serial
        );
        let request = Message::parse(text.as_bytes()).unwrap();
        let key = TransactionKey::of(&Secret::new([5; 16]), &request);
        (
            key,
            self.layer.open_server(key, is_invite, path(), "server"),
        )
    }

    pub fn hear(&mut self, client: Handle, status: u16) -> Option<Told> {
        let driver = (self.now, &mut self.outbox);
        self.layer
            .handle_response(driver, client, status, |_| b"ack".to_vec())
    }

    pub fn respond(&mut self, server: Handle, status: u16) -> bool {
        let driver = (self.now, &mut self.outbox);
        self.layer.respond(driver, server, status, |out| {
            out.extend_from_slice(status.to_string().as_bytes())
        })
    }

    pub fn retransmit(&mut self, server: Handle) -> Vec<String> {
        self.request(server, ServerEvent::Retransmission)
    }

    pub fn acknowledge(&mut self, server: Handle) -> Vec<String> {
        self.request(server, ServerEvent::Ack)
    }

    fn request(&mut self, server: Handle, event: ServerEvent) -> Vec<String> {
        self.take_sent();
        let driver = (self.now, &mut self.outbox);
        self.layer.handle_request(driver, server, event);
        self.take_sent()
    }

    /// What has been sent since the last time.
    pub fn take_sent(&mut self) -> Vec<String> {
        let sent = self
            .outbox
            .iter()
            .map(|outgoing| String::from_utf8_lossy(outgoing.bytes).into_owned())
            .collect();
        self.outbox.clear();
        sent
    }

    /// Turns the clock from deadline to deadline. What the user is told of is buried, as the user must.
    pub fn run_until(&mut self, end_ms: u64) -> Vec<Seen> {
        self.take_sent();
        let mut seen = Vec::new();
        let end = Timestamp::from_millis(ORIGIN_MS + end_ms);
        loop {
            let due = self.layer.next_deadline().filter(|&due| due <= end);
            self.now = due.unwrap_or(end).max(self.now);
            let now_ms = self.now.as_millis() - ORIGIN_MS;
            while let Some((side, told)) = self.layer.poll_timer(self.now, &mut self.outbox) {
                seen.push(Seen::Told(now_ms, told));
                self.layer.bury(side);
            }
            let sent = self.take_sent().into_iter();
            seen.extend(sent.map(|text| Seen::Sent(now_ms, text)));
            if due.is_none() {
                return seen;
            }
        }
    }

    /// The times at which something was sent until `end_ms`.
    pub fn sent_until(&mut self, end_ms: u64) -> Vec<u64> {
        let seen = self.run_until(end_ms).into_iter();
        seen.filter_map(|seen| match seen {
            Seen::Sent(at_ms, _) => Some(at_ms),
            Seen::Told(..) => None,
        })
        .collect()
    }

    pub fn is_there(&self, side: Side) -> bool {
        match side {
            Side::Client(handle) => self.layer.client(handle).is_some(),
            Side::Server(handle) => self.layer.server(handle).is_some(),
        }
    }

    /// True when a transaction is gone after `end_ms` and not a millisecond earlier.
    pub fn ends_at(&mut self, side: Side, end_ms: u64) -> bool {
        self.run_until(end_ms - 1);
        let was_there = self.is_there(side);
        self.run_until(end_ms);
        was_there && !self.is_there(side)
    }
}
