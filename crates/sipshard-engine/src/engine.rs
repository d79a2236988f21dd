//! The worker's loop.

use crate::batching::Batching;
use crate::connections::{Connections, TlsSettings};
use crate::core::Core;
use crate::lag::Lag;
use crate::mode::Mode;
use crate::ports::Ports;
use crate::publish::{Figures, Publisher};
use crate::{EngineSettings, StartError};
use sipshard_net::clock;
use sipshard_net::epoll::{self, Event, Events, Poller};
use sipshard_net::tls::TlsError;
use sipshard_net::wake;
use sipshard_proto::outbox::Outbox;
use sipshard_proto::proxy::{Arrival, OwnRequest, OwnRequestError, Proxy};
use sipshard_proto::{Count, Timestamp};
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

/// The loop turns at least so often, for the heartbeat.
const LONGEST_SLEEP_MS: u64 = 1_000;
/// A successor that stands by looks so often for what its predecessor hands over. The shard's eventfd is left to the
/// predecessor: a signal that the successor took would be missed by the one whom it is for.
const STANDBY_SLEEP_MS: u64 = 5;
/// A sender that is killed between putting a message into our mailbox and waking us leaves it there unseen; so we look
/// at least so often, woken or not.
const MAIL_LOOK_MS: u64 = 1_000;
/// Nobody tells when a full mailbox has room again, so it is tried so often.
const BACKLOG_SLEEP_MS: u64 = 2;
/// Timers that are due within the same interval share one wake-up; the shortest timer of RFC 3261 is 200 ms.
const TIMER_GRAIN_MS: u64 = 16;
/// So many batches are taken from one socket before the others get their turn.
const BATCHES_PER_TURN: usize = 8;
/// Token of the mailboxes' eventfd; sockets have their listener's index, foreign descriptors [`FOREIGN`] + fd.
const MAIL: u64 = 1 << 32;
const FOREIGN: u64 = 2 << 32;

/// A descriptor of the driver's that is ready, with its epoll mask.
pub type Ready = (RawFd, u32);

/// One worker's engine.
///
/// # How it is driven
///
/// [`Engine::run`] serves until the driver is needed and returns the driver's own descriptors that are ready. The driver
/// then takes questions with `engine.proxy().poll_event()` until there are none, answers them with
/// [`Proxy::forward`], [`Proxy::respond`] or [`Proxy::pass_on`] (then or later), and calls `run` again, which first sends
/// what has come of that. `now` for these calls is [`Engine::now`].
pub struct Engine {
    poller: Arc<Poller>,
    events: Events,
    ports: Ports,
    core: Core,
    connections: Connections,
    publisher: Publisher,
    batching: Batching,
    lag: Lag,
    ready: Vec<Ready>,
    now: Timestamp,
    looked_for_mail_at: Timestamp,
}

impl Engine {
    /// Opens the epoll instance and looks at the inherited descriptors. To be called after the fork.
    ///
    /// # Errors
    /// [`StartError`] when a descriptor is not what it should be.
    pub fn new(settings: EngineSettings) -> Result<Self, StartError> {
        settings.check()?;
        let poller = Arc::new(Poller::new()?);
        let ports = Ports::new(&settings.listeners)?;
        let connections = Connections::new(
            Arc::clone(&poller),
            (settings.shard, settings.generation),
            &settings.listeners,
            settings.streams(),
        )?;
        let publisher = Publisher::new(&settings);
        let batching = Batching::new(settings.batch_delay);
        let core = Core::new(settings);
        let now = present();
        let mut engine = Self {
            poller,
            events: Events::with_capacity(64),
            ports,
            core,
            connections,
            publisher,
            batching,
            lag: Lag::new(now),
            ready: Vec::new(),
            now,
            looked_for_mail_at: now,
        };
        if engine.core.mode() == Mode::Serving {
            engine.start_serving()?;
        }
        engine
            .publisher
            .publish(&mut engine.core, Figures::default(), engine.now);
        Ok(engine)
    }

    /// Serves until a descriptor of the driver's is ready, a question waits, or `timeout_ms` have passed (`None`: no
    /// limit).
    ///
    /// # Errors
    /// What epoll says; the worker cannot go on then.
    pub fn run(&mut self, timeout_ms: Option<u64>) -> io::Result<&[Ready]> {
        self.ready.clear();
        self.now = present();
        let limit = timeout_ms.map(|milliseconds| self.now.after_ms(milliseconds));
        loop {
            self.flush();
            let is_wanted = self.core.proxy().has_events() || !self.ready.is_empty();
            let sleep_ms = if is_wanted { 0 } else { self.sleep_ms(limit) };
            if !is_wanted || self.ready.is_empty() {
                self.turn(sleep_ms)?;
            }
            let is_over = limit.is_some_and(|limit| limit <= self.now);
            if is_over || self.core.proxy().has_events() || !self.ready.is_empty() {
                self.flush();
                return Ok(&self.ready);
            }
        }
    }

