//! What the steering program has to compute, written for reading and not for a kernel.

use sipshard_net::steering::Steering;

/// The worker of a Call-ID value that stands at the start of `text`, blanks before it allowed.
pub fn worker_of_value(steering: &Steering, text: &[u8]) -> u32 {
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let value = &text[text.iter().take_while(is_blank).count()..];
    let mut hash = steering.basis;
    for byte in value.iter().take_while(|byte| **byte > 0x20).take(32) {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(steering.multiplier);
    }
    (hash >> 24) * u32::from(steering.workers) / 256
}

/// Where the value of each `LF "Call-ID:"` begins, in any letter case.
pub fn value_offsets(datagram: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let needle = b"\nCall-ID:";
    datagram
        .windows(needle.len())
        .enumerate()
        .filter(move |(_, window)| window.eq_ignore_ascii_case(needle))
        .map(move |(offset, _)| offset + needle.len())
}
