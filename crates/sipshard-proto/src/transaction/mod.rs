//! The transaction layer (RFC 3261 §17, RFC 6026): four state tables, their timers, and the tables of what runs.
//!
//! [`TransactionLayer`] is driven by the transaction user in the same module tree, the proxy core. It sends through the
//! [`Outbox`] that it is given and returns what the user has to be told as a value.

pub mod branch;
pub mod client;
pub mod clocks;
pub mod invite_client;
pub mod invite_server;
pub mod key;
pub mod non_invite_client;
pub mod non_invite_server;
pub mod server;
pub mod step;
pub mod timer;
pub mod wheel;

use crate::outbox::{Outbox, Path};
use crate::slots::{Handle, Slots};
use crate::timestamp::Timestamp;
use client::{ClientEvent, ClientState, ClientTransaction};
use clocks::Clocks;
use hashbrown::HashMap;
use key::TransactionKey;
use server::{ServerEvent, ServerState, ServerTransaction};
use step::Action;
use timer::{Clock, Timer, TimerValues};
use wheel::TimerWheel;

/// Which transaction a wheel entry or a report is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// A client transaction.
    Client(Handle),
    /// A server transaction.
    Server(Handle),
}

/// What the transaction user is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// The response is for the user.
    Response,
    /// Nobody answered: Timer B or F for a client, H for a server transaction.
    Timeout,
    /// The request could not be sent.
    TransportError,
    /// A timer of the user's own fired.
    Fired(Timer),
}

/// All transactions of one worker.
pub struct TransactionLayer<S, C> {
    values: TimerValues,
    servers: Slots<ServerTransaction<S>>,
    clients: Slots<ClientTransaction<C>>,
    by_key: HashMap<TransactionKey, Handle>,
    wheel: TimerWheel<Side>,
}

impl<S, C> TransactionLayer<S, C> {
    /// An empty layer.
    pub fn new(values: TimerValues) -> Self {
        Self {
            values,
            servers: Slots::default(),
            clients: Slots::default(),
            by_key: HashMap::new(),
            wheel: TimerWheel::default(),
        }
    }

    /// The timers' base values.
    pub const fn values(&self) -> &TimerValues {
        &self.values
    }

    /// How many transactions of both kinds there are.
    pub fn len(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// True without transactions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No timer fires before this point.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.wheel.next_deadline()
    }

    /// The server transaction that a request with this key belongs to.
    pub fn find_server(&self, key: TransactionKey) -> Option<Handle> {
        self.by_key.get(&key).copied()
    }

    /// A server transaction.
    pub fn server(&self, handle: Handle) -> Option<&ServerTransaction<S>> {
        self.servers.at(handle)
    }

    /// A server transaction, to change its user data.
    pub fn server_mut(&mut self, handle: Handle) -> Option<&mut ServerTransaction<S>> {
        self.servers.at_mut(handle)
    }

    /// A client transaction.
    pub fn client(&self, handle: Handle) -> Option<&ClientTransaction<C>> {
        self.clients.at(handle)
    }

    /// A client transaction, to change its user data.
    pub fn client_mut(&mut self, handle: Handle) -> Option<&mut ClientTransaction<C>> {
        self.clients.at_mut(handle)
    }

    /// Makes the server transaction of a new request.
    pub fn open_server(
        &mut self,
        key: TransactionKey,
        is_invite: bool,
        path: Path,
        user: S,
    ) -> Handle {
        let handle = self.servers.insert_with(|_| ServerTransaction {
            key,
            state: ServerState::start(is_invite),
            clocks: Clocks::default(),
            path,
            stored: Box::default(),
            user,
        });
        self.by_key.insert(key, handle);
        handle
    }

