//! Loops and spirals (RFC 3261 §16.3 step 4, RFC 5393 §4.2): a request that comes back unchanged would go round until its
//! Max-Forwards is spent, and at each turn fork once more.
//!
//! Our branch carries a hash of what decides where a request goes. A request below a Via of ours is looping when the hash
//! is what it was then, and spiralling when it is another one: a target of ours led back to us, for another user.

use super::settings::Settings;
use super::Arrival;
use crate::header::HeaderName;
use crate::message::Message;
use crate::secret::{Purpose, Secret};
use crate::transaction::branch::Branch;
use crate::via::Via;
use smallvec::SmallVec;
use std::iter;

/// The loop-detection part of our branch. RFC 5393 §4.2.1 wants it to vary with all that the choice of targets may depend
/// on, and not with the method. Policies choose by the Request-URI, the Route, and who sent the request; the Call-ID is
/// covered by the branch's proof.
pub fn loop_hash(secret: &Secret, request: &Message<'_>, arrival: Arrival) -> u32 {
    let listener = arrival.listener.to_be_bytes();
    let (v4, v6);
    let source: &[u8] = match arrival.source.ip() {
        std::net::IpAddr::V4(address) => {
            v4 = address.octets();
            &v4
        }
        std::net::IpAddr::V6(address) => {
            v6 = address.octets();
            &v6
        }
    };
    let mut parts: SmallVec<[&[u8]; 8]> = SmallVec::new();
    parts.extend([request.request_uri(), source, &listener]);
    parts.extend(request.values(HeaderName::Route));
    secret.proof(Purpose::LoopDetection, &parts) as u32
}

/// Whether the request was here before, and came back as it was.
pub fn is_looping(settings: &Settings, request: &Message<'_>, arrival: Arrival) -> bool {
    let below = request.list(HeaderName::Via).skip(1).map(Via::parse);
    let mut vias = iter::once(request.via()).chain(below.flatten());
    let mut here = None;
    vias.any(|via| {
        own_loop_hash(settings, request, &via).is_some_and(|then| {
            then == *here.get_or_insert_with(|| loop_hash(&settings.secret, request, arrival))
        })
    })
}

/// The hash in a Via that one of our listeners wrote for this call. Another server may share our secret; its Via has
/// another sent-by.
fn own_loop_hash(settings: &Settings, request: &Message<'_>, via: &Via<'_>) -> Option<u32> {
    let branch = via.branch.filter(|branch| Branch::may_be_ours(branch))?;
    let is_ours = settings
        .listeners
        .iter()
        .any(|listener| listener.is_sent_by(via.sent_by));
    if !is_ours {
        return None;
    }
    Branch::verify(&settings.secret, request.call_id(), branch).map(|branch| branch.loop_hash)
}
