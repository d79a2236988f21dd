//! A network that loses, delays, reorders and doubles datagrams by a seed, between one proxy and many endpoints.

use crate::dialog::RECORD_ROUTE;
use crate::endpoint::{Callee, Caller, Effect, Habit, Intent, Outcome};
use crate::scene::{target, Scene, Sent};
use sipshard_proto::proxy::{Event, Target};
use sipshard_proto::Handle;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// A generator whose numbers are the same for the same seed, everywhere (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }
}

enum Endpoint {
    Caller(Caller),
    Callee(Callee),
}

#[derive(Clone)]
enum Happening {
    Starts(SocketAddr),
    ReachesProxy(SocketAddr, Vec<u8>),
    ReachesEndpoint(Sent),
    Wakes(SocketAddr, usize),
    IsDecided(Handle, Vec<Target>),
}

impl Happening {
    /// Whether both are datagrams of one conversation between the proxy and an endpoint, in one direction.
    fn is_to_same(&self, other: &Happening) -> bool {
        match (self, other) {
            (Self::ReachesProxy(own, _), Self::ReachesProxy(other, _)) => own == other,
            (Self::ReachesEndpoint(own), Self::ReachesEndpoint(other)) => own.to == other.to,
            _ => false,
        }
    }
}

/// The simulation.
pub struct Network {
    scene: Scene,
    random: Random,
    loss_percent: u64,
    happenings: BTreeMap<(u64, u64), Happening>,
    serial: u64,
    endpoints: HashMap<SocketAddr, Endpoint>,
    targets: HashMap<String, Vec<Target>>,
    heard_ms: u64,
    emptied_ms: u64,
    counts: Counts,
}

/// What the network did with datagrams.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    pub carried: u64,
    pub lost: u64,
    pub doubled: u64,
    /// Those that came behind one that was sent later, to the proxy or from it.
    pub overtaken: u64,
}

/// What came of it all.
pub struct Ending {
    /// How each call ended for its caller.
    pub outcomes: Vec<Outcome>,
    /// How long the proxy had a transaction after it had last heard anything, in milliseconds.
    pub lingered_ms: u64,
    pub counts: Counts,
}

/// Of a hundred datagrams on a bad network so many come twice.
const DOUBLED_PERCENT: u64 = 3;

impl Network {
    pub fn new(seed: u64, loss_percent: u64) -> Self {
        Self {
            scene: Scene::new(),
            random: Random(seed),
            loss_percent,
            happenings: BTreeMap::new(),
            serial: 0,
            endpoints: HashMap::new(),
            targets: HashMap::new(),
            heard_ms: 0,
            emptied_ms: 0,
            counts: Counts::default(),
        }
    }

    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Adds a call that begins after `start_ms` and goes to one callee for each habit, with its q value.
    pub fn add_call(
        &mut self,
        number: u16,
        start_ms: u64,
        intent: Intent,
        callees: &[(Habit, u16)],
    ) {
        let call_id = format!("call-{number}");
        let address = SocketAddr::from(([192, 0, 2, 10], 10_000 + number));
        let caller = Caller::new(address, call_id.clone(), intent);
        self.endpoints.insert(address, Endpoint::Caller(caller));
        self.after(start_ms, Happening::Starts(address));
        let mut targets = Vec::new();
        for (leg, &(habit, q_milli)) in callees.iter().enumerate() {
            let host = [192, 0, 2, 20 + leg as u8];
            let address = SocketAddr::from((host, 10_000 + number));
            let callee = Callee::new(address, habit);
            self.endpoints.insert(address, Endpoint::Callee(callee));
            targets.push(Target {
                q_milli,
                ..target(&format!("sip:bob@{address}"))
            });
        }
        self.targets.insert(call_id, targets);
    }

    /// Lets everything happen until nothing can happen any more.
    pub fn run(mut self) -> Ending {
        while let Some(next_ms) = self.next_ms() {
            let sent = self.scene.pass_ms(next_ms.saturating_sub(self.scene.ms()));
            self.carry(sent);
            while let Some(entry) = self.happenings.first_entry() {
                if entry.key().0 > next_ms {
                    break;
                }
                let happening = entry.remove();
                self.happen(happening);
            }
            self.ask_policy();
            if self.scene.proxy.transaction_count() > 0 {
                self.emptied_ms = u64::MAX;
            } else if self.emptied_ms == u64::MAX {
                self.emptied_ms = self.scene.ms();
            }
        }
        let callers = self.endpoints.into_values().filter_map(|end| match end {
            Endpoint::Caller(caller) => Some(caller),
            Endpoint::Callee(_) => None,
        });
        let outcomes = callers.map(|caller| caller.outcome.expect("the call has ended"));
        let ending = Ending {
            outcomes: outcomes.collect(),
            lingered_ms: self.emptied_ms.saturating_sub(self.heard_ms),
            counts: self.counts,
        };
        self.scene.close();
        ending
    }

