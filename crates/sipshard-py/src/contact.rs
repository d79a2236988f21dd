//! `sipshard._rust.Contact`: one Contact of a REGISTER.

use crate::text::text;
use pyo3::prelude::*;
use pyo3::types::PyString;
use sipshard_proto as proto;

/// An address to be bound (RFC 3261 §10.2.1).
#[pyclass(frozen, module = "sipshard._rust")]
pub struct Contact {
    uri: Box<[u8]>,
    #[pyo3(get)]
    q_milli: u16,
    #[pyo3(get)]
    expires_s: Option<u32>,
    instance: Option<Box<[u8]>>,
    #[pyo3(get)]
    reg_id: Option<u32>,
    parameters: Box<[u8]>,
}

impl Contact {
    /// The parsed item; `None` for the star.
    pub fn from_item(item: proto::Contact<'_>) -> Option<Self> {
        let proto::Contact::Address {
            name_addr,
            q,
            expires,
            instance,
            reg_id,
        } = item
        else {
            return None;
        };
        Some(Self {
            uri: name_addr.uri.into(),
            q_milli: q.unwrap_or(1_000),
            expires_s: expires,
            instance: instance.map(Box::from),
            reg_id,
            parameters: name_addr.parameters.into(),
        })
    }
}

#[pymethods]
impl Contact {
    #[getter]
    fn uri<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        text(py, &self.uri)
    }

    #[getter]
    fn instance<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        self.instance
            .as_deref()
            .map(|instance| text(py, instance))
            .transpose()
    }

    #[getter]
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        text(py, &self.parameters)
    }
}
