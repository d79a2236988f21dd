//! UDP in batches: one system call receives up to 64 datagrams, one sends up to 64.
//!
//! The receive buffers have room for the longest UDP datagram there is, because RFC 3261 §18.1.1
//! wants messages up to 65,535 bytes handled. 64 slots of that size are 4.3 MB of address space, but
//! memory only becomes resident where a datagram was written: about 400 kB in a worker that sees
//! datagrams under 4 kB, and never more than the 4.3 MB.

use crate::address::{RawAddress, RAW_ADDRESS_BYTES};
use crate::check;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

/// Datagrams per system call. More brings nothing: the kernel's path per datagram dominates.
pub const BATCH: usize = 64;

/// The largest payload that the length field of UDP can express (jumbograms aside).
const LARGEST_DATAGRAM_BYTES: usize = 65_535;

/// Slots are this much further apart than they are long. At a distance of exactly 64 KiB the first
/// lines of all datagrams of a batch would compete for one set of the L1 and L2 caches.
const SLOT_STAGGER_BYTES: usize = 19 * 64;

/// How often a receive is repeated when an earlier send's ICMP error is reported in its place.
const RECEIVE_ATTEMPTS: usize = 8;

/// A UDP socket that the supervisor opened and owns. It is borrowed: dropping this does not close
/// it, so that a dead worker's socket goes on queueing for the successor.
#[derive(Debug)]
pub struct UdpSocket {
    fd: RawFd,
}

impl UdpSocket {
    /// Takes a descriptor that was inherited and makes it non-blocking. Fails with `EBADF` or
    /// `ENOTSOCK` when it is no open socket.
    pub fn from_inherited(fd: RawFd) -> io::Result<UdpSocket> {
        let socket = UdpSocket { fd };
        socket.local_address()?;
        // SAFETY: F_GETFL takes no argument.
        let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
        // SAFETY: F_SETFL takes an integer.
        check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
        Ok(socket)
    }

    /// The address that the socket is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        let mut address = RawAddress::empty();
        let mut length = RAW_ADDRESS_BYTES;
        // SAFETY: `address` is writable for `length` bytes, and the kernel writes no more.
        check(unsafe { libc::getsockname(self.fd, (&raw mut address).cast(), &mut length) })?;
        Ok(address.to_socket_addr())
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

/// What is known of one received datagram beside its bytes.
#[derive(Clone, Copy)]
struct Received {
    source: RawAddress,
    length: usize,
    is_truncated: bool,
}

/// Up to [`BATCH`] received datagrams, in buffers that are used again by the next receive.
pub struct ReceiveBatch {
    buffer: Box<[u8]>,
    slot_bytes: usize,
    received: Box<[Received; BATCH]>,
    count: usize,
}

impl ReceiveBatch {
    /// Buffers for the longest datagrams: nothing is ever truncated.
    pub fn new() -> ReceiveBatch {
        ReceiveBatch::with_slot_bytes(LARGEST_DATAGRAM_BYTES)
    }

    /// Buffers for datagrams of up to `slot_bytes`; what is longer is cut and marked.
    pub fn with_slot_bytes(slot_bytes: usize) -> ReceiveBatch {
        let nothing = Received {
            source: RawAddress::empty(),
            length: 0,
            is_truncated: false,
        };
        let buffer = vec![0; BATCH * slot_distance(slot_bytes)].into_boxed_slice();
        ReceiveBatch {
            buffer,
            slot_bytes,
            received: Box::new([nothing; BATCH]),
            count: 0,
        }
    }

    /// Receives what is queued, at most [`BATCH`] datagrams, and returns how many: 0 when nothing
    /// is. The datagrams of the previous receive are gone. Errors that an earlier send caused
    /// (`ECONNREFUSED` and its like) are skipped: they say nothing about this socket.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.count = 0;
        for _ in 0..RECEIVE_ATTEMPTS {
            let Err(error) = self.receive_once(socket) else {
                break;
            };
            match error.raw_os_error() {
                Some(libc::EAGAIN) => break,
                Some(libc::EINTR | libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH) => {
                }
                _ => return Err(error),
            }
        }
        Ok(self.count)
    }

