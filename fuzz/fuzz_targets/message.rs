//! A message that parses parses again from its own bytes; one that does not gets an answer that is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sipshard_proto::{malformed, split_list, Contact, Message};

fuzz_target!(|datagram: &[u8]| match Message::parse(datagram) {
    Ok(message) => {
        let again = Message::parse(message.bytes())
            .expect("it parsed before")
            .into_owned();
        assert_eq!(
            (again.headers(), again.via()),
            (message.headers(), message.via())
        );
        for field in message.headers() {
            for item in split_list(message.text(field.value)) {
                let _ = Contact::parse(item);
            }
        }
    }
    Err(fault) => {
        let mut response = Vec::new();
        let _ = malformed::refuse(datagram, fault, &mut response);
        assert!(response.len() <= datagram.len() + 1000);
    }
});
