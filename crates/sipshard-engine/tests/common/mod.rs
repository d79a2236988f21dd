//! A server of several engines in one process: one region, real sockets on loopback, no supervisor.

// Each test file uses its part.
#![allow(dead_code)]

use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{memfd_create, MemfdFlags};
use sipshard_engine::shm::{Layout, Region};
use sipshard_engine::{
    shard_of, Engine, EngineSettings, ListenerSettings, StreamSettings, COUNTER_NAMES,
};
use sipshard_proto::proxy::{Event, OwnResponse};
use sipshard_proto::transaction::timer::TimerValues;
use sipshard_proto::{Handle, Transport};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

const SECRET: [u8; 16] = [7; 16];
/// The smallest there is, so that a test fills it quickly.
const SMALL_MAILBOX_BYTES: u32 = 4096;
/// What holds the longest message.
const MAILBOX_BYTES: u32 = 128 * 1024;
/// Whoever waits longer for something waits in vain.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Places of the listeners in the configuration of all engines.
pub const UDP: u16 = 0;
pub const TCP: u16 = 1;
pub const TLS: u16 = 2;

/// What the supervisor would own: region, wake-ups, and sockets of each kind for each shard. Every one has a port of its
/// own, so that a test can choose the worker that gets a message.
pub struct Estate {
    pub region: Region,
    /// For the engines that are made from now on. With certificates they have a TLS listener, too.
    pub streams: StreamSettings,
    wakeups: Vec<OwnedFd>,
    sockets: Vec<UdpSocket>,
    listeners: [Vec<TcpListener>; 2],
}

impl Estate {
    /// With mailboxes as the server has them.
    pub fn new(workers: u16, address: &str) -> Self {
        Self::with_mailboxes(workers, address, MAILBOX_BYTES)
    }

    /// With mailboxes that are soon full.
    pub fn cramped(workers: u16, address: &str) -> Self {
        Self::with_mailboxes(workers, address, SMALL_MAILBOX_BYTES)
    }

    fn with_mailboxes(workers: u16, address: &str, mailbox_bytes: u32) -> Self {
        let memory = memfd_create("test", MemfdFlags::empty()).unwrap();
        let layout = Layout {
            workers,
            mailbox_bytes,
        };
        let listen = || (0..workers).map(|_| TcpListener::bind(address).unwrap());
        Self {
            region: Region::create(memory.as_raw_fd(), layout).unwrap(),
            streams: StreamSettings::default(),
            listeners: [listen().collect(), listen().collect()],
            wakeups: (0..workers).map(|_| event_descriptor()).collect(),
            sockets: (0..workers)
                .map(|_| UdpSocket::bind(address).unwrap())
                .collect(),
        }
    }

    pub fn wakeup(&self, shard: u16) -> RawFd {
        self.wakeups[usize::from(shard)].as_raw_fd()
    }

    pub fn address(&self, shard: u16) -> SocketAddr {
        self.sockets[usize::from(shard)].local_addr().unwrap()
    }

    /// The address of a shard's listener for [`TCP`] or [`TLS`].
    pub fn stream_address(&self, shard: u16, listener: u16) -> SocketAddr {
        self.listener(shard, listener).local_addr().unwrap()
    }

    fn listener(&self, shard: u16, listener: u16) -> &TcpListener {
        &self.listeners[usize::from(listener - TCP)][usize::from(shard)]
    }

    fn listener_settings(&self, shard: u16) -> Vec<ListenerSettings> {
        let settings = |transport, fd: RawFd, address: SocketAddr| ListenerSettings {
            transport,
            fd,
            host: address.ip().to_string(),
            port: address.port(),
        };
        let socket = self.sockets[usize::from(shard)].as_raw_fd();
        let mut all = vec![settings(Transport::Udp, socket, self.address(shard))];
        let streams = [(Transport::Tcp, TCP), (Transport::Tls, TLS)];
        let count = 1 + usize::from(self.streams.tls.is_some());
        for (transport, index) in streams.into_iter().take(count) {
            let listener = self.listener(shard, index).as_raw_fd();
            all.push(settings(
                transport,
                listener,
                self.stream_address(shard, index),
            ));
        }
        all
    }

