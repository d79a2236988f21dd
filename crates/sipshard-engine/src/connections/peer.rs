//! Who is at the other end of a connection.

use sipshard_proto::outbox::Path;
use sipshard_proto::Transport;
use std::net::SocketAddr;
use std::sync::Arc;

/// Under which a connection is found by those who want to reach its peer. The local listener counts, too, because it is
/// what the peer knows us by; so does the name that it has proven.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Peer {
    transport: Transport,
    address: SocketAddr,
    listener: u16,
    server_name: Option<Arc<str>>,
}

impl Peer {
    /// A peer over TCP, at the address that it came from.
    pub const fn plain(listener: u16, address: SocketAddr) -> Self {
        Self {
            transport: Transport::Tcp,
            address,
            listener,
            server_name: None,
        }
    }

    /// A peer that has proven this name.
    pub const fn secure(listener: u16, address: SocketAddr, server_name: Arc<str>) -> Self {
        Self {
            transport: Transport::Tls,
            address,
            listener,
            server_name: Some(server_name),
        }
    }

    /// The peer that a path leads to.
    pub fn of(path: &Path) -> Self {
        Self {
            transport: path.transport,
            address: path.destination,
            listener: path.listener,
            server_name: path.server_name.clone(),
        }
    }
}
