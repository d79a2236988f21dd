//! The poller: one epoll instance of a worker, over its sockets, its wake-up descriptor and what
//! asyncio registers.

use crate::check;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Data can be read.
pub const READABLE: u32 = libc::EPOLLIN as u32;
/// Data can be written.
pub const WRITABLE: u32 = libc::EPOLLOUT as u32;
/// An error is pending. Always reported, asked for or not.
pub const ERROR: u32 = libc::EPOLLERR as u32;
/// The peer has closed. Always reported, asked for or not.
pub const HANG_UP: u32 = libc::EPOLLHUP as u32;

/// One descriptor that is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// What [`Poller::add`] was given for the descriptor.
    pub token: u64,
    /// Any of [`READABLE`], [`WRITABLE`], [`ERROR`], [`HANG_UP`].
    pub mask: u32,
}

/// Room for what one [`Poller::wait`] reports; kept by the caller so that nothing is allocated. The
/// default has none.
#[derive(Default)]
pub struct Events {
    slots: Box<[libc::epoll_event]>,
    count: usize,
}

impl Events {
    /// Room for `capacity` events, at least one. Those that find no room are reported next time.
    pub fn with_capacity(capacity: usize) -> Events {
        let slots = vec![libc::epoll_event { events: 0, u64: 0 }; capacity.max(1)];
        Events {
            slots: slots.into_boxed_slice(),
            count: 0,
        }
    }

    /// What the last wait reported.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.slots[..self.count].iter().map(|slot| Event {
            token: slot.u64,
            mask: slot.events,
        })
    }
}

/// A level-triggered epoll instance: a descriptor is reported until it has been drained.
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// Opens the instance, close-on-exec. Open it after the fork: an inherited one is shared with
    /// the parent, and each would change what the other waits for.
    pub fn new() -> io::Result<Poller> {
        // SAFETY: epoll_create1 takes no pointer.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: `fd` has just been opened and nobody else knows it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Poller { epoll })
    }

    /// Watches `fd` for `mask`. `token` comes back in its events. `AlreadyExists` when it is watched.
    pub fn add(&self, fd: RawFd, token: u64, mask: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, mask)
    }

    /// Changes token and mask of a watched `fd`. `NotFound` when it is not watched.
    pub fn modify(&self, fd: RawFd, token: u64, mask: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, mask)
    }

    /// Stops watching `fd`. `NotFound` when it is not watched. The kernel forgets a descriptor by
    /// itself only when the last copy of it in any process is closed: remove it before closing.
    pub fn remove(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    /// Waits until a descriptor is ready or `timeout_ms` have passed (0: only look, negative: no
    /// bound). Returns the number of events; 0 also when a signal came in between.
    pub fn wait(&self, events: &mut Events, timeout_ms: i32) -> io::Result<usize> {
        events.count = 0;
        let capacity = i32::try_from(events.slots.len()).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes at most `capacity` events, for which `slots` has room.
        let result = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                events.slots.as_mut_ptr(),
                capacity,
                timeout_ms,
            )
        };
        match check(result) {
            Ok(count) => events.count = count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(events.count)
    }

    fn control(&self, operation: i32, fd: RawFd, token: u64, mask: u32) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: mask,
            u64: token,
        };
        // SAFETY: `event` is readable for the time of the call.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) })
            .map(drop)
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wake;

    fn event_descriptor() -> OwnedFd {
        // SAFETY: eventfd takes no pointer; the descriptor it returns is ours alone.
        unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_NONBLOCK)) }
    }

    #[test]
    fn a_ready_descriptor_is_reported_by_its_token_until_drained() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
        let fd = event_descriptor();
        poller.add(fd.as_raw_fd(), 77, READABLE).unwrap();
        assert_eq!(poller.wait(&mut events, 0).unwrap(), 0);

        wake::signal(fd.as_raw_fd()).unwrap();
        for _ in 0..2 {
            assert_eq!(poller.wait(&mut events, 0).unwrap(), 1);
            assert_eq!(
                events.iter().collect::<Vec<_>>(),
                [Event {
                    token: 77,
                    mask: READABLE
                }]
            );
        }
        wake::drain(fd.as_raw_fd()).unwrap();
        assert_eq!(poller.wait(&mut events, 0).unwrap(), 0);
        assert_eq!(events.iter().count(), 0);
    }

    #[test]
    fn modify_changes_mask_and_token_and_remove_ends_it() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
        let fd = event_descriptor();
        poller.add(fd.as_raw_fd(), 1, READABLE).unwrap();
        poller.modify(fd.as_raw_fd(), 2, WRITABLE).unwrap();
        poller.wait(&mut events, 0).unwrap();
        assert_eq!(
            events.iter().collect::<Vec<_>>(),
            [Event {
                token: 2,
                mask: WRITABLE
            }]
        );

        poller.remove(fd.as_raw_fd()).unwrap();
        assert_eq!(poller.wait(&mut events, 0).unwrap(), 0);
        assert_eq!(
            poller.remove(fd.as_raw_fd()).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        let again = poller.modify(fd.as_raw_fd(), 2, WRITABLE).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn events_without_room_are_reported_next_time() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(0));
        let both = [event_descriptor(), event_descriptor()];
        for (token, fd) in both.iter().enumerate() {
            poller.add(fd.as_raw_fd(), token as u64, READABLE).unwrap();
            wake::signal(fd.as_raw_fd()).unwrap();
        }
        let mut seen = Vec::new();
        for _ in 0..2 {
            assert_eq!(poller.wait(&mut events, 0).unwrap(), 1);
            seen.extend(events.iter().map(|event| event.token));
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1]);
    }
}
