//! Engines that are turned together, lines to them, and what is said on those.

use crate::common::{Estate, PATIENCE, TCP};
use sipshard_engine::{Engine, StreamSettings};
use sipshard_proto::proxy::{Event, ForwardOptions, OwnResponse, Plan, Question, Target};
use sipshard_proto::Flow;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Instant;

/// Where nobody can be reached: what phones behind a NAT say of themselves.
pub const BEHIND_NAT: &str = "10.255.255.1:5060";

/// A server of one engine per worker. Whatever waits for something turns all of them.
pub struct World {
    pub estate: Estate,
    pub engines: Vec<Engine>,
    asked: VecDeque<(usize, Question)>,
}

impl World {
    pub fn new(workers: u16) -> Self {
        Self::with(workers, |_| {})
    }

    pub fn with(workers: u16, change: impl FnOnce(&mut StreamSettings)) -> Self {
        let mut estate = Estate::new(workers, "127.0.0.1:0");
        change(&mut estate.streams);
        Self {
            engines: (0..workers).map(|shard| estate.engine(shard, 1)).collect(),
            estate,
            asked: VecDeque::new(),
        }
    }

    pub fn turn(&mut self) {
        for (place, engine) in self.engines.iter_mut().enumerate() {
            engine.run(Some(0)).unwrap();
            while let Some(event) = engine.proxy().poll_event() {
                if let Event::RequestReceived(question) = event {
                    self.asked.push_back((place, question));
                }
            }
        }
    }

    /// Turns until `look` finds what it looks for. Panics when that takes too long.
    pub fn until<T>(&mut self, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            self.turn();
            if let Some(found) = look(self) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain");
        }
    }

    /// Turns until a counter has reached a number.
    pub fn until_counted(&mut self, shard: u16, name: &str, count: u64) {
        self.until(|world| (world.estate.counter(shard, name) >= count).then_some(()));
    }

    /// The next request that an engine asks about, and the engine's place.
    pub fn question(&mut self) -> (usize, Question) {
        self.until(|world| world.asked.pop_front())
    }

    /// Whether no request waits for a decision.
    pub fn is_silent(&mut self) -> bool {
        self.turn();
        self.asked.is_empty()
    }

    pub fn answer(&mut self, (place, question): &(usize, Question), status: u16) {
        let engine = &mut self.engines[*place];
        let now = engine.now();
        let response = OwnResponse::of(status);
        assert!(engine.proxy().respond(now, question.id, response).unwrap());
        self.turn();
    }

    pub fn forward(
        &mut self,
        (place, question): &(usize, Question),
        uri: &str,
        flow: Option<Flow>,
    ) {
        let engine = &mut self.engines[*place];
        let now = engine.now();
        let target = Target {
            uri: uri.as_bytes().into(),
            q_milli: 1_000,
            routes: Vec::new(),
            flow,
            ring_timeout_ms: None,
            edits: Default::default(),
        };
        let plan = Plan {
            targets: vec![target],
            options: ForwardOptions::default(),
        };
        assert!(engine.proxy().forward(now, question.id, plan).unwrap());
        self.turn();
    }

    /// A line to a shard's TCP listener.
    pub fn line(&self, shard: u16) -> Line {
        Line::new(self.estate.stream_address(shard, TCP))
    }

    /// The flow of a line: what a registration through it would keep.
    pub fn flow_of(&mut self, line: &mut Line) -> Flow {
        line.send(request("OPTIONS", "flow-of"));
        let asked = self.question();
        self.answer(&asked, 200);
        assert!(line.message(self).starts_with("SIP/2.0 200 "));
        asked.1.arrival.flow.unwrap()
    }

    /// The connection that an engine opens to a listener.
    pub fn accepted(&mut self, listener: &TcpListener) -> Line {
        listener.set_nonblocking(true).unwrap();
        Line::over(self.until(|_| listener.accept().ok()).0)
    }

    /// How many connections a shard shows.
    pub fn connections(&self, shard: u16) -> u64 {
        self.estate.region.page(shard).connections.read()
    }
}

/// A client's end of a connection.
pub struct Line {
    socket: TcpStream,
    received: Vec<u8>,
    has_ended: bool,
}

