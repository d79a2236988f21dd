use super::*;
use proptest::prelude::*;

const TEXT: OpCode = OpCode::Data(Data::Text);
const BINARY: OpCode = OpCode::Data(Data::Binary);
const CONTINUE: OpCode = OpCode::Data(Data::Continue);
const PING: OpCode = OpCode::Control(Control::Ping);
const PONG: OpCode = OpCode::Control(Control::Pong);
const CLOSE: OpCode = OpCode::Control(Control::Close);

const LIMIT: usize = 1000;

/// A frame as a client sends it, by tungstenite's encoder.
fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xFA, 0x21, 0x3D];
    let header = FrameHeader {
        is_final,
        rsv1: false,
        rsv2: false,
        rsv3: false,
        opcode,
        mask: Some(key),
    };
    let mut bytes = Vec::new();
    header.format(payload.len() as u64, &mut bytes).unwrap();
    let masked = payload.iter().zip(key.iter().cycle());
    bytes.extend(masked.map(|(byte, key)| byte ^ key));
    bytes
}

#[derive(PartialEq, Eq, Debug)]
enum Seen {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Close(Vec<u8>),
    Error(FrameError),
}

fn read_into(reader: &mut FrameReader, bytes: &[u8], seen: &mut Vec<Seen>) -> bool {
    let mut bytes = bytes.to_vec();
    let mut rest = &mut bytes[..];
    loop {
        let event = match reader.next(&mut rest) {
            Ok(None) => return true,
            Ok(Some(FrameEvent::Message(message))) => Seen::Message(message.to_vec()),
            Ok(Some(FrameEvent::Ping(payload))) => Seen::Ping(payload.to_vec()),
            Ok(Some(FrameEvent::Close(code))) => Seen::Close(code.to_vec()),
            Err(error) => {
                seen.push(Seen::Error(error));
                return false;
            }
        };
        seen.push(event);
    }
}

/// What a connection of `pieces` brings.
fn read(pieces: &[&[u8]]) -> Vec<Seen> {
    let (mut reader, mut seen) = (FrameReader::new(LIMIT), Vec::new());
    for piece in pieces {
        if !read_into(&mut reader, piece, &mut seen) {
            break;
        }
    }
    seen
}

fn message(payload: &[u8]) -> Seen {
    Seen::Message(payload.to_vec())
}

#[test]
fn a_masked_message_of_the_rfc_is_read() {
    // RFC 6455 §5.7.
    let hello = [
        0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58,
    ];
    assert_eq!(read(&[&hello]), [message(b"Hello")]);
}

#[test]
fn every_length_has_its_head() {
    for length in [0, 1, 125, 126, 127, LIMIT] {
        let payload = vec![b'x'; length];
        assert_eq!(read(&[&frame(BINARY, true, &payload)]), [message(&payload)]);
        let (head, of_client) = (frame_head(BINARY, length), frame(BINARY, true, &payload));
        assert_eq!(head.as_bytes().len() + 4 + length, of_client.len());
        assert_eq!(head.as_bytes()[0], of_client[0]);
        assert_eq!(head.as_bytes()[1], of_client[1] & 0x7F, "not masked");
    }
    assert_eq!(frame_head(TEXT, 65_536).as_bytes().len(), 10);
}

#[test]
fn fragments_make_one_message_and_control_frames_come_between() {
    let stream = [
        frame(TEXT, false, b"REGI"),
        frame(PING, true, b"alive?"),
        frame(CONTINUE, false, b""),
        frame(PONG, true, b"unasked"),
        frame(CONTINUE, true, "ST\u{e9}R".as_bytes()),
        frame(BINARY, true, b"\xFF\xFE"),
        frame(CLOSE, true, b"\x03\xE8bye"),
    ]
    .concat();
    let expected = [
        Seen::Ping(b"alive?".to_vec()),
        message("REGIST\u{e9}R".as_bytes()),
        message(b"\xFF\xFE"),
        Seen::Close(vec![3, 0xE8]),
    ];
    assert_eq!(read(&[&stream]), expected);
    for cut in 0..stream.len() {
        assert_eq!(
            read(&[&stream[..cut], &stream[cut..]]),
            expected,
            "at {cut}"
        );
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read(&bytes), expected);
}

#[test]
fn what_breaks_the_protocol_is_refused() {
    let mut unmasked = frame(BINARY, true, b"");
    unmasked[1] &= 0x7F;
    let with_bits = |bits: u8| {
        let mut bytes = frame(BINARY, true, b"x");
        bytes[0] |= bits;
        bytes
    };
    for (bytes, error) in [
        (unmasked, FrameError::Protocol),
        (with_bits(0x10), FrameError::Protocol),
        (with_bits(0x40), FrameError::Protocol),
        (with_bits(0x03), FrameError::Protocol),
        (with_bits(0x0B), FrameError::Protocol),
        (frame(CONTINUE, true, b"x"), FrameError::Protocol),
        (frame(PING, false, b"x"), FrameError::Protocol),
        (frame(PING, true, &[0; 126]), FrameError::Protocol),
        (frame(CLOSE, true, b"x"), FrameError::Protocol),
        (
            [frame(TEXT, false, b"x"), frame(TEXT, true, b"x")].concat(),
            FrameError::Protocol,
        ),
        (frame(TEXT, true, b"\xFF"), FrameError::NotText),
        (frame(BINARY, true, &[0; LIMIT + 1]), FrameError::TooLarge),
        (
            [
                frame(BINARY, false, &[0; LIMIT]),
                frame(CONTINUE, true, b"x"),
            ]
            .concat(),
            FrameError::TooLarge,
        ),
    ] {
        assert_eq!(read(&[&bytes]), [Seen::Error(error)], "{bytes:x?}");
    }
    let giant = [0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    let key = [0; 4];
    assert_eq!(read(&[&giant, &key]), [Seen::Error(FrameError::TooLarge)]);
}

#[test]
fn at_rest_nothing_is_held() {
    let (mut reader, mut seen) = (FrameReader::new(LIMIT), Vec::new());
    for piece in [
        frame(BINARY, false, &[0; 900]),
        frame(PING, true, b"x"),
        frame(CONTINUE, true, &[0; 90]),
    ]
    .concat()
    .chunks(7)
    {
        read_into(&mut reader, piece, &mut seen);
    }
    assert_eq!(seen.len(), 2);
    assert_eq!(reader.message.capacity() + reader.control.capacity(), 0);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_within_the_bounds(
        frames in proptest::collection::vec(
            (0u8..16, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)),
            0..12,
        ),
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        cut in 1usize..400,
    ) {
        let frames = frames.iter();
        let frames = frames.map(|(code, is_final, payload)| {
            let opcode = OpCode::from(*code);
            frame(opcode, *is_final, payload)
        });
        let stream: Vec<u8> = frames.flatten().chain(noise).collect();
        let (mut reader, mut seen) = (FrameReader::new(LIMIT), Vec::new());
        for piece in stream.chunks(cut) {
            if !read_into(&mut reader, piece, &mut seen) {
                break;
            }
            prop_assert!(reader.message.capacity() <= 2 * LIMIT);
            prop_assert!(reader.control.capacity() <= 256);
        }
    }
}
