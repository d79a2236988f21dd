//! A hierarchical timer wheel: setting a timer and firing it cost the same whether ten or a million run.
//!
//! Six levels of 64 slots, the lowest one millisecond wide. An entry lies on the level of the highest bit in which
//! its deadline differs from the wheel's present, and moves down when the present reaches its slot.

use crate::timestamp::Timestamp;

const LEVELS: usize = 6;
const SLOTS: usize = 64;
const BITS: u32 = 6;
/// Two years; what is later is put on the wheel's rim and looked at again.
const REACH_MS: u64 = (1 << (BITS as u64 * LEVELS as u64)) - 1;

struct Level<T> {
    occupied: u64,
    slots: [Vec<(u64, T)>; SLOTS],
}

impl<T> Level<T> {
    fn new() -> Self {
        Self {
            occupied: 0,
            slots: std::array::from_fn(|_| Vec::new()),
        }
    }
}

/// Entries of type `T`, each with a deadline.
pub struct TimerWheel<T> {
    present_ms: u64,
    levels: Vec<Level<T>>,
    due: Vec<(u64, T)>,
    len: usize,
}

impl<T> Default for TimerWheel<T> {
    fn default() -> Self {
        Self {
            present_ms: 0,
            levels: (0..LEVELS).map(|_| Level::new()).collect(),
            due: Vec::new(),
            len: 0,
        }
    }
}

impl<T> TimerWheel<T> {
    /// Puts an entry on the wheel. A deadline that has passed is due at once.
    pub fn insert(&mut self, deadline: Timestamp, entry: T) {
        self.len += 1;
        self.place(deadline.as_millis(), entry);
    }

    /// The next entry that is due at `now`, with its deadline.
    pub fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, T)> {
        while self.due.is_empty() {
            if !self.turn(now.as_millis()) {
                return None;
            }
        }
        self.len -= 1;
        self.due
            .pop()
            .map(|(deadline_ms, entry)| (Timestamp::from_millis(deadline_ms), entry))
    }

    /// No entry is due before this point. It may lie before the first deadline (an entry has to move down), never
    /// behind it.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if !self.due.is_empty() {
            return Some(Timestamp::from_millis(self.present_ms));
        }
        self.next_slot()
            .map(|(_, _, start_ms)| Timestamp::from_millis(start_ms))
    }

    /// How many entries are on the wheel.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn place(&mut self, deadline_ms: u64, entry: T) {
        if deadline_ms <= self.present_ms {
            self.due.push((deadline_ms, entry));
            return;
        }
        let rim_ms = deadline_ms.min(self.present_ms.saturating_add(REACH_MS / 2));
        let highest_bit = 63 - (rim_ms ^ self.present_ms).leading_zeros();
        let level = ((highest_bit / BITS) as usize).min(LEVELS - 1);
        let slot = (rim_ms >> (level as u32 * BITS)) as usize % SLOTS;
        self.levels[level].slots[slot].push((deadline_ms, entry));
        self.levels[level].occupied |= 1 << slot;
    }

    /// The earliest occupied slot: level, index, and the millisecond at which it begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        // A lower level always comes before a higher one: it holds what shares more leading bits with the present.
        self.levels
            .iter()
            .enumerate()
            .find(|(_, level)| level.occupied != 0)
            .map(|(index, level)| {
                let shift = index as u32 * BITS;
                let here = (self.present_ms >> shift) as u32 % SLOTS as u32;
                let ahead = level.occupied.rotate_right(here).trailing_zeros();
                let start_ms = ((self.present_ms >> shift) + u64::from(ahead)) << shift;
                (index, (here + ahead) as usize % SLOTS, start_ms)
            })
    }

    /// Moves the present to the next occupied slot if it begins by `now_ms`; false when there is none.
    fn turn(&mut self, now_ms: u64) -> bool {
        let Some((level, slot, start_ms)) = self.next_slot() else {
            self.present_ms = self.present_ms.max(now_ms);
            return false;
        };
        if start_ms > now_ms {
            // Nothing lies between: the present may move up to, not past, the slot's beginning.
            self.present_ms = self.present_ms.max(now_ms.min(start_ms));
            return false;
        }
        self.present_ms = self.present_ms.max(start_ms);
        self.levels[level].occupied &= !(1 << slot);
        let mut entries = std::mem::take(&mut self.levels[level].slots[slot]);
        for (deadline_ms, entry) in entries.drain(..) {
            self.place(deadline_ms, entry);
        }
        // The vector goes back, so that a slot's memory is allocated once.
        if self.levels[level].slots[slot].is_empty() {
            self.levels[level].slots[slot] = entries;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_millis(milliseconds)
    }

    #[test]
    fn a_deadline_in_the_past_is_due_at_once() {
        let mut wheel = TimerWheel::default();
        assert_eq!(wheel.pop(at(1_000)), None::<(Timestamp, u8)>);
        wheel.insert(at(10), 1);
        assert!(wheel.next_deadline().unwrap() <= at(1_000));
        assert_eq!(wheel.pop(at(1_000)), Some((at(10), 1)));
    }

    proptest! {
        #[test]
        fn every_entry_fires_once_never_early_and_never_late(
            origin in 0_u64..10_000_000_000,
            delays in prop::collection::vec(0_u64..400_000, 1..60),
            steps in prop::collection::vec(1_u64..50_000, 1..60),
        ) {
            let mut wheel = TimerWheel::default();
            let mut now = origin;
            prop_assert_eq!(wheel.pop(at(now)), None);
            let mut expected = Vec::new();
            let mut delays = delays.into_iter();
            for step in steps {
                if let Some(delay) = delays.next() {
                    wheel.insert(at(now + delay), now + delay);
                    expected.push(now + delay);
                }
                let first = expected.iter().copied().min();
                let announced = wheel.next_deadline().map(Timestamp::as_millis);
                let is_in_time = match (announced, first) {
                    (Some(announced), Some(first)) => announced <= first.max(now),
                    (None, None) => true,
                    _ => false,
                };
                prop_assert!(is_in_time, "announced {:?}, due {:?}", announced, first);
                now += step;
                while let Some((deadline, entry)) = wheel.pop(at(now)) {
                    prop_assert_eq!(deadline.as_millis(), entry);
                    prop_assert!(entry <= now);
                    let place = expected.iter().position(|&due| due == entry);
                    expected.swap_remove(place.unwrap());
                }
                prop_assert!(expected.iter().all(|&due| due > now));
                prop_assert_eq!(wheel.len(), expected.len());
            }
        }
    }
}
