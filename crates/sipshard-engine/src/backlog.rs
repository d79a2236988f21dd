//! What found a mailbox full and must not be lost: nobody repeats a message that came, or leaves, through a connection.
//! It waits in the sender's memory until the receiver has made room.

use std::collections::{BTreeMap, VecDeque};

/// So much waits at most: some seconds of a busy trunk, as long as a hung worker is given before it is replaced.
const MAX_BYTES: usize = 16 << 20;

/// Records for the mailboxes of several receivers, those of each in order.
#[derive(Default)]
pub struct Backlog {
    /// By receiver; one for whom nothing waits is not there.
    waiting: BTreeMap<u16, VecDeque<Box<[u8]>>>,
    bytes: usize,
}

impl Backlog {
    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether something waits for that receiver, so that what comes now must wait behind it.
    pub fn holds(&self, receiver: u16) -> bool {
        self.waiting.contains_key(&receiver)
    }

    /// Keeps a record; false when there is no room.
    pub fn push(&mut self, receiver: u16, head: &[u8], message: &[u8]) -> bool {
        let length = head.len() + message.len();
        if self.bytes + length > MAX_BYTES {
            return false;
        }
        self.bytes += length;
        let records = self.waiting.entry(receiver).or_default();
        records.push_back([head, message].concat().into());
        true
    }

    /// Offers the records to `send` again, up to the first that it refuses for a receiver; what is left goes on waiting.
    pub fn retry(&mut self, mut send: impl FnMut(u16, &[u8]) -> bool) {
        let bytes = &mut self.bytes;
        self.waiting.retain(|&receiver, records| {
            while let Some(record) = records.front() {
                if !send(receiver, record) {
                    return true;
                }
                *bytes -= record.len();
                records.pop_front();
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_one_receiver_keeps_its_order_and_holds_up_no_other() {
        let mut backlog = Backlog::default();
        for (receiver, text) in [(1, "a"), (2, "b"), (1, "c"), (2, "d")] {
            assert!(backlog.push(receiver, b"", text.as_bytes()));
        }
        assert!(backlog.holds(1) && !backlog.holds(3));
        let mut sent = Vec::new();
        backlog.retry(|receiver, record| {
            sent.push((receiver, record.to_vec()));
            receiver == 2
        });
        let tried: Vec<(u16, Vec<u8>)> = vec![(1, b"a".into()), (2, b"b".into()), (2, b"d".into())];
        assert_eq!(sent, tried, "one refusal is enough for a receiver");
        sent.clear();
        backlog.retry(|receiver, record| {
            sent.push((receiver, record.to_vec()));
            true
        });
        assert_eq!(sent, [(1, b"a".to_vec()), (1, b"c".to_vec())]);
        assert!(backlog.is_empty());
        assert_eq!(backlog.bytes, 0);
    }

    #[test]
    fn it_is_bounded() {
        let mut backlog = Backlog::default();
        let megabyte = vec![0; 1 << 20];
        let taken = (0..100).take_while(|_| backlog.push(0, b"", &megabyte));
        assert_eq!(taken.count(), MAX_BYTES >> 20);
    }
}
