//! The worker's loop: ties the SIP core to sockets, mailboxes and the shared page.
//!
//! Start with [`Engine`]: its doc comment is the driving contract.

mod backlog;
mod batching;
mod call_ids;
mod connections;
mod core;
mod engine;
mod lag;
mod mode;
mod parcel;
mod ports;
mod post;
mod publish;
pub mod shard;

pub use connections::{StreamSettings, TlsSettings};
pub use engine::{Engine, Ready};
pub use mode::Mode;

pub use sipshard_net::epoll::{READABLE, WRITABLE};
pub use sipshard_net::process;
pub use sipshard_net::tcp::raise_descriptor_limit;
pub use sipshard_net::tls::{ClientAuth, MinVersion, PemIdentity, TlsError, Verify};
pub use sipshard_shm as shm;

use connections::ConnectionsError;
use sipshard_net::steering::Steering;
use sipshard_proto::proxy::{self, Listener, OverloadSettings};
use sipshard_proto::transaction::timer::TimerValues;
use sipshard_proto::{Count, Secret, Transport};
use sipshard_shm::Region;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// Names of the counters on a worker's page, by index.
pub const COUNTER_NAMES: &[&str] = Count::NAMES;
const _: () = assert!(COUNTER_NAMES.len() <= sipshard_shm::COUNTERS);

/// One address that the server listens on.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// What it speaks.
    pub transport: Transport,
    /// This worker's socket.
    pub fd: RawFd,
    /// The address that others are told; IPv6 with or without brackets.
    pub host: String,
    /// The port that others are told.
    pub port: u16,
}

/// What a worker is made of.
pub struct EngineSettings {
    /// Which part of the calls is its.
    pub shard: u16,
    /// Which life of the shard's worker this is.
    pub generation: u64,
    /// The server's shared memory.
    pub region: Region,
    /// One eventfd per shard.
    pub wakeups: Vec<RawFd>,
    /// In the order of the configuration.
    pub listeners: Vec<ListenerSettings>,
    /// Domains that are ours.
    pub domains: Vec<String>,
    /// The installation's secret.
    pub secret: [u8; 16],
    /// New work is refused when so many transactions run.
    pub max_transactions: usize,
    /// One request is forked to so many targets at most.
    pub max_branches: usize,
    /// Put CANCEL and ACK that belong to nothing here before the policy.
    pub asks_about_strays: bool,
    /// When new work is refused because messages wait too long.
    pub overload: OverloadSettings,
    /// A longer request goes by TCP where UDP was not asked for (RFC 3261 §18.1.1).
    pub udp_max_bytes: usize,
    /// Table 4 of RFC 3261.
    pub timers: TimerValues,
    /// How long a busy worker lets datagrams gather before it takes them together; zero: not at all.
    pub batch_delay: Duration,
    /// What connections may do.
    pub streams: StreamSettings,
    /// Start as the successor of a worker that still runs.
    pub is_standby: bool,
}

impl EngineSettings {
    fn check(&self) -> Result<(), StartError> {
        let (region, wakeups) = (self.region.layout().workers, self.wakeups.len());
        if usize::from(region) == wakeups && self.shard < region {
            return Ok(());
        }
        Err(StartError::WorkersDiffer { region, wakeups })
    }

    /// What connections may do, with the key for session tickets that all workers derive alike.
    fn streams(&self) -> StreamSettings {
        let mut streams = self.streams.clone();
        if let Some(tls) = &mut streams.tls {
            tls.ticket_secret = Secret::new(self.secret).ticket_secret();
        }
        streams
    }

    fn proxy(&self) -> proxy::Settings {
        proxy::Settings {
            listeners: self.listeners.iter().map(listener).collect(),
            domains: self
                .domains
                .iter()
                .map(|domain| domain.to_ascii_lowercase().into_bytes())
                .collect(),
            secret: Secret::new(self.secret),
            generation: self.generation as u8,
            max_transactions: self.max_transactions,
            max_branches: self.max_branches,
            asks_about_strays: self.asks_about_strays,
            overload: self.overload,
            udp_max_bytes: self.udp_max_bytes,
            timers: self.timers,
        }
    }
}

fn listener(settings: &ListenerSettings) -> Listener {
    let bare = settings.host.trim_start_matches('[').trim_end_matches(']');
    let is_v6 = bare.contains(':');
    let host = if is_v6 {
        format!("[{bare}]")
    } else {
        bare.to_owned()
    };
    Listener {
        transport: settings.transport,
        host: host.into_bytes(),
        port: settings.port,
        is_v6,
    }
}

/// Why an engine cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The shared memory was made for another number of workers.
    WorkersDiffer {
        /// Shards in the shared memory.
        region: u16,
        /// Wake-up descriptors that were given.
        wakeups: usize,
    },
    /// The kernel refused something.
    System(io::Error),
    /// A certificate or key cannot be used.
    Tls(TlsError),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<ConnectionsError> for StartError {
    fn from(error: ConnectionsError) -> Self {
        match error {
            ConnectionsError::Listener(error) => Self::System(error),
            ConnectionsError::Tls(error) => Self::Tls(error),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkersDiffer { region, wakeups } => {
                write!(formatter, "the shared memory is for {region} workers, but there are {wakeups} wake-up descriptors")
            }
            Self::System(error) => write!(formatter, "{error}"),
            Self::Tls(error) => write!(formatter, "{error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Makes the kernel deliver each datagram to the worker of its Call-ID. Returns how many bytes of a datagram the kernel
/// searches.
///
/// # Errors
/// The kernel's refusal; the server is correct without it, by the mailboxes.
pub fn attach_steering(fd: RawFd, workers: u16, secret: [u8; 16]) -> io::Result<usize> {
    let hash = shard::CallIdHash::of(&Secret::new(secret));
    let steering = Steering {
        workers,
        basis: hash.basis,
        multiplier: hash.multiplier,
    };
    sipshard_net::steering::attach(fd, &steering)
}

/// The shard of a call.
pub fn shard_of(call_id: &[u8], workers: u16, secret: [u8; 16]) -> u16 {
    shard::CallIdHash::of(&Secret::new(secret)).shard(call_id, workers)
}
