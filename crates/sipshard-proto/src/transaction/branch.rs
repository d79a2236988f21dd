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
    /// The branch of a request that leaves in this life of the worker. Without a transaction it is the same in every life:
    /// a retransmission may meet the next one.
    pub const fn new(generation: u8, handle: Handle, loop_hash: u32) -> Self {
        let generation = if handle.slot == NO_SLOT {
            0
        } else {
            generation
        };
        Self {
            generation,
            handle,
            loop_hash,
        }
    }

    /// Whether the request left without a transaction.
    pub const fn is_stateless(self) -> bool {
        self.handle.slot == NO_SLOT
    }

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

/// Appends the lowest `digits` hexadecimal digits of `number`, at most sixteen.
pub fn write_hex(out: &mut Vec<u8>, number: u64, digits: usize) {
    let mut text = [0; 16];
    text[..8].copy_from_slice(&eight_digits((number >> 32) as u32));
    text[8..].copy_from_slice(&eight_digits(number as u32));
    out.extend_from_slice(&text[16 - digits.min(16)..]);
}

/// All eight digits at once: four bits in each byte of a word, then the letters' distance from the digits.
const fn eight_digits(number: u32) -> [u8; 8] {
    let mut word = number as u64;
    word = (word & 0xffff_0000) << 16 | word & 0xffff;
    word = (word & 0xff00_0000_ff00) << 8 | word & 0x00ff_0000_00ff;
    word = (word & 0x00f0_00f0_00f0_00f0) << 4 | word & 0x000f_000f_000f_000f;
    let letters = (word + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (word + 0x3030_3030_3030_3030 + letters * 39).to_be_bytes()
}

/// Reads lower-case hexadecimal digits, at most sixteen.
pub fn read_hex(digits: &[u8]) -> Option<u64> {
    if digits.len() > 16 {
        return None;
    }
    let (mut number, mut seen) = (0_u64, 0);
    for &digit in digits {
        let value = VALUES[usize::from(digit)];
        number = number << 4 | u64::from(value & 15);
        seen |= value;
    }
    (seen & NO_DIGIT == 0).then_some(number)
}

const NO_DIGIT: u8 = 0x10;

/// The value of each byte as a digit, or [`NO_DIGIT`].
static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        let letter_gap = if value > 9 { b'a' - b'0' - 10 } else { 0 };
        values[(b'0' + value + letter_gap) as usize] = value;
        value += 1;
    }
    values
};

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

    #[test]
    fn hexadecimal_numbers_are_written_and_read_back() {
        for (number, digits, text) in [
            (0, 2, "00"),
            (0x1f, 2, "1f"),
            (0xa9, 4, "00a9"),
            (0x0123_4567_89ab_cdef, 16, "0123456789abcdef"),
            (u64::MAX, 16, "ffffffffffffffff"),
        ] {
            let mut out = Vec::new();
            write_hex(&mut out, number, digits);
            assert_eq!(out, text.as_bytes());
            assert_eq!(read_hex(text.as_bytes()), Some(number));
        }
        for bad in ["g", "F", "1 ", "-1", "00000000000000001"] {
            assert_eq!(read_hex(bad.as_bytes()), None, "{bad}");
        }
    }
}
