//! Every parameter that is listed can be found by its name, and addresses never panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sipshard_proto::{parameter, Contact, NameAddr};

fuzz_target!(|raw: &[u8]| {
    for parameter in parameter::parameters(raw).map_while(Result::ok).take(64) {
        let name = String::from_utf8_lossy(parameter.name);
        assert!(name.contains('\u{fffd}') || parameter::find(raw, &name).is_some());
    }
    let _ = (
        Contact::parse(raw),
        NameAddr::parse(raw).map(|address| address.tag()),
    );
});
