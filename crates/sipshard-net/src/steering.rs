//! Call-ID steering: a classic BPF program on a reuseport group that gives a SIP datagram to the
//! socket of the worker that owns its Call-ID, without privilege and before any worker wakes up.
//!
//! Plain SO_REUSEPORT hashes addresses and ports, so that a whole trunk (one source address and
//! port) is one worker's. The program spreads it evenly and keeps every call at one worker. It is an
//! optimisation: a worker computes the same hash after parsing and passes on what is not its own.
//!
//! **The hash**, which the worker must compute alike: `h = basis`; for each of the first
//! [`HASHED_BYTES`] bytes `b` of the value (leading SP and HT skipped, ended by the first byte
//! ≤ 0x20) `h = (h ^ b) * multiplier`, all in 32 bits; `partition = h >> 24`;
//! `worker = partition * workers / 256`. `docs/adr/0002-call-id-hash.md` says why.
//!
//! **The search.** `LF "Call-ID:"` in any letter case has, whatever its place, one of the words
//! `all-` `ll-i` `l-id` `-id:` at a multiple of four. So the program loads the word at every fourth
//! offset, folds its case, and compares four times. Classic BPF has no loops: the search is unrolled
//! in chunks. A hit is checked in full at the end of its chunk; a false one (`sip:all-hands@…`)
//! costs the rest of the chunk, 40 bytes, and the search goes on with the next. A load beyond the
//! end of the datagram would end the program with 0, which is worker 0's index: each chunk first
//! looks at the length, and what is left at the end is searched relative to the end.
//!
//! What has no Call-ID in reach (or has its compact form, or is no SIP at all: STUN, CRLF, garbage)
//! gets an index that no socket has, for which the kernel falls back on its hash of the addresses.

mod assembler;

use assembler::{Assembler, Label};
use libc::sock_filter;
use std::io;
use std::mem;
use std::os::fd::RawFd;

/// Bytes of the Call-ID that are hashed. RFC 3261 §8.1.1.4 wants it unique over space and time, and
/// what makes it so comes first in practice.
pub const HASHED_BYTES: u32 = 32;

/// What steers: the number of workers and the secret of the installation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steering {
    /// Sockets in the group, of which socket `i` is worker `i`'s. 1 to 256.
    pub workers: u16,
    /// The secret start of the hash.
    pub basis: u32,
    /// The secret multiplier of the hash; must be odd, or bits would be lost with every byte. Five
    /// modulo eight is best: such numbers have the longest period.
    pub multiplier: u32,
}

/// The result for what is not steered: an index that no socket has.
const NOT_STEERED: u32 = u32::MAX;

/// The kernel takes no longer program (`BPF_MAXINSNS`).
const MOST_INSTRUCTIONS: usize = 4096;

/// Distance of the words that are looked at.
const STRIDE: u32 = 4;

/// The words, in lower case, of which one is at a multiple of [`STRIDE`], each with the distance
/// from the LF before the header name to the word.
const WORDS: [(&[u8; 4], u32); STRIDE as usize] =
    [(b"all-", 2), (b"ll-i", 3), (b"l-id", 4), (b"-id:", 5)];

/// `LF "Call-ID:"`.
const NEEDLE_BYTES: u32 = 9;

/// Where the search starts: no start line is shorter, and from here no hit can lie so that its LF
/// would be before the datagram's first byte.
const FIRST_OFFSET: u32 = 16;

/// Words that are looked at before a hit among them is checked.
const WORDS_PER_CHUNK: u32 = 10;

/// Bytes by which one chunk advances.
const CHUNK_BYTES: u32 = WORDS_PER_CHUNK * STRIDE;

/// Bytes that a chunk reads from its start on: behind its last word may lie the rest of a needle of
/// which that word is the first part.
const CHUNK_READ_BYTES: u32 = CHUNK_BYTES - STRIDE + NEEDLE_BYTES - WORDS[0].1;

/// SP and HT that are skipped before the value. More are possible but not seen.
const MOST_BLANKS: u32 = 3;

