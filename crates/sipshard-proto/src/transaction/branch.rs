//! The branch parameter that we put into our Via: it names the client transaction, so that a response finds it without a
//! search, and proves that the request was ours.
//!
//! `z9hG4bK` generation (2 hex digits), slot (8), serial (8), loop hash (8), proof (16). The proof covers all of them and the
//! Call-ID, so a response that outlived its transaction, or the worker that kept it, is still known to be an answer to
//! something we sent; and so is a request that comes back to us.

use super::key::MAGIC_COOKIE;
use crate::message::Message;
use crate::secret::{Purpose, Secret};
use crate::slots::Handle;

/// The decoded parts of a branch of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Branch {
    /// Which life of the worker sent the request; its low eight bits.
    pub generation: u8,
    /// The client transaction.
    pub handle: Handle,
    /// What the choice of the target depended on (RFC 5393 §4.2.1).
    pub loop_hash: u32,
}

/// A slot that no client transaction has.
const NO_SLOT: u32 = u32::MAX;

/// The handle in the branch of a request that has no client transaction: an ACK to a 2xx. It is made from the received
/// branch, so that the same request has the same one each time and another request another one (§16.11).
pub fn stateless_handle(secret: &Secret, request: &Message<'_>) -> Handle {
    let parts = [request.via().raw, &request.cseq().to_be_bytes()];
    Handle {
        slot: NO_SLOT,
        serial: secret.proof(Purpose::StatelessBranch, &parts) as u32,
    }
}

const DIGITS: usize = 2 + 8 + 8 + 8 + 16;

impl Branch {
    /// Appends the branch for a request of the call `call_id`.
    pub fn write(self, secret: &Secret, call_id: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC_COOKIE);
        write_hex(out, u64::from(self.generation), 2);
        write_hex(out, self.handle.as_u64(), 16);
        write_hex(out, u64::from(self.loop_hash), 8);
        write_hex(out, self.proof(secret, call_id), 16);
    }

    /// Reads a branch back; `None` when we did not write it for a request of the call `call_id`.
    pub fn verify(secret: &Secret, call_id: &[u8], branch: &[u8]) -> Option<Self> {
        let digits = branch.strip_prefix(MAGIC_COOKIE)?;
        if digits.len() != DIGITS {
            return None;
        }
        let read = Self {
            generation: read_hex(&digits[..2])? as u8,
            handle: Handle::from_u64(read_hex(&digits[2..18])?),
            loop_hash: read_hex(&digits[18..26])? as u32,
        };
        let proof = read_hex(&digits[26..])?;
        (proof == read.proof(secret, call_id)).then_some(read)
    }

    /// Whether a branch has the form of ours; a look before the proof is computed.
    pub fn may_be_ours(branch: &[u8]) -> bool {
        branch.len() == MAGIC_COOKIE.len() + DIGITS && branch.starts_with(MAGIC_COOKIE)
    }

    fn proof(self, secret: &Secret, call_id: &[u8]) -> u64 {
        let mut identity = [self.generation; 13];
        identity[1..9].copy_from_slice(&self.handle.as_u64().to_be_bytes());
        identity[9..].copy_from_slice(&self.loop_hash.to_be_bytes());
        secret.proof(Purpose::Branch, &[&identity, call_id])
    }
}

/// Appends the lowest `digits` hexadecimal digits of `number`.
pub fn write_hex(out: &mut Vec<u8>, number: u64, digits: u32) {
    const ALPHABET: &[u8; 16] = b"0123456789abcdef";
    for place in (0..digits).rev() {
        out.push(ALPHABET[(number >> (place * 4)) as usize & 15]);
    }
}

/// Reads lower-case hexadecimal digits, at most sixteen.
pub fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRANCH: Branch = Branch {
        generation: 3,
        handle: Handle {
            slot: 77,
            serial: 0xfeed_beef,
        },
        loop_hash: 0x1234_abcd,
    };

    #[test]
    fn a_branch_is_read_back_for_its_own_call_only() {
        let secret = Secret::new([1; 16]);
        let mut text = Vec::new();
        BRANCH.write(&secret, b"call-1", &mut text);
        assert_eq!(Branch::verify(&secret, b"call-1", &text), Some(BRANCH));
        assert_eq!(Branch::verify(&secret, b"call-2", &text), None);
        let other = Secret::new([2; 16]);
        assert_eq!(Branch::verify(&other, b"call-1", &text), None);
    }

    #[test]
    fn a_changed_branch_is_nobodys() {
        let secret = Secret::new([1; 16]);
        let mut text = Vec::new();
        BRANCH.write(&secret, b"call-1", &mut text);
        for place in 0..text.len() {
            let mut changed = text.clone();
            changed[place] ^= 1;
            assert_eq!(Branch::verify(&secret, b"call-1", &changed), None);
        }
        assert_eq!(Branch::verify(&secret, b"call-1", b"z9hG4bK"), None);
    }
}
