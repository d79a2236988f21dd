//! What the steering program costs per datagram: `cargo run --release -p sipshard-net --example
//! steering_cost`. Sends and receives batches over the loopback device with and without the program,
//! in turn, and prints the median difference of several rounds.

use sipshard_net::steering::{attach, Steering};
use sipshard_net::udp::{ReceiveBatch, SendBatch, UdpSocket, BATCH};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Instant;

const ROUNDS: usize = 9;
const BATCHES: usize = 1000;

/// A reuseport group of one socket, so that the program is all that differs.
struct Receiver {
    socket: Socket,
    batch: ReceiveBatch,
}

impl Receiver {
    fn new() -> Receiver {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        // One batch of the longest message must find room.
        socket.set_recv_buffer_size(4 << 20).unwrap();
        socket
            .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
            .unwrap();
        Receiver {
            socket,
            batch: ReceiveBatch::new(),
        }
    }

    /// Nanoseconds per datagram, sending included.
    fn time(&mut self, sender: &UdpSocket, datagram: &[u8]) -> f64 {
        let inherited = UdpSocket::from_inherited(self.socket.as_raw_fd()).unwrap();
        let destination = inherited.local_address().unwrap();
        let mut outgoing = SendBatch::new();
        let start = Instant::now();
        for _ in 0..BATCHES {
            let items = std::iter::repeat_n((datagram, destination), BATCH);
            let report = outgoing.send(sender, &mut items.into_iter());
            assert_eq!(report.sent, BATCH);
            assert_eq!(self.batch.receive(&inherited).unwrap(), BATCH);
        }
        start.elapsed().as_nanos() as f64 / (BATCHES * BATCH) as f64
    }
}

fn message(offset: usize) -> Vec<u8> {
    let mut text = String::from("INVITE sip:bob@example.com SIP/2.0\r\nVia: ");
    text += &"x".repeat(offset.saturating_sub(text.len() + 2));
    text += "\r\nCall-ID: a84b4c76e66710a84b4c76e66710@pc33.atlanta.com\r\n";
    text += &"Contact: <sip:alice@pc33.atlanta.com>\r\n".repeat(10);
    text.into_bytes()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let plain_sender = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    plain_sender
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    let sender = UdpSocket::from_inherited(plain_sender.as_raw_fd()).unwrap();
    let (mut plain, mut steered) = (Receiver::new(), Receiver::new());
    let steering = Steering {
        workers: 1,
        basis: 0x9e37_79b9,
        multiplier: 0x85eb_ca6b,
    };
    let reach = attach(steered.socket.as_raw_fd(), &steering).unwrap();
    println!("reach {reach} bytes");
    println!("Call-ID at    plain ns    steered ns    difference ns");
    for offset in [100, 250, 400, 800, 1400, reach + 100] {
        let datagram = message(offset);
        let (mut before, mut after, mut differences) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            before.push(plain.time(&sender, &datagram));
            after.push(steered.time(&sender, &datagram));
            differences.push(after[after.len() - 1] - before[before.len() - 1]);
        }
        let (before, after, difference) = (median(before), median(after), median(differences));
        println!("{offset:10} {before:11.0} {after:13.0} {difference:16.0}");
    }
}
