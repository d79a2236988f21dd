//! The PyO3 edge: converts types and decides nothing.
use pyo3::prelude::*;

#[pymodule]
mod _rust {}
