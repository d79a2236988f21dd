//! Callers and callees that do their own retransmissions, as far as a call needs them.

use crate::draft::{ack_to_failure, answer, in_dialog, invite, request, Draft};
use crate::scene::Sent;
use sipshard_proto::Method;
use std::net::SocketAddr;

/// What an endpoint wants done.
pub enum Effect {
    Send(Vec<u8>),
    /// Be woken in so many milliseconds, with a number of its own.
    Wake(u64, usize),
}

/// How a call ended for its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Completed,
    Failed(u16),
    /// Nobody answered, or nobody did in the end.
    GaveUp,
    ByeUnanswered,
    /// Nobody answered a MESSAGE, which a proxy must not report (RFC 4320 §4.1).
    Unanswered,
}

/// What a caller wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// A call that is hung up after a second.
    Call,
    /// A call that is cancelled if nobody has answered by then.
    CallUntil { cancels_after_ms: u64 },
    /// A MESSAGE.
    Message,
}

const LIFE_MS: u64 = 32_000;
/// Longer than the proxy may let two groups ring one after the other: Timer C and 64*T1 for each.
const RING_LIMIT_MS: u64 = 430_000;
const T2_MS: u64 = 4_000;

/// A message that is sent again until something stops it.
struct Repeat {
    bytes: Vec<u8>,
    interval_ms: u64,
    longest_ms: u64,
    spent_ms: u64,
}

impl Repeat {
    fn start(bytes: Vec<u8>, longest_ms: u64) -> Self {
        Self {
            bytes,
            interval_ms: 500,
            longest_ms,
            spent_ms: 0,
        }
    }

    fn effects(&self, token: usize) -> Vec<Effect> {
        vec![
            Effect::Send(self.bytes.clone()),
            Effect::Wake(self.interval_ms, token),
        ]
    }

    fn is_spent(&mut self) -> bool {
        self.spent_ms += self.interval_ms;
        self.interval_ms = self.interval_ms.saturating_mul(2).min(self.longest_ms);
        self.spent_ms >= LIFE_MS
    }
}

const INVITE: usize = 0;
const CANCEL: usize = 1;
const BYE: usize = 2;
const SECOND_BYE: usize = 3;
const MESSAGE: usize = 4;
const CANCEL_DUE: usize = 5;
const HANG_UP: usize = 6;
const RING_LIMIT: usize = 7;

/// One caller with one call or MESSAGE.
pub struct Caller {
    address: SocketAddr,
    call_id: String,
    intent: Intent,
    repeats: [Option<Repeat>; 5],
    has_provisional: bool,
    wants_to_cancel: bool,
    success: Option<Sent>,
    pub outcome: Option<Outcome>,
}

impl Caller {
    pub fn new(address: SocketAddr, call_id: String, intent: Intent) -> Self {
        Self {
            address,
            call_id,
            intent,
            repeats: [None, None, None, None, None],
            has_provisional: false,
            wants_to_cancel: false,
            success: None,
            outcome: None,
        }
    }

    /// Places the call, or sends the message.
    pub fn start(&mut self) -> Vec<Effect> {
        if self.intent == Intent::Message {
            let message = self.own(request("MESSAGE"), "message");
            return self.repeat(MESSAGE, &message, T2_MS);
        }
        let contact = format!("<sip:alice@{}>", self.address);
        let invite = self.own(invite(), "invite").instead("Contact", &contact);
        let mut effects = self.repeat(INVITE, &invite, u64::MAX);
        effects.push(Effect::Wake(RING_LIMIT_MS, RING_LIMIT));
        if let Intent::CallUntil { cancels_after_ms } = self.intent {
            effects.push(Effect::Wake(cancels_after_ms, CANCEL_DUE));
        }
        effects
    }

    fn own(&self, draft: Draft, branch: &str) -> Draft {
        let via = format!("SIP/2.0/UDP {};branch=z9hG4bK-{branch}", self.address);
        draft.instead("Via", &via).instead("Call-ID", &self.call_id)
    }

