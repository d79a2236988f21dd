//! Wake-up descriptors: the eventfd of each worker, opened non-blocking by the supervisor, by which
//! another worker says "your mailbox has something".

use std::io;
use std::os::fd::RawFd;

/// Wakes the worker that polls `fd`. A counter that is already at its maximum (`EAGAIN`) is a
/// success: the worker has not drained it, so it will wake up.
pub fn signal(fd: RawFd) -> io::Result<()> {
    let one = 1u64;
    loop {
        // SAFETY: `one` is eight readable bytes, which is what an eventfd takes.
        let written = unsafe { libc::write(fd, (&raw const one).cast(), 8) };
        if written == 8 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => return Ok(()),
            _ => return Err(error),
        }
    }
}

/// Takes all wake-ups that have come in and returns how many there were, 0 when there was none.
/// Drain before reading the mailboxes, never after: a record pushed in between would sleep.
pub fn drain(fd: RawFd) -> io::Result<u64> {
    let mut count = 0u64;
    loop {
        // SAFETY: `count` is eight writable bytes, which is what an eventfd fills.
        let read = unsafe { libc::read(fd, (&raw mut count).cast(), 8) };
        if read == 8 {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => return Ok(0),
            _ => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    fn event_descriptor(initial: u32) -> OwnedFd {
        // SAFETY: eventfd takes no pointer; the descriptor it returns is ours alone.
        unsafe { OwnedFd::from_raw_fd(libc::eventfd(initial, libc::EFD_NONBLOCK)) }
    }

    #[test]
    fn wake_ups_add_up_until_they_are_drained() {
        let fd = event_descriptor(0);
        assert_eq!(drain(fd.as_raw_fd()).unwrap(), 0);
        signal(fd.as_raw_fd()).unwrap();
        signal(fd.as_raw_fd()).unwrap();
        assert_eq!(drain(fd.as_raw_fd()).unwrap(), 2);
        assert_eq!(drain(fd.as_raw_fd()).unwrap(), 0);
    }

    #[test]
    fn a_full_counter_is_no_error() {
        let fd = event_descriptor(0);
        let almost_full = u64::MAX - 1;
        // SAFETY: `almost_full` is eight readable bytes.
        let written = unsafe { libc::write(fd.as_raw_fd(), (&raw const almost_full).cast(), 8) };
        assert_eq!(written, 8);
        signal(fd.as_raw_fd()).unwrap();
        assert_eq!(drain(fd.as_raw_fd()).unwrap(), u64::MAX - 1);
    }

    #[test]
    fn a_closed_descriptor_is_an_error() {
        assert_eq!(signal(-1).unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(drain(-1).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
