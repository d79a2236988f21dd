//! Identities: a certificate chain with its private key, and the names that a certificate is valid
//! for.

use super::{read_certificates, TlsError};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use webpki::EndEntityCert;

/// A certificate chain, the end entity first, and its private key, both as PEM.
#[derive(Clone)]
pub struct PemIdentity {
    /// The certificates.
    pub certificates: Vec<u8>,
    /// The key: PKCS #8, PKCS #1 or SEC1.
    pub private_key: Vec<u8>,
}

impl fmt::Debug for PemIdentity {
    /// Never the key: settings end up in logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PemIdentity")
            .finish_non_exhaustive()
    }
}

impl PemIdentity {
    /// Reads both and compares their public keys. `index` is for the error.
    pub(super) fn read(
        &self,
        index: usize,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let fail = |why: String| TlsError::Identity(index, why);
        let chain = read_certificates(&self.certificates).map_err(fail)?;
        EndEntityCert::try_from(&chain[0])
            .map_err(|error| fail(format!("the certificate is not valid X.509: {error}")))?;
        let key = PrivateKeyDer::from_pem_slice(&self.private_key)
            .map_err(|error| fail(format!("private key: {error}")))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| fail(error.to_string()))
    }
}

/// The DNS names and then the URIs of a certificate's subjectAltName. A certificate that cannot be
/// read has none.
pub(crate) fn subject_alternative_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(parsed) = EndEntityCert::try_from(certificate) else {
        return Vec::new();
    };
    let names = parsed.valid_dns_names().chain(parsed.valid_uri_names());
    names.map(str::to_owned).collect()
}

/// The identities of a server, by the names that clients ask for (RFC 6066 §3).
#[derive(Debug)]
pub(super) struct Identities {
    default: Arc<CertifiedKey>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Identities {
    /// Reads all of `pairs`. The first is the default, and where two are valid for one name the
    /// earlier one is used.
    pub(super) fn read(
        pairs: &[PemIdentity],
        provider: &CryptoProvider,
    ) -> Result<Identities, TlsError> {
        let mut by_name = HashMap::new();
        let mut default = None;
        for (index, pair) in pairs.iter().enumerate() {
            let identity = Arc::new(pair.read(index, provider)?);
            for name in dns_names(&identity.cert[0]) {
                by_name.entry(name).or_insert_with(|| identity.clone());
            }
            default.get_or_insert(identity);
        }
        let default = default.ok_or(TlsError::NoIdentity)?;
        Ok(Identities { default, by_name })
    }

    /// The identity that is valid for `name`: exactly, or by a wildcard in place of the first label
    /// (RFC 6125 §6.4.3), or else the default.
    fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let Some(name) = name.map(str::to_ascii_lowercase) else {
            return self.default.clone();
        };
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        let found = self.by_name.get(&name).or_else(wildcard);
        found.unwrap_or(&self.default).clone()
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.find(hello.server_name()))
    }
}

fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(parsed) = EndEntityCert::try_from(certificate) else {
        return Vec::new();
    };
    parsed
        .valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["example.com".to_string()]).unwrap();
        let uri = SanType::URI("sip:example.com".try_into().unwrap());
        params.subject_alt_names.push(uri);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_are_read_and_nothing_from_what_is_no_certificate() {
        let names = subject_alternative_names(&certificate().into());
        assert_eq!(names, ["example.com", "sip:example.com"]);
        assert!(subject_alternative_names(&vec![0x30, 0x82].into()).is_empty());
    }

    proptest! {
        #[test]
        fn a_damaged_certificate_is_survived(
            cut in 0usize..600,
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut der = certificate();
            for (index, byte) in changes {
                let place = index.index(der.len());
                der[place] = byte;
            }
            subject_alternative_names(&der.clone().into());
            der.truncate(cut);
            subject_alternative_names(&der.into());
        }
    }
}