    fn repeat(&mut self, token: usize, draft: &Draft, longest_ms: u64) -> Vec<Effect> {
        let repeat = self.repeats[token].insert(Repeat::start(draft.bytes(), longest_ms));
        repeat.effects(token)
    }

    pub fn hear(&mut self, message: &Sent) -> Vec<Effect> {
        let response = message.message();
        match (response.method(), response.status()) {
            (Method::Invite, ..=199) => self.hear_provisional(),
            (Method::Invite, ..=299) => self.hear_success(message),
            (Method::Invite, status) => self.hear_failure(message, status),
            (Method::Cancel, _) => {
                self.repeats[CANCEL] = None;
                Vec::new()
            }
            (Method::Message, status) => {
                self.repeats[MESSAGE] = None;
                let success = (200..300).contains(&status);
                self.end(if success {
                    Outcome::Completed
                } else {
                    Outcome::Failed(status)
                })
            }
            _ => {
                let token = if self.is_first_dialog(message) {
                    BYE
                } else {
                    SECOND_BYE
                };
                self.repeats[token] = None;
                self.outcome.get_or_insert(Outcome::Completed);
                Vec::new()
            }
        }
    }

    fn hear_provisional(&mut self) -> Vec<Effect> {
        self.repeats[INVITE] = None;
        self.has_provisional = true;
        if self.wants_to_cancel {
            return self.cancel();
        }
        Vec::new()
    }

    fn hear_success(&mut self, message: &Sent) -> Vec<Effect> {
        self.repeats[INVITE] = None;
        let ack = in_dialog("ACK", message).instead("CSeq", "1 ACK");
        let mut effects = vec![Effect::Send(self.own(ack, "ack").bytes())];
        if self.success.is_none() {
            self.success = Some(message.clone());
            effects.push(Effect::Wake(1_000, HANG_UP));
        } else if !self.is_first_dialog(message) && self.repeats[SECOND_BYE].is_none() {
            // Two phones were picked up at the same time: one of them is enough (§13.2.2.4).
            let bye = self.own(in_dialog("BYE", message), "second");
            effects.extend(self.repeat(SECOND_BYE, &bye, T2_MS));
        }
        effects
    }

    fn hear_failure(&mut self, message: &Sent, status: u16) -> Vec<Effect> {
        self.repeats[INVITE] = None;
        self.outcome.get_or_insert(Outcome::Failed(status));
        let to = message.values("To").remove(0);
        let ack = self.own(ack_to_failure(), "invite").instead("To", &to);
        vec![Effect::Send(ack.bytes())]
    }

    fn is_first_dialog(&self, message: &Sent) -> bool {
        let tag = message.message().to_tag().map(<[u8]>::to_vec);
        let first = self.success.as_ref();
        first.is_some_and(|first| first.message().to_tag() == tag.as_deref())
    }

    fn is_over(&self) -> bool {
        self.success.is_some() || self.outcome.is_some()
    }

    fn cancel(&mut self) -> Vec<Effect> {
        self.wants_to_cancel = false;
        let cancel = self.own(request("CANCEL"), "invite");
        self.repeat(CANCEL, &cancel, T2_MS)
    }

    pub fn wake(&mut self, token: usize) -> Vec<Effect> {
        match token {
            CANCEL_DUE if self.is_over() => Vec::new(),
            CANCEL_DUE if self.has_provisional => self.cancel(),
            CANCEL_DUE => {
                self.wants_to_cancel = true;
                Vec::new()
            }
            HANG_UP => match self.success.clone() {
                Some(success) => {
                    let bye = self.own(in_dialog("BYE", &success), "bye");
                    self.repeat(BYE, &bye, T2_MS)
                }
                None => Vec::new(),
            },
            RING_LIMIT if self.is_over() => Vec::new(),
            RING_LIMIT => self.end(Outcome::GaveUp),
            token => self.wake_repeat(token),
        }
    }

