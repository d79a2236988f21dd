//! The steering program in an interpreter of classic BPF, against the hash written for reading: for
//! any bytes, it never reads beyond the datagram (the kernel would give that to worker 0), and it
//! names the right worker or none.

mod reference;

use libc::sock_filter;
use proptest::collection::vec;
use proptest::prelude::*;
use reference::{value_offsets, worker_of_value};
use sipshard_net::steering::{program, Steering};

const NOT_STEERED: u32 = u32::MAX;

/// Why a run ended without a result.
#[derive(Debug, PartialEq)]
enum Fault {
    BeyondTheDatagram,
    UnknownInstruction(u16),
}

/// Runs `program` on `packet` as the kernel would, within the instructions that steering uses.
fn run(program: &[sock_filter], packet: &[u8]) -> Result<u32, Fault> {
    let (mut a, mut x, mut cells, mut next) = (0u32, 0u32, [0u32; 16], 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[next];
        next += 1;
        let branch = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            0x00 => a = k,
            0x01 => x = k,
            0x02 => cells[k as usize] = a,
            0x03 => cells[k as usize] = x,
            0x05 => next += k as usize,
            0x06 => return Ok(k),
            0x07 => x = a,
            0x14 => a = a.wrapping_sub(k),
            0x15 => next += branch(a == k),
            0x16 => return Ok(a),
            0x1c => a = a.wrapping_sub(x),
            0x04 => a = a.wrapping_add(k),
            0x20 => a = load(packet, k, 0, 4)?,
            0x24 => a = a.wrapping_mul(k),
            0x25 => next += branch(a > k),
            0x30 => a = load(packet, k, 0, 1)?,
            0x35 => next += branch(a >= k),
            0x40 => a = load(packet, k, x, 4)?,
            0x44 => a |= k,
            0x50 => a = load(packet, k, x, 1)?,
            0x54 => a &= k,
            0x60 => a = cells[k as usize],
            0x61 => x = cells[k as usize],
            0x74 => a >>= k,
            0x80 => a = packet.len() as u32,
            0x87 => a = x,
            0xac => a ^= x,
            _ => return Err(Fault::UnknownInstruction(code)),
        }
    }
}

fn load(packet: &[u8], offset: u32, base: u32, size: usize) -> Result<u32, Fault> {
    let start = u64::from(offset) + u64::from(base);
    let bytes = usize::try_from(start)
        .ok()
        .and_then(|start| packet.get(start..start + size))
        .ok_or(Fault::BeyondTheDatagram)?;
    Ok(bytes
        .iter()
        .fold(0, |word, byte| word << 8 | u32::from(*byte)))
}

fn steering() -> impl Strategy<Value = Steering> {
    let workers = prop_oneof![1u16..10, 1u16..=256];
    (workers, any::<u32>(), any::<u32>()).prop_map(|(workers, basis, multiplier)| Steering {
        workers,
        basis,
        multiplier: multiplier | 1,
    })
}

/// Pieces of which a datagram may come to look like SIP, or nearly.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let near = proptest::sample::select(vec![
        "\r\nCall-ID: ",
        "\ncall-id:",
        "\r\nCALL-ID:\t",
        "all-",
        "ll-i",
        "l-id",
        "-id:",
        "Call-I",
        "\r\nX-Call-ID: ",
        "\r\nSession-ID: 1",
        "*call-id: ",
        "\ncall\rid: ",
        "\ncall-id\x1a",
        "\r\n",
        "\n",
        "Call-ID",
        " ",
        "   \t",
        "INVITE sip:a SIP/2.0",
        "SIP/2.0 200 OK",
        "a84b4c76e66710",
    ]);
    prop_oneof![
        3 => near.prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..60),
        1 => vec(b'a'..=b'z', 0..60),
    ]
}

