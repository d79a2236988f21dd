//! What an idle connection costs the server, in bytes of resident memory: of TCP, of TLS, and of a
//! WebSocket over TLS, after a message has gone each way. The clients live in a child process.
//!
//! `cargo run --release -p sipshard-net --example idle_tls -- 1000`

use rcgen::{generate_simple_self_signed, CertifiedKey};
use sipshard_net::connection::{Connection, Limits, Received, Terms, WebSocketUse};
use sipshard_net::tcp;
use sipshard_net::tls::{ClientAuth, MinVersion, PemIdentity, TlsServer, TlsServerSettings};
use sipshard_net::tls::{TlsClient, TlsClientSettings, Verify};
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;

const LIMITS: Limits = Limits {
    max_message_bytes: 64 * 1024,
    max_queued_bytes: 128 * 1024,
};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => measure_each("1000"),
        [count] => measure_each(count),
        [kind, count] => measure(kind, number(count)?),
        [address, kind, count] => {
            let address = address.parse().map_err(io::Error::other)?;
            run_clients(address, kind, number(count)?)
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(io::Error::other)
}

/// Each kind in a process of its own: one would use again what another has freed.
fn measure_each(count: &str) -> io::Result<()> {
    for kind in ["tcp", "tls", "wss"] {
        let program = std::env::current_exe()?;
        Command::new(program).args([kind, count]).status()?;
    }
    Ok(())
}

fn measure(kind: &str, count: usize) -> io::Result<()> {
    tcp::raise_descriptor_limit()?;
    let terms = Terms {
        tls: (kind != "tcp").then(|| Arc::new(tls_server())),
        websocket: WebSocketUse::Sniff,
        proxy_protocol: false,
        limits: LIMITS,
    };
    // The first one pays for what is only needed once.
    serve(kind, &terms, 1)?;
    let bytes = serve(kind, &terms, count)? / count;
    println!("{kind}: {bytes} bytes for each of {count} connections");
    Ok(())
}

fn tls_server() -> TlsServer {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["example.com".to_string()]).expect("a certificate");
    let identity = PemIdentity {
        certificates: cert.pem().into_bytes(),
        private_key: signing_key.serialize_pem().into_bytes(),
    };
    TlsServer::new(&TlsServerSettings {
        identities: vec![identity],
        client_ca_pem: None,
        client_auth: ClientAuth::Off,
        ticket_secret: [7; 16],
        min_version: MinVersion::Tls12,
    })
    .expect("good settings")
}

/// Serves `count` connections of a child process until all are idle, and returns by how much memory
/// has grown.
fn serve(kind: &str, terms: &Terms, count: usize) -> io::Result<usize> {
    let owner = std::net::TcpListener::bind("127.0.0.1:0")?;
    let listener = tcp::TcpListener::from_inherited(owner.as_raw_fd())?;
    let address = owner.local_addr()?.to_string();
    let mut child = Command::new(std::env::current_exe()?)
        .args([&address, kind, &count.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut scratch = vec![1; 64 * 1024];
    let mut connections = Vec::with_capacity(count);
    let before = resident_bytes()?;
    let mut answered = 0;
    while answered < count {
        while let Some((socket, _)) = listener.accept()? {
            connections.push(Connection::accepted(socket, terms)?);
        }
        for connection in &mut connections {
            let mut has_message = false;
            let result = connection.handle_ready(true, true, &mut scratch, &mut |received| {
                if let Received::Bytes(bytes) | Received::Message(bytes) = received {
                    has_message = !bytes.is_empty();
                }
            });
            result.map_err(|closed| io::Error::other(closed.name()))?;
            if has_message {
                answered += 1;
                let answer = [b'x'; 800];
                let sent = connection.send(&answer);
                sent.map_err(|error| io::Error::other(format!("{error:?}")))?;
                let sent = connection.flush();
                sent.map_err(|closed| io::Error::other(closed.name()))?;
            }
        }
    }
    // The clients report when each has its answer.
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line)?;
    let grown = resident_bytes()?.saturating_sub(before);
    child.stdin.take();
    child.wait()?;
    Ok(grown)
}

fn run_clients(address: SocketAddr, kind: &str, count: usize) -> io::Result<()> {
    tcp::raise_descriptor_limit()?;
    let settings = TlsClientSettings {
        roots_pem: Vec::new(),
        identity: None,
        verify: Verify::Nobody,
    };
    let tls = TlsClient::new(&settings).map_err(io::Error::other)?;
    let mut scratch = vec![0; 64 * 1024];
    let mut connections = Vec::new();
    for _ in 0..count {
        let socket = tcp::connect(None, address)?;
        let tls = (kind != "tcp").then_some((&tls, "example.com"));
        let mut connection = Connection::connecting(socket, address, tls, LIMITS)?;
        let mut message = vec![b'x'; 1000];
        if kind == "wss" {
            // A masked frame of 1000 bytes, its key zero.
            let head = [0x82, 0xFE, 0x03, 0xE8, 0, 0, 0, 0];
            message = [UPGRADE, &head, &message].concat();
        }
        let sent = connection.send(&message);
        sent.map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut received_bytes = 0;
        while received_bytes < 800 {
            let result = connection.handle_ready(true, true, &mut scratch, &mut |received| {
                if let Received::Bytes(bytes) = received {
                    received_bytes += bytes.len();
                }
            });
            result.map_err(|closed| io::Error::other(closed.name()))?;
        }
        connections.push(connection);
    }
    println!("idle");
    io::stdout().flush()?;
    io::stdin().read_line(&mut String::new()).map(drop)
}

/// The second number of `statm`, in pages.
fn resident_bytes() -> io::Result<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    Ok(pages.unwrap_or(0) * 4096)
}
