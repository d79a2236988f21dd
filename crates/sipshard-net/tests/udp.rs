//! UDP batches over real sockets on the loopback device, which delivers before the send returns.

use sipshard_net::udp::{ReceiveBatch, SendBatch, SendReport, UdpSocket, BATCH};
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::AsRawFd;

/// A bound socket of the standard library and its borrowed form.
fn socket(host: &str) -> (net::UdpSocket, UdpSocket) {
    let owner = net::UdpSocket::bind((host, 0)).unwrap();
    let borrowed = UdpSocket::from_inherited(owner.as_raw_fd()).unwrap();
    (owner, borrowed)
}

fn send_all(from: &UdpSocket, items: &[(&[u8], SocketAddr)]) -> SendReport {
    SendBatch::new().send(from, &mut items.iter().copied())
}

#[test]
fn datagrams_arrive_whole_in_order_and_with_their_source() {
    for host in ["127.0.0.1", "::1"] {
        let ((sender_owner, sender), (receiver_owner, receiver)) = (socket(host), socket(host));
        let to = receiver_owner.local_addr().unwrap();
        let report = send_all(&sender, &[(b"one", to), (b"", to), (b"three", to)]);
        assert_eq!(
            report,
            SendReport {
                sent: 3,
                ..SendReport::default()
            }
        );

        let mut batch = ReceiveBatch::new();
        assert_eq!(batch.receive(&receiver).unwrap(), 3);
        let source = sender_owner.local_addr().unwrap();
        assert_eq!(sender.local_address().unwrap(), source);
        for (index, expected) in [&b"one"[..], b"", b"three"].into_iter().enumerate() {
            assert_eq!(batch.datagram(index), (expected, source, false));
        }
        assert_eq!(batch.receive(&receiver).unwrap(), 0);
    }
}

#[test]
fn more_than_a_batch_takes_more_than_one_call() {
    let ((_a, sender), (owner, receiver)) = (socket("127.0.0.1"), socket("127.0.0.1"));
    let to = owner.local_addr().unwrap();
    for total in [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH] {
        let payloads: Vec<_> = (0..total).map(|number| number.to_string()).collect();
        let mut items = payloads.iter().map(|payload| (payload.as_bytes(), to));
        assert_eq!(SendBatch::new().send(&sender, &mut items).sent, total);

        let (mut batch, mut received) = (ReceiveBatch::new(), Vec::new());
        while batch.receive(&receiver).unwrap() > 0 {
            let count = if batch.is_full() {
                BATCH
            } else {
                total % BATCH
            };
            received.extend((0..count).map(|index| batch.datagram(index).0.to_vec()));
        }
        assert_eq!(
            received,
            payloads
                .iter()
                .map(|text| text.as_bytes())
                .collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_longest_datagram_has_room() {
    let ((_a, sender), (owner, receiver)) = (socket("127.0.0.1"), socket("127.0.0.1"));
    let longest = vec![b'x'; 65_507];
    assert_eq!(
        send_all(&sender, &[(&longest, owner.local_addr().unwrap())]).sent,
        1
    );
    let mut batch = ReceiveBatch::new();
    assert_eq!(batch.receive(&receiver).unwrap(), 1);
    let (bytes, _, is_truncated) = batch.datagram(0);
    assert!(bytes == longest && !is_truncated);
}

#[test]
fn what_is_longer_than_its_slot_is_cut_and_marked() {
    let ((_a, sender), (owner, receiver)) = (socket("127.0.0.1"), socket("127.0.0.1"));
    let to = owner.local_addr().unwrap();
    send_all(&sender, &[(b"12345", to), (b"1234", to), (b"12", to)]);
    let mut batch = ReceiveBatch::with_slot_bytes(4);
    assert_eq!(batch.receive(&receiver).unwrap(), 3);
    let seen: Vec<_> = (0..3)
        .map(|i| (batch.datagram(i).0, batch.datagram(i).2))
        .collect();
    assert_eq!(
        seen,
        [(&b"1234"[..], true), (b"1234", false), (b"12", false)]
    );
}

#[test]
fn a_refused_datagram_does_not_stop_the_next() {
    let ((_a, sender), (owner, receiver)) = (socket("127.0.0.1"), socket("127.0.0.1"));
    let to = owner.local_addr().unwrap();
    let other_family: SocketAddr = "[::1]:5060".parse().unwrap();
    let too_long = vec![0; 65_508];
    let report = send_all(
        &sender,
        &[
            (b"x", other_family),
            (b"1", to),
            (&too_long, to),
            (b"2", to),
        ],
    );
    assert_eq!((report.sent, report.would_block, report.errors), (2, 0, 2));
    assert_eq!(report.last_error, Some(libc::EMSGSIZE));
    let mut batch = ReceiveBatch::new();
    assert_eq!(batch.receive(&receiver).unwrap(), 2);
    assert_eq!(
        (batch.datagram(0).0, batch.datagram(1).0),
        (&b"1"[..], &b"2"[..])
    );
}

#[test]
fn an_error_of_an_earlier_send_does_not_fail_the_receive() {
    let (owner, connected) = socket("127.0.0.1");
    let (peer, _) = socket("127.0.0.1");
    owner.connect(peer.local_addr().unwrap()).unwrap();
    let gone = peer.local_addr().unwrap();
    drop(peer);
    send_all(&connected, &[(b"to nobody", gone)]);
    // The ICMP answer is pending now: a plain receive would report it.
    assert_eq!(ReceiveBatch::new().receive(&connected).unwrap(), 0);
}

#[test]
fn an_inherited_descriptor_is_checked_made_non_blocking_and_left_open() {
    let owner = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let borrowed = UdpSocket::from_inherited(owner.as_raw_fd()).unwrap();
    assert_eq!(
        owner.recv(&mut [0; 8]).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    assert_eq!(borrowed.as_raw_fd(), owner.as_raw_fd());
    {
        let _ends_here = borrowed;
    }
    assert!(owner.local_addr().is_ok());
    let file = std::fs::File::open("/dev/null").unwrap();
    let error = UdpSocket::from_inherited(file.as_raw_fd()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
    assert_eq!(
        UdpSocket::from_inherited(-1).unwrap_err().raw_os_error(),
        Some(libc::EBADF)
    );
}