    /// The clock's reading at the last turn of the loop.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The proxy core, for questions and decisions.
    pub fn proxy(&mut self) -> &mut Proxy {
        self.core.proxy()
    }

    /// Sends a request of our own; its Call-ID is chosen here. The number under which its outcome is told.
    ///
    /// # Errors
    /// [`OwnRequestError`] when it cannot be sent.
    pub fn send_request(&mut self, request: OwnRequest) -> Result<u64, OwnRequestError> {
        self.core.send_request(self.now, request)
    }

    /// Watches a descriptor of the driver's.
    ///
    /// # Errors
    /// What epoll says, for example of a regular file.
    pub fn register(&self, fd: RawFd, mask: u32) -> io::Result<()> {
        self.poller.add(fd, FOREIGN + fd as u64, mask)
    }

    /// Changes what is watched for.
    ///
    /// # Errors
    /// What epoll says.
    pub fn modify(&self, fd: RawFd, mask: u32) -> io::Result<()> {
        self.poller.modify(fd, FOREIGN + fd as u64, mask)
    }

    /// Watches a descriptor no longer.
    ///
    /// # Errors
    /// What epoll says, for example when it is closed already.
    pub fn unregister(&self, fd: RawFd) -> io::Result<()> {
        self.poller.remove(fd)
    }

    /// Uses other certificates for connections that begin from now on.
    ///
    /// # Errors
    /// [`TlsError`]; everything stays as it was.
    pub fn use_certificates(&mut self, tls: TlsSettings) -> Result<(), TlsError> {
        let ticket_secret = self.core.proxy().ticket_secret();
        let tls = TlsSettings {
            ticket_secret,
            ..tls
        };
        self.connections.use_certificates(Some(tls))
    }

    /// Hands all that is not ours to the successor from now on.
    pub fn drain_to_successor(&mut self) {
        self.core.set_mode(Mode::Draining);
    }

    /// The predecessor has gone: reads the sockets from now on.
    ///
    /// # Errors
    /// What epoll says.
    pub fn take_over(&mut self) -> io::Result<()> {
        if self.core.mode() != Mode::Standby {
            return Ok(());
        }
        self.core.set_mode(Mode::Serving);
        self.start_serving()
    }

    /// Serves nobody any more; the descriptors stay open, they are the supervisor's.
    pub fn close(&mut self) {
        // What a successor has given back is for our connections, which end now.
        self.core.collect_mail(self.now, &mut self.connections);
        self.flush();
        self.connections.close(self.now, &mut self.core);
        let sockets = self.ports.descriptors().map(|(_, fd)| fd);
        for fd in sockets.chain([self.core.post().own_wakeup()]) {
            // Not watched while in standby; either way it is not afterwards.
            let _ = self.poller.remove(fd);
        }
    }

    /// Takes what a predecessor may have left in the mailboxes, whose signals it has consumed, then the sockets; and
    /// wakes everybody for whom it may have left something without waking him.
    fn start_serving(&mut self) -> io::Result<()> {
        self.poller
            .add(self.core.post().own_wakeup(), MAIL, epoll::READABLE)?;
        self.core.collect_hand_over(self.now, &mut self.connections);
        self.core.collect_mail(self.now, &mut self.connections);
        self.core.wake_everybody();
        self.open_sockets()
    }

    fn is_standby(&self) -> bool {
        self.core.mode() == Mode::Standby
    }

    fn open_sockets(&mut self) -> io::Result<()> {
        for (listener, fd) in self.ports.descriptors() {
            self.poller.add(fd, u64::from(listener), epoll::READABLE)?;
        }
        self.connections.start_accepting()
    }

    fn sleep_ms(&self, limit: Option<Timestamp>) -> u64 {
        let deadline = self.core.next_deadline().map(to_grain);
        let longest_ms = if self.is_standby() {
            STANDBY_SLEEP_MS
        } else {
            LONGEST_SLEEP_MS
        };
        let longest_ms = match self.core.post().has_backlog() {
            true => longest_ms.min(BACKLOG_SLEEP_MS),
            false => longest_ms,
        };
        [limit, deadline]
            .into_iter()
            .flatten()
            .map(|point| point.ms_since(self.now))
            .fold(longest_ms, u64::min)
    }

