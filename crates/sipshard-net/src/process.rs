//! What a child process asks of the kernel about itself.

use crate::check;
use std::io;
use std::mem;

/// Asks the kernel to send `signal` to this process when its parent dies, so that no worker outlives
/// its supervisor. The request is lost on exec, and it comes too late when the parent has already
/// died: the caller compares the parent's pid with the expected one afterwards and exits when they
/// differ. The kernel means the parent's *thread* that forked: fork from the main thread.
pub fn die_with_parent(signal: i32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one integer and no pointer.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0, 0, 0) };
    check(result).map(drop)
}

/// Pins this process to one CPU: the one at `index` among the CPUs it may run on (a container often
/// has no CPU 0), starting over when there are fewer. Call it once, right after the fork: afterwards
/// the process may run on that one only, so a second call changes nothing. Returns the CPU.
pub fn pin_to_cpu(index: usize) -> io::Result<usize> {
    let allowed = allowed_cpus()?;
    let Some(&cpu) = allowed.get(index % allowed.len().max(1)) else {
        return Err(io::Error::other("this process may run on no CPU"));
    };
    // SAFETY: a cpu_set_t is an array of integers, for which all bits zero is a value.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `cpu` came from a set of this size, so it is in range; `set` is ours.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is readable for the size given; 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &set) };
    check(result).map(|_| cpu)
}

/// The numbers of the CPUs that this process may run on, ascending.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: a cpu_set_t is an array of integers, for which all bits zero is a value.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is writable for the size given; 0 is the calling thread.
    check(unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) })?;
    // SAFETY: the index stays below the number of bits in the set.
    let is_allowed = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    Ok((0..8 * mem::size_of_val(&set)).filter(is_allowed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn pinning_leaves_one_cpu_and_starts_over_behind_the_last() {
        let before = allowed_cpus().unwrap();
        for index in [0, before.len() - 1, before.len()] {
            // The affinity is the thread's own, so that the other tests keep theirs.
            let (cpu, after) =
                thread::spawn(move || (pin_to_cpu(index).unwrap(), allowed_cpus().unwrap()))
                    .join()
                    .unwrap();
            assert_eq!(cpu, before[index % before.len()]);
            assert_eq!(after, vec![cpu]);
        }
    }

    #[test]
    fn an_unknown_signal_is_refused() {
        assert_eq!(
            die_with_parent(9999).unwrap_err().raw_os_error(),
            Some(libc::EINVAL)
        );
        die_with_parent(0).unwrap();
    }
}