    /// Makes a client transaction whose request is written by `write`, which is given the handle for the branch, and
    /// sends it.
    pub fn open_client(
        &mut self,
        (now, outbox): (Timestamp, &mut Outbox),
        is_invite: bool,
        path: Path,
        user: C,
        write: impl FnOnce(Handle, &mut Vec<u8>),
    ) -> Handle {
        let (state, actions) = ClientState::start(is_invite);
        let handle = self.clients.insert_with(|_| ClientTransaction {
            state,
            clocks: Clocks::default(),
            path,
            stored: Box::default(),
            cancel: None,
            user,
        });
        if let Some(client) = self.clients.at_mut(handle) {
            let sent = outbox.push_for(handle, &client.path, |out| write(handle, out));
            client.stored = Box::from(sent);
            for &action in actions {
                client.act(action, &self.values, now, outbox, None);
            }
        }
        self.refile_client(handle);
        handle
    }

    /// A response for a client transaction came in. `acknowledge` writes the ACK to a failure from the stored INVITE.
    pub fn handle_response(
        &mut self,
        (now, outbox): (Timestamp, &mut Outbox),
        handle: Handle,
        status: u16,
        acknowledge: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Option<Told> {
        let client = self.clients.at_mut(handle)?;
        let step = client.state.step(ClientEvent::Response(status))?;
        let ack = step
            .actions
            .contains(&Action::Acknowledge)
            .then(|| acknowledge(&client.stored));
        let told = client.follow(step, &self.values, now, outbox, ack);
        self.settle_client(handle);
        told
    }

    /// A request or ACK of a client transaction could not be sent.
    pub fn handle_transport_error(&mut self, handle: Handle) -> Option<Told> {
        let client = self.clients.at_mut(handle)?;
        let step = client.state.step(ClientEvent::TransportError)?;
        client.state = step.next;
        Some(Told::TransportError)
    }

    /// A request of an existing server transaction came again, or the ACK to its failure.
    pub fn handle_request(
        &mut self,
        (now, outbox): (Timestamp, &mut Outbox),
        handle: Handle,
        event: ServerEvent,
    ) {
        let Some(server) = self.servers.at_mut(handle) else {
            return;
        };
        if let Some(step) = server.state.step(event) {
            server.follow(step, &self.values, now, outbox, None);
        }
        self.settle_server(handle);
    }

    /// The user answers. `write` is called only if the transaction may still send a response with this status; false
    /// otherwise.
    pub fn respond(
        &mut self,
        (now, outbox): (Timestamp, &mut Outbox),
        handle: Handle,
        status: u16,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Some(server) = self.servers.at_mut(handle) else {
            return false;
        };
        let Some(step) = server.state.step(ServerEvent::Response(status)) else {
            return false;
        };
        let sent = outbox.push(&server.path, write);
        let stored = if step.next.has_no_use_for_message() {
            Box::default()
        } else {
            Box::from(sent)
        };
        server.follow(step, &self.values, now, outbox, Some(stored));
        self.settle_server(handle);
        true
    }

    /// Starts a timer of the user's for a server transaction.
    pub fn start_server_timer(&mut self, now: Timestamp, handle: Handle, timer: Timer) {
        let interval_ms = u64::from(self.values.interval_ms(timer));
        let Some(server) = self.servers.at_mut(handle) else {
            return;
        };
        server.clocks.start_after(timer, interval_ms, now);
        self.refile_server(handle);
    }

    /// Stops the user's timer of a server transaction.
    pub fn stop_server_timer(&mut self, handle: Handle) {
        if let Some(server) = self.servers.at_mut(handle) {
            server.clocks.stop(Clock::User);
        }
    }

    /// Starts a timer of the user's for a client transaction.
    pub fn start_client_timer(
        &mut self,
        now: Timestamp,
        handle: Handle,
        timer: Timer,
        interval_ms: u64,
    ) {
        let Some(client) = self.clients.at_mut(handle) else {
            return;
        };
        client.clocks.start_after(timer, interval_ms, now);
        self.refile_client(handle);
    }

    /// Ends a client transaction at once, as if its last timer had fired.
    pub fn drop_client(&mut self, handle: Handle) -> Option<ClientTransaction<C>> {
        self.clients.remove(handle)
    }

    /// Ends a server transaction at once.
    pub fn drop_server(&mut self, handle: Handle) -> Option<ServerTransaction<S>> {
        let server = self.servers.remove(handle)?;
        self.by_key.remove(&server.key);
        Some(server)
    }

    /// Runs the timers that are due, up to the first that the user must hear of. To be called until it returns `None`.
    /// The transaction of a timeout is still there when it is reported; [`TransactionLayer::bury`] ends it.
    pub fn poll_timer(&mut self, now: Timestamp, outbox: &mut Outbox) -> Option<(Side, Told)> {
        while let Some((deadline, side)) = self.wheel.pop(now) {
            let told = match side {
                Side::Client(handle) => self.fire_client(now, deadline, handle, outbox),
                Side::Server(handle) => self.fire_server(now, deadline, handle, outbox),
            };
            if let Some(told) = told {
                return Some((side, told));
            }
        }
        None
    }

    /// Ends the transaction if its figure has reached Terminated.
    pub fn bury(&mut self, side: Side) {
        match side {
            Side::Client(handle) => self.settle_client(handle),
            Side::Server(handle) => self.settle_server(handle),
        }
    }

    fn fire_client(
        &mut self,
        now: Timestamp,
        deadline: Timestamp,
        handle: Handle,
        outbox: &mut Outbox,
    ) -> Option<Told> {
        let client = self.clients.at_mut(handle)?;
        if client.clocks.filed_under != Some(deadline) {
            return None;
        }
        client.clocks.filed_under = None;
        let told = match client.clocks.take_due(now) {
            None => None,
            Some(timer) if timer.is_the_users() => Some(Told::Fired(timer)),
            Some(timer) => client
                .state
                .step(ClientEvent::Fired(timer))
                .and_then(|step| client.follow(step, &self.values, now, outbox, None)),
        };
        if told.is_none() {
            self.settle_client(handle);
        } else {
            self.refile_client(handle);
        }
        told
    }

    fn fire_server(
        &mut self,
        now: Timestamp,
        deadline: Timestamp,
        handle: Handle,
        outbox: &mut Outbox,
    ) -> Option<Told> {
        let server = self.servers.at_mut(handle)?;
        if server.clocks.filed_under != Some(deadline) {
            return None;
        }
        server.clocks.filed_under = None;
        let told = match server.clocks.take_due(now) {
            None => None,
            Some(timer) if timer.is_the_users() => Some(Told::Fired(timer)),
            Some(timer) => server
                .state
                .step(ServerEvent::Fired(timer))
                .and_then(|step| server.follow(step, &self.values, now, outbox, None)),
        };
        if told.is_none() {
            self.settle_server(handle);
        } else {
            self.refile_server(handle);
        }
        told
    }

    fn settle_client(&mut self, handle: Handle) {
        let Some(client) = self.clients.at_mut(handle) else {
            return;
        };
        if client.state.is_terminated() {
            self.clients.remove(handle);
            return;
        }
        if client.state.has_no_use_for_message() {
            client.stored = Box::default();
        }
        self.refile_client(handle);
    }

    fn settle_server(&mut self, handle: Handle) {
        let Some(server) = self.servers.at_mut(handle) else {
            return;
        };
        if server.state.is_terminated() {
            self.drop_server(handle);
            return;
        }
        if server.state.has_no_use_for_message() {
            server.stored = Box::default();
        }
        self.refile_server(handle);
    }

    fn refile_client(&mut self, handle: Handle) {
        let due = self
            .clients
            .at_mut(handle)
            .and_then(|client| client.clocks.refile());
        if let Some(deadline) = due {
            self.wheel.insert(deadline, Side::Client(handle));
        }
    }

    fn refile_server(&mut self, handle: Handle) {
        let due = self
            .servers
            .at_mut(handle)
            .and_then(|server| server.clocks.refile());
        if let Some(deadline) = due {
            self.wheel.insert(deadline, Side::Server(handle));
        }
    }
}
