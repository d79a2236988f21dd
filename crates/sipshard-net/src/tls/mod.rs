//! TLS 1.2 and 1.3 by rustls: what a listener shows and asks for, and what a connection of ours
//! trusts. Both are immutable; a reload makes new ones, and live connections keep the old.

mod client;
mod identity;
mod server;
mod tickets;

pub use client::{TlsClient, TlsClientSettings, Verify};
pub(crate) use identity::subject_alternative_names;
pub use identity::PemIdentity;
pub use server::{ClientAuth, MinVersion, TlsServer, TlsServerSettings};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::CertificateDer;
use rustls::RootCertStore;
use std::fmt;
use std::sync::Arc;

/// What is wrong with the settings of a [`TlsServer`] or a [`TlsClient`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlsError {
    /// A server needs a certificate.
    NoIdentity,
    /// The identity at this index cannot be used, for this reason.
    Identity(usize, String),
    /// The authorities that are to be trusted cannot be used, for this reason.
    Authorities(String),
    /// rustls refuses the combination, for this reason.
    Combination(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::NoIdentity => write!(formatter, "no certificate is given"),
            TlsError::Identity(index, why) => {
                write!(formatter, "certificate or key {index}: {why}")
            }
            TlsError::Authorities(why) => write!(formatter, "trusted authorities: {why}"),
            TlsError::Combination(why) => write!(formatter, "{why}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// The cryptography of this process: ring, named wherever rustls would take a process-wide default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Reads the certificates of `pem`, of which there must be at least one.
fn read_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, pem::Error>>()
        .map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("there is no certificate in it".to_string());
    }
    Ok(certificates)
}

/// Reads the authorities of `pem`. One that cannot be used fails the whole: an operator who lists it
/// relies on it.
fn read_authorities(pem: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in read_certificates(pem).map_err(TlsError::Authorities)? {
        store
            .add(certificate)
            .map_err(|error| TlsError::Authorities(error.to_string()))?;
    }
    Ok(Arc::new(store))
}
