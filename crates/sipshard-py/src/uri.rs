//! `sipshard.Uri`.

use crate::text::{bytes, text};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use sipshard_proto as proto;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::Range;

/// A SIP URI (RFC 3261 §19.1). The parts that every policy asks for are found once, when it is made.
#[pyclass(frozen, module = "sipshard")]
pub struct Uri {
    raw: Box<[u8]>,
    user: Option<Range<usize>>,
    host: Box<[u8]>,
    port: Option<u16>,
}

impl Uri {
    /// A URI from a message; `ValueError` when it does not parse.
    pub fn from_bytes(raw: &[u8]) -> PyResult<Self> {
        match proto::Uri::parse(raw) {
            Ok(uri) => Ok(Self {
                raw: raw.into(),
                user: uri.user.map(|user| range_in(raw, user)),
                host: uri.host_raw.to_ascii_lowercase().into(),
                port: uri.port,
            }),
            Err(fault) => {
                let shown = String::from_utf8_lossy(raw);
                Err(PyValueError::new_err(format!(
                    "{shown:?} is no URI: {}",
                    fault.reason()
                )))
            }
        }
    }

    fn parts(&self) -> PyResult<proto::Uri<'_>> {
        // It parsed when it was made; the edge still has no way to panic.
        proto::Uri::parse(&self.raw).map_err(|fault| PyValueError::new_err(fault.reason()))
    }
}

/// Where `part`, a slice of `whole`, lies in it.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

#[pymethods]
impl Uri {
    #[staticmethod]
    #[pyo3(name = "parse")]
    fn parse_text(text: &Bound<'_, PyString>) -> PyResult<Self> {
        Self::from_bytes(&bytes(text)?)
    }

    #[getter]
    fn scheme<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let end = self.raw.iter().position(|&byte| byte == b':').unwrap_or(0);
        text(py, &self.raw[..end].to_ascii_lowercase())
    }

    #[getter]
    fn user<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        let user = self.user.clone();
        user.map(|user| text(py, &self.raw[user])).transpose()
    }

    #[getter]
    fn host<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        text(py, &self.host)
    }

    #[getter]
    fn port(&self) -> Option<u16> {
        self.port
    }

    #[getter]
    fn aor<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        text(py, &self.parts()?.aor())
    }

    fn parameter<'py>(
        &self,
        py: Python<'py>,
        name: &str,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let value = self.parts()?.parameter(name);
        value
            .map(|value| text(py, value.unwrap_or_default()))
            .transpose()
    }

    fn __str__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        text(py, &self.raw)
    }

    fn __repr__(&self) -> String {
        format!("Uri({:?})", String::from_utf8_lossy(&self.raw))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else {
            return Ok(false);
        };
        Ok(self.parts()?.equivalent(&other.get().parts()?))
    }

    fn __hash__(&self) -> PyResult<u64> {
        // Equal URIs have equal addresses-of-record, whatever their parameters.
        let mut hasher = DefaultHasher::new();
        self.parts()?.aor().hash(&mut hasher);
        Ok(hasher.finish())
    }
}
