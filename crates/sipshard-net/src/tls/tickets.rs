//! Stateless session tickets (RFC 5077, RFC 8446 §4.6.1) that every worker can open: their keys
//! follow from a secret that all workers share, and from the time.
//!
//! A ticket is the epoch (4 bytes), a salt (16 bytes) and the sealed session. Each has a key of its
//! own, so that no number of workers can use one nonce twice under one key:
//!
//! ```text
//! key    = HKDF-SHA-256(salt, secret, "sipshard ticket" | epoch | context)
//! sealed = AES-256-GCM(key, nonce 0, associated data epoch | salt)
//! ```
//!
//! An epoch lasts 12 hours, and tickets of the present and the previous one are opened. A ticket
//! thus lives for 12 to 24 hours, and whoever learns the keys of an epoch learns no other's; whoever
//! learns the secret can open all. `context` stands for what a client had to prove to get the ticket:
//! a session that was made without a client certificate does not resume where one is required.

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_256_GCM};
use ring::hkdf::{Salt, HKDF_SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::Arc;

/// How long tickets are made with one epoch's keys.
const EPOCH_S: u64 = 12 * 3600;

const EPOCH_BYTES: usize = 4;
const SALT_BYTES: usize = 16;
const HEAD_BYTES: usize = EPOCH_BYTES + SALT_BYTES;

/// Seconds since 1970 by the wall clock, which all workers share; tests give another.
pub(super) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Makes and opens tickets.
pub(super) struct Tickets {
    secret: [u8; 16],
    context: [u8; 32],
    clock: Clock,
    random: SystemRandom,
}

impl Tickets {
    pub(super) fn new(secret: [u8; 16], context: [u8; 32], clock: Clock) -> Tickets {
        Tickets {
            secret,
            context,
            clock,
            random: SystemRandom::new(),
        }
    }

    /// The number of the present epoch. Four bytes last for 5 million years.
    fn epoch(&self) -> u32 {
        ((self.clock)() / EPOCH_S) as u32
    }

    fn key(&self, head: &[u8]) -> Option<LessSafeKey> {
        let (epoch, salt) = head.split_at_checked(EPOCH_BYTES)?;
        let purpose = [&b"sipshard ticket"[..], epoch, &self.context];
        let extracted = Salt::new(HKDF_SHA256, salt).extract(&self.secret);
        let expanded = extracted.expand(&purpose, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(expanded)))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        EPOCH_S as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut head = [0; HEAD_BYTES];
        head[..EPOCH_BYTES].copy_from_slice(&self.epoch().to_be_bytes());
        self.random.fill(&mut head[EPOCH_BYTES..]).ok()?;
        let mut ticket = Vec::with_capacity(HEAD_BYTES + plain.len() + AES_256_GCM.tag_len());
        ticket.extend_from_slice(&head);
        ticket.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = self
            .key(&head)?
            .seal_in_place_separate_tag(nonce, Aad::from(head), &mut ticket[HEAD_BYTES..])
            .ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (head, sealed) = ticket.split_at_checked(HEAD_BYTES)?;
        let epoch = u32::from_be_bytes(head[..EPOCH_BYTES].try_into().ok()?);
        if self.epoch().checked_sub(epoch)? > 1 {
            return None;
        }
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let mut sealed = sealed.to_vec();
        let key = self.key(head)?;
        let length = key
            .open_in_place(nonce, Aad::from(head), &mut sealed)
            .ok()?
            .len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl fmt::Debug for Tickets {
    /// Never the secret: configurations end up in logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tickets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn tickets(secret: u8, context: u8, now: &Arc<AtomicU64>) -> Tickets {
        let now = now.clone();
        let clock = Arc::new(move || now.load(Ordering::Relaxed));
        Tickets::new([secret; 16], [context; 32], clock)
    }

    #[test]
    fn whoever_has_secret_and_context_opens_and_nobody_else() {
        let now = Arc::new(AtomicU64::new(1_800_000_000));
        let ticket = tickets(1, 1, &now).encrypt(b"session").unwrap();
        let opened = |secret, context| tickets(secret, context, &now).decrypt(&ticket);
        assert_eq!(opened(1, 1).as_deref(), Some(&b"session"[..]));
        assert_eq!(opened(2, 1), None);
        assert_eq!(opened(1, 2), None);
    }

    #[test]
    fn the_present_and_the_previous_epoch_are_opened() {
        let now = Arc::new(AtomicU64::new(100 * EPOCH_S));
        let tickets = tickets(1, 1, &now);
        let ticket = tickets.encrypt(b"session").unwrap();
        for (time, is_opened) in [
            (101 * EPOCH_S - 1, true),
            (102 * EPOCH_S - 1, true),
            (102 * EPOCH_S, false),
            (100 * EPOCH_S - 1, false),
        ] {
            now.store(time, Ordering::Relaxed);
            assert_eq!(tickets.decrypt(&ticket).is_some(), is_opened, "{time}");
        }
    }

    #[test]
    fn a_ticket_that_was_cut_or_changed_is_not_opened() {
        let now = Arc::new(AtomicU64::new(1_800_000_000));
        let tickets = tickets(1, 1, &now);
        let ticket = tickets.encrypt(b"session").unwrap();
        for index in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..index]), None);
            let mut changed = ticket.clone();
            changed[index] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "byte {index}");
        }
        assert_ne!(tickets.encrypt(b"session").unwrap(), ticket, "salted");
    }
}