    fn wake_repeat(&mut self, token: usize) -> Vec<Effect> {
        let Some(repeat) = &mut self.repeats[token] else {
            return Vec::new();
        };
        if !repeat.is_spent() {
            return repeat.effects(token);
        }
        self.repeats[token] = None;
        match token {
            INVITE => self.end(Outcome::GaveUp),
            BYE => self.end(Outcome::ByeUnanswered),
            MESSAGE => self.end(Outcome::Unanswered),
            _ => Vec::new(),
        }
    }

    fn end(&mut self, outcome: Outcome) -> Vec<Effect> {
        self.outcome.get_or_insert(outcome);
        Vec::new()
    }
}

/// What a callee does with a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Habit {
    /// Rings, then says this.
    Says { status: u16, after_ms: u64 },
    /// Rings until somebody cancels.
    Rings,
    /// Is switched off.
    Silent,
}

const DECIDE: usize = 0;
const FINAL: usize = 1;

/// One callee with one call.
pub struct Callee {
    address: SocketAddr,
    habit: Habit,
    invite: Option<Sent>,
    last: Vec<u8>,
    is_final: bool,
    repeat: Option<Repeat>,
}

impl Callee {
    pub fn new(address: SocketAddr, habit: Habit) -> Self {
        Self {
            address,
            habit,
            invite: None,
            last: Vec::new(),
            is_final: false,
            repeat: None,
        }
    }

    fn answer(&self, request: &Sent, status: u16) -> Vec<u8> {
        let tag = format!(
            "{};tag={}",
            request.values("To").remove(0),
            self.address.ip()
        );
        let mut draft =
            answer(request, status).instead("Contact", &format!("<sip:bob@{}>", self.address));
        if request.message().to_tag().is_none() {
            draft = draft.instead("To", &tag);
        }
        draft.bytes()
    }

    pub fn hear(&mut self, message: &Sent) -> Vec<Effect> {
        match message.message().method() {
            _ if self.habit == Habit::Silent => Vec::new(),
            Method::Invite => self.hear_invite(message),
            Method::Ack => {
                self.repeat = None;
                Vec::new()
            }
            Method::Cancel => {
                let status = if self.invite.is_some() { 200 } else { 481 };
                let mut effects = vec![Effect::Send(self.answer(message, status))];
                effects.extend(self.say(487));
                effects
            }
            _ => vec![Effect::Send(self.answer(message, 200))],
        }
    }

    fn hear_invite(&mut self, message: &Sent) -> Vec<Effect> {
        if self.invite.is_some() {
            return vec![Effect::Send(self.last.clone())];
        }
        self.invite = Some(message.clone());
        self.last = self.answer(message, 180);
        let mut effects = vec![Effect::Send(self.last.clone())];
        if let Habit::Says { after_ms, .. } = self.habit {
            effects.push(Effect::Wake(after_ms, DECIDE));
        }
        effects
    }

    /// Gives the final response, once.
    fn say(&mut self, status: u16) -> Vec<Effect> {
        let Some(invite) = self.invite.as_ref().filter(|_| !self.is_final) else {
            return Vec::new();
        };
        self.last = self.answer(invite, status);
        self.is_final = true;
        let repeat = self.repeat.insert(Repeat::start(self.last.clone(), T2_MS));
        repeat.effects(FINAL)
    }

    pub fn wake(&mut self, token: usize) -> Vec<Effect> {
        if token == DECIDE {
            return match self.habit {
                Habit::Says { status, .. } => self.say(status),
                Habit::Rings | Habit::Silent => Vec::new(),
            };
        }
        let Some(repeat) = &mut self.repeat else {
            return Vec::new();
        };
        if repeat.is_spent() {
            return Vec::new();
        }
        repeat.effects(FINAL)
    }
}