    /// The engine of a shard; `generation` 1 serves at once, later ones stand by.
    pub fn engine(&self, shard: u16, generation: u64) -> Engine {
        Engine::new(EngineSettings {
            shard,
            generation,
            region: self.region.clone(),
            wakeups: self.wakeups.iter().map(AsRawFd::as_raw_fd).collect(),
            listeners: self.listener_settings(shard),
            domains: vec!["example.com".into()],
            secret: SECRET,
            max_branches: 12,
            asks_about_strays: false,
            overload: sipshard_proto::proxy::OverloadSettings {
                start_ms: 0,
                full_ms: 0,
            },
            max_transactions: 1_000,
            udp_max_bytes: 1_300,
            timers: TimerValues::default(),
            batch_delay: Duration::ZERO,
            streams: self.streams.clone(),
            is_standby: generation > 1,
        })
        .unwrap()
    }

    pub fn counter(&self, shard: u16, name: &str) -> u64 {
        let index = COUNTER_NAMES.iter().position(|&known| known == name);
        self.region.page(shard).read(index.unwrap())
    }

    /// The `number`th Call-ID that belongs to a shard.
    pub fn call_id(&self, shard: u16, number: usize) -> String {
        let workers = self.region.layout().workers;
        (0..)
            .map(|each| format!("call-{each}"))
            .filter(|call_id| shard_of(call_id.as_bytes(), workers, SECRET) == shard)
            .nth(number)
            .unwrap()
    }
}

fn event_descriptor() -> OwnedFd {
    eventfd(0, EventfdFlags::NONBLOCK).unwrap()
}

/// A phone that asks for options.
pub struct Client(UdpSocket);

impl Client {
    pub fn new(address: &str) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    pub fn send(&self, to: SocketAddr, call_id: &str) {
        let own = self.0.local_addr().unwrap();
        let request = format!(
            "OPTIONS sip:example.com SIP/2.0\r\n\
             Via: SIP/2.0/UDP {own};branch=z9hG4bK{call_id};rport\r\n\
             From: <sip:a@example.com>;tag=1\r\nTo: <sip:example.com>\r\n\
             Call-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        self.0.send_to(request.as_bytes(), to).unwrap();
    }

    /// The next response's status and Call-ID, and where it came from.
    pub fn response(&self) -> (u16, String, SocketAddr) {
        let mut buffer = [0; 2_000];
        let (length, source) = self.0.recv_from(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let call_id = text
            .lines()
            .find_map(|line| line.strip_prefix("Call-ID: "))
            .unwrap();
        (status, call_id.to_owned(), source)
    }
}

/// Lets an engine do what is ready, and returns the Call-IDs of the requests it has a question about.
pub fn turn(engine: &mut Engine) -> Vec<(Handle, String)> {
    engine.run(Some(0)).unwrap();
    let mut asked = Vec::new();
    while let Some(event) = engine.proxy().poll_event() {
        if let Event::RequestReceived(question) = event {
            let call_id = String::from_utf8(question.request.call_id().to_vec()).unwrap();
            asked.push((question.id, call_id));
        }
    }
    asked
}

/// Turns until `count` requests were asked about. Panics when that takes too long.
pub fn asked(engine: &mut Engine, count: usize) -> Vec<(Handle, String)> {
    let begun = Instant::now();
    let mut found = Vec::new();
    while found.len() < count {
        assert!(begun.elapsed() < PATIENCE, "{} of {count}", found.len());
        found.extend(turn(engine));
    }
    found
}

/// Turns until `is_done`, without being asked about anything. Panics when that takes too long.
pub fn turn_until(engine: &mut Engine, is_done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain");
        assert_eq!(turn(engine), [], "nothing is its own");
    }
}

/// Answers a request with 200 and sends that.
pub fn answer(engine: &mut Engine, id: Handle) {
    let now = engine.now();
    let response = OwnResponse {
        status: 200,
        reason: None,
        headers: &[],
        body: b"",
    };
    assert!(engine.proxy().respond(now, id, response).unwrap());
    engine.run(Some(0)).unwrap();
}
