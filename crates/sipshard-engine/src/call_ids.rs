//! Call-IDs for requests of our own: no other request has them, and their hash is our own shard's, so that the responses
//! come to the worker that waits for them.

use crate::shard::{CallIdHash, PARTITIONS};
use sipshard_proto::{Purpose, Secret};
use std::hash::{BuildHasher, RandomState};

/// A shard with a single partition is met once in [`PARTITIONS`] tries; so many misses in a row do not happen.
const MAX_TRIES: u32 = PARTITIONS * 64;

/// The Call-IDs of one worker's life.
pub struct CallIds {
    secret: Secret,
    hash: CallIdHash,
    shard: u16,
    workers: u16,
    /// Tells this life from every other; the operating system's random numbers.
    life: [u8; 16],
    count: u64,
}

impl CallIds {
    /// Call-IDs that belong to `shard` of `workers`.
    pub fn new(secret: Secret, shard: u16, workers: u16) -> Self {
        let random = || RandomState::new().hash_one(shard).to_be_bytes();
        let mut life = [0; 16];
        life[..8].copy_from_slice(&random());
        life[8..].copy_from_slice(&random());
        Self {
            hash: CallIdHash::of(&secret),
            secret,
            shard,
            workers,
            life,
            count: 0,
        }
    }

    /// The next one. It tells nobody how many there were before.
    pub fn next(&mut self) -> Box<[u8]> {
        let mut call_id = String::new();
        for _ in 0..MAX_TRIES {
            self.count += 1;
            let parts = [&self.life[..], &self.count.to_be_bytes()];
            let key = self.secret.key(Purpose::OwnRequest, &parts);
            call_id = format!("{key:032x}");
            if self.hash.shard(call_id.as_bytes(), self.workers) == self.shard {
                break;
            }
        }
        call_id.into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_call_id_is_new_and_belongs_to_its_own_shard() {
        let secret = Secret::new([7; 16]);
        let hash = CallIdHash::of(&secret);
        let mut seen = HashSet::new();
        for workers in [1, 2, 3, 64, 256] {
            for shard in [0, workers / 2, workers - 1] {
                let mut call_ids = CallIds::new(secret.clone(), shard, workers);
                for _ in 0..20 {
                    let call_id = call_ids.next();
                    assert_eq!(hash.shard(&call_id, workers), shard);
                    assert!(seen.insert(call_id), "it was there before");
                }
            }
        }
    }
}
