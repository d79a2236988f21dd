//! Next hops that are names: a bounded cache of the ways to them, and the list of those that somebody outside must look up
//! (RFC 3263 §4).

use crate::timestamp::Timestamp;
use crate::transport::Transport;
use hashbrown::{Equivalent, HashMap};
use smallvec::SmallVec;
use std::net::SocketAddr;

/// So many names are remembered; a name beyond that is unreachable until others expire.
const MAX_NAMES: usize = 10_000;
/// A full cache is searched for expired names no more often than this.
const SWEEP_INTERVAL_MS: u64 = 1_000;
/// A question that is never answered is forgotten after this time, so that the name is asked for again.
const QUESTION_LIFE_MS: u64 = 10_000;
/// What was known of a name is used for so long after it has expired, while nothing newer can be had. RFC 8767 §5 allows
/// days; a server that has moved is better lost after an hour than called for a day.
const STALE_LIFE_MS: u64 = 3_600_000;
/// After a failure the name is asked for again after 1, 2, 4 seconds and so on up to this.
const MAX_BACK_OFF_S: u64 = 30;
/// So many ways to one name are kept.
const MAX_HOPS: usize = 32;

/// One way to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// What it speaks.
    pub transport: Transport,
    /// Where it is.
    pub destination: SocketAddr,
    /// Those with the lowest are tried first.
    pub priority: u16,
    /// The share among those of one priority.
    pub weight: u16,
}

/// What a URI says about where to go (RFC 3263 §4).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LocateQuestion {
    /// The name, in lower case.
    pub host: Box<str>,
    /// 0 when the URI has none.
    pub port: u16,
    /// `None` when the URI names none.
    pub transport: Option<Transport>,
    /// It is a sips URI.
    pub is_secure: bool,
}

/// The same, borrowed from a URI; the name in any case.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The name.
    pub host: &'a [u8],
    /// 0 when the URI has none.
    pub port: u16,
    /// `None` when the URI names none.
    pub transport: Option<Transport>,
    /// It is a sips URI.
    pub is_secure: bool,
}

/// Hashes like the question that it stands for: the same fields in the same order.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    host: &'a str,
    port: u16,
    transport: Option<Transport>,
    is_secure: bool,
}

impl Equivalent<LocateQuestion> for Key<'_> {
    fn equivalent(&self, question: &LocateQuestion) -> bool {
        self.host == &*question.host
            && self.port == question.port
            && self.transport == question.transport
            && self.is_secure == question.is_secure
    }
}

impl Key<'_> {
    fn to_question(&self) -> LocateQuestion {
        LocateQuestion {
            host: self.host.into(),
            port: self.port,
            transport: self.transport,
            is_secure: self.is_secure,
        }
    }
}

