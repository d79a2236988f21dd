//! `sipshard._rust.Engine`: the worker's engine, driven by its asyncio loop.

use crate::edit::{edits, header_bytes, unusable, PyEdit, PyHeader};
use crate::message::{Request, Response};
use crate::region::Region;
use crate::text::bytes;
use crate::tls::Tls;
use pyo3::exceptions::{PyBlockingIOError, PyKeyError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use sipshard_engine::{self as engine, EngineSettings, ListenerSettings, StreamSettings};
use sipshard_proto::proxy::{
    Event, ForwardOptions, Hop, LocateQuestion, OverloadSettings, OwnOutcome, OwnRequest,
    OwnRequestError, OwnResponse, Plan, Question, Target,
};
use sipshard_proto::transaction::timer::TimerValues;
use sipshard_proto::{Flow, Handle, Transport};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What select() asks for and gives back (`selectors.EVENT_READ`, `EVENT_WRITE`).
const EVENT_READ: u32 = 1;
const EVENT_WRITE: u32 = 2;

type Asked = (&'static str, u64, Option<Request>, Option<Response>);
type PyListener = (i32, String, String, u16);
/// Most connections, and from one address; bytes queued; milliseconds to connect, for a handshake, a message, silence.
type PyConnections = (usize, u32, usize, u64, u64, u64, u64);
/// URI, q in thousandths, route set, the connection by which it is reached, seconds it may ring, edits.
type PyTarget<'py> = (
    Bound<'py, PyString>,
    u16,
    Vec<Bound<'py, PyString>>,
    Option<String>,
    Option<f64>,
    Vec<PyEdit<'py>>,
);
type PyHop = (String, IpAddr, u16, u16, u16);

/// One worker's engine. It belongs to the thread of the worker's loop, and says so when another touches it.
#[pyclass(unsendable, module = "sipshard._rust")]
pub struct Engine {
    engine: engine::Engine,
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (*, shard, generation, region, wakeups, listeners, domains, secret, max_transactions, max_branches, ask_about_strays, overload_ms, udp_max_bytes, timers_ms, batch_delay_us, connections, proxy_protocol, tls, standby))]
    // Keyword-only: every argument names itself where the engine is made, once per worker.
    #[allow(clippy::too_many_arguments)]
    fn new(
        shard: u16,
        generation: u64,
        region: &Region,
        wakeups: Vec<i32>,
        listeners: Vec<PyListener>,
        domains: Vec<String>,
        secret: [u8; 16],
        max_transactions: usize,
        max_branches: usize,
        ask_about_strays: bool,
        overload_ms: (u32, u32),
        udp_max_bytes: usize,
        timers_ms: (u32, u32, u32, u32),
        batch_delay_us: u64,
        connections: PyConnections,
        proxy_protocol: bool,
        tls: Option<&Tls>,
        standby: bool,
    ) -> PyResult<Self> {
        let (t1_ms, t2_ms, t4_ms, c_ms) = timers_ms;
        let settings = EngineSettings {
            shard,
            generation,
            region: region.shared().clone(),
            wakeups,
            listeners: listeners
                .into_iter()
                .map(listener)
                .collect::<PyResult<_>>()?,
            domains,
            secret,
            max_transactions,
            max_branches,
            asks_about_strays: ask_about_strays,
            overload: OverloadSettings {
                start_ms: overload_ms.0,
                full_ms: overload_ms.1,
            },
            udp_max_bytes,
            timers: TimerValues {
                t1_ms,
                t2_ms,
                t4_ms,
                c_ms,
            },
            batch_delay: Duration::from_micros(batch_delay_us),
            streams: streams(connections, proxy_protocol, tls),
            is_standby: standby,
        };
        let engine =
            engine::Engine::new(settings).map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Self { engine })
    }

    fn run(&mut self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<Vec<(i32, u32)>> {
        // Rounded up: a timer of asyncio must not find itself a fraction of a millisecond early, again and again.
        let timeout_ms = timeout_s.map(|seconds| (seconds.max(0.0) * 1_000.0).ceil() as u64);
        let engine = &mut self.engine;
        let ready = py.detach(|| engine.run(timeout_ms))?;
        Ok(ready
            .iter()
            .map(|&(fd, mask)| (fd, to_selectors(mask)))
            .collect())
    }

    fn events(&mut self) -> Vec<Asked> {
        let mut events = Vec::new();
        while let Some(event) = self.engine.proxy().poll_event() {
            events.push(match event {
                Event::RequestReceived(question) => self.asked("request", question, None),
                Event::BranchesFailed(question, response) => {
                    self.asked("failure", question, Some(Response::new(*response)))
                }
                Event::RequestCancelled(question) => self.asked("cancelled", question, None),
                Event::ResponseReceived(question, response) => {
                    self.asked("inspection", question, Some(Response::new(*response)))
                }
                Event::OwnRequestEnded(id, outcome) => ended(id, outcome),
                Event::RequestSettled(id) => ("settled", id.as_u64(), None, None),
            });
        }
        events
    }

    fn lookups(&mut self) -> Vec<(String, u16, &'static str, bool)> {
        let questions = self.engine.proxy().take_questions();
        let written = |question: LocateQuestion| {
            let transport = question.transport.map_or("", Transport::name);
            let host = question.host.into();
            (host, question.port, transport, question.is_secure)
        };
        questions.into_iter().map(written).collect()
    }

    // The question's four parts and the answer's two.
    #[allow(clippy::too_many_arguments)]
    fn located(
        &mut self,
        host: &str,
        port: u16,
        transport: &str,
        secure: bool,
        hops: Vec<PyHop>,
        ttl_s: u32,
    ) -> PyResult<()> {
        let question = question(host, port, transport, secure)?;
        let hops: PyResult<Vec<Hop>> = hops.into_iter().map(hop).collect();
        let now = self.engine.now();
        self.engine
            .proxy()
            .handle_located(now, &question, hops?, ttl_s);
        Ok(())
    }

    fn lookup_failed(
        &mut self,
        host: &str,
        port: u16,
        transport: &str,
        secure: bool,
    ) -> PyResult<()> {
        let question = question(host, port, transport, secure)?;
        let now = self.engine.now();
        self.engine.proxy().handle_lookup_failed(now, &question);
        Ok(())
    }

    fn register(&self, fd: i32, mask: u32) -> PyResult<()> {
        Ok(self.engine.register(fd, from_selectors(mask))?)
    }

    fn modify(&self, fd: i32, mask: u32) -> PyResult<()> {
        Ok(self.engine.modify(fd, from_selectors(mask))?)
    }

    fn unregister(&self, fd: i32) -> PyResult<()> {
        Ok(self.engine.unregister(fd)?)
    }

    #[pyo3(signature = (id, status, reason, headers, body))]
    fn respond(
        &mut self,
        id: u64,
        status: u16,
        reason: Option<Bound<'_, PyString>>,
        headers: Vec<PyHeader<'_>>,
        body: &[u8],
    ) -> PyResult<bool> {
        let reason = reason.as_ref().map(bytes).transpose()?;
        let owned = header_bytes(&headers)?;
        let headers: Vec<_> = owned
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect();
        let response = OwnResponse {
            status,
            reason: reason.as_deref(),
            headers: &headers,
            body,
        };
        let now = self.engine.now();
        self.engine
            .proxy()
            .respond(now, Handle::from_u64(id), response)
            .map_err(unusable)
    }

    // As the stub has them; a plan would be one more type to convert.
    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (id, targets, record_route, ring_timeout_s, report_failure, responses, recurse))]
    fn forward(
        &mut self,
        id: u64,
        targets: Vec<PyTarget<'_>>,
        record_route: bool,
        ring_timeout_s: Option<f64>,
        report_failure: bool,
        responses: Option<(Vec<PyEdit<'_>>, bool)>,
        recurse: bool,
    ) -> PyResult<bool> {
        let (response_edits, inspect_responses) = responses.unwrap_or_default();
        let targets: PyResult<Vec<_>> = targets.iter().map(target).collect();
        let options = ForwardOptions {
            record_route,
            ring_timeout_ms: ring_timeout_s.map(milliseconds),
            report_failure,
            recurse,
            response_edits: edits(&response_edits)?,
            inspect_responses,
        };
        let plan = Plan {
            targets: targets?,
            options,
        };
        let now = self.engine.now();
        self.engine
            .proxy()
            .forward(now, Handle::from_u64(id), plan)
            .map_err(unusable)
    }

    fn forward_stateless(&mut self, id: u64, to: PyTarget<'_>) -> PyResult<bool> {
        let now = self.engine.now();
        self.engine
            .proxy()
            .forward_stateless(now, Handle::from_u64(id), target(&to)?)
            .map_err(unusable)
    }

    fn refuse_merged(&mut self, id: u64) -> bool {
        let now = self.engine.now();
        self.engine.proxy().refuse_merged(now, Handle::from_u64(id))
    }

    fn pass_on(&mut self, id: u64) -> bool {
        let now = self.engine.now();
        self.engine.proxy().pass_on(now, Handle::from_u64(id))
    }

    fn inspected(&mut self, id: u64, changes: Vec<PyEdit<'_>>) -> PyResult<bool> {
        let changes = edits(&changes)?;
        let now = self.engine.now();
        let id = Handle::from_u64(id);
        Ok(self.engine.proxy().inspected(now, id, &changes))
    }

    #[pyo3(signature = (method, uris, route, headers, body))]
    fn send_request(
        &mut self,
        method: Bound<'_, PyString>,
        uris: (
            Bound<'_, PyString>,
            Bound<'_, PyString>,
            Bound<'_, PyString>,
        ),
        route: Vec<Bound<'_, PyString>>,
        headers: Vec<PyHeader<'_>>,
        body: &[u8],
    ) -> PyResult<u64> {
        let headers = header_bytes(&headers)?.into_iter();
        let request = OwnRequest {
            method: bytes(&method)?.into(),
            uri: bytes(&uris.0)?.into(),
            from_uri: bytes(&uris.1)?.into(),
            to_uri: bytes(&uris.2)?.into(),
            call_id: Box::default(),
            routes: routes(&route)?,
            headers: headers
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            body: body.into(),
        };
        self.engine.send_request(request).map_err(not_sent)
    }

    fn abandon_request(&mut self, id: u64) {
        self.engine.proxy().abandon_request(id);
    }

    fn count(&mut self, name: &str, n: u64) -> PyResult<()> {
        if self.engine.proxy().counts().add_by_name(name, n) {
            return Ok(());
        }
        Err(PyKeyError::new_err(format!("there is no counter {name:?}")))
    }

    fn stop_accepting(&mut self, retry_after_s: u32) {
        self.engine.proxy().stop_accepting(retry_after_s);
    }

    fn use_certificates(&mut self, tls: &Tls) -> PyResult<()> {
        let refused = |error| PyValueError::new_err(format!("{error}"));
        self.engine
            .use_certificates(tls.settings().clone())
            .map_err(refused)
    }

    fn drain_to_successor(&mut self) {
        self.engine.drain_to_successor();
    }

    fn take_over(&mut self) -> PyResult<()> {
        Ok(self.engine.take_over()?)
    }

    #[getter]
    fn transactions(&mut self) -> usize {
        self.engine.proxy().transaction_count()
    }

    #[getter]
    fn unfinished(&mut self) -> usize {
        self.engine.proxy().unfinished_count()
    }

    fn close(&mut self) {
        self.engine.close();
    }
}

