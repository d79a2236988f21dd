//! The offsets of a Via lie in it and in order, for each item of a list.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sipshard_proto::{split_list, Via};

fuzz_target!(|value: &[u8]| {
    for via in split_list(value).filter_map(|item| Via::parse(item).ok()) {
        assert!(via.rport_name_end <= via.rport_end && via.rport_end <= via.raw.len());
        assert!(via.received_span.of(via.raw).len() < via.raw.len());
        assert_eq!(Via::parse(via.raw), Ok(via));
    }
});
