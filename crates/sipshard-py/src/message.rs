//! `sipshard.Request` and `sipshard.Response`.

use crate::contact::Contact;
use crate::text::text;
use crate::uri::Uri;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use sipshard_proto::proxy::{Arrival, SharedRequest};
use sipshard_proto::{Contact as Item, Fault, HeaderName, Message, Transport};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

type Text<'py> = Bound<'py, PyString>;

/// A request as received.
#[pyclass(frozen, module = "sipshard")]
pub struct Request {
    message: SharedRequest,
    arrival: Arrival,
    peer_names: Option<Arc<str>>,
}

/// A response as received.
#[pyclass(frozen, module = "sipshard")]
pub struct Response {
    message: Message<'static>,
}

impl Request {
    /// A request of the engine's.
    pub fn new(message: SharedRequest, arrival: Arrival, peer_names: Option<Arc<str>>) -> Self {
        Self {
            message,
            arrival,
            peer_names,
        }
    }
}

impl Response {
    /// A response of the engine's.
    pub fn new(message: Message<'static>) -> Self {
        Self { message }
    }
}

fn parse(data: &[u8], is_request: bool) -> PyResult<Message<'static>> {
    let message = Message::parse(data).map_err(not_sip)?;
    if message.is_request() != is_request {
        let wanted = if is_request { "request" } else { "response" };
        return Err(PyValueError::new_err(format!("the message is no {wanted}")));
    }
    Ok(message.into_owned())
}

fn not_sip(fault: Fault) -> PyErr {
    PyValueError::new_err(format!("{} ({})", fault.reason(), fault.status()))
}

fn first<'py>(py: Python<'py>, message: &Message<'_>, name: &str) -> PyResult<Option<Text<'py>>> {
    let value = message.value_by_token(name.as_bytes()).next();
    value.map(|value| text(py, value)).transpose()
}

fn all<'py>(py: Python<'py>, message: &Message<'_>, name: &str) -> PyResult<Vec<Text<'py>>> {
    message
        .value_by_token(name.as_bytes())
        .map(|value| text(py, value))
        .collect()
}

#[pymethods]
impl Request {
    #[staticmethod]
    #[pyo3(name = "parse", signature = (data, source = ("127.0.0.1".into(), 5060), transport = "udp", peer_names = Vec::new()))]
    fn parse_bytes(
        data: &[u8],
        source: (String, u16),
        transport: &str,
        peer_names: Vec<String>,
    ) -> PyResult<Self> {
        let address: IpAddr = source.0.parse().unwrap_or(Ipv4Addr::LOCALHOST.into());
        let unknown = || PyValueError::new_err(format!("there is no transport {transport:?}"));
        let arrival = Arrival {
            transport: Transport::from_token(transport.as_bytes()).ok_or_else(unknown)?,
            ..Arrival::udp(0, SocketAddr::new(address, source.1))
        };
        let names = (!peer_names.is_empty()).then(|| peer_names.join(" ").into());
        Ok(Self::new(parse(data, true)?.into(), arrival, names))
    }

    #[getter]
    fn method<'py>(&self, py: Python<'py>) -> PyResult<Text<'py>> {
        text(py, self.message.method_token())
    }

    #[getter]
    fn uri(&self) -> PyResult<Uri> {
        Uri::from_bytes(self.message.request_uri())
    }

    #[getter(from_uri)]
    fn caller_uri(&self) -> PyResult<Uri> {
        Uri::from_bytes(self.message.from().uri)
    }

    #[getter]
    fn to_uri(&self) -> PyResult<Uri> {
        Uri::from_bytes(self.message.to().uri)
    }

    #[getter(from_tag)]
    fn caller_tag<'py>(&self, py: Python<'py>) -> PyResult<Option<Text<'py>>> {
        self.message.from_tag().map(|tag| text(py, tag)).transpose()
    }

    #[getter]
    fn to_tag<'py>(&self, py: Python<'py>) -> PyResult<Option<Text<'py>>> {
        self.message.to_tag().map(|tag| text(py, tag)).transpose()
    }

    #[getter]
    fn call_id<'py>(&self, py: Python<'py>) -> PyResult<Text<'py>> {
        text(py, self.message.call_id())
    }

    #[getter]
    fn cseq(&self) -> u32 {
        self.message.cseq()
    }

    #[getter]
    fn max_forwards(&self) -> Option<u8> {
        self.message.max_forwards()
    }

    #[getter]
    fn source(&self) -> (String, u16) {
        let source = self.arrival.source;
        (source.ip().to_string(), source.port())
    }

    #[getter]
    fn transport(&self) -> &'static str {
        self.arrival.transport.name()
    }

    #[getter]
    fn peer_names(&self) -> Vec<&str> {
        let names = self.peer_names.as_deref().unwrap_or_default();
        names.split_ascii_whitespace().collect()
    }

    #[getter]
    fn flow(&self) -> Option<String> {
        let mut name = Vec::new();
        self.arrival.flow?.write_name(&mut name);
        String::from_utf8(name).ok()
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.message.body())
    }

    #[getter]
    fn contacts(&self) -> PyResult<Vec<Contact>> {
        let items = self.message.list(HeaderName::Contact).map(Item::parse);
        items
            .filter_map(|item| item.map(Contact::from_item).transpose())
            .map(|contact| contact.map_err(not_sip))
            .collect()
    }

    #[getter]
    fn has_star_contact(&self) -> bool {
        self.message
            .list(HeaderName::Contact)
            .any(|item| item == b"*")
    }

    #[getter]
    fn expires_s(&self) -> Option<u32> {
        let digits = self.message.value(HeaderName::Expires)?;
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        // What is too large for 32 bits means "as long as possible" (RFC 3261 §20.19).
        is_number.then(|| {
            std::str::from_utf8(digits)
                .ok()?
                .parse()
                .ok()
                .or(Some(u32::MAX))
        })?
    }

    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> PyResult<Vec<Text<'py>>> {
        self.message
            .list(HeaderName::Path)
            .map(|value| text(py, value))
            .collect()
    }

    fn header<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Text<'py>>> {
        first(py, &self.message, name)
    }

    fn headers<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Vec<Text<'py>>> {
        all(py, &self.message, name)
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.message.bytes())
    }

    fn __repr__(&self) -> String {
        let line = [
            self.message.method_token(),
            b" ",
            self.message.request_uri(),
        ]
        .concat();
        format!("<Request {}>", String::from_utf8_lossy(&line))
    }
}

#[pymethods]
impl Response {
    #[staticmethod]
    #[pyo3(name = "parse")]
    fn parse_bytes(data: &[u8]) -> PyResult<Self> {
        parse(data, false).map(Self::new)
    }

    #[getter]
    fn status(&self) -> u16 {
        self.message.status()
    }

    #[getter]
    fn reason<'py>(&self, py: Python<'py>) -> PyResult<Text<'py>> {
        text(py, self.message.reason())
    }

    #[getter]
    fn call_id<'py>(&self, py: Python<'py>) -> PyResult<Text<'py>> {
        text(py, self.message.call_id())
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.message.body())
    }

    fn header<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Text<'py>>> {
        first(py, &self.message, name)
    }

    fn headers<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Vec<Text<'py>>> {
        all(py, &self.message, name)
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.message.bytes())
    }

    fn __repr__(&self) -> String {
        format!("<Response {}>", self.message.status())
    }
}