impl Engine {
    fn asked(
        &mut self,
        kind: &'static str,
        question: Question,
        response: Option<Response>,
    ) -> Asked {
        let names = self.engine.proxy().peer_names(question.arrival);
        let request = Request::new(question.request, question.arrival, names);
        (kind, question.id.as_u64(), Some(request), response)
    }
}

fn transport(name: &str) -> PyResult<Transport> {
    let unknown = || PyValueError::new_err(format!("there is no transport {name:?}"));
    Transport::from_token(name.as_bytes()).ok_or_else(unknown)
}

fn question(host: &str, port: u16, name: &str, is_secure: bool) -> PyResult<LocateQuestion> {
    let named = (!name.is_empty()).then(|| transport(name)).transpose();
    Ok(LocateQuestion {
        host: host.into(),
        port,
        transport: named?,
        is_secure,
    })
}

fn hop((name, address, port, priority, weight): PyHop) -> PyResult<Hop> {
    Ok(Hop {
        transport: transport(&name)?,
        destination: SocketAddr::new(address, port),
        priority,
        weight,
    })
}

fn listener((fd, name, host, port): PyListener) -> PyResult<ListenerSettings> {
    Ok(ListenerSettings {
        transport: transport(&name)?,
        fd,
        host,
        port,
    })
}

