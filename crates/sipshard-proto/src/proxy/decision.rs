//! The policy's decisions are carried out: forward, respond, pass on (RFC 3261 §16.5, §16.6).

use super::breadth::{max_breadth, share};
use super::edit::{MAX_EDITS, MAX_EDIT_BYTES};
use super::event::Event;
use super::response_context::{
    in_order_of_trial, most_preferred, BranchState, Cancel, ClientBranch, Phase,
};
use super::{ForwardOptions, OwnResponse, Proxy, Target};
use crate::count::Count;
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use crate::transaction::server::ServerTransaction;
use crate::transaction::timer::Timer;
use crate::uri::{Scheme, Uri};

/// A decision to forward.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Where to, in any order; q decides.
    pub targets: Vec<Target>,
    /// How.
    pub options: ForwardOptions,
}

/// One request must not become any number of requests (RFC 5393 §3).
pub const MAX_TARGETS: usize = 64;

/// Why a decision makes no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecisionError {
    /// There is no target.
    NoTargets,
    /// There are more targets than one request may be forked to; how many.
    TooManyTargets(usize),
    /// A target or route is no SIP URI; its index.
    BadTarget(usize),
    /// A status that no response of a policy has.
    BadStatus(u16),
    /// A reason phrase of more than one line.
    BadReason,
    /// A header whose name is no token or whose value is more than one line; its index.
    BadHeader(usize),
    /// An edit of a header field that only the server writes; which.
    ProtectedHeader(&'static str),
    /// A header field of a response of ours that the server writes itself; which.
    OwnHeader(&'static str),
    /// A body without the Content-Type that says what it is.
    BadContentType,
    /// There are more edits than a message may have; how many.
    TooManyEdits(usize),
    /// The edits would make the message too long; by how many bytes.
    EditsTooLong(usize),
}

impl std::fmt::Display for DecisionError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooManyTargets(count) => {
                write!(formatter, "{count} targets are more than the {MAX_TARGETS} that a request may be forked to")
            }
            Self::NoTargets => write!(formatter, "there is no target to forward to"),
            Self::BadTarget(index) => {
                write!(formatter, "target {index} or its route set is no SIP URI")
            }
            Self::BadStatus(status) => {
                write!(formatter, "{status} is no status between 101 and 699")
            }
            Self::BadReason => write!(formatter, "the reason phrase has a line break"),
            Self::BadHeader(index) => {
                write!(
                    formatter,
                    "header {index} has a name that is no token or a value with a line break"
                )
            }
            Self::ProtectedHeader(name) => {
                write!(formatter, "{name} cannot be set: {}", why_protected(name))
            }
            Self::OwnHeader(name) => {
                write!(
                    formatter,
                    "{name} is written by the server itself; leave it out"
                )
            }
            Self::BadContentType => {
                write!(formatter, "a body needs a content type such as text/plain")
            }
            Self::TooManyEdits(count) => {
                write!(formatter, "{count} edits are more than {MAX_EDITS}")
            }
            Self::EditsTooLong(bytes) => {
                write!(
                    formatter,
                    "edits with {bytes} bytes are longer than {MAX_EDIT_BYTES}"
                )
            }
        }
    }
}

/// What to do instead of an edit that is refused.
fn why_protected(name: &str) -> &'static str {
    match name {
        "Route" => "give the target a route",
        "Record-Route" => "use record_route",
        "From" | "To" => "that needs a back-to-back user agent",
        "Content-Length" => "it follows from the body",
        _ => "it is the server's own",
    }
}

