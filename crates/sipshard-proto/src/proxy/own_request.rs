//! Requests that we send ourselves, outside of any dialog, as the UAC (RFC 3261 §8.1): a policy's notifications and
//! questions.

use super::decision::DecisionError;
use super::edit::{FieldName, MAX_EDIT_BYTES};
use super::event::Event;
use super::next_hop::{Destination, NextHop, Way};
use super::own_response::{is_one_line, is_token, write_field};
use super::request_copy::{write_routes, Outbound, OwnVia};
use super::route::{uri_of, Routed};
use super::settings::{write_decimal, Settings};
use super::{ClientUse, Proxy};
use crate::count::Count;
use crate::header::HeaderName;
use crate::message::Message;
use crate::outbox::Path;
use crate::secret::Purpose;
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use crate::transaction::branch::write_hex;
use crate::transaction::timer::Timer;
use crate::transaction::Told;
use crate::uri::{Scheme, Uri};
use hashbrown::HashMap;

/// So many requests of ours may wait for their outcome in one worker.
pub const MAX_OWN_REQUESTS: usize = 1_000;
/// What the header fields of a request of ours take, about.
const OWN_FIELDS_BYTES: usize = 500;

/// Name and value of a header field.
pub type OwnField = (Box<[u8]>, Box<[u8]>);

/// A request that a policy wants sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnRequest {
    /// Any method but INVITE, ACK and CANCEL.
    pub method: Box<[u8]>,
    /// The Request-URI.
    pub uri: Box<[u8]>,
    /// The URI of From.
    pub from_uri: Box<[u8]>,
    /// The URI of To.
    pub to_uri: Box<[u8]>,
    /// A Call-ID that no other request has, and whose hash is this shard's.
    pub call_id: Box<[u8]>,
    /// Route set, each a name-addr.
    pub routes: Vec<Box<[u8]>>,
    /// Header fields beside those that every request has.
    pub headers: Vec<OwnField>,
    /// Body, as its headers describe it.
    pub body: Box<[u8]>,
}

/// Why a request of ours is not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnRequestError {
    /// No method, or one that needs a user agent behind it.
    BadMethod,
    /// One of its URIs is no SIP URI; which.
    BadUri(&'static str),
    /// A header field or the body cannot be put on the wire.
    BadField(DecisionError),
    /// There are [`MAX_OWN_REQUESTS`], or the transaction table is full.
    TooMany,
    /// There is no way to its next hop.
    Unreachable,
}

/// What became of a request of ours.
pub enum OwnOutcome {
    /// Its final response.
    Response(Box<Message<'static>>),
    /// Nobody answered.
    Timeout,
    /// There is no way to its next hop.
    Unreachable,
}

/// Those whose outcome somebody waits for.
#[derive(Default)]
pub(super) struct OwnRequests {
    last_id: u64,
    by_id: HashMap<u64, State>,
}

enum State {
    /// The next hop's name is being resolved.
    Resolving(Box<OwnRequest>, Timestamp),
    /// It is out.
    Sent(Handle),
}

impl std::fmt::Display for OwnRequestError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BadMethod => formatter.write_str(
                "the server sends no such request by itself: INVITE, ACK and CANCEL need a user agent with dialogs",
            ),
            Self::BadUri(which) => write!(formatter, "the {which} is no SIP URI"),
            Self::BadField(error) => error.fmt(formatter),
            Self::TooMany => formatter.write_str("too many requests of the server's own wait for their outcome"),
            Self::Unreachable => formatter.write_str("there is no way to the next hop"),
        }
    }
}

