//! What UDP itself costs on this machine: answers every datagram that begins with a letter by the same datagram with another
//! start line, and does nothing else. No server that answers REGISTER can cost less CPU than this one.
//!
//! `cargo run --release -p sipshard-net --example udp_floor -- 127.0.0.1:5060 SECONDS`, then send REGISTERs to that address.

use sipshard_net::epoll::{Events, Poller, READABLE};
use sipshard_net::udp::{ReceiveBatch, SendBatch, UdpSocket};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:5060".to_owned());
    let seconds = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let bound = std::net::UdpSocket::bind(address)?;
    let socket = UdpSocket::from_inherited(bound.as_raw_fd())?;
    let poller = Poller::new()?;
    poller.add(bound.as_raw_fd(), 0, READABLE)?;
    let (mut events, mut incoming, mut outgoing) = (
        Events::with_capacity(4),
        ReceiveBatch::new(),
        SendBatch::new(),
    );
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut answered = 0;
    while Instant::now() < end {
        poller.wait(&mut events, 100)?;
        let count = incoming.receive(&socket)?;
        let answers: Vec<_> = (0..count)
            .filter_map(|index| answer(incoming.datagram(index)))
            .collect();
        let mut items = answers
            .iter()
            .map(|(bytes, source)| (bytes.as_slice(), *source));
        answered += outgoing.send(&socket, &mut items).sent;
    }
    println!(
        "{answered} answered, {} µs of CPU each",
        cpu_us()? / answered.max(1) as u64
    );
    Ok(())
}

fn answer((request, source, _): (&[u8], SocketAddr, bool)) -> Option<(Vec<u8>, SocketAddr)> {
    let end = request.iter().position(|&byte| byte == b'\n')?;
    request.first()?.is_ascii_alphabetic().then(|| {
        let response = [&b"SIP/2.0 200 OK\r\n"[..], &request[end + 1..]].concat();
        (response, source)
    })
}

/// CPU time of this process, user and system. The kernel counts it in nanoseconds in `schedstat`.
fn cpu_us() -> std::io::Result<u64> {
    let statistics = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = statistics
        .split(' ')
        .next()
        .and_then(|text| text.parse::<u64>().ok());
    Ok(nanoseconds.unwrap_or_default() / 1_000)
}