    /// The datagram at `index`: its bytes, where it came from, and whether it was longer than its
    /// slot and lost its end. Panics when `index` is not below what [`receive`](Self::receive)
    /// returned.
    pub fn datagram(&self, index: usize) -> (&[u8], SocketAddr, bool) {
        let received = &self.received[..self.count][index];
        let start = index * slot_distance(self.slot_bytes);
        let bytes = &self.buffer[start..start + received.length];
        (
            bytes,
            received.source.to_socket_addr(),
            received.is_truncated,
        )
    }

    /// Whether the last receive filled the batch, so that more may be waiting.
    pub fn is_full(&self) -> bool {
        self.count == BATCH
    }

    fn receive_once(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let (slot_bytes, distance) = (self.slot_bytes, slot_distance(self.slot_bytes));
        let slots = self.buffer.chunks_exact_mut(distance);
        let (mut vectors, mut headers) = (empty_vectors(), empty_headers());
        let parts = vectors.iter_mut().zip(headers.iter_mut());
        for ((received, slot), (vector, header)) in self.received.iter_mut().zip(slots).zip(parts) {
            vector.iov_base = slot.as_mut_ptr().cast();
            vector.iov_len = slot_bytes;
            header.msg_hdr.msg_name = (&raw mut received.source).cast();
            header.msg_hdr.msg_namelen = RAW_ADDRESS_BYTES;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: each header points to an address of ours of RAW_ADDRESS_BYTES and to one vector,
        // and that to a slot of at least `slot_bytes`; all are exclusively borrowed or local, none
        // overlaps another, and all outlive the call. There are BATCH headers; no timeout is given.
        let count = check(unsafe {
            libc::recvmmsg(
                socket.fd,
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        })?;
        self.count = count as usize;
        for (received, header) in self.received.iter_mut().zip(&headers).take(self.count) {
            received.length = (header.msg_len as usize).min(slot_bytes);
            received.is_truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        }
        Ok(())
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        ReceiveBatch::new()
    }
}

/// What became of the datagrams handed to [`SendBatch::send`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendReport {
    /// Datagrams that the kernel took.
    pub sent: usize,
    /// Datagrams dropped because the socket's buffer or the device's queue was full. SIP repeats
    /// over UDP what matters (RFC 3261 §17), so that waiting would only grow a second queue.
    pub would_block: usize,
    /// Datagrams that the kernel refused for their own sake: unreachable, forbidden, too long.
    pub errors: usize,
    /// The `errno` of the last refusal, for the log.
    pub last_error: Option<i32>,
}

/// The room in which [`BATCH`] datagrams are made ready for one system call.
pub struct SendBatch {
    addresses: Box<[RawAddress; BATCH]>,
}

impl SendBatch {
    /// Room for one batch.
    pub fn new() -> SendBatch {
        SendBatch {
            addresses: Box::new([RawAddress::empty(); BATCH]),
        }
    }

    /// Sends each item (bytes, destination) in order, with as few system calls as possible, and
    /// never waits. A refusal concerns the one datagram: the next ones are still sent. When the
    /// socket is full the rest is dropped and counted.
    pub fn send(
        &mut self,
        socket: &UdpSocket,
        items: &mut dyn Iterator<Item = (&[u8], SocketAddr)>,
    ) -> SendReport {
        self.send_with(items, &mut |headers| {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: there are as many headers as announced, and `send_with` has filled each: it
            // points to an address of ours and to a vector, and that to bytes, of which all are
            // borrowed for longer than this call.
            let result = check(unsafe {
                let count = headers.len() as libc::c_uint;
                libc::sendmmsg(socket.fd, headers.as_mut_ptr(), count, flags)
            });
            result.map(|sent| sent as usize)
        })
    }

