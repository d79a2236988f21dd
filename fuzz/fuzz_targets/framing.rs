//! Where a stream is cut makes no difference: the same messages come out, and no more is kept than came in.
//!
//! The last four bytes of the input say how long the pieces are, the rest is the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sipshard_proto::{Frame, Framer, FramingFault, Message};

/// What a stream in these pieces holds, pings as empty messages, and how it ended.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Result<(), FramingFault>) {
    let mut framer = Framer::default();
    let mut found = Vec::new();
    for piece in pieces {
        let fed = framer.feed(piece, &mut |frame| match frame {
            Frame::Message(message) => {
                assert!(!message.is_empty());
                let _ = Message::parse(message);
                found.push(message.to_vec());
            }
            Frame::Ping => found.push(Vec::new()),
        });
        if fed.is_err() {
            assert!(!framer.is_waiting());
            return (found, fed);
        }
    }
    (found, Ok(()))
}

fuzz_target!(|input: &[u8]| {
    let Some((stream, sizes)) = input.split_last_chunk::<4>() else {
        return;
    };
    let whole = frames(std::iter::once(stream));
    let framed: usize = whole.0.iter().map(Vec::len).sum();
    assert!(framed <= stream.len());
    let mut rest = stream;
    let pieces = sizes.iter().cycle().map_while(|size| {
        let length = usize::from(*size).max(1).min(rest.len());
        let (piece, tail) = rest.split_at(length);
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(frames(pieces), whole);
});
