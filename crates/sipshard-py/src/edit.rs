//! Edits of messages as policies hand them over: ("add", name, value), ("remove", name, ""), ("replace", name, value),
//! ("body", content type, bytes).

use crate::text::bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use sipshard_proto::proxy::{DecisionError, Edit, Edits, FieldName, OwnResponse};

/// One edit.
pub type PyEdit<'py> = (String, Bound<'py, PyString>, Bound<'py, PyAny>);

/// A header field.
pub type PyHeader<'py> = (Bound<'py, PyString>, Bound<'py, PyString>);

/// The edits in the core's form.
pub fn edits(list: &[PyEdit<'_>]) -> PyResult<Edits> {
    let edits: PyResult<Vec<Edit>> = list
        .iter()
        .enumerate()
        .map(|(index, each)| edit(each, index))
        .collect();
    Edits::new(edits?).map_err(unusable)
}

fn edit((kind, text, value): &PyEdit<'_>, index: usize) -> PyResult<Edit> {
    let text = bytes(text)?;
    if kind == "body" {
        let body: &[u8] = value.extract()?;
        return Ok(Edit::Body(body.into(), text.into()));
    }
    let name = FieldName::new(&text, index).map_err(unusable)?;
    let value = || bytes(value.cast()?).map(Into::into);
    match kind.as_str() {
        "add" => Ok(Edit::Add(name, value()?)),
        "remove" => Ok(Edit::Remove(name)),
        "replace" => Ok(Edit::Replace(name, value()?)),
        _ => Err(PyValueError::new_err(format!("there is no edit {kind:?}"))),
    }
}

/// Header fields as bytes.
pub fn header_bytes(headers: &[PyHeader<'_>]) -> PyResult<Vec<(Vec<u8>, Vec<u8>)>> {
    headers
        .iter()
        .map(|(name, value)| Ok((bytes(name)?, bytes(value)?)))
        .collect()
}

/// Raises ValueError for edits that the core would refuse.
#[pyfunction]
pub fn check_edits(list: Vec<PyEdit<'_>>) -> PyResult<()> {
    edits(&list).map(|_| ())
}

/// Raises ValueError for header fields that a response of a policy cannot have.
#[pyfunction]
pub fn check_response_headers(headers: Vec<PyHeader<'_>>) -> PyResult<()> {
    let owned = header_bytes(&headers)?;
    let headers: Vec<_> = owned
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    let response = OwnResponse {
        headers: &headers,
        ..OwnResponse::of(200)
    };
    response.check().map_err(unusable)
}

/// A decision that makes no sense, as policies see it.
pub fn unusable(error: DecisionError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
