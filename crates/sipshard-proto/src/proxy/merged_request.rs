//! Merged requests (RFC 3261 §8.2.2.2): one request that was forked upstream and comes here by several ways.
//!
//! The rule is a user agent server's: only one copy may be answered, the others get 482. A proxy forwards each copy, for
//! §16 does not repeat the rule and every copy has a branch of its own to be answered on. So the identities of those requests
//! alone are kept that this server answers itself. What was forwarded is not among them: a request that spirals back to us,
//! for another Request-URI, may well be ours to answer then.

use super::response_context::Phase;
use super::{OwnResponse, Proxy};
use crate::count::Count;
use crate::message::Message;
use crate::secret::{Purpose, Secret};
use crate::slots::Handle;
use crate::timestamp::Timestamp;
use hashbrown::HashMap;

/// So many identities are kept before those are looked for whose transactions have ended.
const SWEEP_AT: usize = 1_024;

/// The requests that this server answers itself, by what §8.2.2.2 compares.
#[derive(Default)]
pub struct AnsweredRequests {
    by_identity: HashMap<u128, Handle>,
    sweep_at: usize,
}

impl Proxy {
    /// Answers 482 if another copy of the request is, or was a moment ago, answered here. To be asked before the server
    /// answers as what the request was meant for; afterwards there is nothing to decide any more. Twice at most as many
    /// identities are kept as there are transactions.
    pub fn refuse_merged(&mut self, now: Timestamp, id: Handle) -> bool {
        let Some(server) = self.transactions.server(id) else {
            return false;
        };
        let Some(request) = server
            .user
            .request
            .clone()
            .filter(|_| server.user.phase == Phase::Deciding)
        else {
            return false;
        };
        if request.to_tag().is_some() {
            return false;
        }
        let identity = identity(&self.settings.secret, &request);
        let twin = self.answered.by_identity.get(&identity).copied();
        let is_other = |twin: &Handle| *twin != id && self.transactions.server(*twin).is_some();
        if twin.filter(is_other).is_some() {
            self.counts.add(Count::MergedRequests);
            return self.answer(now, id, OwnResponse::of(482));
        }
        self.forget_ended();
        self.answered.by_identity.insert(identity, id);
        false
    }

    fn forget_ended(&mut self) {
        let answered = &mut self.answered;
        if answered.by_identity.len() < answered.sweep_at.max(SWEEP_AT) {
            return;
        }
        let transactions = &self.transactions;
        answered
            .by_identity
            .retain(|_, id| transactions.server(*id).is_some());
        answered.sweep_at = answered.by_identity.len() * 2;
    }
}

fn identity(secret: &Secret, request: &Message<'_>) -> u128 {
    secret.key(
        Purpose::MergedRequest,
        &[
            request.from_tag().unwrap_or_default(),
            request.call_id(),
            &request.cseq().to_be_bytes(),
            request.method_token(),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{arrival, proxy, register};
    use super::super::Event;
    use super::*;

    #[test]
    fn what_was_answered_is_forgotten_with_its_transaction() {
        let mut proxy = proxy();
        let mut now = Timestamp::from_millis(0);
        for number in 0..5 * SWEEP_AT {
            let text = register(number);
            let request = Message::parse(text.as_bytes()).unwrap();
            proxy.handle_message(now, arrival(), &request);
            let Some(Event::RequestReceived(question)) = proxy.poll_event() else {
                panic!("a question");
            };
            assert!(!proxy.refuse_merged(now, question.id));
            proxy
                .respond(now, question.id, OwnResponse::of(200))
                .unwrap();
            now = now.after_ms(100);
            proxy.handle_timeout(now);
            assert!(proxy.answered.by_identity.len() <= SWEEP_AT);
        }
    }
}