impl OwnRequest {
    fn check(&self) -> Result<(), OwnRequestError> {
        let is_refused = matches!(&*self.method, b"INVITE" | b"ACK" | b"CANCEL");
        if is_refused || !is_token(&self.method) {
            return Err(OwnRequestError::BadMethod);
        }
        let is_usable = |text: &[u8]| {
            Uri::parse(text).is_ok_and(|uri| matches!(uri.scheme, Scheme::Sip | Scheme::Sips))
        };
        let uris = [
            (&self.uri, "Request-URI"),
            (&self.from_uri, "From URI"),
            (&self.to_uri, "To URI"),
        ];
        if let Some((_, which)) = uris.iter().find(|(uri, _)| !is_usable(uri)) {
            return Err(OwnRequestError::BadUri(which));
        }
        let is_route = |value: &[u8]| is_one_line(value) && uri_of(value).is_some_and(is_usable);
        if !self.routes.iter().all(|route| is_route(route)) {
            return Err(OwnRequestError::BadUri("route"));
        }
        self.check_fields().map_err(OwnRequestError::BadField)
    }

    fn check_fields(&self) -> Result<(), DecisionError> {
        let mut total = self.body.len();
        for (index, (name, value)) in self.headers.iter().enumerate() {
            FieldName::new(name, index)?;
            if !is_one_line(value) {
                return Err(DecisionError::BadHeader(index));
            }
            total += name.len() + value.len();
        }
        if total > MAX_EDIT_BYTES {
            return Err(DecisionError::EditsTooLong(total));
        }
        let is_type = |name: &[u8]| HeaderName::from_token(name) == HeaderName::ContentType;
        if !self.body.is_empty() && !self.headers.iter().any(|(name, _)| is_type(name)) {
            return Err(DecisionError::BadContentType);
        }
        Ok(())
    }

    fn routed(&self) -> Routed<'_> {
        Routed::to(
            &self.uri,
            self.routes.iter().map(|route| &**route).collect(),
        )
    }

    /// Appends the request (RFC 3261 §8.1.1).
    fn write(&self, settings: &Settings, via: &OwnVia, out: &mut Vec<u8>) {
        let routed = self.routed();
        out.extend_from_slice(&self.method);
        out.push(b' ');
        out.extend_from_slice(routed.request_uri);
        out.extend_from_slice(b" SIP/2.0\r\n");
        via.write(settings, &self.call_id, out);
        out.extend_from_slice(b"Max-Forwards: 70\r\n");
        write_routes(&routed, out);
        out.extend_from_slice(b"From: <");
        out.extend_from_slice(&self.from_uri);
        out.extend_from_slice(b">;tag=");
        let tag = settings
            .secret
            .proof(Purpose::OwnRequest, &[b"tag", &self.call_id]);
        write_hex(out, tag, 16);
        out.extend_from_slice(b"\r\nTo: <");
        out.extend_from_slice(&self.to_uri);
        out.extend_from_slice(b">\r\n");
        write_field(b"Call-ID", &self.call_id, out);
        out.extend_from_slice(b"CSeq: 1 ");
        out.extend_from_slice(&self.method);
        out.extend_from_slice(b"\r\n");
        for (name, value) in &self.headers {
            write_field(name, value, out);
        }
        out.extend_from_slice(b"Content-Length: ");
        write_decimal(out, self.body.len() as u32);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&self.body);
    }
}

impl Proxy {
    /// Sends a request of ours; its number, under which [`Event::OwnRequestEnded`] tells what became of it.
    ///
    /// # Errors
    /// [`OwnRequestError`] when it cannot be sent; there will be no event then.
    pub fn send_request(
        &mut self,
        now: Timestamp,
        request: OwnRequest,
    ) -> Result<u64, OwnRequestError> {
        request.check()?;
        self.expire_own_requests(now);
        let is_full = self.transactions.len() >= self.settings.max_transactions;
        if is_full || self.own_requests.by_id.len() >= MAX_OWN_REQUESTS {
            self.counts.add(Count::OwnRequestsRefused);
            return Err(OwnRequestError::TooMany);
        }
        let hop = self.next_hop_of(now, &request);
        let id = self.own_requests.last_id + 1;
        match hop {
            NextHop::Unreachable => return Err(OwnRequestError::Unreachable),
            NextHop::Resolving => {
                let patience_ms = u64::from(self.transactions.values().interval_ms(Timer::F));
                let until = now.after_ms(patience_ms);
                let state = State::Resolving(Box::new(request), until);
                self.own_requests.by_id.insert(id, state);
            }
            NextHop::Reachable(Way { path, .. }) => self.open_own_request(now, id, &request, path),
        }
        self.own_requests.last_id = id;
        self.counts.add(Count::OwnRequests);
        Ok(id)
    }

