//! How a test answers the questions for next hops, and targets that have a name.

use crate::scene::{Scene, Sent};
use sipshard_proto::proxy::{Hop, LocateQuestion};
use sipshard_proto::Transport;

/// A contact whose next hop is looked up.
pub const TO_NAME: &str = "sip:bob@pbx.example.net";

/// The question that [`TO_NAME`] makes.
pub fn question() -> LocateQuestion {
    LocateQuestion {
        host: "pbx.example.net".into(),
        port: 0,
        transport: None,
        is_secure: false,
    }
}

/// UDP hops in this order, each with a priority of its own.
pub fn hops(addresses: &[&str]) -> Vec<Hop> {
    let hop = |(priority, address): (u16, &&str)| Hop {
        transport: Transport::Udp,
        destination: address.parse().unwrap(),
        priority,
        weight: 0,
    };
    (0..).zip(addresses).map(hop).collect()
}

impl Scene {
    /// [`TO_NAME`] was located there; what is sent then.
    pub fn located(&mut self, addresses: &[&str]) -> Vec<Sent> {
        self.located_as(&question(), hops(addresses))
    }

    /// Some question has its answer, good for a minute; what is sent then.
    pub fn located_as(&mut self, question: &LocateQuestion, hops: Vec<Hop>) -> Vec<Sent> {
        self.proxy.handle_located(self.now, question, hops, 60);
        self.take_sent()
    }

    /// Nobody knows where [`TO_NAME`] is; what is sent then.
    pub fn lookup_failed(&mut self) -> Vec<Sent> {
        self.proxy.handle_lookup_failed(self.now, &question());
        self.take_sent()
    }

    /// The only question that waits.
    pub fn lookup(&mut self) -> LocateQuestion {
        let mut questions = self.proxy.take_questions();
        assert_eq!(questions.len(), 1, "{questions:?}");
        questions.remove(0)
    }
}
