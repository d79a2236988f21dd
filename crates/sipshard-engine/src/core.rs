//! What is done with a datagram: whose is it, and what does the proxy make of it.

use crate::call_ids::CallIds;
use crate::connections::Connections;
use crate::mode::Mode;
use crate::parcel::{self, Head, Parcel, Sender};
use crate::post::{Post, Sent};
use crate::shard::CallIdHash;
use crate::EngineSettings;
use sipshard_proto::outbox::Path;
use sipshard_proto::proxy::{Arrival, OwnRequest, OwnRequestError, Proxy};
use sipshard_proto::{Count, Flow, Handle, Message, Timestamp};
use sipshard_shm::Consumer;

/// So many parcels are taken from one mailbox before the sockets get their turn; the eventfd is signalled again for the
/// rest.
const PARCELS_PER_TURN: usize = 256;

/// The worker without its sockets.
pub struct Core {
    proxy: Proxy,
    hash: CallIdHash,
    call_ids: CallIds,
    shard: u16,
    generation: u16,
    mode: Mode,
    post: Post,
    /// One for each sender; our own shard's is what a predecessor passes on. Behind them, what a successor that stands by
    /// wants done for it.
    mailboxes: Vec<Consumer>,
    /// Messages and parcels since the last look.
    taken: usize,
}

impl Core {
    /// A core without any transaction.
    pub fn new(settings: EngineSettings) -> Self {
        let mode = if settings.is_standby {
            Mode::Standby
        } else {
            Mode::Serving
        };
        let (region, shard) = (&settings.region, settings.shard);
        let proxy = settings.proxy();
        let senders_count = settings.wakeups.len() as u16;
        let senders = 0..senders_count;
        let mailboxes = senders
            .map(|sender| region.consumer(sender, shard))
            .chain([region.return_consumer(shard)])
            .collect();
        Self {
            post: Post::new(region, shard, settings.wakeups),
            mailboxes,
            taken: 0,
            hash: CallIdHash::of(&proxy.secret),
            call_ids: CallIds::new(proxy.secret.clone(), shard, senders_count),
            proxy: Proxy::new(proxy),
            shard,
            generation: settings.generation as u16,
            mode,
        }
    }

    /// The proxy.
    pub fn proxy(&mut self) -> &mut Proxy {
        &mut self.proxy
    }

    /// Sends a request of our own under a Call-ID of this shard's.
    pub fn send_request(
        &mut self,
        now: Timestamp,
        request: OwnRequest,
    ) -> Result<u64, OwnRequestError> {
        let call_id = self.call_ids.next();
        self.proxy
            .send_request(now, OwnRequest { call_id, ..request })
    }

    /// The mailboxes.
    pub fn post(&self) -> &Post {
        &self.post
    }

