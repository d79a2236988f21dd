//! What goes out on a socket: at once if the kernel takes it, and else from a queue.

use super::Closed;
use crate::tcp;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::net::TcpStream;

/// A socket with a queue in front. Sending on it never blocks and never sends less than all; whoever
/// sends looks at [`queued_bytes`](Outbound::queued_bytes) first.
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

    /// Sends all of `parts`, or queues what the kernel does not take.
    pub(super) fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut sent = match self.queue.is_empty() {
            true => send(&self.socket, parts)?,
            false => 0,
        };
        for part in parts {
            let passed_over = sent.min(part.len());
            sent -= passed_over;
            self.queue.extend(&part[passed_over..]);
        }
        Ok(())
    }
}

/// For rustls, whose records leave in one system call.
impl Write for Outbound {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(&[IoSlice::new(bytes)])?;
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send(parts)?;
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

    #[test]
    fn a_queue_that_has_been_sent_holds_no_memory() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut outbound = Outbound::new(socket);
        let mut total = 0;
        while outbound.queued_bytes() == 0 {
            outbound.send(&[IoSlice::new(&[b'x'; 100_000])]).unwrap();
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