/// What the cache knows of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup<'a> {
    /// The ways to it, in no particular order; none when there is no such service, or nobody could tell just now.
    Known(&'a [Hop]),
    /// The ways to it that were known until a while ago; newer ones are being asked for.
    Stale(&'a [Hop]),
    /// The question is out; [`Locator::answer`] or [`Locator::fail`] will tell.
    Pending,
    /// There is no room for another name.
    Full,
}

struct Entry {
    hops: Box<[Hop]>,
    fresh_until: Timestamp,
    /// The question is not asked again before this: it is under way, or has failed lately.
    ask_again_at: Timestamp,
    failures: u32,
}

impl Entry {
    fn is_usable(&self, now: Timestamp) -> bool {
        !self.hops.is_empty() && now < self.fresh_until.after_ms(STALE_LIFE_MS)
    }
}

/// The cache of one worker.
#[derive(Default)]
pub struct Locator {
    names: HashMap<LocateQuestion, Entry>,
    questions: Vec<LocateQuestion>,
    next_sweep: Timestamp,
}

impl Locator {
    /// Looks a name up, and asks for it when it is not known or has expired.
    pub fn look_up(&mut self, now: Timestamp, asked: Asked<'_>) -> Lookup<'_> {
        let mut lower: SmallVec<[u8; 64]> = SmallVec::from_slice(asked.host);
        lower.make_ascii_lowercase();
        let Ok(host) = std::str::from_utf8(&lower) else {
            return Lookup::Known(&[]);
        };
        let key = Key {
            host: host.strip_suffix('.').unwrap_or(host),
            port: asked.port,
            transport: asked.transport,
            is_secure: asked.is_secure,
        };
        let is_due_at = |entry: &Entry| now >= entry.fresh_until && now >= entry.ask_again_at;
        let is_due = self.names.get(&key).map(is_due_at);
        if is_due.is_none() && !self.has_room(now) {
            return Lookup::Full;
        }
        if is_due != Some(false) {
            self.ask(now, &key);
        }
        match self.names.get(&key) {
            Some(entry) if now < entry.fresh_until => Lookup::Known(&entry.hops),
            Some(entry) if entry.is_usable(now) => Lookup::Stale(&entry.hops),
            _ => Lookup::Pending,
        }
    }

    /// Takes the questions that are to be answered.
    pub fn take_questions(&mut self) -> Vec<LocateQuestion> {
        std::mem::take(&mut self.questions)
    }

    /// True when questions wait to be taken.
    pub fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Files an answer, if its question was asked.
    pub fn answer(
        &mut self,
        now: Timestamp,
        question: &LocateQuestion,
        mut hops: Vec<Hop>,
        ttl_s: u32,
    ) {
        let Some(entry) = self.names.get_mut(question) else {
            return;
        };
        hops.sort_by_key(|hop| hop.priority);
        hops.truncate(MAX_HOPS);
        *entry = Entry {
            hops: hops.into_boxed_slice(),
            fresh_until: now.after_ms(u64::from(ttl_s.max(1)) * 1_000),
            ask_again_at: now,
            failures: 0,
        };
    }

    /// Nothing could be learnt. What was known stays in use; a name of which nothing is known counts as unreachable until
    /// it is asked for again, so that nobody waits for a dead name server twice.
    pub fn fail(&mut self, now: Timestamp, question: &LocateQuestion) {
        let Some(entry) = self.names.get_mut(question) else {
            return;
        };
        let back_off_s = (1 << entry.failures.min(5)).min(MAX_BACK_OFF_S);
        entry.failures += 1;
        entry.ask_again_at = now.after_ms(back_off_s * 1_000);
        if !entry.is_usable(now) {
            entry.hops = Box::default();
            entry.fresh_until = entry.ask_again_at;
        }
    }

    fn ask(&mut self, now: Timestamp, key: &Key<'_>) {
        let question = key.to_question();
        self.questions.push(question.clone());
        let entry = self.names.entry(question).or_insert_with(|| Entry {
            hops: Box::default(),
            fresh_until: Timestamp::default(),
            ask_again_at: now,
            failures: 0,
        });
        entry.ask_again_at = now.after_ms(QUESTION_LIFE_MS);
    }

    /// Makes room if it must: what is of no use goes first, then what is out of date and was not asked for lately.
    fn has_room(&mut self, now: Timestamp) -> bool {
        if self.names.len() >= MAX_NAMES && now >= self.next_sweep {
            self.next_sweep = now.after_ms(SWEEP_INTERVAL_MS);
            let is_current = |entry: &Entry| now < entry.fresh_until || now < entry.ask_again_at;
            self.names
                .retain(|_, entry| is_current(entry) || entry.is_usable(now));
            if self.names.len() >= MAX_NAMES {
                self.names.retain(|_, entry| is_current(entry));
            }
        }
        self.names.len() < MAX_NAMES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_millis(milliseconds)
    }

    fn named(host: &str) -> Asked<'_> {
        Asked {
            host: host.as_bytes(),
            port: 0,
            transport: None,
            is_secure: false,
        }
    }

    fn hop() -> Hop {
        Hop {
            transport: Transport::Udp,
            destination: "192.0.2.1:5060".parse().unwrap(),
            priority: 0,
            weight: 0,
        }
    }

    /// A locator that knows `pbx.example` from now for 60 seconds.
    fn informed() -> (Locator, LocateQuestion) {
        let mut locator = Locator::default();
        assert_eq!(
            locator.look_up(at(0), named("Pbx.example.")),
            Lookup::Pending
        );
        let question = locator.take_questions().remove(0);
        assert_eq!(&*question.host, "pbx.example");
        locator.answer(at(0), &question, vec![hop()], 60);
        (locator, question)
    }

    #[test]
    fn a_name_is_asked_for_once() {
        let mut locator = Locator::default();
        for _ in 0..3 {
            assert_eq!(
                locator.look_up(at(1), named("pbx.example")),
                Lookup::Pending
            );
        }
        assert_eq!(locator.take_questions().len(), 1);
        let (mut locator, _) = informed();
        for host in ["pbx.example", "PBX.EXAMPLE."] {
            assert_eq!(
                locator.look_up(at(59_999), named(host)),
                Lookup::Known(&[hop()])
            );
        }
        assert!(!locator.has_questions());
    }

    #[test]
    fn port_transport_and_scheme_make_another_question() {
        let (mut locator, _) = informed();
        let name = named("pbx.example");
        let others = [
            Asked { port: 5060, ..name },
            Asked {
                transport: Some(Transport::Udp),
                ..name
            },
            Asked {
                is_secure: true,
                ..name
            },
        ];
        for other in others {
            assert_eq!(locator.look_up(at(1), other), Lookup::Pending);
        }
        assert_eq!(locator.take_questions().len(), 3);
    }

    #[test]
    fn rfc_8767_what_has_expired_is_used_while_it_is_asked_for_anew() {
        let (mut locator, question) = informed();
        let name = named("pbx.example");
        assert_eq!(locator.look_up(at(60_000), name), Lookup::Stale(&[hop()]));
        assert_eq!(locator.look_up(at(60_001), name), Lookup::Stale(&[hop()]));
        assert_eq!(
            locator.take_questions(),
            std::slice::from_ref(&question),
            "one refresh at a time"
        );
        locator.answer(at(60_100), &question, Vec::new(), 60);
        assert_eq!(locator.look_up(at(60_101), name), Lookup::Known(&[]));
        // A name that did not exist may have been made meanwhile: nothing is gained by a stale no.
        assert_eq!(locator.look_up(at(120_100), name), Lookup::Pending);
    }

    #[test]
    fn rfc_8767_failures_are_retried_with_growing_pauses_and_stale_answers_last_an_hour() {
        let (mut locator, question) = informed();
        let mut pauses = Vec::new();
        let mut asked_at = 60_000;
        for now_ms in (60_000..60_000 + HOUR_MS).step_by(1_000) {
            let found = locator.look_up(at(now_ms), named("pbx.example"));
            assert_eq!(found, Lookup::Stale(&[hop()]), "{now_ms}");
            if locator.take_questions().pop().is_some() {
                pauses.push((now_ms - asked_at) / 1_000);
                asked_at = now_ms;
                locator.fail(at(now_ms), &question);
            }
        }
        assert_eq!(pauses[..8], [0, 1, 2, 4, 8, 16, 30, 30]);
        locator.fail(at(60_000 + HOUR_MS), &question);
        let found = locator.look_up(at(60_000 + HOUR_MS), named("pbx.example"));
        assert_eq!(found, Lookup::Known(&[]));
    }

    #[test]
    fn a_name_of_which_nothing_is_known_keeps_nobody_waiting_after_a_failure() {
        let mut locator = Locator::default();
        let name = named("pbx.example");
        locator.look_up(at(0), name);
        let question = locator.take_questions().remove(0);
        locator.fail(at(5_000), &question);
        assert_eq!(locator.look_up(at(5_999), name), Lookup::Known(&[]));
        assert_eq!(locator.look_up(at(6_000), name), Lookup::Pending);
        locator.fail(at(6_000), &question);
        assert_eq!(locator.look_up(at(7_999), name), Lookup::Known(&[]));
        locator.answer(at(8_000), &question, vec![hop()], 60);
        assert_eq!(locator.look_up(at(8_000), name), Lookup::Known(&[hop()]));
    }

    #[test]
    fn a_question_that_is_never_answered_is_asked_again() {
        let (mut locator, _) = informed();
        let name = named("pbx.example");
        assert_eq!(locator.look_up(at(60_000), name), Lookup::Stale(&[hop()]));
        locator.take_questions();
        locator.look_up(at(60_000 + QUESTION_LIFE_MS - 1), name);
        assert!(!locator.has_questions());
        locator.look_up(at(60_000 + QUESTION_LIFE_MS), name);
        assert!(locator.has_questions());
    }

    #[test]
    fn the_cache_is_bounded_and_prefers_what_is_of_use() {
        let (mut locator, _) = informed();
        let stale = locator.look_up(at(60_000), named("pbx.example"));
        assert_eq!(stale, Lookup::Stale(&[hop()]));
        for number in 1..MAX_NAMES {
            locator.look_up(at(60_000), named(&format!("host{number}")));
        }
        let one_more = named("one-more");
        assert_eq!(locator.look_up(at(60_000), one_more), Lookup::Full);
        let mut unasked = locator.take_questions().remove(0);
        unasked.host = "unasked".into();
        locator.answer(at(60_000), &unasked, vec![hop(); 100], 60);
        assert_eq!(locator.names.len(), MAX_NAMES);
        let later = at(60_000 + QUESTION_LIFE_MS);
        assert_eq!(locator.look_up(later, one_more), Lookup::Pending);
        assert_eq!(locator.names.len(), 2, "the stale name and the new one");
    }

    #[test]
    fn a_cache_full_of_stale_names_takes_new_ones() {
        let mut locator = Locator::default();
        for number in 0..MAX_NAMES {
            locator.look_up(at(0), named(&format!("host{number}")));
        }
        for question in locator.take_questions() {
            locator.answer(at(0), &question, vec![hop(); 100], 60);
            assert_eq!(locator.names[&question].hops.len(), MAX_HOPS);
        }
        assert_eq!(locator.look_up(at(1), named("one-more")), Lookup::Full);
        assert_eq!(
            locator.look_up(at(60_000), named("one-more")),
            Lookup::Pending
        );
    }
}
