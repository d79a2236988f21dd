//! The sharding rule in the worker: the same hash as the kernel's steering program, so that every message of a call ends
//! at the same worker whatever socket it came through.

use sipshard_proto::Secret;

/// So many bytes of the Call-ID count.
pub const HASHED_BYTES: usize = 32;
/// The state is cut into so many parts; changing the number of workers moves parts, it re-hashes nothing.
pub const PARTITIONS: u32 = 256;

/// The hash of one installation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallIdHash {
    /// Secret start.
    pub basis: u32,
    /// Secret multiplier, odd.
    pub multiplier: u32,
}

impl CallIdHash {
    /// Derives the hash from the installation's secret.
    pub fn of(secret: &Secret) -> Self {
        let bits = secret.steering_seed();
        Self {
            basis: (bits >> 32) as u32,
            // 5 modulo 8: odd, and of full order, so that no multiplier that counts in step with counted Call-IDs
            // (1, 3, 2^32 - 1) can come out.
            multiplier: (bits as u32 & !7) | 5,
        }
    }

    /// The partition of a call, below [`PARTITIONS`]. The value ends at its first white space or control character.
    pub fn partition(self, call_id: &[u8]) -> u32 {
        let counted = call_id
            .iter()
            .take(HASHED_BYTES)
            .take_while(|&&byte| byte > b' ');
        let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(self.multiplier);
        counted.fold(self.basis, mix) >> 24
    }

    /// The worker, of `workers`, that a call belongs to.
    pub fn shard(self, call_id: &[u8], workers: u16) -> u16 {
        (self.partition(call_id) * u32::from(workers) / PARTITIONS) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_spread_evenly_whatever_the_secret() {
        for seed in 0..8 {
            let hash = CallIdHash::of(&Secret::new([seed; 16]));
            let mut per_worker = [0_u32; 3];
            for number in 0..30_000 {
                let call_id = format!("{number}-4711@192.0.2.{}", number % 250);
                per_worker[usize::from(hash.shard(call_id.as_bytes(), 3))] += 1;
            }
            for count in per_worker {
                assert!((9_000..11_000).contains(&count), "{per_worker:?}");
            }
        }
    }

    #[test]
    fn more_workers_move_whole_partitions() {
        let hash = CallIdHash::of(&Secret::new([1; 16]));
        for number in 0..1_000 {
            let call_id = format!("call-{number}");
            let partition = hash.partition(call_id.as_bytes());
            assert_eq!(u32::from(hash.shard(call_id.as_bytes(), 256)), partition);
            assert_eq!(u32::from(hash.shard(call_id.as_bytes(), 4)), partition / 64);
        }
    }

    #[test]
    fn only_the_first_bytes_up_to_white_space_count() {
        let hash = CallIdHash::of(&Secret::new([1; 16]));
        let long = b"0123456789abcdef0123456789abcdef-and-more";
        assert_eq!(hash.partition(long), hash.partition(&long[..HASHED_BYTES]));
        assert_eq!(hash.partition(b"call one"), hash.partition(b"call"));
    }
}
