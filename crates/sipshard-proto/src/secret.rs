//! The installation's secret, and all that is derived from it.
//!
//! Transaction keys are 128-bit keyed hashes, so that a table entry need not keep the strings it stands for;
//! branches and Record-Route values carry a 64-bit proof that we wrote them.

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13Wide};
use std::hash::Hasher;

/// Sixteen random bytes, the same in every worker and across restarts.
#[derive(Clone)]
pub struct Secret([u8; 16]);

/// What a keyed hash is for; two purposes never give the same hash for the same bytes.
#[derive(Clone, Copy)]
pub enum Purpose {
    /// Identity of a server transaction (RFC 3261 §17.2.3).
    TransactionKey = 1,
    /// Proof in a Via branch of ours.
    Branch = 2,
    /// Proof in a Record-Route value of ours.
    RecordRoute = 3,
    /// The To tag of a response that we make ourselves.
    ToTag = 4,
    /// Start and multiplier of the Call-ID hash.
    Steering = 5,
    /// The serial number in the branch of a request that is forwarded without a transaction.
    StatelessBranch = 6,
    /// The token of a flow.
    Flow = 7,
    /// The key of TLS session tickets.
    Tickets = 8,
    /// The order in which a call tries the ways to a server.
    HopOrder = 9,
    /// Identity of a request that this server answers itself (RFC 3261 §8.2.2.2).
    MergedRequest = 10,
    /// Who is refused when there is too much work.
    Overload = 11,
    /// Call-ID and From tag of a request of our own.
    OwnRequest = 16,
}

impl Secret {
    /// Takes the installation's key.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bits from which the sharding rule takes its own secrets.
    pub fn steering_seed(&self) -> u64 {
        self.proof(Purpose::Steering, &[])
    }

    /// The key that all workers seal TLS session tickets with.
    pub fn ticket_secret(&self) -> [u8; 16] {
        self.key(Purpose::Tickets, &[]).to_be_bytes()
    }

    /// A 64-bit keyed hash of the parts, with their borders.
    pub fn proof(&self, purpose: Purpose, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        feed(&mut hasher, purpose, parts);
        hasher.finish()
    }

    /// A 128-bit keyed hash of the parts, with their borders.
    pub fn key(&self, purpose: Purpose, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher13Wide::new_with_key(&self.0);
        feed(&mut hasher, purpose, parts);
        hasher.finish128().as_u128()
    }
}

fn feed(hasher: &mut impl Hasher, purpose: Purpose, parts: &[&[u8]]) {
    hasher.write_u8(purpose as u8);
    for part in parts {
        hasher.write(part);
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hasher.write_u32(part.len() as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_purposes_are_kept_apart() {
        let secret = Secret::new([7; 16]);
        let of = |purpose, parts: &[&[u8]]| secret.proof(purpose, parts);
        assert_ne!(
            of(Purpose::Branch, &[b"ab", b"c"]),
            of(Purpose::Branch, &[b"a", b"bc"])
        );
        assert_ne!(of(Purpose::Branch, &[b"ab"]), of(Purpose::ToTag, &[b"ab"]));
        assert_ne!(
            Secret::new([8; 16]).proof(Purpose::Branch, &[b"ab"]),
            of(Purpose::Branch, &[b"ab"])
        );
    }
}
