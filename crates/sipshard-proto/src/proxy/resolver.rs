//! Names of next hops: a bounded cache, and the list of those that somebody outside must look up.

use crate::timestamp::Timestamp;
use hashbrown::HashMap;
use std::net::IpAddr;

/// So many names are remembered; a name beyond that is unreachable until others expire.
const MAX_NAMES: usize = 10_000;
/// A full cache is searched for expired names no more often than this.
const SWEEP_INTERVAL_MS: u64 = 1_000;
/// A question that is never answered is forgotten after this time, so that the name is asked for again.
const QUESTION_LIFE_MS: u64 = 10_000;

struct Entry {
    addresses: Vec<IpAddr>,
    is_pending: bool,
    until: Timestamp,
}

/// What the cache knows of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup<'a> {
    /// Its addresses; none when the name does not exist.
    Known(&'a [IpAddr]),
    /// The question is out; [`Resolver::answer`] will tell.
    Pending,
    /// There is no room for another name.
    Full,
}

/// The cache of one worker.
#[derive(Default)]
pub struct Resolver {
    names: HashMap<Box<[u8]>, Entry>,
    questions: Vec<String>,
    next_sweep: Timestamp,
}

impl Resolver {
    /// Looks a name up, and asks for it when it is not known.
    pub fn look_up(&mut self, now: Timestamp, name: &[u8]) -> Lookup<'_> {
        let name: Box<[u8]> = name.to_ascii_lowercase().into();
        let is_current = self.names.get(&name).is_some_and(|entry| now < entry.until);
        if !is_current && !self.ask(now, &name) {
            return Lookup::Full;
        }
        match self.names.get(&name) {
            Some(entry) if !entry.is_pending => Lookup::Known(&entry.addresses),
            _ => Lookup::Pending,
        }
    }

    /// Takes the names that are to be looked up.
    pub fn take_questions(&mut self) -> Vec<String> {
        std::mem::take(&mut self.questions)
    }

    /// True when names wait to be looked up.
    pub fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Files an answer.
    pub fn answer(&mut self, now: Timestamp, name: &[u8], addresses: Vec<IpAddr>, ttl_s: u32) {
        let entry = Entry {
            addresses,
            is_pending: false,
            until: now.after_ms(u64::from(ttl_s.max(1)) * 1_000),
        };
        let name: Box<[u8]> = name.to_ascii_lowercase().into();
        if self.names.len() < MAX_NAMES || self.names.contains_key(&name) {
            self.names.insert(name, entry);
        }
    }

    fn has_room(&mut self, now: Timestamp) -> bool {
        if self.names.len() >= MAX_NAMES && now >= self.next_sweep {
            self.next_sweep = now.after_ms(SWEEP_INTERVAL_MS);
            self.names.retain(|_, entry| now < entry.until);
        }
        self.names.len() < MAX_NAMES
    }

    fn ask(&mut self, now: Timestamp, name: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(name) else {
            return false;
        };
        if !self.has_room(now) && !self.names.contains_key(name) {
            return false;
        }
        self.questions.push(text.to_owned());
        let entry = Entry {
            addresses: Vec::new(),
            is_pending: true,
            until: now.after_ms(QUESTION_LIFE_MS),
        };
        self.names.insert(name.into(), entry);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_millis(milliseconds)
    }

    #[test]
    fn a_name_is_asked_for_once_and_again_when_its_answer_has_expired() {
        let mut resolver = Resolver::default();
        assert_eq!(resolver.look_up(at(0), b"Pbx.example"), Lookup::Pending);
        assert_eq!(resolver.look_up(at(1), b"pbx.example"), Lookup::Pending);
        assert_eq!(resolver.take_questions(), ["pbx.example"]);
        let address = [IpAddr::from([192, 0, 2, 1])];
        resolver.answer(at(2), b"pbx.example", address.to_vec(), 60);
        assert_eq!(
            resolver.look_up(at(3), b"pbx.example"),
            Lookup::Known(&address)
        );
        assert_eq!(
            resolver.look_up(at(60_002), b"pbx.example"),
            Lookup::Pending
        );
        assert_eq!(resolver.take_questions().len(), 1);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut resolver = Resolver::default();
        for number in 0..MAX_NAMES {
            resolver.look_up(at(0), format!("host{number}").as_bytes());
        }
        assert_eq!(resolver.look_up(at(0), b"one-more"), Lookup::Full);
        resolver.answer(at(0), b"unasked", Vec::new(), 60);
        assert_eq!(resolver.names.len(), MAX_NAMES);
        assert_eq!(
            resolver.look_up(at(QUESTION_LIFE_MS), b"one-more"),
            Lookup::Pending
        );
    }
}