    /// Sends by `transmit`, which is sendmmsg(2) or, in tests, what behaves like it.
    fn send_with(
        &mut self,
        items: &mut dyn Iterator<Item = (&[u8], SocketAddr)>,
        transmit: &mut dyn FnMut(&mut [libc::mmsghdr]) -> io::Result<usize>,
    ) -> SendReport {
        let mut report = SendReport::default();
        loop {
            let (mut vectors, mut headers) = (empty_vectors(), empty_headers());
            let mut count = 0;
            let places = vectors.iter_mut().zip(headers.iter_mut());
            // The room comes first in the zip: an item that is taken must have a place.
            let room = self.addresses.iter_mut().zip(places);
            for ((address, (vector, header)), (bytes, destination)) in room.zip(&mut *items) {
                let (raw, length) = RawAddress::from_socket_addr(&destination);
                *address = raw;
                // The kernel only reads what a vector points to in a send.
                vector.iov_base = bytes.as_ptr().cast_mut().cast();
                vector.iov_len = bytes.len();
                header.msg_hdr.msg_name = (&raw mut *address).cast();
                header.msg_hdr.msg_namelen = length;
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                count += 1;
            }
            let is_open = send_headers(&mut headers[..count], transmit, &mut report);
            if !is_open {
                report.would_block += items.count();
            }
            if !is_open || count < BATCH {
                return report;
            }
        }
    }
}

impl Default for SendBatch {
    fn default() -> Self {
        SendBatch::new()
    }
}

/// Sends all of `headers`, passing over those that are refused. Returns false when the socket was
/// full; what was not sent of `headers` is then counted.
fn send_headers(
    headers: &mut [libc::mmsghdr],
    transmit: &mut dyn FnMut(&mut [libc::mmsghdr]) -> io::Result<usize>,
    report: &mut SendReport,
) -> bool {
    let mut next = 0;
    while next < headers.len() {
        // The kernel stops at the first refusal and keeps its reason to itself: it comes out when
        // the rest is tried.
        let error = match transmit(&mut headers[next..]) {
            Ok(sent) => {
                report.sent += sent;
                next += sent;
                continue;
            }
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN | libc::ENOBUFS) => {
                report.would_block += headers.len() - next;
                return false;
            }
            errno => {
                report.errors += 1;
                report.last_error = errno;
                next += 1;
            }
        }
    }
    true
}

fn slot_distance(slot_bytes: usize) -> usize {
    slot_bytes.next_multiple_of(64) + SLOT_STAGGER_BYTES
}

fn empty_vectors() -> [libc::iovec; BATCH] {
    [libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }; BATCH]
}

fn empty_headers() -> [libc::mmsghdr; BATCH] {
    // SAFETY: an mmsghdr is integers and raw pointers, for which all bits zero is a value.
    unsafe { mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `total` datagrams through a kernel that answers as told, once per call, and takes all
    /// when it has no more to say.
    fn send_through(total: usize, answers: &[io::Result<usize>]) -> (SendReport, usize) {
        let to = "192.0.2.1:5060".parse().unwrap();
        let (mut answers, mut calls) = (answers.iter(), 0);
        let mut transmit = |headers: &mut [libc::mmsghdr]| {
            calls += 1;
            match answers.next() {
                Some(Ok(sent)) => Ok(*sent),
                Some(Err(error)) => {
                    Err(io::Error::from_raw_os_error(error.raw_os_error().unwrap()))
                }
                None => Ok(headers.len()),
            }
        };
        let mut items = std::iter::repeat_n((&b"x"[..], to), total);
        (SendBatch::new().send_with(&mut items, &mut transmit), calls)
    }

    fn refused(errno: i32) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn nothing_takes_no_call_and_a_full_batch_one() {
        assert_eq!(send_through(0, &[]), (SendReport::default(), 0));
        assert_eq!(send_through(BATCH, &[]).1, 1);
        assert_eq!(send_through(BATCH + 1, &[]).1, 2);
    }

    #[test]
    fn a_full_socket_drops_the_rest_of_all_batches() {
        for errno in [libc::EAGAIN, libc::ENOBUFS] {
            let (report, calls) = send_through(3 * BATCH, &[Ok(BATCH), Ok(10), refused(errno)]);
            assert_eq!(
                (report.sent, report.would_block),
                (BATCH + 10, 2 * BATCH - 10)
            );
            assert_eq!((report.errors, report.last_error, calls), (0, None, 3));
        }
    }

    #[test]
    fn a_refusal_costs_one_datagram_and_an_interruption_none() {
        let answers = [
            Ok(2),
            refused(libc::ECONNREFUSED),
            refused(libc::EINTR),
            refused(libc::EPERM),
        ];
        let (report, calls) = send_through(6, &answers);
        assert_eq!((report.sent, report.would_block, report.errors), (4, 0, 2));
        assert_eq!((report.last_error, calls), (Some(libc::EPERM), 5));
    }

    #[test]
    fn slots_do_not_share_a_cache_set() {
        let places: std::collections::HashSet<_> = (0..BATCH)
            .map(|slot| slot * slot_distance(LARGEST_DATAGRAM_BYTES) / 64 % 64)
            .collect();
        assert_eq!(
            places.len(),
            64,
            "every slot starts in another of the 64 sets of an L1 cache"
        );
    }
}
