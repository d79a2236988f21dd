//! Loops and spirals (RFC 3261 §16.3 step 4, RFC 5393 §4.2): a request that comes back unchanged would go round until its
//! Max-Forwards is spent, and at each turn fork once more.
//!
//! Our branch carries a hash of what decides where a request goes. A request below a Via of ours is looping when the hash
//! is what it was then, and spiralling when it is another one: a target of ours led back to us, for another user.

use super::settings::Settings;
use super::Arrival;
use crate::header::HeaderName;
use crate::message::Message;
use crate::transaction::branch::Branch;
use crate::via::Via;
use std::iter;
use std::net::IpAddr;

/// The loop-detection part of our branch. RFC 5393 §4.2.1 wants it to vary with all that the choice of targets may depend
/// on, and not with the method. Policies choose by the Request-URI, the Route, and who sent the request; the Call-ID is
/// covered by the branch's proof.
///
/// No secret goes in: who makes two requests collide has his own call refused.
pub fn loop_hash(request: &Message<'_>, arrival: Arrival) -> u32 {
    let source = match arrival.source.ip() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let mut hash = mix(u64::from(arrival.listener), source as u64);
    hash = mix(hash, (source >> 64) as u64);
    hash = absorb(hash, request.request_uri());
    hash = request.values(HeaderName::Route).fold(hash, absorb);
    (hash >> 32) as u32
}

fn absorb(hash: u64, text: &[u8]) -> u64 {
    let chunks = text.chunks_exact(8);
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    let word = |bytes: &[u8]| {
        bytes
            .first_chunk()
            .map_or(0, |word| u64::from_le_bytes(*word))
    };
    let hash = chunks.fold(hash, |hash, chunk| mix(hash, word(chunk)));
    // The length keeps the border between two texts.
    mix(mix(hash, u64::from_le_bytes(last)), text.len() as u64)
}

/// The upper half of the product goes back into the lower one, so that every bit of the words reaches every bit.
const fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word ^ 0x2545_f491_4f6c_dd1d) as u128 * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

/// Whether the request was here before, and came back as it was.
pub fn is_looping(settings: &Settings, request: &Message<'_>, arrival: Arrival) -> bool {
    let below = request.list(HeaderName::Via).skip(1).map(Via::parse);
    let mut vias = iter::once(request.via()).chain(below.flatten());
    let mut here = None;
    vias.any(|via| {
        own_loop_hash(settings, request, &via)
            .is_some_and(|then| then == *here.get_or_insert_with(|| loop_hash(request, arrival)))
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
