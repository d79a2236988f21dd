//! What an operator allows connections to do, and the certificates that they use.

use sipshard_net::connection::Limits;
use sipshard_net::tls::{
    ClientAuth, MinVersion, PemIdentity, TlsClient, TlsClientSettings, TlsError, TlsServer,
    TlsServerSettings, Verify,
};
use sipshard_proto::message::MAX_MESSAGE_BYTES;

/// The bounds of connections.
#[derive(Clone)]
pub struct StreamSettings {
    /// So many connections one worker has at most.
    pub max_connections: usize,
    /// So many of them may come from one address.
    pub max_per_source: u32,
    /// So many bytes may wait for a peer that does not read.
    pub max_queued_bytes: usize,
    /// How long connecting and all handshakes may take where we connect: a caller waits for it.
    pub connect_timeout_ms: u64,
    /// How long all handshakes may take where others connect.
    pub handshake_timeout_ms: u64,
    /// How long a message may take from its first byte to its last.
    pub message_timeout_ms: u64,
    /// How long nothing at all may come or go.
    pub idle_timeout_ms: u64,
    /// Connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Certificates; without them there is no TLS.
    pub tls: Option<TlsSettings>,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_per_source: 10_000,
            max_queued_bytes: 256 * 1024,
            connect_timeout_ms: 4_000,
            handshake_timeout_ms: 10_000,
            message_timeout_ms: 10_000,
            idle_timeout_ms: 3_600_000,
            proxy_protocol: false,
            tls: None,
        }
    }
}

impl StreamSettings {
    /// What one connection may hold in memory.
    pub fn limits(&self) -> Limits {
        Limits {
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_queued_bytes: self.max_queued_bytes,
        }
    }
}

/// Certificates and whom to trust, all as PEM.
#[derive(Clone)]
pub struct TlsSettings {
    /// Certificate chain and key of each of our names; the first is for clients that name none.
    pub identities: Vec<PemIdentity>,
    /// Who signs the certificates of clients.
    pub client_ca: Option<Vec<u8>>,
    /// Whether clients must have one.
    pub client_auth: ClientAuth,
    /// Who signs the certificates of servers that we connect to.
    pub trusted: Vec<u8>,
    /// Whether they must have a good one.
    pub verify: Verify,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// From which every worker derives the same keys for session tickets.
    pub ticket_secret: [u8; 16],
}

impl TlsSettings {
    /// Whether these settings would serve.
    ///
    /// # Errors
    /// [`TlsError`], which names what is wrong.
    pub fn check(&self) -> Result<(), TlsError> {
        self.server()?;
        self.client().map(drop)
    }

    pub(super) fn server(&self) -> Result<Option<TlsServer>, TlsError> {
        if self.identities.is_empty() {
            return Ok(None);
        }
        TlsServer::new(&TlsServerSettings {
            identities: self.identities.clone(),
            client_ca_pem: self.client_ca.clone(),
            client_auth: self.client_auth,
            ticket_secret: self.ticket_secret,
            min_version: self.min_version,
        })
        .map(Some)
    }

    pub(super) fn client(&self) -> Result<TlsClient, TlsError> {
        TlsClient::new(&TlsClientSettings {
            roots_pem: self.trusted.clone(),
            identity: self.identities.first().cloned(),
            verify: self.verify,
        })
    }
}
