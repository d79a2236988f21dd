//! How many connections each address has: one that opens too many gets no more.

use std::collections::HashMap;
use std::net::IpAddr;

/// Counts of one worker. As large as the number of connections at most.
pub struct Sources {
    counts: HashMap<IpAddr, u32>,
    max_each: u32,
}

impl Sources {
    /// Nobody yet; each address may have `max_each`.
    pub fn new(max_each: u32) -> Self {
        Self {
            counts: HashMap::new(),
            max_each,
        }
    }

    /// Counts one more; false when the address has as many as it may.
    pub fn enter(&mut self, source: IpAddr) -> bool {
        let count = self.counts.entry(source).or_insert(0);
        if *count >= self.max_each {
            return false;
        }
        *count += 1;
        true
    }

    /// Whether nobody is counted.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Counts one less.
    pub fn leave(&mut self, source: IpAddr) {
        if let Some(count) = self.counts.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_the_place_of_others_and_leaves_nothing_behind() {
        let mut sources = Sources::new(2);
        let one = IpAddr::from([192, 0, 2, 1]);
        let two = IpAddr::from([192, 0, 2, 2]);
        assert!(sources.enter(one) && sources.enter(one));
        assert!(!sources.enter(one));
        assert!(sources.enter(two));
        sources.leave(one);
        assert!(sources.enter(one));
        for source in [one, one, two] {
            sources.leave(source);
        }
        assert!(sources.is_empty());
    }
}