    /// Waits for work and does one round of it.
    fn turn(&mut self, sleep_ms: u64) -> io::Result<()> {
        self.lag.rest(present());
        if sleep_ms > 0 {
            self.batching.rest(self.now);
        }
        self.poller.wait(&mut self.events, sleep_ms as i32)?;
        self.now = present();
        let delay_ms = self.lag.resume(self.now);
        self.core.proxy().note_delay(self.now, delay_ms);
        let mut is_left = false;
        let events = std::mem::take(&mut self.events);
        let mut is_mail_waiting = false;
        for event in events.iter() {
            is_mail_waiting |= event.token == MAIL;
            is_left |= self.serve(event)?;
        }
        self.events = events;
        if !is_left {
            self.lag.catch_up();
        }
        if is_mail_waiting {
            // Drained before the mailboxes are read: mail that comes in between wakes us once more.
            wake::drain(self.core.post().own_wakeup())?;
        }
        let is_look_due = self.now.ms_since(self.looked_for_mail_at) >= MAIL_LOOK_MS;
        if is_mail_waiting || is_look_due || self.is_standby() {
            self.looked_for_mail_at = self.now;
            self.core.collect_mail(self.now, &mut self.connections);
        }
        self.batching.note(self.now, self.core.take_count());
        self.connections.sweep(self.now, &mut self.core);
        self.core.handle_timeout(self.now);
        Ok(())
    }

    /// Serves one descriptor; true when more waits there than a round may take.
    fn serve(&mut self, event: Event) -> io::Result<bool> {
        let now = self.now;
        match event.token {
            MAIL => {}
            token if Connections::is_connection(token) => {
                self.connections
                    .handle_ready(now, token, event.mask, &mut self.core);
            }
            token if token >= FOREIGN => self.ready.push(((token - FOREIGN) as RawFd, event.mask)),
            listener if self.connections.is_stream(listener as u16) => {
                self.connections
                    .accept(now, listener as u16, &mut self.core);
            }
            listener => {
                return receive(&mut self.ports, &mut self.core, now, listener as u16);
            }
        }
        Ok(false)
    }

    fn flush(&mut self) {
        // What came by mailbox for a connection of ours is in its queue.
        self.connections.flush(self.now, &mut self.core);
        self.send_outbox();
        self.connections.end_finished(self.now, &mut self.core);
        self.send_outbox();
        self.core.wake_receivers();
        let figures = Figures {
            connections: self.connections.len() as u64,
            queue_delay_ms: self.lag.shown_ms(),
        };
        self.publisher.publish(&mut self.core, figures, self.now);
    }

    fn send_outbox(&mut self) {
        while !self.core.proxy().outbox().is_empty() {
            let mut outbox = std::mem::take(self.core.proxy().outbox());
            self.ports.send(&outbox, self.core.proxy());
            self.send_streams(&outbox);
            self.connections.flush(self.now, &mut self.core);
            outbox.clear();
            // What failed may have led to other messages; what is left gives its memory back.
            if self.core.proxy().outbox().is_empty() {
                *self.core.proxy().outbox() = outbox;
            }
        }
    }
}

impl Engine {
    /// Sends what goes through connections: ours, or by mailbox those of others.
    fn send_streams(&mut self, outbox: &Outbox) {
        if !outbox.has_streams() {
            return;
        }
        for outgoing in outbox
            .iter()
            .filter(|outgoing| outgoing.path.transport.is_reliable())
        {
            let sender = self.core.sender(outgoing.client);
            let letter = (outgoing.path, sender);
            let connections = &mut self.connections;
            if !self
                .core
                .send_stream(self.now, letter, outgoing.bytes, connections)
            {
                self.core.report_unsent(self.now, sender);
            }
        }
    }
}

fn receive(ports: &mut Ports, core: &mut Core, now: Timestamp, listener: u16) -> io::Result<bool> {
    let (mut total, mut is_left) = (0, false);
    for _ in 0..BATCHES_PER_TURN {
        let (count, is_full) = ports.receive(listener, |source, datagram, is_truncated| {
            if is_truncated {
                core.proxy().counts().add(Count::Oversized);
                return;
            }
            core.handle_message(now, Arrival::udp(listener, source), datagram);
        })?;
        total += count;
        is_left = is_full;
        if !is_full {
            break;
        }
    }
    core.proxy()
        .counts()
        .add_many(Count::DatagramsReceived, total as u64);
    Ok(is_left)
}

fn to_grain(deadline: Timestamp) -> Timestamp {
    Timestamp::from_millis(deadline.as_millis().next_multiple_of(TIMER_GRAIN_MS))
}

fn present() -> Timestamp {
    Timestamp::from_millis(clock::monotonic().as_millis() as u64)
}
