//! A URI is equivalent to itself, and its address of record is no longer than it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sipshard_proto::Uri;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(uri) = Uri::parse(bytes) {
        assert!(uri.equivalent(&uri));
        assert!(uri.aor().len() <= bytes.len() + 8);
        let _ = (uri.is_loose_router(), uri.transport());
    }
});