impl Line {
    pub fn new(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).unwrap())
    }

    pub fn over(socket: TcpStream) -> Self {
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            socket,
            received: Vec::new(),
            has_ended: false,
        }
    }

    /// Sends all of it; it must fit into the socket.
    pub fn send(&mut self, text: impl AsRef<[u8]>) {
        self.socket.write_all(text.as_ref()).unwrap();
    }

    /// Sends more than fits, while the engines read.
    pub fn send_long(&mut self, world: &mut World, bytes: &[u8]) {
        let mut sent = 0;
        world.until(|_| {
            match self.socket.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            (sent == bytes.len()).then_some(())
        });
    }

    /// Everything that has come and was not taken.
    pub fn received(&mut self) -> &mut Vec<u8> {
        let mut buffer = [0; 16 * 1024];
        while !self.has_ended {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.has_ended = true,
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.has_ended = true,
            }
        }
        &mut self.received
    }

    /// Waits for so many bytes and takes them.
    pub fn bytes(&mut self, world: &mut World, count: usize) -> Vec<u8> {
        world.until(|_| {
            let received = self.received();
            (received.len() >= count).then(|| received.drain(..count).collect())
        })
    }

    /// Waits for a message and takes it.
    pub fn message(&mut self, world: &mut World) -> String {
        world.until(|_| take_message(self.received()))
    }

    /// Waits until the server has closed it.
    pub fn wait_for_end(&mut self, world: &mut World) {
        world.until(|_| {
            self.received();
            self.has_ended.then_some(())
        });
    }

    pub fn has_ended(&mut self) -> bool {
        self.received();
        self.has_ended
    }
}

/// A phone that speaks UDP.
pub struct Datagrams(UdpSocket);

impl Datagrams {
    pub fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    pub fn send(&self, world: &World, shard: u16, text: &str) {
        let to = world.estate.address(shard);
        self.0.send_to(text.as_bytes(), to).unwrap();
    }

    /// Waits for a datagram.
    pub fn message(&self, world: &mut World) -> String {
        let mut buffer = [0; 65_535];
        world.until(|_| {
            let length = self.0.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        })
    }

    /// Waits for a response that is no 100.
    pub fn final_response(&self, world: &mut World) -> String {
        loop {
            let response = self.message(world);
            if !response.starts_with("SIP/2.0 100 ") {
                return response;
            }
        }
    }
}

fn take_message(received: &mut Vec<u8>) -> Option<String> {
    let head_end = received.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(received[..head_end].to_vec()).unwrap();
    let length: usize = value(&head, "Content-Length").parse().unwrap();
    let end = head_end + length;
    let whole = received.get(..end)?.to_vec();
    received.drain(..end);
    Some(String::from_utf8(whole).unwrap())
}

/// A request of a phone behind a NAT over TCP, whose branch is its Call-ID.
pub fn request(method: &str, call_id: &str) -> String {
    request_with(method, call_id, "TCP", "")
}

/// The same over UDP.
pub fn datagram(method: &str, call_id: &str) -> String {
    request_with(method, call_id, "UDP", "")
}

pub fn request_with(method: &str, call_id: &str, transport: &str, body: &str) -> String {
    format!(
        "{method} sip:bob@example.com SIP/2.0\r\n\
         Via: SIP/2.0/{transport} {BEHIND_NAT};branch=z9hG4bK{call_id};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 {method}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A callee's response to a request.
pub fn response(request: &str, status: &str) -> String {
    let copied = ["Via", "From", "To", "Call-ID", "CSeq"];
    let is_copied = |line: &&str| {
        copied
            .iter()
            .any(|name| line.starts_with(&format!("{name}:")))
    };
    let fields: Vec<&str> = request.split("\r\n").filter(is_copied).collect();
    let fields = fields.join("\r\n");
    format!("SIP/2.0 {status}\r\n{fields}\r\nContent-Length: 0\r\n\r\n")
}

/// The value of the first header field with that name.
pub fn value<'a>(message: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    let mut lines = message.lines();
    lines.find_map(|line| line.strip_prefix(&prefix)).unwrap()
}