/// Chunks of the longest program that [`MOST_INSTRUCTIONS`] allows.
const MOST_CHUNKS: u32 = 35;

/// Bits that turn capital letters into small ones.
const FOLD_CASE: u32 = 0x2020_2020;

/// Scratch cells: the hash so far, where the value starts, and four bytes of it.
const HASH_CELL: u32 = 0;
const VALUE_CELL: u32 = 1;
const WORD_CELL: u32 = 2;

/// The steering program with the longest reach, in the kernel's instructions.
pub fn program(steering: &Steering) -> Vec<sock_filter> {
    program_with_chunks(steering, MOST_CHUNKS)
}

/// Attaches the program to the reuseport group that `fd` is in; attaching to one socket of a group
/// is enough. Returns its reach: a Call-ID header that begins before this many bytes is found.
///
/// The kernel bounds a program's memory (`net.core.optmem_max`: 128 KiB here, 20 KiB before Linux
/// 6.7), so shorter programs are tried when the longest is refused. Errors are the kernel's:
/// `ENOMEM` when even the shortest is too long, `EPERM` or `ENOPROTOOPT` where it is not allowed or
/// not known. The server then goes on with the hash of the addresses and the mailboxes.
pub fn attach(fd: RawFd, steering: &Steering) -> io::Result<usize> {
    let mut chunks = MOST_CHUNKS;
    loop {
        match attach_program(fd, &program_with_chunks(steering, chunks)) {
            Ok(()) => return Ok(reach(chunks)),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && chunks > 1 => {
                chunks = chunks * 3 / 4;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A header whose first letter is before this offset has a word that is looked at.
fn reach(chunks: u32) -> usize {
    (FIRST_OFFSET + chunks * CHUNK_BYTES - STRIDE) as usize
}

fn attach_program(fd: RawFd, program: &[sock_filter]) -> io::Result<()> {
    let description = libc::sock_fprog {
        len: program.len() as libc::c_ushort,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `description` is readable for its size and points to `len` instructions, which the
    // kernel copies and does not change.
    crate::check(unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const description).cast(),
            mem::size_of_val(&description) as libc::socklen_t,
        )
    })
    .map(drop)
}

fn program_with_chunks(steering: &Steering, chunks: u32) -> Vec<sock_filter> {
    let mut code = Assembler::default();
    let (hash, tail) = (code.label(), code.label());
    refuse_what_is_no_sip(&mut code);
    for chunk in 0..chunks {
        search_chunk(&mut code, FIRST_OFFSET + chunk * CHUNK_BYTES, hash, tail);
    }
    // Out of reach: there is more of the datagram than the program searches.
    code.return_value(NOT_STEERED);
    code.bind(tail);
    search_tail(&mut code, hash);
    code.bind(hash);
    hash_value(&mut code, steering);
    let program = code.finish();
    assert!(
        program.len() <= MOST_INSTRUCTIONS,
        "{} instructions",
        program.len()
    );
    program
}

/// A SIP message starts with a letter: of a method, or of `SIP/2.0`. What is shorter than the first
/// chunk is no message, and too short for the tail to start behind [`FIRST_OFFSET`].
fn refuse_what_is_no_sip(code: &mut Assembler) {
    let (is_short, is_letter) = (code.label(), code.label());
    code.load_length();
    code.jump_unless(libc::BPF_JGE, FIRST_OFFSET + CHUNK_READ_BYTES, is_short);
    code.load_byte(0);
    code.compute(libc::BPF_OR, FOLD_CASE & 0xff);
    code.compute(libc::BPF_SUB, u32::from(b'a'));
    // Below 'a' the difference wraps around to a large number: one comparison for both ends.
    code.jump_unless(libc::BPF_JGT, u32::from(b'z' - b'a'), is_letter);
    code.bind(is_short);
    code.return_value(NOT_STEERED);
    code.bind(is_letter);
}

/// Searches the words at `start`, `start + 4`, … Goes to `hash` with X at the LF when the header is
/// there, to `tail` when the datagram is too short for this chunk, else on.
fn search_chunk(code: &mut Assembler, start: u32, hash: Label, tail: Label) {
    let (is_long_enough, next_chunk) = (code.label(), code.label());
    let hits: [Label; WORDS.len()] = std::array::from_fn(|_| code.label());
    code.load_length();
    code.jump_if(libc::BPF_JGE, start + CHUNK_READ_BYTES, is_long_enough);
    code.jump(tail);
    code.bind(is_long_enough);
    for word in 0..WORDS_PER_CHUNK {
        let offset = start + word * STRIDE;
        code.load_x_value(offset);
        code.load_word(offset);
        compare_word(code, &hits);
    }
    code.jump(next_chunk);
    check_hit(code, &hits, next_chunk);
    code.jump(hash);
    code.bind(next_chunk);
}

/// Searches the last bytes of the datagram, placed so that a header that ends with the datagram's
/// last byte is just found. Ends the program unless the header is there.
///
/// Nothing is missed between the last chunk and this: that chunk was refused because the datagram
/// ends less than [`CHUNK_READ_BYTES`] behind its start, so this search starts before it.
fn search_tail(code: &mut Assembler, hash: Label) {
    let nothing = code.label();
    let hits: [Label; WORDS.len()] = std::array::from_fn(|_| code.label());
    code.load_length();
    code.compute(libc::BPF_SUB, CHUNK_READ_BYTES);
    code.x_from_a();
    for _ in 0..WORDS_PER_CHUNK {
        code.load_word_at_x(0);
        compare_word(code, &hits);
        code.a_from_x();
        code.compute(libc::BPF_ADD, STRIDE);
        code.x_from_a();
    }
    code.jump(nothing);
    check_hit(code, &hits, nothing);
    code.jump(hash);
    code.bind(nothing);
    code.return_value(NOT_STEERED);
}

/// Compares A, whatever its case, with each of the words.
fn compare_word(code: &mut Assembler, hits: &[Label; WORDS.len()]) {
    code.compute(libc::BPF_OR, FOLD_CASE);
    for ((word, _), hit) in WORDS.iter().zip(hits) {
        code.jump_if(libc::BPF_JEQ, u32::from_be_bytes(**word), *hit);
    }
}

/// Where the hits go, with X at the word: moves X back to the LF and checks the whole needle.
/// Goes on when it is there, else to `miss`. The masks leave LF, `-` and `:` exact.
fn check_hit(code: &mut Assembler, hits: &[Label; WORDS.len()], miss: Label) {
    let at_line_feed = code.label();
    for ((_, distance), hit) in WORDS.iter().zip(hits) {
        code.bind(*hit);
        code.a_from_x();
        code.compute(libc::BPF_SUB, *distance);
        code.jump(at_line_feed);
    }
    code.bind(at_line_feed);
    code.x_from_a();
    for (offset, letters, expected) in [(0, 0x0020_2020, b"\ncal"), (4, 0x2000_2020, b"l-id")] {
        code.load_word_at_x(offset);
        code.compute(libc::BPF_OR, letters);
        code.jump_unless(libc::BPF_JEQ, u32::from_be_bytes(*expected), miss);
    }
    code.load_byte_at_x(8);
    code.jump_unless(libc::BPF_JEQ, u32::from(b':'), miss);
}

/// Hashes the value of the header whose LF is at X, and ends the program with the worker.
fn hash_value(code: &mut Assembler, steering: &Steering) {
    refuse_unended_value(code);
    skip_blanks(code);
    let (near_the_end, end) = (code.label(), code.label());
    code.store_x_cell(VALUE_CELL);
    code.load_value(steering.basis);
    code.store_cell(HASH_CELL);
    code.load_length();
    code.compute_x(libc::BPF_SUB);
    code.jump_unless_far(libc::BPF_JGE, HASHED_BYTES, near_the_end);
    hash_words(code, steering.multiplier, end);
    code.bind(near_the_end);
    hash_bytes(code, steering.multiplier, end);
    code.bind(end);
    code.load_cell(HASH_CELL);
    code.compute(libc::BPF_RSH, 24);
    code.compute(libc::BPF_MUL, u32::from(steering.workers));
    code.compute(libc::BPF_RSH, 8);
    code.return_a();
}

/// Hashes a value behind whose start there are [`HASHED_BYTES`] in the datagram, and goes to `end`.
/// It reads by words, because each read at an index is a function call in the kernel.
fn hash_words(code: &mut Assembler, multiplier: u32, end: Label) {
    for half in [0..HASHED_BYTES / 2, HASHED_BYTES / 2..HASHED_BYTES] {
        let (stop, go_on) = (code.label(), code.label());
        for word in half.step_by(4) {
            code.load_x_cell(VALUE_CELL);
            code.load_word_at_x(word);
            code.store_cell(WORD_CELL);
            for shift in [24, 16, 8, 0] {
                code.load_cell(WORD_CELL);
                if shift > 0 {
                    code.compute(libc::BPF_RSH, shift);
                }
                if shift < 24 {
                    code.compute(libc::BPF_AND, 0xff);
                }
                hash_byte(code, multiplier, stop);
            }
        }
        // The value's end is too far for the first conditional jumps.
        code.jump(go_on);
        code.bind(stop);
        code.jump(end);
        code.bind(go_on);
    }
    code.jump(end);
}

/// Hashes a value that ends before the datagram's last byte, and falls through to the end.
fn hash_bytes(code: &mut Assembler, multiplier: u32, end: Label) {
    // At most HASHED_BYTES - 1 are left of the datagram, and the last of them is the LF.
    for byte in 0..HASHED_BYTES - 2 {
        code.load_x_cell(VALUE_CELL);
        code.load_byte_at_x(byte);
        hash_byte(code, multiplier, end);
    }
}

/// Takes the byte in A into the hash, or goes to `end` when it ends the value.
fn hash_byte(code: &mut Assembler, multiplier: u32, end: Label) {
    code.jump_unless(libc::BPF_JGT, 0x20, end);
    code.load_x_cell(HASH_CELL);
    code.compute_x(libc::BPF_XOR);
    code.compute(libc::BPF_MUL, multiplier);
    code.store_cell(HASH_CELL);
}

/// Makes sure that hashing does not read beyond the datagram: either there are bytes enough behind
/// the header name, or the last byte is an LF, which ends the value and is no blank.
fn refuse_unended_value(code: &mut Assembler) {
    let is_ended = code.label();
    code.load_length();
    code.compute_x(libc::BPF_SUB);
    code.jump_if(
        libc::BPF_JGE,
        NEEDLE_BYTES + MOST_BLANKS + HASHED_BYTES,
        is_ended,
    );
    code.store_x_cell(VALUE_CELL);
    code.load_length();
    code.compute(libc::BPF_SUB, 1);
    code.x_from_a();
    code.load_byte_at_x(0);
    code.load_x_cell(VALUE_CELL);
    code.jump_if(libc::BPF_JEQ, u32::from(b'\n'), is_ended);
    code.return_value(NOT_STEERED);
    code.bind(is_ended);
}

/// Moves X from the LF to the value's first byte.
fn skip_blanks(code: &mut Assembler) {
    let value = code.label();
    code.a_from_x();
    code.compute(libc::BPF_ADD, NEEDLE_BYTES);
    code.x_from_a();
    for _ in 0..MOST_BLANKS {
        let is_blank = code.label();
        code.load_byte_at_x(0);
        code.jump_if(libc::BPF_JEQ, u32::from(b' '), is_blank);
        code.jump_unless(libc::BPF_JEQ, u32::from(b'\t'), value);
        code.bind(is_blank);
        code.a_from_x();
        code.compute(libc::BPF_ADD, 1);
        code.x_from_a();
    }
    code.bind(value);
}
