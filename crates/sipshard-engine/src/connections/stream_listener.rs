//! A listener for connections: the supervisor's socket, and on which terms it accepts.

use super::settings::StreamSettings;
use crate::ListenerSettings;
use sipshard_net::connection::{Connection, Terms, WebSocketUse};
use sipshard_net::epoll::{self, Poller};
use sipshard_net::tcp::TcpListener;
use sipshard_net::tls::TlsServer;
use sipshard_proto::Transport;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// So many connections are accepted before others get their turn.
pub const ACCEPTS_PER_TURN: usize = 64;

/// One listen address of the configuration that takes connections.
pub struct StreamListener {
    /// Its place in the configuration.
    pub index: u16,
    /// What it says that it speaks.
    pub transport: Transport,
    /// The address that new connections leave from; `None` leaves the choice to the kernel.
    pub local_ip: Option<IpAddr>,
    socket: TcpListener,
    terms: Terms,
    is_paused: bool,
}

impl StreamListener {
    /// Takes the inherited socket.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(
        index: u16,
        listener: &ListenerSettings,
        settings: &StreamSettings,
    ) -> io::Result<Self> {
        let socket = TcpListener::from_inherited(listener.fd)?;
        let local_ip = socket.local_address()?.ip();
        Ok(Self {
            index,
            transport: listener.transport,
            local_ip: (!local_ip.is_unspecified()).then_some(local_ip),
            socket,
            terms: Terms {
                tls: None,
                // One port may serve both: what begins with an HTTP request is a WebSocket (RFC 7118 §4).
                websocket: if listener.transport.is_websocket() {
                    WebSocketUse::Always
                } else {
                    WebSocketUse::Sniff
                },
                proxy_protocol: settings.proxy_protocol,
                limits: settings.limits(),
            },
            is_paused: false,
        })
    }

    /// Uses these certificates from now on, if it is one that needs them.
    pub fn use_certificates(&mut self, server: Option<Arc<TlsServer>>) {
        if self.transport.is_secure() {
            self.terms.tls = server;
        }
    }

    /// The next connection that waits, and the address it is counted under unless a load balancer is yet to say it.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn accept(&self) -> io::Result<Option<(Connection, Option<IpAddr>)>> {
        while let Some((socket, source)) = self.socket.accept()? {
            // A secure listener without certificates serves nobody: never in the clear.
            if self.transport.is_secure() && self.terms.tls.is_none() {
                continue;
            }
            // One that has died while it waited is nobody's loss.
            if let Ok(connection) = Connection::accepted(socket, &self.terms) {
                let is_known = !self.terms.proxy_protocol;
                return Ok(Some((
                    connection,
                    is_known.then(|| source.ip().to_canonical()),
                )));
            }
        }
        Ok(None)
    }

    /// Looks away until [`StreamListener::resume`].
    pub fn pause(&mut self, poller: &Poller) {
        let token = u64::from(self.index);
        self.is_paused = poller.modify(self.as_raw_fd(), token, 0).is_ok();
    }

    /// Looks again.
    pub fn resume(&mut self, poller: &Poller) {
        if self.is_paused {
            let token = u64::from(self.index);
            self.is_paused = poller
                .modify(self.as_raw_fd(), token, epoll::READABLE)
                .is_err();
        }
    }
}

impl AsRawFd for StreamListener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