    /// Which part of the shard's work is done here.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Changes that.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// No timer fires before this point.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.proxy.next_deadline()
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self
            .proxy
            .next_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.proxy.handle_timeout(now);
        }
    }

    /// Counts one.
    pub fn count(&mut self, count: Count) {
        self.proxy.counts().add(count);
    }

    /// How this worker names one of its own transactions to the others.
    pub fn sender(&self, client: Option<Handle>) -> Sender {
        Sender {
            worker: self.shard,
            generation: self.generation,
            client,
        }
    }

    /// How many messages and parcels have come since the last call.
    pub fn take_count(&mut self) -> usize {
        std::mem::take(&mut self.taken)
    }

    /// A message from one of our sockets or connections.
    pub fn handle_message(&mut self, now: Timestamp, arrival: Arrival, bytes: &[u8]) {
        self.taken += 1;
        let Some(message) = self.parse(arrival, bytes) else {
            return;
        };
        let owner = self.hash.shard(message.call_id(), self.post.workers());
        if owner == self.shard {
            return self.handle_own(now, arrival, &message, bytes);
        }
        let head = self.head_of(arrival);
        match arrival.transport.is_reliable() {
            true => self.post_surely(owner, &head, bytes),
            false => self.post_to(owner, &head, bytes),
        };
    }

    /// Names are sent as text: each worker numbers them for itself.
    fn head_of(&mut self, arrival: Arrival) -> Head {
        let names = self.proxy.peer_names(arrival);
        Head::arrived(arrival, names.as_deref().unwrap_or_default())
    }

    /// Whether a flow's connection is another worker's, or our predecessor's who still has it.
    fn is_elsewhere(&self, flow: &Flow) -> bool {
        if flow.worker != self.shard {
            // One that there is no more has no connections.
            return flow.worker < self.post.workers();
        }
        self.mode == Mode::Standby && flow.generation != self.generation
    }

    /// Puts what nobody would repeat into a mailbox, now or as soon as there is room.
    fn post_surely(&mut self, receiver: u16, head: &Head, message: &[u8]) -> bool {
        if self.mode == Mode::Standby {
            return self.post_to(receiver, head, message);
        }
        let sent = self.post.send_surely(receiver, head, message);
        self.count(match sent {
            Sent::Now => Count::MailboxSent,
            Sent::Later => Count::MailboxDelayed,
            Sent::Never => Count::MailboxFull,
        });
        sent != Sent::Never
    }

    /// Puts a message into a mailbox; while we stand by, the predecessor does that for us.
    fn post_to(&mut self, receiver: u16, head: &Head, message: &[u8]) -> bool {
        let is_sent = match self.mode {
            Mode::Standby => self.post.send_back(head, message),
            Mode::Serving | Mode::Draining => self.post.send(receiver, head, message),
        };
        self.count(match is_sent {
            true => Count::MailboxSent,
            false => Count::MailboxFull,
        });
        is_sent
    }

    /// Tells whoever sent a message that it could not be sent: us or another worker.
    pub fn report_unsent(&mut self, now: Timestamp, sender: Sender) {
        let Some(client) = sender.client else {
            return;
        };
        let is_ours = sender.worker == self.shard && sender.generation == self.generation;
        if is_ours {
            return self.proxy.handle_unsent(now, client);
        }
        // A predecessor's transaction is not ours, even if the handle fits one; a successor's is for it to hear of.
        let is_successors = sender.worker == self.shard && self.mode == Mode::Draining;
        let is_others = sender.worker != self.shard && sender.worker < self.post.workers();
        if is_successors || is_others {
            self.post_surely(sender.worker, &Head::unsent(sender), &[]);
        }
    }

    /// Takes what other workers and a successor that stands by have put into our mailboxes; in standby, what the
    /// predecessor has passed on.
    pub fn collect_mail(&mut self, now: Timestamp, connections: &mut Connections) {
        let is_standby = self.mode == Mode::Standby;
        for sender in 0..self.mailboxes.len() as u16 {
            if (sender == self.shard) == is_standby {
                self.collect_from((now, sender), PARCELS_PER_TURN, connections);
            }
        }
    }

    /// Takes everything that the predecessor, which has gone, has passed on.
    pub fn collect_hand_over(&mut self, now: Timestamp, connections: &mut Connections) {
        self.collect_from((now, self.shard), usize::MAX, connections);
    }

    /// Wakes all other workers, whether they got mail or not.
    pub fn wake_everybody(&mut self) {
        for receiver in (0..self.post.workers()).filter(|&receiver| receiver != self.shard) {
            self.post.wake_later(receiver);
        }
    }

    /// Wakes everybody who got mail.
    pub fn wake_receivers(&mut self) {
        self.post.wake_receivers();
    }

    /// A parcel leaves its mailbox only when it was dealt with: if this worker dies over it, its successor gets it.
    fn collect_from(
        &mut self,
        (now, sender): (Timestamp, u16),
        limit: usize,
        connections: &mut Connections,
    ) {
        let mailboxes = std::mem::take(&mut self.mailboxes);
        let mailbox = &mailboxes[usize::from(sender)];
        let mut count = 0;
        while count < limit && mailbox.pop(|record| self.unpack(now, record, connections)) {
            count += 1;
        }
        if !mailbox.is_empty() {
            self.post.wake_later(self.shard);
        }
        self.mailboxes = mailboxes;
    }

    fn unpack(&mut self, now: Timestamp, record: &[u8], connections: &mut Connections) {
        self.taken += 1;
        self.count(Count::MailboxReceived);
        match parcel::open(record) {
            Some(Parcel::Arrived(mut arrival, names, bytes)) => {
                arrival.peer = self.proxy.file_peer(names);
                self.handle_message(now, arrival, bytes);
            }
            Some(Parcel::Leaving(path, sender, bytes)) => {
                let is_sent = self.send_stream(now, (&path, sender), bytes, connections);
                if !is_sent {
                    self.report_unsent(now, sender);
                }
            }
            Some(Parcel::Unsent(sender)) => self.report_unsent(now, sender),
            None => {}
        }
    }

    /// Sends what goes through a connection: ours, or by mailbox that of another. False when it cannot be sent.
    pub fn send_stream(
        &mut self,
        now: Timestamp,
        (path, sender): (&Path, Sender),
        message: &[u8],
        connections: &mut Connections,
    ) -> bool {
        match path.flow {
            Some(flow) if self.is_elsewhere(&flow) => {
                self.post_surely(flow.worker, &Head::leaving(path, sender), message)
            }
            _ => connections.send(now, (path, sender), message, self).is_ok(),
        }
    }

    /// A message of this shard's; while draining, what belongs to no transaction here goes to the successor.
    fn handle_own(
        &mut self,
        now: Timestamp,
        arrival: Arrival,
        message: &Message<'_>,
        datagram: &[u8],
    ) {
        if self.mode == Mode::Draining && !self.proxy.knows(message) {
            let head = self.head_of(arrival);
            let count = match self.post.send(self.shard, &head, datagram) {
                true => Count::HandedOver,
                false => Count::MailboxFull,
            };
            return self.proxy.counts().add(count);
        }
        self.proxy.handle_message(now, arrival, message);
    }

    fn parse<'a>(&mut self, arrival: Arrival, datagram: &'a [u8]) -> Option<Message<'a>> {
        if !datagram.first().is_some_and(u8::is_ascii_graphic) {
            // CRLF keepalives, STUN, noise. A method is a token and need not begin with a letter (RFC 3261 §7.1).
            self.proxy.counts().add(Count::Keepalives);
            return None;
        }
        match Message::parse(datagram) {
            Ok(message) => Some(message),
            Err(fault) => {
                self.proxy.handle_malformed(arrival, datagram, fault);
                None
            }
        }
    }
}
