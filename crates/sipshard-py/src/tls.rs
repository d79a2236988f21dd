//! `sipshard._rust.Tls`: certificates, checked.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use sipshard_engine::{ClientAuth, MinVersion, PemIdentity, TlsSettings, Verify};

/// Certificates and whom to trust.
#[pyclass(frozen, module = "sipshard._rust")]
pub struct Tls {
    settings: TlsSettings,
}

impl Tls {
    /// As the engine takes them.
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }
}

#[pymethods]
impl Tls {
    #[new]
    #[pyo3(signature = (*, identities, client_ca, client_auth, trusted, verify, min_version))]
    // Keyword-only: every argument names itself where certificates are read, in one place.
    #[allow(clippy::too_many_arguments)]
    fn new(
        identities: Vec<(Vec<u8>, Vec<u8>)>,
        client_ca: Option<Vec<u8>>,
        client_auth: &str,
        trusted: Vec<u8>,
        verify: bool,
        min_version: &str,
    ) -> PyResult<Self> {
        let settings = TlsSettings {
            identities: identities.into_iter().map(identity).collect(),
            client_ca,
            client_auth: client_auth_of(client_auth)?,
            trusted,
            verify: if verify { Verify::Peer } else { Verify::Nobody },
            min_version: min_version_of(min_version)?,
            ticket_secret: [0; 16],
        };
        let refused = |error| PyValueError::new_err(format!("{error}"));
        settings.check().map_err(refused)?;
        Ok(Self { settings })
    }
}

fn identity((certificates, private_key): (Vec<u8>, Vec<u8>)) -> PemIdentity {
    PemIdentity {
        certificates,
        private_key,
    }
}

fn client_auth_of(name: &str) -> PyResult<ClientAuth> {
    match name {
        "off" => Ok(ClientAuth::Off),
        "optional" => Ok(ClientAuth::Optional),
        "required" => Ok(ClientAuth::Required),
        _ => Err(unknown("client_auth", name)),
    }
}

fn min_version_of(name: &str) -> PyResult<MinVersion> {
    match name {
        "1.2" => Ok(MinVersion::Tls12),
        "1.3" => Ok(MinVersion::Tls13),
        _ => Err(unknown("min_version", name)),
    }
}

fn unknown(what: &str, name: &str) -> PyErr {
    PyValueError::new_err(format!("{what} cannot be {name:?}"))
}
