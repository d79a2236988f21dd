//! The stateful proxy (RFC 3261 §16), the core that ties transactions, routing and forking together.
//!
//! # How it is driven
//!
//! 1. [`Proxy::handle_message`] for each message that parsed, [`Proxy::handle_malformed`] for each that did not.
//! 2. [`Proxy::handle_timeout`] when [`Proxy::next_deadline`] has come.
//! 3. [`Proxy::poll_event`] until it returns `None`; each question is answered, now or later, by [`Proxy::forward`],
//!    [`Proxy::respond`], [`Proxy::pass_on`] or [`Proxy::inspected`].
//! 4. [`Proxy::take_questions`] gives next hops to locate; [`Proxy::handle_located`] and
//!    [`Proxy::handle_lookup_failed`] take the answers.
//! 5. [`Proxy::send_request`] sends a request of our own; an event tells its outcome.
//! 6. After any of these, what stands in [`Proxy::outbox`] is sent and the outbox cleared.
//!
//! It has no socket and no clock: `now` is whatever the driver says, and must never go back.

mod acknowledge;
mod arrival;
mod best_response;
mod blocklist;
mod branch;
mod breadth;
mod cancel;
mod decision;
mod edit;
mod event;
mod failover;
mod hop_order;
mod inspection;
mod large_request;
mod locator;
mod loop_detection;
mod merged_request;
mod next_hop;
mod overload;
mod own_request;
mod own_response;
mod redirection;
mod request;
mod request_copy;
mod response;
mod response_context;
mod route;
mod settings;
mod silence;
mod stateless;
mod timeout;
mod validation;

pub use arrival::{Arrival, NOWHERE};
pub use decision::{DecisionError, Plan};
pub use edit::{Edit, Edits, FieldName, MAX_EDITS, MAX_EDIT_BYTES};
pub use event::{Event, Question, SharedRequest};
pub use locator::{Hop, LocateQuestion};
pub use overload::OverloadSettings;
pub use own_request::{OwnField, OwnOutcome, OwnRequest, OwnRequestError, MAX_OWN_REQUESTS};
pub use own_response::{check_response_name, OwnResponse};
pub use response_context::{ForwardOptions, Target};
pub use settings::{is_usable, Listener, Settings};

use crate::count::Counts;
use crate::message::Message;
use crate::outbox::Outbox;
use crate::peer_names::{PeerId, PeerNames};
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use crate::transaction::TransactionLayer;
use acknowledge::ParkedAck;
use blocklist::Blocklist;
use locator::Locator;
use merged_request::AnsweredRequests;
use overload::Overload;
use own_request::OwnRequests;
use response_context::ResponseContext;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// What a client transaction is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ClientUse {
    /// A copy of the request of this server transaction, and which of its branches.
    Branch { server: Handle, index: usize },
    /// A copy that was given up before it was answered. A phone that is merely slow must not ring on: its first
    /// provisional response is met with a CANCEL.
    Abandoned,
    /// The CANCEL of such a copy; nobody waits for its outcome.
    Cancel,
    /// A request of our own, by its number.
    Own(u64),
}

/// What is done with requests outside a dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Admission {
    Open,
    Stopping { retry_after_s: u32 },
}

/// One worker's proxy.
pub struct Proxy {
    settings: Settings,
    transactions: TransactionLayer<ResponseContext, ClientUse>,
    outbox: Outbox,
    events: VecDeque<Event>,
    counts: Counts,
    locator: Locator,
    blocklist: Blocklist,
    /// Unfinished requests with a branch whose next hop is being looked up, by [`Handle::as_u64`].
    resolving: BTreeSet<u64>,
    parked_acks: Vec<ParkedAck>,
    peers: PeerNames,
    answered: AnsweredRequests,
    overload: Overload,
    own_requests: OwnRequests,
    admission: Admission,
    unfinished: usize,
}

impl Proxy {
    /// A proxy without any transaction.
    pub fn new(settings: Settings) -> Self {
        Self {
            transactions: TransactionLayer::new(settings.timers),
            overload: Overload::new(settings.overload),
            settings,
            outbox: Outbox::default(),
            events: VecDeque::new(),
            counts: Counts::default(),
            locator: Locator::default(),
            blocklist: Blocklist::default(),
            resolving: BTreeSet::new(),
            parked_acks: Vec::new(),
            peers: PeerNames::default(),
            answered: AnsweredRequests::default(),
            own_requests: OwnRequests::default(),
            admission: Admission::Open,
            unfinished: 0,
        }
    }

    /// A message that parsed.
    pub fn handle_message(&mut self, now: Timestamp, arrival: Arrival, message: &Message<'_>) {
        if message.is_request() {
            self.handle_request(now, arrival, message);
        } else {
            self.handle_response(now, arrival, message);
        }
    }

    /// The next question for the policy.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// True when the policy is to be asked something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty() || self.locator.has_questions()
    }

    /// What is to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// No timer fires before this point.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.transactions.next_deadline()
    }

    /// What was counted.
    pub fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// How many transactions there are, lingering ones too.
    pub fn transaction_count(&self) -> usize {
        self.transactions.len()
    }

    /// How many requests have not had their final response.
    pub fn unfinished_count(&self) -> usize {
        self.unfinished
    }

    /// From now on new work gets 503; what runs, and requests inside dialogs, go on.
    pub fn stop_accepting(&mut self, retry_after_s: u32) {
        self.admission = Admission::Stopping { retry_after_s };
    }

    /// True once [`Proxy::stop_accepting`] was called.
    pub fn is_stopping(&self) -> bool {
        self.admission != Admission::Open
    }

    /// Keeps the names that a peer has proven.
    pub fn file_peer(&mut self, names: &str) -> Option<PeerId> {
        self.peers.file(names)
    }

    /// The names that the sender of a message has proven.
    pub fn peer_names(&self, arrival: Arrival) -> Option<Arc<str>> {
        self.peers.text(arrival.peer?).cloned()
    }

    /// The key that all workers seal TLS session tickets with.
    pub fn ticket_secret(&self) -> [u8; 16] {
        self.settings.secret.ticket_secret()
    }

    /// Next hops that the driver is to locate.
    pub fn take_questions(&mut self) -> Vec<LocateQuestion> {
        self.locator.take_questions()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::transaction::timer::TimerValues;
    use crate::transport::Transport;

    /// A proxy for the tests of single modules.
    pub fn proxy() -> Proxy {
        Proxy::new(Settings {
            listeners: vec![Listener {
                transport: Transport::Udp,
                host: b"192.0.2.1".to_vec(),
                port: 5060,
                is_v6: false,
            }],
            domains: Vec::new(),
            secret: Secret::new([0; 16]),
            generation: 0,
            max_transactions: 100_000,
            max_branches: 12,
            asks_about_strays: false,
            udp_max_bytes: 1_300,
            overload: OverloadSettings {
                start_ms: 0,
                full_ms: 0,
            },
            timers: TimerValues::default(),
        })
    }

    /// Where its requests come from.
    pub fn arrival() -> Arrival {
        Arrival::udp(0, "192.0.2.2:5060".parse().unwrap())
    }

    /// The REGISTER of one of many phones.
    pub fn register(number: usize) -> String {
        format!(
            "REGISTER sip:b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{number}\r\n\
             From: <sip:a>;tag=1\r\nTo: <sip:a>\r\nCall-ID: {number}\r\nCSeq: 1 REGISTER\r\n\r\n"
        )
    }
}
