//! The PyO3 edge: converts types and decides nothing. The stub is `sipshard/_rust.pyi`.

mod contact;
mod edit;
mod engine;
mod message;
mod region;
mod text;
mod tls;
mod uri;

use pyo3::prelude::*;

#[pymodule]
mod _rust {
    use super::*;
    use pyo3::types::PyTuple;
    use sipshard_engine as server;

    #[pymodule_export]
    use contact::Contact;
    #[pymodule_export]
    use edit::{check_edits, check_response_headers};
    #[pymodule_export]
    use engine::Engine;
    #[pymodule_export]
    use message::{Request, Response};
    #[pymodule_export]
    use region::Region;
    #[pymodule_export]
    use tls::Tls;
    #[pymodule_export]
    use uri::Uri;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add(
            "COUNTER_NAMES",
            PyTuple::new(module.py(), server::COUNTER_NAMES)?,
        )
    }

    #[pyfunction]
    fn attach_steering(fd: i32, workers: u16, secret: [u8; 16]) -> PyResult<usize> {
        Ok(server::attach_steering(fd, workers, secret)?)
    }

    #[pyfunction]
    fn shard_of(call_id: &[u8], workers: u16, secret: [u8; 16]) -> u16 {
        server::shard_of(call_id, workers, secret)
    }

    #[pyfunction]
    fn die_with_parent(signal: i32) -> PyResult<()> {
        Ok(server::process::die_with_parent(signal)?)
    }

    #[pyfunction]
    fn raise_descriptor_limit() -> PyResult<u64> {
        Ok(server::raise_descriptor_limit()?)
    }

    #[pyfunction]
    fn pin_to_cpu(cpu: usize) -> PyResult<usize> {
        Ok(server::process::pin_to_cpu(cpu)?)
    }
}
