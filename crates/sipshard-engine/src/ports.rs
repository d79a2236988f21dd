//! The worker's sockets, and the buffers through which datagrams come and go.

use sipshard_net::udp::{ReceiveBatch, SendBatch, UdpSocket};
use sipshard_proto::proxy::Proxy;
use sipshard_proto::Count;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

/// One socket per listener.
pub struct Ports {
    sockets: Vec<UdpSocket>,
    incoming: ReceiveBatch,
    outgoing: SendBatch,
}

impl Ports {
    /// Takes the inherited sockets, in the order of the listeners.
    pub fn new(descriptors: &[RawFd]) -> io::Result<Self> {
        let sockets: io::Result<Vec<_>> = descriptors
            .iter()
            .copied()
            .map(UdpSocket::from_inherited)
            .collect();
        Ok(Self {
            sockets: sockets?,
            incoming: ReceiveBatch::new(),
            outgoing: SendBatch::new(),
        })
    }

    /// The sockets' descriptors.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.sockets.iter().map(AsRawFd::as_raw_fd)
    }

    /// Takes one batch from a socket; returns its size, and whether more may wait.
    pub fn receive(
        &mut self,
        listener: usize,
        mut handle: impl FnMut(SocketAddr, &[u8], bool),
    ) -> io::Result<(usize, bool)> {
        let count = self.incoming.receive(&self.sockets[listener])?;
        for index in 0..count {
            let (bytes, source, is_truncated) = self.incoming.datagram(index);
            handle(source, bytes, is_truncated);
        }
        Ok((count, self.incoming.is_full()))
    }

    /// Sends everything in the outbox, socket by socket, and empties it.
    pub fn flush(&mut self, proxy: &mut Proxy) {
        if proxy.outbox().is_empty() {
            return;
        }
        let (mut sent, mut failed) = (0, 0);
        for (listener, socket) in self.sockets.iter().enumerate() {
            let mut items = proxy
                .outbox()
                .iter()
                .filter(|outgoing| usize::from(outgoing.path.listener) == listener)
                .map(|outgoing| (outgoing.bytes, outgoing.path.destination));
            let report = self.outgoing.send(socket, &mut items);
            sent += report.sent;
            failed += report.would_block + report.errors;
        }
        proxy.outbox().clear();
        proxy.counts().add_many(Count::DatagramsSent, sent as u64);
        proxy.counts().add_many(Count::SendErrors, failed as u64);
    }
}
