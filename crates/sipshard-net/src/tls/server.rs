//! The server's side of TLS.

use super::identity::{Identities, PemIdentity};
use super::tickets::{Clock, Tickets};
use super::{provider, read_authorities, TlsError};
use ring::digest;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion, ALL_VERSIONS};
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether clients show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAuth {
    /// They are not asked.
    Off,
    /// They are asked; one that is shown must be valid.
    Optional,
    /// They must.
    Required,
}

/// The oldest version that is spoken. Older ones than 1.2 are not (RFC 8996).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// What a listener shows and asks for.
#[derive(Clone)]
pub struct TlsServerSettings {
    /// What clients are shown: the first that is valid for the name they ask for, or the first.
    pub identities: Vec<PemIdentity>,
    /// The authorities that sign clients' certificates, as PEM. Required unless `client_auth` is off.
    pub client_ca_pem: Option<Vec<u8>>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// What session tickets are sealed with: random, and the same in all workers.
    pub ticket_secret: [u8; 16],
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
}

/// What accepted connections are encrypted with. Immutable; share it.
pub struct TlsServer {
    config: Arc<ServerConfig>,
    verifies_clients: bool,
}

impl TlsServer {
    /// Reads the settings.
    pub fn new(settings: &TlsServerSettings) -> Result<TlsServer, TlsError> {
        TlsServer::with_clock(settings, Arc::new(wall_clock_s))
    }

    /// As [`new`](TlsServer::new), with seconds since 1970 from `clock`, by which the keys of session
    /// tickets are chosen.
    pub fn with_clock(
        settings: &TlsServerSettings,
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<TlsServer, TlsError> {
        let provider = provider();
        let identities = Identities::read(&settings.identities, &provider)?;
        let verifier = client_verifier(settings, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(settings.min_version))
            .map_err(|error| TlsError::Combination(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(identities));
        // A client that names no protocol (RFC 7301) is welcome; these are the ones it may name:
        // SIP, and HTTP for the upgrade to a WebSocket.
        config.alpn_protocols = vec![b"sip/2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(tickets(settings, clock));
        Ok(TlsServer {
            config: Arc::new(config),
            verifies_clients: settings.client_auth != ClientAuth::Off,
        })
    }

    /// A new session for an accepted connection.
    pub(crate) fn start(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(self.config.clone())
    }

    /// Whether a client's certificate, if there is one, was verified.
    pub(crate) fn verifies_clients(&self) -> bool {
        self.verifies_clients
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsServer").finish_non_exhaustive()
    }
}

fn versions(oldest: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    static TLS13_ONLY: &[&SupportedProtocolVersion] = &[&TLS13];
    match oldest {
        MinVersion::Tls12 => ALL_VERSIONS,
        MinVersion::Tls13 => TLS13_ONLY,
    }
}

fn client_verifier(
    settings: &TlsServerSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    if settings.client_auth == ClientAuth::Off {
        return Ok(Arc::new(NoClientAuth));
    }
    let missing = || TlsError::Authorities("none is given to verify clients with".to_string());
    let roots = read_authorities(settings.client_ca_pem.as_deref().ok_or_else(missing)?)?;
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
    let builder = match settings.client_auth {
        ClientAuth::Required => builder,
        _ => builder.allow_unauthenticated(),
    };
    let verifier = builder.build();
    verifier.map_err(|error| TlsError::Authorities(error.to_string()))
}

/// Tickets that only resume where the same is asked of a client: rustls takes the client's
/// certificate from the ticket without verifying it again.
fn tickets(settings: &TlsServerSettings, clock: Clock) -> Tickets {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[settings.client_auth as u8]);
    if settings.client_auth != ClientAuth::Off {
        context.update(settings.client_ca_pem.as_deref().unwrap_or_default());
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Tickets::new(settings.ticket_secret, digest, clock)
}

fn wall_clock_s() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| elapsed.as_secs())
}