/// Anything from noise to a message, up to beyond the program's reach.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let filler = prop_oneof![Just(0usize), 0usize..1700];
    (filler, vec(piece(), 0..14), any::<bool>()).prop_map(|(filler, pieces, is_letter_first)| {
        let mut bytes = if is_letter_first {
            b"INVITE".to_vec()
        } else {
            Vec::new()
        };
        bytes.resize(bytes.len() + filler, b'x');
        bytes.extend(pieces.concat());
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn any_datagram_is_given_to_a_right_worker_or_to_none(
        steering in steering(),
        datagram in datagram(),
    ) {
        let result = run(&program(&steering), &datagram).expect("no load beyond the datagram");
        let right = |offset: usize| worker_of_value(&steering, &datagram[offset..]);
        // More blanks than it skips read as an empty value.
        let empty = worker_of_value(&steering, b"");
        let is_right = value_offsets(&datagram).any(|offset| result == right(offset) || result == empty);
        prop_assert!(result == NOT_STEERED || is_right, "{result}");
        prop_assert!(datagram.first().is_some_and(u8::is_ascii_alphabetic) || result == NOT_STEERED);
    }

    #[test]
    fn a_call_id_in_reach_is_always_found(
        steering in steering(),
        before in "[b-hj-zB-HJ-Z0-9 :;=.@]{60,1400}",
        name in proptest::sample::select(vec!["Call-ID", "call-id", "CALL-ID", "Call-id"]),
        blanks in "[ \t]{0,3}",
        call_id in "[!-~]{0,60}",
        after in "[ -~]{0,50}",
    ) {
        let text = format!("INVITE {before}\r\n{name}:{blanks}{call_id}\r\n{after}\r\n");
        let result = run(&program(&steering), text.as_bytes());
        prop_assert_eq!(result, Ok(worker_of_value(&steering, call_id.as_bytes())));
    }
}

const EXAMPLE: Steering = Steering {
    workers: 4,
    basis: 0x9e37_79b9,
    multiplier: 0x85eb_ca6b,
};

#[test]
fn every_prefix_of_a_message_stays_within_its_bytes() {
    let program = program(&EXAMPLE);
    // One of these fillers puts each byte of the header at each place of a chunk.
    for filler in 0..45 {
        let message = format!(
            "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h{:x<filler$}\r\n\
             Call-ID:   3848276298220188511@atlanta.example.com\r\nCSeq: 1 INVITE\r\n\r\n",
            ""
        );
        for cut in 0..message.len() {
            let result = run(&program, &message.as_bytes()[..cut]);
            assert!(result.is_ok(), "filler {filler}, cut {cut}: {result:?}");
        }
    }
}

#[test]
fn a_value_of_any_length_may_end_the_datagram() {
    let program = program(&EXAMPLE);
    for length in 0..50 {
        let call_id = &"f81d4fae-7dec-11d0-a765-00a0c91e6bf6@foo.bar.example.com"[..length];
        for (blanks, end) in [("", "\n"), (" ", "\n"), ("   ", "\r\n"), ("\t", "\r\n\r\n")] {
            let text = format!(
                "ACK sip:b SIP/2.0\r\n{:60}\r\nCall-ID:{blanks}{call_id}{end}",
                ""
            );
            let result = run(&program, text.as_bytes());
            assert_eq!(
                result,
                Ok(worker_of_value(&EXAMPLE, call_id.as_bytes())),
                "{text}"
            );
        }
    }
}

#[test]
fn a_result_is_always_a_worker() {
    let message = |number: u32| {
        format!(
            "OPTIONS sip:a SIP/2.0\r\n{:60}\r\nCall-ID: {number}\r\n\r\n",
            ""
        )
    };
    for workers in [1, 2, 255, 256] {
        let steering = Steering {
            workers,
            basis: 1,
            multiplier: 0x0100_0193,
        };
        let program = program(&steering);
        let mut seen = vec![false; usize::from(workers)];
        for number in 0..20_000 {
            seen[run(&program, message(number).as_bytes()).unwrap() as usize] = true;
        }
        assert!(
            seen.iter().all(|worker| *worker),
            "every worker of {workers} gets something"
        );
    }
}

#[test]
fn the_program_is_as_long_as_the_kernel_allows() {
    let length = program(&Steering {
        workers: 2,
        basis: 1,
        multiplier: 3,
    })
    .len();
    assert!((4000..=4096).contains(&length), "{length} instructions");
}
