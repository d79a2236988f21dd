//! The one clock that processes can compare with each other.

use std::time::Duration;

/// Time since an arbitrary start that is the same for all processes of this machine
/// (`CLOCK_MONOTONIC`, which is also Python's `time.monotonic()`). Heartbeats are written in it;
/// [`std::time::Instant`] does not reveal its value and cannot be shared.
pub fn monotonic() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec to write to for the time of the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    debug_assert_eq!(result, 0, "CLOCK_MONOTONIC exists on every Linux");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards() {
        let first = monotonic();
        assert!(first > Duration::ZERO);
        assert!(monotonic() >= first);
    }
}
