//! The mapped memory itself, and nothing of what it means. All unsafe code of the crate is here.

use std::io;
use std::os::fd::RawFd;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU64;

/// Bytes of a word.
pub(crate) const WORD_BYTES: usize = 8;

/// A shared, writable mapping of a file from its start, unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the memory is only reached as atomics, which any thread may use at any time, and it stays
// mapped until the last owner drops the Mapping.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `bytes` (rounded down to words) of `fd`, which stays the caller's and may be
    /// closed afterwards. The file must be as long as that: touching a page behind its end is
    /// `SIGBUS`, which is why [`file_bytes`] is asked first.
    pub(crate) fn new(fd: RawFd, bytes: usize) -> io::Result<Mapping> {
        let words = bytes / WORD_BYTES;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: no address is asked for, so that no existing mapping is replaced.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                words * WORD_BYTES,
                protection,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Mapping { start, words })
    }

    /// The memory as atomic words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` is page-aligned and mapped readable and writable for `words` words until
        // self is dropped, which the borrow outlives not. Every bit pattern is an AtomicU64, and
        // atomics may be changed by others (threads or processes) while they are borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the range that mmap returned, and all borrows of it have ended.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * WORD_BYTES) };
        debug_assert_eq!(result, 0, "the range is mapped");
    }
}

/// Sees `words`, as many as `T` is long, as a `T`.
///
/// # Safety
/// `T` must be `repr(C)` and consist of nothing but [`AtomicU64`]s, in arrays or structures.
pub(crate) unsafe fn view<T>(words: &[AtomicU64]) -> &T {
    assert_eq!(size_of_val(words), size_of::<T>());
    // SAFETY: the size is checked, the alignment is a word's, and that T consists of words is the
    // caller's obligation; the lifetime is that of the words.
    unsafe { &*words.as_ptr().cast() }
}

/// The length of the file behind `fd`.
pub(crate) fn file_bytes(fd: RawFd) -> io::Result<u64> {
    // SAFETY: a stat is a C structure of integers, for which all bits zero is a value.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable for the time of the call.
    if unsafe { libc::fstat(fd, &mut stat) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.st_size as u64)
}

/// Makes the file behind `fd` exactly `bytes` long, all zero, and has the memory reserved.
/// `ENOSPC` when there is not enough: at the start, where somebody reads it, and not as a `SIGBUS`
/// when a worker first touches a page at night.
pub(crate) fn reserve(fd: RawFd, bytes: usize) -> io::Result<()> {
    let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    for target in [0, length] {
        // SAFETY: ftruncate takes no pointer.
        if unsafe { libc::ftruncate(fd, target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: posix_fallocate takes no pointer. It returns its error instead of setting errno.
    match unsafe { libc::posix_fallocate(fd, 0, length) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    /// An empty file in memory.
    pub(crate) fn memory_file() -> OwnedFd {
        // SAFETY: the name is a C string, and the descriptor returned is ours alone.
        unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC)) }
    }

    #[test]
    fn two_mappings_of_a_file_show_the_same_words() {
        use std::sync::atomic::Ordering::Relaxed;
        let file = memory_file();
        reserve(file.as_raw_fd(), 4096).unwrap();
        let first = Mapping::new(file.as_raw_fd(), 4096).unwrap();
        let second = Mapping::new(file.as_raw_fd(), 4096).unwrap();
        drop(file);
        first.words()[511].store(7, Relaxed);
        assert_eq!(second.words()[511].load(Relaxed), 7);
        assert_eq!(second.words().len(), 512);
    }

    #[test]
    fn reserving_again_forgets_what_was_there() {
        use std::sync::atomic::Ordering::Relaxed;
        let file = memory_file();
        reserve(file.as_raw_fd(), 8192).unwrap();
        Mapping::new(file.as_raw_fd(), 8192).unwrap().words()[3].store(7, Relaxed);
        reserve(file.as_raw_fd(), 4096).unwrap();
        assert_eq!(file_bytes(file.as_raw_fd()).unwrap(), 4096);
        let again = Mapping::new(file.as_raw_fd(), 4096).unwrap();
        assert_eq!(again.words()[3].load(Relaxed), 0);
    }

    #[test]
    fn what_cannot_be_mapped_is_an_error() {
        assert_eq!(
            Mapping::new(-1, 4096).unwrap_err().raw_os_error(),
            Some(libc::EBADF)
        );
        assert!(reserve(-1, 4096).is_err());
        assert!(file_bytes(-1).is_err());
        let file = memory_file();
        assert!(reserve(file.as_raw_fd(), usize::MAX).is_err());
    }
}
