//! What is done with a datagram: whose is it, and what does the proxy make of it.

use crate::mode::Mode;
use crate::parcel;
use crate::post::Post;
use crate::shard::CallIdHash;
use crate::EngineSettings;
use sipshard_proto::proxy::{Arrival, Proxy};
use sipshard_proto::{Count, Message, Timestamp};
use sipshard_shm::Consumer;
use std::net::SocketAddr;

/// So many parcels are taken from one mailbox before the sockets get their turn; the eventfd is signalled again for the
/// rest.
const PARCELS_PER_TURN: usize = 256;

/// The worker without its sockets.
pub struct Core {
    proxy: Proxy,
    hash: CallIdHash,
    shard: u16,
    mode: Mode,
    post: Post,
    /// One for each sender; our own shard's is what a predecessor passes on.
    mailboxes: Vec<Consumer>,
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
        let senders = 0..settings.wakeups.len() as u16;
        let mailboxes = senders
            .map(|sender| region.consumer(sender, shard))
            .collect();
        Self {
            post: Post::new(region, shard, settings.wakeups),
            mailboxes,
            hash: CallIdHash::of(&proxy.secret),
            proxy: Proxy::new(proxy),
            shard,
            mode,
        }
    }

    /// The proxy.
    pub fn proxy(&mut self) -> &mut Proxy {
        &mut self.proxy
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

    /// A datagram from one of our sockets.
    pub fn handle_datagram(
        &mut self,
        now: Timestamp,
        listener: u16,
        source: SocketAddr,
        datagram: &[u8],
    ) {
        let arrival = Arrival::udp(listener, source);
        let Some(message) = self.parse(arrival, datagram) else {
            return;
        };
        let owner = self.hash.shard(message.call_id(), self.post.workers());
        if owner == self.shard {
            return self.handle_own(now, arrival, &message, datagram);
        }
        let count = match self.post.send(owner, arrival, datagram) {
            true => Count::MailboxSent,
            false => Count::MailboxFull,
        };
        self.proxy.counts().add(count);
    }

    /// Takes what other workers have put into our mailboxes; in standby, what the predecessor has passed on.
    pub fn collect_mail(&mut self, now: Timestamp) {
        let is_standby = self.mode == Mode::Standby;
        for sender in 0..self.post.workers() {
            if (sender == self.shard) == is_standby {
                self.collect_from(now, sender, PARCELS_PER_TURN);
            }
        }
    }

    /// Takes everything that the predecessor, which has gone, has passed on.
    pub fn collect_hand_over(&mut self, now: Timestamp) {
        self.collect_from(now, self.shard, usize::MAX);
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
    fn collect_from(&mut self, now: Timestamp, sender: u16, limit: usize) {
        let mailboxes = std::mem::take(&mut self.mailboxes);
        let mailbox = &mailboxes[usize::from(sender)];
        let mut count = 0;
        while count < limit && mailbox.pop(|record| self.unpack(now, record)) {
            count += 1;
        }
        if !mailbox.is_empty() {
            self.post.wake_later(self.shard);
        }
        self.mailboxes = mailboxes;
    }

    fn unpack(&mut self, now: Timestamp, record: &[u8]) {
        self.proxy.counts().add(Count::MailboxReceived);
        let Some((arrival, datagram)) = parcel::open(record) else {
            return;
        };
        if let Some(message) = self.parse(arrival, datagram) {
            self.handle_own(now, arrival, &message, datagram);
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
            let count = match self.post.send(self.shard, arrival, datagram) {
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
