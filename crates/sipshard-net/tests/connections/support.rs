//! What the tests share: connections that are driven by a poller as a worker would, and
//! certificates.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use sipshard_net::connection::{Closed, Connection, Limits, Received, Terms, WebSocketUse};
use sipshard_net::epoll::{Events, Poller, READABLE, WRITABLE};
use sipshard_net::tcp::{self, TcpListener};
use sipshard_net::tls::{ClientAuth, MinVersion, PemIdentity, TlsServerSettings};
use sipshard_net::tls::{TlsClient, TlsClientSettings, Verify};
use std::net::{self, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

pub const LIMITS: Limits = Limits {
    max_message_bytes: 64 * 1024,
    max_queued_bytes: 128 * 1024,
};

pub const PLAIN: Terms = Terms {
    tls: None,
    websocket: WebSocketUse::Never,
    proxy_protocol: false,
    limits: LIMITS,
};

/// A connection, and what it has handed up.
pub struct Party {
    pub connection: Connection,
    pub bytes: Vec<u8>,
    pub messages: Vec<Vec<u8>>,
    pub closed: Option<Closed>,
    scratch: Vec<u8>,
}

impl Party {
    pub fn new(connection: Connection) -> Party {
        Party {
            connection,
            bytes: Vec::new(),
            messages: Vec::new(),
            closed: None,
            scratch: vec![0; 64 * 1024],
        }
    }

    fn mask(&self) -> u32 {
        match self.connection.wants_write() {
            true => READABLE | WRITABLE,
            false => READABLE,
        }
    }

    fn handle(&mut self, mask: u32) {
        let (bytes, messages) = (&mut self.bytes, &mut self.messages);
        let result = self.connection.handle_ready(
            mask & !WRITABLE != 0,
            mask & WRITABLE != 0,
            &mut self.scratch,
            &mut |received| match received {
                Received::Peer(_) | Received::Names(_) => {}
                Received::Bytes(some) => bytes.extend_from_slice(some),
                Received::Message(message) => messages.push(message.to_vec()),
            },
        );
        self.closed = result.err();
    }
}

/// Drives all parties until `is_done`.
pub fn drive(parties: &mut [&mut Party], mut is_done: impl FnMut(&[&mut Party]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut events = Events::with_capacity(8);
    while !is_done(parties) {
        assert!(Instant::now() < deadline, "nothing more happens");
        step(parties, &mut events, 1000);
    }
}

/// Drives all parties until nothing is left to be done. What is on its way over the loopback device
/// has arrived when the system call that sends it returns.
pub fn drive_until_quiet(parties: &mut [&mut Party]) {
    let mut events = Events::with_capacity(8);
    while step(parties, &mut events, 0) > 0 {}
}

fn step(parties: &mut [&mut Party], events: &mut Events, timeout_ms: i32) -> usize {
    let poller = Poller::new().unwrap();
    for (index, party) in parties.iter().enumerate() {
        if party.closed.is_none() {
            let fd = party.connection.as_raw_fd();
            poller.add(fd, index as u64, party.mask()).unwrap();
        }
    }
    let count = poller.wait(events, timeout_ms).unwrap();
    for event in events.iter() {
        parties[event.token as usize].handle(event.mask);
    }
    count
}

/// A listener of the standard library and its borrowed form.
pub fn listen(host: &str) -> (net::TcpListener, TcpListener) {
    let owner = net::TcpListener::bind((host, 0)).unwrap();
    let borrowed = TcpListener::from_inherited(owner.as_raw_fd()).unwrap();
    (owner, borrowed)
}

/// A client's plain socket, and the connection that a listener with `terms` makes of its other end.
pub fn accepted(terms: &Terms) -> (TcpStream, Party) {
    let (owner, listener) = listen("127.0.0.1");
    let peer = TcpStream::connect(owner.local_addr().unwrap()).unwrap();
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let (socket, _) = listener.accept().unwrap().unwrap();
    (
        peer,
        Party::new(Connection::accepted(socket, terms).unwrap()),
    )
}

/// Both ends of a connection, of which the client has not yet been driven.
pub fn connected(terms: &Terms, tls: Option<(&TlsClient, &str)>) -> (Party, Party) {
    let (owner, listener) = listen("127.0.0.1");
    let remote: SocketAddr = owner.local_addr().unwrap();
    let socket = tcp::connect(None, remote).unwrap();
    let client = Connection::connecting(socket, remote, tls, LIMITS).unwrap();
    let (socket, _) = listener.accept().unwrap().unwrap();
    let server = Connection::accepted(socket, terms).unwrap();
    (Party::new(client), Party::new(server))
}

/// A certificate authority of its own for each test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: Vec<u8>,
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Authority {
            pem: certificate.pem().into_bytes(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for DNS names, IP addresses and, with a colon, URIs.
    pub fn identity(&self, names: &[&str]) -> PemIdentity {
        let (uris, hosts): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| name.starts_with("sip"));
        let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        let uris = uris.into_iter();
        let uris = uris.map(|uri| SanType::URI(uri.try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        PemIdentity {
            certificates: certificate.pem().into_bytes(),
            private_key: key.serialize_pem().into_bytes(),
        }
    }

    /// A client that trusts this authority only.
    pub fn client(&self, identity: Option<PemIdentity>) -> TlsClient {
        TlsClient::new(&TlsClientSettings {
            roots_pem: self.pem.clone(),
            identity,
            verify: Verify::Peer,
        })
        .unwrap()
    }
}

pub fn server_settings(identities: Vec<PemIdentity>) -> TlsServerSettings {
    TlsServerSettings {
        identities,
        client_ca_pem: None,
        client_auth: ClientAuth::Off,
        ticket_secret: [7; 16],
        min_version: MinVersion::Tls12,
    }
}