impl Proxy {
    /// Forwards a request to its targets. False when a decision is no longer wanted: the caller gave up, or a decision
    /// was made before.
    ///
    /// # Errors
    /// [`DecisionError`] when the plan itself is unusable; the request then still waits for a decision.
    pub fn forward(
        &mut self,
        now: Timestamp,
        id: Handle,
        mut plan: Plan,
    ) -> Result<bool, DecisionError> {
        check_plan(&plan)?;
        plan.targets.iter_mut().for_each(strip_uri_headers);
        let Some(server) = self.transactions.server(id) else {
            return Ok(false);
        };
        if !matches!(server.user.phase, Phase::Deciding | Phase::Consulting) {
            return Ok(false);
        }
        let (is_invite, is_at_last_hop) = (server.state.is_invite(), server.user.is_at_last_hop);
        let is_first = server.user.phase == Phase::Deciding;
        if self.refuses_state(now, id) {
            return Ok(true);
        }
        if is_at_last_hop {
            return Ok(self.answer(now, id, OwnResponse::of(483)));
        }
        self.transactions.stop_server_timer(id);
        if is_invite && is_first {
            self.send_trying(now, id);
        }
        if let Some(server) = self.transactions.server_mut(id) {
            server.user.best = None;
            server.user.challenges.clear();
        }
        self.start_forwarding(now, id, plan.targets, plan.options);
        Ok(true)
    }

    /// Answers a request ourselves. False when the answer comes too late.
    ///
    /// # Errors
    /// [`DecisionError`] when the response cannot be put on the wire; the request then still waits for a decision.
    pub fn respond(
        &mut self,
        now: Timestamp,
        id: Handle,
        response: OwnResponse<'_>,
    ) -> Result<bool, DecisionError> {
        response.check()?;
        Ok(self.answer(now, id, response))
    }

    pub(super) fn answer(&mut self, now: Timestamp, id: Handle, response: OwnResponse<'_>) -> bool {
        let Some(server) = self.transactions.server(id) else {
            return false;
        };
        let is_invite = server.state.is_invite();
        if !matches!(server.user.phase, Phase::Deciding | Phase::Consulting) {
            return false;
        }
        if self.drops_answer(id) {
            return true;
        }
        if !self.send_own(now, id, response) {
            return false;
        }
        if response.status >= 200 {
            if is_invite && response.status < 300 {
                self.counts.add(Count::CallsAnswered);
            }
            self.transactions.stop_server_timer(id);
            self.finish(id);
        }
        true
    }

    /// Sends the best response upstream after the policy was asked about it. False when it comes too late.
    pub fn pass_on(&mut self, now: Timestamp, id: Handle) -> bool {
        let is_consulting = |phase| phase == Phase::Consulting;
        let server = self.transactions.server(id);
        if !server.is_some_and(|server| is_consulting(server.user.phase)) {
            return false;
        }
        self.transactions.stop_server_timer(id);
        self.send_best(now, id);
        true
    }

    /// Puts the targets into the context and starts the first group.
    pub(super) fn start_forwarding(
        &mut self,
        now: Timestamp,
        id: Handle,
        targets: Vec<Target>,
        options: ForwardOptions,
    ) {
        let max_branches = self.settings.max_branches;
        let Some(server) = self.transactions.server_mut(id) else {
            return;
        };
        let context = &mut server.user;
        context.breadth = context.request.as_ref().map_or(0, |it| max_breadth(it));
        if context.breadth == 0 {
            self.answer(now, id, OwnResponse::of(440));
            return;
        }
        let wanted = targets.len();
        let targets = most_preferred(targets, max_branches);
        context.phase = Phase::Forwarding;
        context.targets_left = max_branches - targets.len();
        if options.recurse {
            let uris = targets.iter().map(|target| target.uri.clone());
            context.target_set.extend(uris);
            context.redirection_edits = targets.first().map(|first| first.edits.clone());
        }
        let dropped = wanted - targets.len();
        context.set_options(options);
        context.waiting = in_order_of_trial(targets);
        self.counts.add_many(Count::TargetsDropped, dropped as u64);
        self.start_next_group(now, id);
    }