    fn next_ms(&self) -> Option<u64> {
        let first = self.happenings.keys().next().map(|key| key.0);
        let now = self.scene.now;
        let deadline = self.scene.proxy.next_deadline();
        let deadline = deadline.map(|deadline| self.scene.ms() + deadline.ms_since(now));
        first.into_iter().chain(deadline).min()
    }

    fn after(&mut self, delay_ms: u64, happening: Happening) {
        self.serial += 1;
        let at_ms = self.scene.ms() + delay_ms;
        self.happenings.insert((at_ms, self.serial), happening);
    }

    /// One datagram on the wire: lost, or there after 1 to 120 ms, perhaps twice.
    fn transmit(&mut self, happening: Happening) {
        self.counts.carried += 1;
        if self.random.below(100) < self.loss_percent {
            self.counts.lost += 1;
            return;
        }
        if self.loss_percent > 0 && self.random.below(100) < DOUBLED_PERCENT {
            self.counts.doubled += 1;
            self.arrive(happening.clone());
        }
        self.arrive(happening);
    }

    fn arrive(&mut self, happening: Happening) {
        let delay_ms = 1 + self.random.below(120);
        let due = (self.scene.ms() + delay_ms, u64::MAX);
        let is_overtaking = |other: &Happening| happening.is_to_same(other);
        let overtaken = self
            .happenings
            .range(due..)
            .filter(|(_, other)| is_overtaking(other));
        self.counts.overtaken += overtaken.count() as u64;
        self.after(delay_ms, happening);
    }

    fn carry(&mut self, sent: Vec<Sent>) {
        for sent in sent {
            assert!(self.endpoints.contains_key(&sent.to), "{}", sent.text());
            self.transmit(Happening::ReachesEndpoint(sent));
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ReachesProxy(from, bytes) => {
                self.heard_ms = self.scene.ms();
                let sent = self.scene.receive_by(0, &from.to_string(), &bytes);
                self.carry(sent);
            }
            Happening::IsDecided(id, targets) => {
                self.heard_ms = self.scene.ms();
                // The caller may have given up in between.
                let options = RECORD_ROUTE;
                let plan = sipshard_proto::proxy::Plan { targets, options };
                let decided = self.scene.proxy.forward(self.scene.now, id, plan);
                decided.expect("the plan is sound");
                let sent = self.scene.take_sent();
                self.carry(sent);
            }
            Happening::Starts(at) => self.involve(at, |end| match end {
                Endpoint::Caller(caller) => caller.start(),
                Endpoint::Callee(_) => Vec::new(),
            }),
            Happening::ReachesEndpoint(sent) => self.involve(sent.to, |end| match end {
                Endpoint::Caller(caller) => caller.hear(&sent),
                Endpoint::Callee(callee) => callee.hear(&sent),
            }),
            Happening::Wakes(at, token) => self.involve(at, |end| match end {
                Endpoint::Caller(caller) => caller.wake(token),
                Endpoint::Callee(callee) => callee.wake(token),
            }),
        }
    }

    fn involve(&mut self, at: SocketAddr, act: impl FnOnce(&mut Endpoint) -> Vec<Effect>) {
        let effects = self.endpoints.get_mut(&at).map(act).unwrap_or_default();
        for effect in effects {
            match effect {
                Effect::Send(bytes) => self.transmit(Happening::ReachesProxy(at, bytes)),
                Effect::Wake(delay_ms, token) => self.after(delay_ms, Happening::Wakes(at, token)),
            }
        }
    }

    /// The policy takes between nothing and 400 ms.
    fn ask_policy(&mut self) {
        while let Some(event) = self.scene.proxy.poll_event() {
            if let Event::RequestReceived(question) = event {
                let call_id = String::from_utf8_lossy(question.request.call_id()).into_owned();
                let targets = self.targets[&call_id].clone();
                let delay_ms = self.random.below(2) * self.random.below(400);
                self.after(delay_ms, Happening::IsDecided(question.id, targets));
            }
        }
    }
}
