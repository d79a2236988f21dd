//! What goes out on a socket, from a queue: what was queued together leaves in one system call.

use super::Closed;
use crate::tcp;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::net::TcpStream;

/// A socket with a queue in front, which takes everything; whoever queues looks at
/// [`queued_bytes`](Outbound::queued_bytes) first.
pub(super) struct Outbound {
    socket: TcpStream,
    queue: VecDeque<u8>,
}

impl Outbound {
    pub(super) fn new(socket: TcpStream) -> Outbound {
        Outbound {
            socket,
            queue: VecDeque::new(),
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.len()
    }

    /// Sends of the queue what the kernel takes.
    pub(super) fn send_queued(&mut self) -> Result<(), Closed> {
        while !self.queue.is_empty() {
            let (front, back) = self.queue.as_slices();
            let sent = send(&self.socket, &[IoSlice::new(front), IoSlice::new(back)])?;
            if sent == 0 {
                return Ok(());
            }
            self.queue.drain(..sent);
        }
        // A connection at rest holds no memory, however long its queue once was.
        self.queue = VecDeque::new();
        Ok(())
    }

    /// Queues all of `parts`.
    pub(super) fn queue(&mut self, parts: &[IoSlice<'_>]) {
        for part in parts {
            self.queue.extend(&part[..]);
        }
    }
}

/// For rustls, which writes its records to it.
impl Write for Outbound {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.queue.extend(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.queue(parts);
        Ok(parts.iter().map(|part| part.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends what the kernel takes, which may be nothing.
fn send(socket: &TcpStream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        match tcp::send(socket, parts) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    fn connected() -> (Outbound, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        (Outbound::new(socket), peer)
    }

    #[test]
    fn what_was_queued_leaves_together_and_not_before_it_is_sent() {
        let (mut outbound, mut peer) = connected();
        peer.set_nonblocking(true).unwrap();
        outbound.queue(&[IoSlice::new(b"one"), IoSlice::new(b"")]);
        outbound.write_all(b"two").unwrap();
        let mut buffer = [0; 100];
        let early = peer.read(&mut buffer).unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(outbound.queued_bytes(), 6);
        outbound.send_queued().unwrap();
        let length = peer.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"onetwo");
    }

    #[test]
    fn a_queue_that_has_been_sent_holds_no_memory() {
        let (mut outbound, mut peer) = connected();
        let mut total = 0;
        while outbound.queued_bytes() == 0 {
            outbound.queue(&[IoSlice::new(&[b'x'; 100_000])]);
            outbound.send_queued().unwrap();
            total += 100_000;
        }
        let mut read_bytes = 0;
        let mut buffer = vec![0; 100_000];
        while read_bytes < total {
            read_bytes += peer.read(&mut buffer).unwrap();
            outbound.send_queued().unwrap();
        }
        assert_eq!((outbound.queued_bytes(), read_bytes), (0, total));
        assert_eq!(outbound.queue.capacity(), 0);
    }
}