fn streams(
    (
        max_connections,
        max_per_source,
        max_queued_bytes,
        connect_timeout_ms,
        handshake_timeout_ms,
        message_timeout_ms,
        idle_timeout_ms,
    ): PyConnections,
    proxy_protocol: bool,
    tls: Option<&Tls>,
) -> StreamSettings {
    StreamSettings {
        max_connections,
        max_per_source,
        max_queued_bytes,
        connect_timeout_ms,
        handshake_timeout_ms,
        message_timeout_ms,
        idle_timeout_ms,
        proxy_protocol,
        tls: tls.map(|tls| tls.settings().clone()),
    }
}

fn target((uri, q_milli, route, flow, ring_timeout_s, changes): &PyTarget<'_>) -> PyResult<Target> {
    Ok(Target {
        uri: bytes(uri)?.into(),
        q_milli: *q_milli,
        routes: routes(route)?,
        flow: flow
            .as_ref()
            .and_then(|name| Flow::read_name(name.as_bytes())),
        ring_timeout_ms: ring_timeout_s.map(milliseconds),
        edits: edits(changes)?,
    })
}

fn routes(route: &[Bound<'_, PyString>]) -> PyResult<Vec<Box<[u8]>>> {
    route.iter().map(|each| Ok(bytes(each)?.into())).collect()
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1_000.0) as u64
}

fn ended(id: u64, outcome: OwnOutcome) -> Asked {
    match outcome {
        OwnOutcome::Response(response) => ("response", id, None, Some(Response::new(*response))),
        OwnOutcome::Timeout => ("timeout", id, None, None),
        OwnOutcome::Unreachable => ("unreachable", id, None, None),
    }
}

fn not_sent(error: OwnRequestError) -> PyErr {
    let text = error.to_string();
    match error {
        OwnRequestError::TooMany => PyBlockingIOError::new_err(text),
        OwnRequestError::Unreachable => PyOSError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}

fn from_selectors(mask: u32) -> u32 {
    let readable = if mask & EVENT_READ != 0 {
        engine::READABLE
    } else {
        0
    };
    let writable = if mask & EVENT_WRITE != 0 {
        engine::WRITABLE
    } else {
        0
    };
    readable | writable
}

/// As `selectors.EpollSelector` does: an error or hang-up is something to read and something to write.
fn to_selectors(mask: u32) -> u32 {
    let read = if mask & !engine::WRITABLE != 0 {
        EVENT_READ
    } else {
        0
    };
    let write = if mask & !engine::READABLE != 0 {
        EVENT_WRITE
    } else {
        0
    };
    read | write
}
