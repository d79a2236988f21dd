//! Bytes of a message as Python text and back, without loss.

use pyo3::exceptions::PyUnicodeEncodeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// UTF-8, and `surrogateescape` for what is none: every message can be shown, and what is shown can be sent again.
pub fn text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(PyString::new(py, text)),
        Err(_) => PyBytes::new(py, bytes)
            .call_method1("decode", ("utf-8", "surrogateescape"))?
            .cast_into()
            .map_err(PyErr::from),
    }
}

/// The inverse of [`text`].
pub fn bytes(text: &Bound<'_, PyString>) -> PyResult<Vec<u8>> {
    match text.to_str() {
        Ok(text) => Ok(text.as_bytes().to_vec()),
        Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(text.py()) => text
            .call_method1("encode", ("utf-8", "surrogateescape"))?
            .extract(),
        Err(error) => Err(error),
    }
}
