//! TCP: listeners that the supervisor opened, connections that a worker opens, and the number of
//! descriptors that both may use.

use crate::address::{RawAddress, RAW_ADDRESS_BYTES};
use crate::check;
use std::io::{self, IoSlice};
use std::mem;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// How many parts sendmsg(2) takes (`UIO_MAXIOV` of Linux).
const MAX_PARTS: usize = 1024;

/// A listening TCP socket that the supervisor opened and owns. It is borrowed: dropping this does
/// not close it, so that a dead worker's connections go on queueing for the successor.
#[derive(Debug)]
pub struct TcpListener {
    fd: RawFd,
}

impl TcpListener {
    /// Takes a descriptor that was inherited and makes it non-blocking. Fails with `EBADF` or
    /// `ENOTSOCK` when it is no open socket, with `EINVAL` when it does not listen.
    pub fn from_inherited(fd: RawFd) -> io::Result<TcpListener> {
        let listener = TcpListener { fd };
        if socket_option(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)? == 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // SAFETY: F_GETFL takes no argument.
        let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
        // SAFETY: F_SETFL takes an integer.
        check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
        Ok(listener)
    }

    /// Takes the next connection, or `None` when there is none. It is non-blocking, close-on-exec
    /// and without Nagle's delay. A connection that died in the queue is passed over: accept(2)
    /// reports its errors as if they were the listener's. What remains is the caller's to answer:
    /// after `EMFILE`, `ENFILE`, `ENOBUFS` and `ENOMEM` the connection still waits, so that a
    /// level-triggered poller reports it again at once; stop watching the listener for a while.
    pub fn accept(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        loop {
            match self.accept_once() {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(None),
                    Some(errno) if is_fault_of_connection(errno) => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// The address that the listener is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        let mut address = RawAddress::empty();
        let mut length = RAW_ADDRESS_BYTES;
        // SAFETY: `address` is writable for `length` bytes, and the kernel writes no more.
        check(unsafe { libc::getsockname(self.fd, (&raw mut address).cast(), &mut length) })?;
        Ok(address.to_socket_addr())
    }

    fn accept_once(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let mut address = RawAddress::empty();
        let mut length = RAW_ADDRESS_BYTES;
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: `address` is writable for `length` bytes, and the kernel writes no more.
        let fd = check(unsafe {
            libc::accept4(self.fd, (&raw mut address).cast(), &mut length, flags)
        })?;
        // SAFETY: `fd` has just been opened and nobody else knows it.
        let stream = unsafe { TcpStream::from_raw_fd(fd) };
        stream.set_nodelay(true)?;
        Ok((stream, address.to_socket_addr()))
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

/// Whether accept(2) speaks of the connection that it would have returned, as its manual page says
/// of these errors; a firewall rule is reported as `EPERM`. `EINTR` is repeated as well.
fn is_fault_of_connection(errno: i32) -> bool {
    matches!(
        errno,
        libc::EINTR
            | libc::ECONNABORTED
            | libc::EPROTO
            | libc::EPERM
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
    )
}

/// Starts a connection to `remote`, from `local_ip` when it is given, and does not wait for it: the
/// socket becomes writable when it is made or has failed. The local port is chosen when both ends
/// are known (`IP_BIND_ADDRESS_NO_PORT`), so that the ports are not used up by the first peers.
pub fn connect(local_ip: Option<IpAddr>, remote: SocketAddr) -> io::Result<TcpStream> {
    let family = match remote {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes no pointer.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: `fd` has just been opened and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    if let Some(ip) = local_ip {
        set_socket_option(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        let (address, length) = RawAddress::from_socket_addr(&SocketAddr::new(ip, 0));
        // SAFETY: `address` is readable for `length` bytes.
        check(unsafe { libc::bind(fd, (&raw const address).cast(), length) })?;
    }
    set_socket_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    let (address, length) = RawAddress::from_socket_addr(&remote);
    // SAFETY: `address` is readable for `length` bytes.
    match check(unsafe { libc::connect(fd, (&raw const address).cast(), length) }) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from(socket)),
    }
}

/// Sends from `parts`, in order, what the kernel takes at once. A connection that is gone is an error
/// and no signal.
pub(crate) fn send(socket: &TcpStream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: a msghdr is integers and raw pointers, for which all bits zero is a value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    // The standard library promises that an IoSlice is an iovec, and a send only reads.
    header.msg_iov = parts.as_ptr().cast_mut().cast();
    header.msg_iovlen = parts.len().min(MAX_PARTS) as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the header points to `msg_iovlen` vectors, each of bytes that are borrowed for longer
    // than this call; it has no address and no control data.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Raises the number of descriptors that this process may open to the hard limit, and returns it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is writable, and the kernel writes one rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is readable for the time of the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(limit.rlim_cur)
}

fn socket_option(fd: RawFd, level: i32, option: i32) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` is writable for `length` bytes, and the kernel writes no more.
    check(unsafe { libc::getsockopt(fd, level, option, (&raw mut value).cast(), &mut length) })?;
    Ok(value)
}

fn set_socket_option(fd: RawFd, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
    let length = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` is readable for `length` bytes.
    check(unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), length) })
        .map(drop)
}
