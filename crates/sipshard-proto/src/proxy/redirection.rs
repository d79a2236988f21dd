//! Recursion on a 3xx (RFC 3261 §16.5, §16.7 step 4): its contacts join the target set, and leave the response.

use super::decision::strip_uri_headers;
use super::own_response::write_without_own_via;
use super::response_context::{in_order_of_trial, Cancel, Phase, ResponseContext, Target};
use super::Proxy;
use crate::contact::Contact;
use crate::count::Count;
use crate::header::HeaderName;
use crate::message::Message;
use crate::slots::Handle;
use crate::uri::{Scheme, Uri};

impl Proxy {
    /// What is left of a failure that a branch has answered, without our Via and, where the policy wants recursion,
    /// without the contacts that are tried. `None` when all are: such a response has nothing to say any more.
    pub(super) fn remainder(
        &mut self,
        (id, index): (Handle, usize),
        response: &Message<'_>,
    ) -> Option<Box<[u8]>> {
        let mut bytes = Vec::with_capacity(response.bytes().len());
        write_without_own_via(response, &mut bytes);
        let server = self.transactions.server_mut(id);
        let context = server
            .map(|server| &mut server.user)
            .filter(|context| context.recurses(index, response));
        let Some(context) = context else {
            return Some(bytes.into());
        };
        let before = context.waiting.len();
        let left: Vec<&[u8]> = response
            .list(HeaderName::Contact)
            .filter(|contact| !context.takes(contact))
            .collect();
        let taken = context.waiting.len() - before;
        context.waiting = in_order_of_trial(std::mem::take(&mut context.waiting));
        self.counts
            .add_many(Count::RedirectionsFollowed, taken as u64);
        (!left.is_empty()).then(|| with_contacts(&bytes, &left))
    }
}

impl ResponseContext {
    /// Whether the contacts of this response are to be tried: the search goes on, and they stand for the resource itself
    /// (a 305 names a proxy, a 380 another service).
    fn recurses(&self, index: usize, response: &Message<'_>) -> bool {
        let is_wanted = |index: usize| {
            let branch = self.branches.get(index);
            branch.is_some_and(|branch| branch.cancel == Cancel::NotWanted)
        };
        self.options.recurse
            && self.phase == Phase::Forwarding
            && matches!(response.status(), 300..=302)
            && response.value(HeaderName::Contact).is_some()
            && is_wanted(index)
    }

    /// Puts a contact into the target set. False when it stays with the caller: it is no SIP URI, less secure than what
    /// the caller asked for, or one too many. One that is or was in the set counts as taken, and is not tried twice.
    fn takes(&mut self, contact: &[u8]) -> bool {
        let Some(target) = self.target_of(contact) else {
            return false;
        };
        if self.is_in_target_set(&target) {
            return true;
        }
        if self.targets_left == 0 {
            return false;
        }
        self.targets_left -= 1;
        self.target_set.push(target.uri.clone());
        self.waiting.push(target);
        true
    }

    fn target_of(&self, contact: &[u8]) -> Option<Target> {
        let Ok(Contact::Address { name_addr, q, .. }) = Contact::parse(contact) else {
            return None;
        };
        let scheme = Uri::parse(name_addr.uri).ok()?.scheme;
        let asked = self.request.as_ref()?.request_uri();
        let is_sips = Uri::parse(asked).is_ok_and(|uri| uri.scheme == Scheme::Sips);
        if scheme != Scheme::Sips && (scheme != Scheme::Sip || is_sips) {
            return None;
        }
        let mut target = Target {
            uri: name_addr.uri.into(),
            q_milli: q.unwrap_or(1_000),
            routes: Vec::new(),
            flow: None,
            ring_timeout_ms: None,
            edits: self.redirection_edits.clone().unwrap_or_default(),
        };
        strip_uri_headers(&mut target);
        Some(target)
    }

    fn is_in_target_set(&self, target: &Target) -> bool {
        let Ok(uri) = Uri::parse(&target.uri) else {
            return false;
        };
        let is_same = |known: &[u8]| Uri::parse(known).is_ok_and(|known| known.equivalent(&uri));
        self.target_set.iter().any(|known| is_same(known))
    }
}

/// The response with these contacts in the place of its own.
fn with_contacts(bytes: &[u8], contacts: &[&[u8]]) -> Box<[u8]> {
    let Ok(response) = Message::parse(bytes) else {
        return bytes.into();
    };
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(response.start_line());
    for field in response.headers() {
        if field.name != HeaderName::Contact {
            out.extend_from_slice(response.text(field.whole));
        }
    }
    for contact in contacts {
        out.extend_from_slice(b"Contact: ");
        out.extend_from_slice(contact);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(response.body());
    out.into()
}
