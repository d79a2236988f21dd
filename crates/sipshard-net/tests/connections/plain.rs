//! TCP: listeners, connections, queues.

use crate::support::{accepted, connected, drive, drive_until_quiet, listen, Party, LIMITS, PLAIN};
use sipshard_net::connection::{Closed, Connection, Limits, SendError, Terms};
use sipshard_net::tcp::{self, TcpListener};
use std::io::{self, Read, Write};
use std::net::{self, Shutdown, TcpStream};
use std::os::fd::AsRawFd;

#[test]
fn a_listener_accepts_what_has_come_and_does_not_wait() {
    for host in ["127.0.0.1", "::1"] {
        let (owner, listener) = listen(host);
        assert!(listener.accept().unwrap().is_none());
        let address = owner.local_addr().unwrap();
        assert_eq!(listener.local_address().unwrap(), address);

        let peer = TcpStream::connect(address).unwrap();
        let (socket, from) = listener.accept().unwrap().unwrap();
        assert_eq!(from, peer.local_addr().unwrap());
        assert!(socket.nodelay().unwrap());
        assert!(is_closed_on_exec(&socket));
        let error = (&socket).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(listener.accept().unwrap().is_none());
    }
}

#[test]
fn what_is_no_listener_is_refused_and_a_listener_is_not_closed() {
    let errno = |fd| TcpListener::from_inherited(fd).unwrap_err().raw_os_error();
    assert_eq!(errno(-1), Some(libc::EBADF));
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(errno(file.as_raw_fd()), Some(libc::ENOTSOCK));
    let (owner, _) = listen("127.0.0.1");
    let peer = TcpStream::connect(owner.local_addr().unwrap()).unwrap();
    assert_eq!(errno(peer.as_raw_fd()), Some(libc::EINVAL));
    assert!(owner.accept().is_ok(), "still open");
}

#[test]
fn a_connection_that_died_in_the_queue_hurts_nobody() {
    let (owner, listener) = listen("127.0.0.1");
    let address = owner.local_addr().unwrap();
    let dead = TcpStream::connect(address).unwrap();
    let reset = socket2::SockRef::from(&dead);
    reset.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(dead);
    let alive = TcpStream::connect(address).unwrap();
    let mut found = Vec::new();
    while let Some((socket, from)) = listener.accept().unwrap() {
        // Linux hands out the one that has been reset; it says so when it is used.
        if Connection::accepted(socket, &PLAIN).is_ok() {
            found.push(from);
        }
    }
    assert_eq!(found, [alive.local_addr().unwrap()]);
}

#[test]
fn bytes_go_both_ways_and_early_messages_wait_for_the_connection() {
    let (mut client, mut server) = connected(&PLAIN, None);
    assert!(!client.connection.is_established() && client.connection.wants_write());
    client.connection.send(b"REGISTER ").unwrap();
    client.connection.send(b"sip:").unwrap();
    assert!(client.connection.has_queued());
    drive(&mut [&mut client, &mut server], |parties| {
        parties[1].bytes == b"REGISTER sip:"
    });
    assert!(client.connection.is_established() && !client.connection.wants_write());
    assert!(!client.connection.has_queued());
    assert_eq!(client.connection.local(), server.connection.peer());
    assert_eq!(client.connection.peer(), server.connection.local());
    assert!(!client.connection.is_tls() && !server.connection.is_websocket());

    server.connection.send(b"SIP/2.0 ").unwrap();
    server.connection.send(b"200 OK").unwrap();
    drive_until_quiet(&mut [&mut client]);
    assert_eq!(client.bytes, b"", "nothing leaves before the flush");
    server.connection.flush().unwrap();
    assert!(!server.connection.has_queued() && !server.connection.wants_write());
    drive(&mut [&mut client], |parties| {
        parties[0].bytes == b"SIP/2.0 200 OK"
    });
}

#[test]
fn a_connection_leaves_from_the_address_that_is_asked_for() {
    for (host, local) in [("127.0.0.1", "127.0.0.2"), ("::1", "::1")] {
        let (owner, listener) = listen(host);
        let remote = owner.local_addr().unwrap();
        let local = local.parse().unwrap();
        let socket = tcp::connect(Some(local), remote).unwrap();
        assert!(socket.nodelay().unwrap());
        assert!(is_closed_on_exec(&socket));
        let connection = Connection::connecting(socket, remote, None, LIMITS).unwrap();
        let mut client = Party::new(connection);
        drive(&mut [&mut client], |parties| {
            parties[0].connection.is_established()
        });
        assert_eq!(client.connection.local().ip(), local);
        assert_eq!(listener.accept().unwrap().unwrap().1.ip(), local);
    }
}

/// As the kernel says it: the flags are octal, and this one is `O_CLOEXEC`.
fn is_closed_on_exec(socket: &TcpStream) -> bool {
    let path = format!("/proc/self/fdinfo/{}", socket.as_raw_fd());
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let flags = lines.find_map(|line| line.strip_prefix("flags:")).unwrap();
    i32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_CLOEXEC != 0
}

