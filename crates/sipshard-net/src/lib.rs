//! Sockets and the few system calls around them: UDP batches, connections over TCP, TLS and
//! WebSocket, the epoll poller, wake-up descriptors, what a child process asks of the kernel, and the
//! program that steers a datagram to the worker that owns its Call-ID.
//!
//! Sockets that listen are opened by the supervisor and inherited by index; nothing here closes an
//! inherited one. Connections belong to the worker that accepted or opened them. No function blocks, except [`epoll::Poller::wait`].

// The system calls of this crate have no safe wrapper in the standard library. Unsafe code of the
// workspace lives here and in sipshard-shm only, and every block argues its case.
#![allow(unsafe_code)]

mod address;
pub mod clock;
pub mod connection;
pub mod epoll;
pub mod process;
mod proxy_protocol;
pub mod steering;
pub mod tcp;
pub mod tls;
pub mod udp;
pub mod wake;
mod websocket;

use std::io;

/// Turns the result of a system call that answers -1 into an [`io::Error`] with `errno`.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
