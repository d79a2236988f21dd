//! The torture messages of RFC 4475 and RFC 5118 in a stream: where each begins and ends (RFC 3261 §18.3).
//!
//! A datagram ends a message whatever it says; a stream has nothing but Content-Length. So most vectors are one frame,
//! and those that lie about their length, or have none, are in the table below. What the server does with them is in
//! `tests/integration/test_torture_streams.py`.

use std::fs;
use std::path::Path;

use sipshard_proto::{Frame, Framer, FramingFault};

/// What one stream brought.
#[derive(PartialEq, Eq, Debug, Default)]
struct Framed {
    /// Messages, and pings as empty ones; escaped, so that a difference can be read.
    frames: Vec<String>,
    fault: Option<FramingFault>,
    /// Whether it ends in the middle of a message.
    is_waiting: bool,
}

fn framed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Framed {
    let mut framer = Framer::default();
    let mut framed = Framed::default();
    for piece in pieces {
        let fed = framer.feed(piece, &mut |frame| {
            framed.frames.push(match frame {
                Frame::Message(message) => message.escape_ascii().to_string(),
                Frame::Ping => String::new(),
            });
        });
        if let Err(fault) = fed {
            framed.fault = Some(fault);
            return framed;
        }
    }
    framed.is_waiting = framer.is_waiting();
    framed
}

fn vectors() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let mut vectors = Vec::new();
    for set in ["rfc4475", "rfc5118/wire"] {
        for entry in fs::read_dir(folder.join(set)).expect("the vectors are there") {
            let path = entry.expect("the folder is readable").path();
            let name = path.file_stem().expect("it has a name").to_string_lossy();
            let bytes = fs::read(&path).expect("the vector is readable");
            vectors.push((name.into_owned(), bytes));
        }
    }
    assert_eq!(vectors.len(), 62);
    vectors
}

/// The messages that `name` is in a stream, how it ends, and whether more is waited for.
fn expected(name: &str, vector: &[u8]) -> Framed {
    let head_end = |from: usize| {
        let ends = vector[from..].windows(4);
        let end = ends.into_iter().position(|four| four == b"\r\n\r\n");
        from + end.expect("it has a blank line") + 4
    };
    let (borders, fault, is_waiting) = match name {
        // §3.1.1.8: the second request begins where the first one ends, and is five bytes shorter than the file.
        "dblreq" => {
            let invite = head_end(0);
            let invite_end = head_end(invite) + 150;
            (vec![invite, invite_end, vector.len()], None, false)
        }
        // §3.1.2.2: more is announced than comes. §3.1.2.15: the file ends before the blank line.
        "clerr" | "baddn" => (vec![], None, true),
        // §3.1.2.3, §3.3.9: nobody can know where the next one begins.
        "ncl" | "mcl01" => (vec![head_end(0)], Some(FramingFault::NoLength), false),
        // §3.4.1: without a Content-Length the head is all, and the body looks like the next message.
        "inv2543" => (vec![head_end(0)], None, true),
        _ => (vec![vector.len()], None, false),
    };
    let mut start = 0;
    let mut frames = Vec::new();
    for border in borders {
        let message = &vector[start..border];
        // §7.5: line ends before a start line are no part of the message.
        frames.push(message.trim_ascii_start().escape_ascii().to_string());
        start = border;
    }
    Framed {
        frames,
        fault,
        is_waiting,
    }
}

#[test]
fn rfc4475_in_a_stream_every_vector_ends_where_its_length_says() {
    for (name, vector) in vectors() {
        let found = framed([&vector[..]]);
        assert_eq!(found, expected(&name, &vector), "{name}");
    }
}

#[test]
fn rfc4475_in_a_stream_every_vector_gives_the_same_frames_byte_by_byte() {
    for (name, vector) in vectors() {
        let whole = framed([&vector[..]]);
        assert_eq!(framed(vector.chunks(1)), whole, "{name}, byte by byte");
        for border in 0..vector.len() {
            let (head, tail) = vector.split_at(border);
            assert_eq!(framed([head, tail]), whole, "{name}, broken at {border}");
        }
    }
}

#[test]
fn rfc4475_in_a_stream_every_vector_is_found_behind_another_message() {
    const BEFORE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 4\r\n\r\nbody";
    for (name, vector) in vectors() {
        let mut wanted = expected(&name, &vector);
        wanted.frames.insert(0, BEFORE.escape_ascii().to_string());
        assert_eq!(framed([BEFORE, &vector]), wanted, "{name}");
        assert_eq!(framed([&[BEFORE, &vector].concat()[..]]), wanted, "{name}");
    }
}
