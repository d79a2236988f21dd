//! Sans-IO SIP: bytes, events and a timestamp go in; datagrams, events and the next deadline come out.
#![forbid(unsafe_code)]