#[test]
fn a_refused_connection_says_so() {
    let (owner, _) = listen("127.0.0.1");
    let remote = owner.local_addr().unwrap();
    drop(owner);
    let socket = tcp::connect(None, remote).unwrap();
    let mut client = Party::new(Connection::connecting(socket, remote, None, LIMITS).unwrap());
    drive(&mut [&mut client], |parties| parties[0].closed.is_some());
    assert_eq!(client.closed, Some(Closed::Io(libc::ECONNREFUSED)));
    let again = client.connection.send(b"x");
    assert_eq!(
        again,
        Err(SendError::Closed(Closed::Io(libc::ECONNREFUSED)))
    );
    assert_eq!(Closed::Io(1).name(), "io");
}

#[test]
fn the_end_of_the_peer_comes_after_its_bytes() {
    let (mut peer, mut server) = accepted(&PLAIN);
    peer.write_all(b"last words").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    drive(&mut [&mut server], |parties| parties[0].closed.is_some());
    assert_eq!(server.bytes, b"last words");
    assert_eq!(server.closed, Some(Closed::ByPeer));
}

#[test]
fn a_reset_is_told_from_an_end() {
    let (peer, mut server) = accepted(&PLAIN);
    let reset = socket2::SockRef::from(&peer);
    reset.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(peer);
    drive(&mut [&mut server], |parties| parties[0].closed.is_some());
    assert_eq!(server.closed, Some(Closed::Reset));
}

#[test]
fn a_slow_reader_fills_the_queue_and_a_late_one_empties_it() {
    let limits = Limits {
        max_queued_bytes: 100_000,
        ..LIMITS
    };
    let (mut peer, mut server) = accepted(&Terms { limits, ..PLAIN });
    let message = [b'x'; 10_000];
    let mut taken = 0_usize;
    let refused = loop {
        match server.connection.send(&message) {
            Ok(()) => taken += message.len(),
            Err(error) => break error,
        }
        assert!(taken < 100_000_000, "never refused");
    };
    assert_eq!(refused, SendError::QueueFull);
    assert!(server.connection.wants_write() && server.connection.has_queued());

    let reader = std::thread::spawn(move || {
        let mut received = vec![0; taken];
        peer.read_exact(&mut received).unwrap();
        received.iter().all(|&byte| byte == b'x')
    });
    drive(&mut [&mut server], |parties| {
        !parties[0].connection.has_queued()
    });
    assert!(reader.join().unwrap());
    assert!(!server.connection.wants_write());
    server.connection.send(&message).unwrap();
}

#[test]
fn early_messages_are_bounded_as_all_are() {
    let (owner, _listener) = listen("127.0.0.1");
    let remote: net::SocketAddr = owner.local_addr().unwrap();
    let limits = Limits {
        max_queued_bytes: 1000,
        ..LIMITS
    };
    let socket = tcp::connect(None, remote).unwrap();
    let mut client = Connection::connecting(socket, remote, None, limits).unwrap();
    client.send(&[b'x'; 900]).unwrap();
    assert_eq!(client.send(&[b'x'; 200]), Err(SendError::QueueFull));
    client.send(&[b'x'; 50]).unwrap();
}

#[test]
fn one_call_reads_no_more_than_its_budget() {
    let (mut peer, mut server) = accepted(&PLAIN);
    let total = 2_000_000;
    let writer = std::thread::spawn(move || peer.write_all(&vec![b'x'; total]).map(|_| peer));
    let mut largest = 0;
    let mut before = 0;
    drive(&mut [&mut server], |parties| {
        largest = largest.max(parties[0].bytes.len() - before);
        before = parties[0].bytes.len();
        before == total
    });
    writer.join().unwrap().unwrap();
    assert!(largest <= 288 * 1024, "{largest}");
}

#[test]
fn after_our_end_nothing_is_sent_or_read() {
    let (mut peer, mut server) = accepted(&PLAIN);
    server.connection.send(b"bye").unwrap();
    server.connection.close();
    server.connection.close();
    assert_eq!(
        server.connection.send(b"x"),
        Err(SendError::Closed(Closed::ByUs))
    );
    assert_eq!(server.connection.flush(), Err(Closed::ByUs));
    let result = server
        .connection
        .handle_ready(true, true, &mut [0; 100], &mut |_| panic!());
    assert_eq!(result, Err(Closed::ByUs));
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"bye");
}

#[test]
fn a_silent_peer_changes_nothing() {
    let (_peer, mut server) = accepted(&PLAIN);
    drive_until_quiet(&mut [&mut server]);
    assert!(server.connection.is_established() && server.closed.is_none());
}

#[test]
fn the_descriptor_limit_is_raised_to_the_hard_one() {
    let raised = tcp::raise_descriptor_limit().unwrap();
    assert!(raised >= 256);
    assert_eq!(tcp::raise_descriptor_limit().unwrap(), raised);
}
