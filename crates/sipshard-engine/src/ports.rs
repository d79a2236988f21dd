//! The worker's sockets, and the buffers through which datagrams come and go.

use crate::ListenerSettings;
use sipshard_net::udp::{ReceiveBatch, SendBatch, UdpSocket};
use sipshard_proto::outbox::{Outbox, Outgoing};
use sipshard_proto::proxy::Proxy;
use sipshard_proto::{Count, Transport};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

/// One socket per listener of datagrams.
pub struct Ports {
    /// With the listener's place in the configuration.
    sockets: Vec<(u16, UdpSocket)>,
    incoming: ReceiveBatch,
    outgoing: SendBatch,
}

impl Ports {
    /// Takes the inherited sockets of those listeners that take datagrams.
    pub fn new(listeners: &[ListenerSettings]) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for (index, listener) in listeners.iter().enumerate() {
            if listener.transport == Transport::Udp {
                sockets.push((index as u16, UdpSocket::from_inherited(listener.fd)?));
            }
        }
        Ok(Self {
            sockets,
            incoming: ReceiveBatch::new(),
            outgoing: SendBatch::new(),
        })
    }

    /// The sockets' listeners and descriptors.
    pub fn descriptors(&self) -> impl Iterator<Item = (u16, RawFd)> + '_ {
        self.sockets
            .iter()
            .map(|(listener, socket)| (*listener, socket.as_raw_fd()))
    }

    /// Takes one batch from a socket; returns its size, and whether more may wait.
    pub fn receive(
        &mut self,
        listener: u16,
        mut handle: impl FnMut(SocketAddr, &[u8], bool),
    ) -> io::Result<(usize, bool)> {
        let Some((_, socket)) = self.sockets.iter().find(|(own, _)| *own == listener) else {
            return Ok((0, false));
        };
        let count = self.incoming.receive(socket)?;
        for index in 0..count {
            let (bytes, source, is_truncated) = self.incoming.datagram(index);
            handle(source, bytes, is_truncated);
        }
        Ok((count, self.incoming.is_full()))
    }

    /// Sends the datagrams of an outbox, socket by socket.
    pub fn send(&mut self, outbox: &Outbox, proxy: &mut Proxy) {
        let (mut sent, mut failed) = (0, 0);
        for (listener, socket) in &self.sockets {
            let is_ours = |outgoing: &Outgoing<'_>| {
                outgoing.path.listener == *listener && outgoing.path.transport == Transport::Udp
            };
            let mut items = outbox
                .iter()
                .filter(is_ours)
                .map(|outgoing| (outgoing.bytes, outgoing.path.destination));
            let report = self.outgoing.send(socket, &mut items);
            sent += report.sent;
            failed += report.would_block + report.errors;
        }
        proxy.counts().add_many(Count::DatagramsSent, sent as u64);
        proxy.counts().add_many(Count::SendErrors, failed as u64);
    }
}
