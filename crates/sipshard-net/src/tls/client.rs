//! The client's side of TLS.

use super::identity::{subject_alternative_names, PemIdentity};
use super::{provider, read_authorities, TlsError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name, Resumption};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use std::fmt;
use std::sync::Arc;

/// Sessions that are kept to be resumed: those of 16 servers, the latest.
const MAX_SESSIONS: usize = 128;

/// Whether servers must show a valid certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verify {
    /// Signed by an authority that is trusted, and for the name that was asked for.
    Peer,
    /// Any will do. The connection is then secret from those who only listen, and no more.
    Nobody,
}

/// What connections that we open trust and show.
#[derive(Clone, Debug)]
pub struct TlsClientSettings {
    /// The authorities that sign servers' certificates, as PEM.
    pub roots_pem: Vec<u8>,
    /// What servers are shown when they ask for it.
    pub identity: Option<PemIdentity>,
    /// Whether servers must show a valid certificate.
    pub verify: Verify,
}

/// What connections that we open are encrypted with. Immutable; share it.
pub struct TlsClient {
    config: Arc<ClientConfig>,
    verify: Verify,
}

impl TlsClient {
    /// Reads the settings.
    pub fn new(settings: &TlsClientSettings) -> Result<TlsClient, TlsError> {
        let provider = provider();
        let roots = match settings.verify {
            Verify::Peer => Some(read_authorities(&settings.roots_pem)?),
            Verify::Nobody => None,
        };
        let verifier = SipServerVerifier {
            roots,
            provider: provider.clone(),
        };
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Combination(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let identity = pair.read(0, &provider)?;
                let single = rustls::sign::SingleCertAndKey::from(identity);
                builder.with_client_cert_resolver(Arc::new(single))
            }
        };
        config.resumption = Resumption::in_memory_sessions(MAX_SESSIONS);
        Ok(TlsClient {
            config: Arc::new(config),
            verify: settings.verify,
        })
    }

    /// A new session with the server of this name, which is a DNS name or an IP address.
    pub(crate) fn start(&self, server_name: &str) -> Result<ClientConnection, rustls::Error> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        ClientConnection::new(self.config.clone(), name)
    }

    /// Whether servers' certificates were verified.
    pub(crate) fn verifies_servers(&self) -> bool {
        self.verify == Verify::Peer
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

/// Verifies as RFC 5922 says: a server is the SIP domain that its certificate names as a SIP URI, or
/// the host that it names as DNS name or IP address. A wildcard stands for one label, as everywhere
/// in TLS (RFC 6125 §6.4.3); RFC 5922 §7.2 forbids them, but operators' servers are behind such
/// certificates. Without roots, any certificate will do; the server must still prove that it has the
/// key.
#[derive(Debug)]
struct SipServerVerifier {
    roots: Option<Arc<RootCertStore>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for SipServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            roots,
            intermediates,
            now,
            algorithms,
        )?;
        if !is_sip_domain(end_entity, server_name) {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Whether the certificate names the domain as a SIP URI without a user part (RFC 5922 §7.1).
fn is_sip_domain(certificate: &CertificateDer<'_>, server_name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(domain) = server_name else {
        return false;
    };
    let domain = domain.as_ref();
    subject_alternative_names(certificate).iter().any(|name| {
        // A DNS name has no colon, so that only URIs pass here.
        let host = name.split_once(':');
        host.is_some_and(|(scheme, host)| {
            scheme.eq_ignore_ascii_case("sip") && host.eq_ignore_ascii_case(domain)
        })
    })
}