    /// Nobody waits for the outcome of a request of ours any more.
    pub fn abandon_request(&mut self, id: u64) {
        if let Some(State::Sent(client)) = self.own_requests.by_id.remove(&id) {
            self.transactions.drop_client(client);
        }
    }

    fn open_own_request(&mut self, now: Timestamp, id: u64, request: &OwnRequest, path: Path) {
        let settings = &self.settings;
        let outbound = Outbound::of(&path);
        let write = |handle, out: &mut Vec<u8>| {
            let via = OwnVia {
                outbound,
                inbound: None,
                handle,
                loop_hash: 0,
            };
            request.write(settings, &via, out);
        };
        let driver = (now, &mut self.outbox);
        let own = ClientUse::Own(id);
        let client = self
            .transactions
            .open_client(driver, false, path, own, write);
        self.own_requests.by_id.insert(id, State::Sent(client));
    }

    /// A response to a request of ours. Provisional ones say nothing that anybody waits for.
    pub(super) fn hear_own_response(&mut self, id: u64, response: &Message<'_>) {
        if response.status() >= 200 {
            let response = Box::new(response.clone().into_owned());
            self.end_own_request(id, OwnOutcome::Response(response));
        }
    }

    /// What the transaction layer reports of a request of ours beside responses.
    pub(super) fn hear_own_silence(&mut self, id: u64, told: Told) {
        let outcome = match told {
            Told::TransportError => OwnOutcome::Unreachable,
            _ => OwnOutcome::Timeout,
        };
        self.end_own_request(id, outcome);
    }

    fn end_own_request(&mut self, id: u64, outcome: OwnOutcome) {
        if self.own_requests.by_id.remove(&id).is_some() {
            self.events.push_back(Event::OwnRequestEnded(id, outcome));
        }
    }

    /// A name was looked up: sends what waited for it.
    pub(super) fn resume_own_requests(&mut self, now: Timestamp) {
        self.expire_own_requests(now);
        let is_waiting = |state: &State| matches!(state, State::Resolving(..));
        let requests = self.own_requests.by_id.iter();
        let waiting: Vec<u64> = requests
            .filter(|(_, state)| is_waiting(state))
            .map(|(&id, _)| id)
            .collect();
        for id in waiting {
            self.resume_own_request(now, id);
        }
    }

    fn resume_own_request(&mut self, now: Timestamp, id: u64) {
        let Some(State::Resolving(request, until)) = self.own_requests.by_id.remove(&id) else {
            return;
        };
        match self.next_hop_of(now, &request) {
            NextHop::Reachable(Way { path, .. }) => {
                self.open_own_request(now, id, &request, path);
            }
            hop => {
                let state = State::Resolving(request, until);
                self.own_requests.by_id.insert(id, state);
                if matches!(hop, NextHop::Unreachable) {
                    self.end_own_request(id, OwnOutcome::Unreachable);
                }
            }
        }
    }

    fn next_hop_of(&mut self, now: Timestamp, request: &OwnRequest) -> NextHop {
        let destination = Destination {
            uri: request.routed().next_hop,
            flow: None,
            listener: 0,
            call_id: &request.call_id,
            request_bytes: OWN_FIELDS_BYTES + request.body.len(),
        };
        self.next_hop(now, destination)
    }

    /// A name that nobody looks up must not keep a place for ever.
    fn expire_own_requests(&mut self, now: Timestamp) {
        let is_expired =
            |state: &State| matches!(state, State::Resolving(_, until) if *until <= now);
        let requests = self.own_requests.by_id.iter();
        let expired: Vec<u64> = requests
            .filter(|(_, state)| is_expired(state))
            .map(|(&id, _)| id)
            .collect();
        for id in expired {
            self.end_own_request(id, OwnOutcome::Timeout);
        }
    }
}
