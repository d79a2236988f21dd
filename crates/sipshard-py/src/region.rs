//! `sipshard._rust.Region`: the server's shared memory, as the supervisor and the control process see it.

use pyo3::exceptions::{PyIndexError, PyOSError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use sipshard_engine::shm::{Layout, Region as SharedRegion, ShmError};
use sipshard_engine::COUNTER_NAMES;

/// The shared memory of one server, mapped.
#[pyclass(frozen, module = "sipshard._rust")]
pub struct Region {
    region: SharedRegion,
}

impl Region {
    /// The mapping itself.
    pub fn shared(&self) -> &SharedRegion {
        &self.region
    }

    fn check(&self, shard: u16) -> PyResult<()> {
        let workers = self.region.layout().workers;
        if shard < workers {
            return Ok(());
        }
        Err(PyIndexError::new_err(format!(
            "there is no shard {shard}, only {workers}"
        )))
    }
}

fn refused(error: ShmError) -> PyErr {
    PyOSError::new_err(error.to_string())
}

#[pymethods]
impl Region {
    #[staticmethod]
    fn create(fd: i32, workers: u16, mailbox_bytes: u32) -> PyResult<Self> {
        let layout = Layout {
            workers,
            mailbox_bytes,
        };
        let region = SharedRegion::create(fd, layout).map_err(refused)?;
        Ok(Self { region })
    }

    #[staticmethod]
    fn attach(fd: i32) -> PyResult<Self> {
        let region = SharedRegion::attach(fd).map_err(refused)?;
        Ok(Self { region })
    }

    #[staticmethod]
    fn size(workers: u16, mailbox_bytes: u32) -> usize {
        Layout {
            workers,
            mailbox_bytes,
        }
        .size()
    }

    #[getter]
    fn workers(&self) -> u16 {
        self.region.layout().workers
    }

    fn counters<'py>(&self, py: Python<'py>, shard: u16) -> PyResult<Bound<'py, PyDict>> {
        self.check(shard)?;
        let page = self.region.page(shard);
        let counters = PyDict::new(py);
        for (index, name) in COUNTER_NAMES.iter().enumerate() {
            counters.set_item(name, page.read(index))?;
        }
        Ok(counters)
    }

    fn page<'py>(&self, py: Python<'py>, shard: u16) -> PyResult<Bound<'py, PyDict>> {
        self.check(shard)?;
        let page = self.region.page(shard);
        let fields = PyDict::new(py);
        for (name, field) in [
            ("pid", &page.pid),
            ("generation", &page.generation),
            ("started_unix_ms", &page.started_unix_ms),
            ("heartbeat_ms", &page.heartbeat_ms),
            ("state", &page.state),
            ("transactions", &page.transactions),
            ("connections", &page.connections),
            ("unfinished", &page.unfinished),
            ("queue_delay_ms", &page.queue_delay_ms),
            ("rss_bytes", &page.rss_bytes),
            ("uss_bytes", &page.uss_bytes),
            ("cpu_ms", &page.cpu_ms),
            ("descriptors", &page.descriptors),
            ("restarts", &page.restarts),
        ] {
            fields.set_item(name, field.read())?;
        }
        Ok(fields)
    }

    fn write_sample(
        &self,
        shard: u16,
        rss_bytes: u64,
        uss_bytes: u64,
        cpu_ms: u64,
        descriptors: u64,
    ) -> PyResult<()> {
        self.check(shard)?;
        let page = self.region.page(shard);
        page.rss_bytes.write(rss_bytes);
        page.uss_bytes.write(uss_bytes);
        page.cpu_ms.write(cpu_ms);
        page.descriptors.write(descriptors);
        Ok(())
    }

    fn clear_work(&self, shard: u16) -> PyResult<()> {
        self.check(shard)?;
        let page = self.region.page(shard);
        page.transactions.write(0);
        page.unfinished.write(0);
        page.connections.write(0);
        Ok(())
    }

    fn write_restarts(&self, shard: u16, restarts: u64) -> PyResult<()> {
        self.check(shard)?;
        self.region.page(shard).restarts.write(restarts);
        Ok(())
    }
}