    /// Starts a branch for every target of the next group; when none of them has a usable next hop, goes on with the
    /// group after that, and in the end with the best response.
    pub(super) fn start_next_group(&mut self, now: Timestamp, id: Handle) {
        while let Some(server) = self.transactions.server_mut(id) {
            let group = server.user.take_next_group();
            if group.is_empty() {
                return self.conclude(now, id);
            }
            let (first, count) = (server.user.branches.len(), group.len());
            let breadth = server.user.breadth;
            for (index, target) in group.into_iter().enumerate() {
                let ring_timeout_ms = server.user.options.ring_timeout_ms;
                server.user.branches.push(ClientBranch {
                    ring_timeout_ms: target.ring_timeout_ms.or(ring_timeout_ms),
                    state: BranchState::Resolving(Box::new(target)),
                    cancel: Cancel::NotWanted,
                    breadth: (count > 1).then(|| share(breadth, index, count)),
                    has_timed_out: false,
                    spare: None,
                });
            }
            for index in first..first + count {
                self.start_branch(now, id, index);
            }
            let server = self.transactions.server(id);
            if server.is_some_and(|server| !server.user.has_ended()) {
                return;
            }
        }
    }

    /// Tells the caller that his INVITE has arrived, unless he has heard of it already (§17.2.1).
    pub(super) fn send_trying(&mut self, now: Timestamp, id: Handle) {
        let has_heard = |server: &ServerTransaction<_>| !server.stored.is_empty();
        if !self.transactions.server(id).is_some_and(has_heard) {
            self.send_own(now, id, OwnResponse::of(100));
        }
    }

    /// Sends a response of ours in a transaction.
    pub(super) fn send_own(
        &mut self,
        now: Timestamp,
        id: Handle,
        response: OwnResponse<'_>,
    ) -> bool {
        let Some(server) = self.transactions.server(id) else {
            return false;
        };
        let arrival = server.user.arrival;
        let Some(request) = server.user.request.clone() else {
            return false;
        };
        let secret = &self.settings.secret;
        let driver = (now, &mut self.outbox);
        self.transactions
            .respond(driver, id, response.status, |out| {
                response.write(secret, &request, arrival, out)
            })
    }

    /// Nothing more will be said to this request.
    pub(super) fn finish(&mut self, id: Handle) {
        if let Some(server) = self.transactions.server_mut(id) {
            if server.user.phase != Phase::Done {
                self.unfinished -= 1;
            }
            if std::mem::take(&mut server.user.is_awaited) {
                self.events.push_back(Event::RequestSettled(id));
            }
            server.user.finish();
        }
        self.resolving.remove(&id.as_u64());
    }

    /// Waits for a name or a policy, but not for ever.
    pub(super) fn start_decision_timer(&mut self, now: Timestamp, id: Handle) {
        self.transactions
            .start_server_timer(now, id, Timer::Decision);
    }
}

pub(super) fn check_plan(plan: &Plan) -> Result<(), DecisionError> {
    if plan.targets.is_empty() {
        return Err(DecisionError::NoTargets);
    }
    if plan.targets.len() > MAX_TARGETS {
        return Err(DecisionError::TooManyTargets(plan.targets.len()));
    }
    let is_usable = |text: &[u8]| {
        Uri::parse(text).is_ok_and(|uri| matches!(uri.scheme, Scheme::Sip | Scheme::Sips))
    };
    let is_route = |value: &[u8]| super::route::uri_of(value).is_some_and(is_usable);
    let is_good = |target: &Target| {
        is_usable(&target.uri) && target.routes.iter().all(|route| is_route(route))
    };
    match plan.targets.iter().position(|target| !is_good(target)) {
        Some(index) => Err(DecisionError::BadTarget(index)),
        None => Ok(()),
    }
}

/// The header part of a URI is no part of a Request-URI (§19.1.1, table 1).
pub(super) fn strip_uri_headers(target: &mut Target) {
    let headers = Uri::parse(&target.uri).map_or(0, |uri| uri.headers.len());
    if headers > 0 {
        let end = target.uri.len() - headers - 1;
        target.uri = target.uri[..end].into();
    }
}
