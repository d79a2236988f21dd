use super::*;
use crate::mapping::{reserve, tests::memory_file};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::thread;

/// A ring of `words` words, of which each call makes one more view.
fn rings(words: usize) -> impl Fn() -> Ring {
    let file = memory_file();
    let total = MAILBOX_CONTROL_WORDS + words;
    reserve(file.as_raw_fd(), total * WORD_BYTES).unwrap();
    let mapping = Arc::new(Mapping::new(file.as_raw_fd(), total * WORD_BYTES).unwrap());
    move || Ring::new(Arc::clone(&mapping), 0..total)
}

/// Pops into a value.
fn pop(consumer: &Consumer) -> Option<Vec<u8>> {
    let mut popped = None;
    consumer.pop(|record| popped = Some(record.to_vec()));
    popped
}

/// Pops with a consumer that dies while it has the record in hand; returns whether it died.
fn pop_and_die(consumer: &Consumer) -> bool {
    let die = |_: &[u8]| resume_unwind(Box::new("killed"));
    catch_unwind(AssertUnwindSafe(|| consumer.pop(die))).is_err()
}

/// Pushes with a producer that dies before its store number `stores`, counted from 0.
fn push_and_die(producer: &Producer, record: &[u8], mut stores: usize) -> Result<(), Full> {
    producer.push_while(record, || {
        let is_alive = stores > 0;
        stores = stores.saturating_sub(1);
        is_alive
    })
}

#[test]
fn head_and_payload_come_out_in_one_row_and_in_order() {
    let ring = rings(16);
    let (producer, consumer) = (Producer::new(ring()), Consumer::new(ring()));
    assert!(consumer.is_empty() && pop(&consumer).is_none());
    producer.push(b"head", b" and payload").unwrap();
    producer.push(b"", b"").unwrap();
    producer.push(b"12345678", b"").unwrap();
    assert!(!consumer.is_empty());
    assert_eq!(pop(&consumer).unwrap(), b"head and payload");
    assert_eq!(pop(&consumer).unwrap(), b"");
    assert_eq!(pop(&consumer).unwrap(), b"12345678");
    assert!(consumer.is_empty() && pop(&consumer).is_none());
}

#[test]
fn a_full_ring_refuses_and_takes_again_after_a_pop() {
    let ring = rings(8);
    let (producer, consumer) = (Producer::new(ring()), Consumer::new(ring()));
    for round in 0..20u8 {
        // Seven words of bytes and one of header fill the ring to the last word, wherever it starts.
        producer.push(&[round; 8], &[round; 8]).unwrap();
        producer.push(&[round; 32], &[]).unwrap();
        assert_eq!(producer.push(&[], &[]), Err(Full));
        assert_eq!(pop(&consumer).unwrap(), [round; 16]);
        assert_eq!(producer.push(&[0; 17], &[]), Err(Full));
        producer.push(&[0; 16], &[]).unwrap();
        assert_eq!(pop(&consumer).unwrap(), [round; 32]);
        assert_eq!(pop(&consumer).unwrap(), [0; 16]);
    }
    assert_eq!(producer.push(&[0; 57], &[]), Err(Full));
    producer.push(&[0; 56], &[]).unwrap();
}

#[test]
fn a_producer_that_dies_between_any_two_stores_has_pushed_nothing() {
    let record = [7; 50];
    let stores = 1 + word_count(record.len()) as usize + 1;
    for death in 0..stores {
        let ring = rings(16);
        let consumer = Consumer::new(ring());
        Producer::new(ring()).push(b"before", b"").unwrap();
        push_and_die(&Producer::new(ring()), &record, death).unwrap();
        assert_eq!(pop(&consumer).unwrap(), b"before");
        assert_eq!(
            pop(&consumer),
            None,
            "died before store {death} of {stores}"
        );
        Producer::new(ring()).push(b"after", b"").unwrap();
        assert_eq!(pop(&consumer).unwrap(), b"after");
        assert_eq!((consumer.resets(), consumer.skipped()), (0, 0));
    }
    let ring = rings(16);
    push_and_die(&Producer::new(ring()), &record, stores).unwrap();
    assert_eq!(pop(&Consumer::new(ring())).unwrap(), record);
}

#[test]
fn a_record_is_delivered_again_when_its_consumer_dies_but_not_for_ever() {
    let ring = rings(16);
    let producer = Producer::new(ring());
    producer.push(b"poison", b"").unwrap();
    producer.push(b"fine", b"").unwrap();
    for _ in 0..MOST_ATTEMPTS {
        assert!(pop_and_die(&Consumer::new(ring())));
    }
    let successor = Consumer::new(ring());
    assert_eq!(pop(&successor).unwrap(), b"fine");
    assert_eq!((successor.skipped(), successor.resets()), (1, 0));
    assert!(successor.is_empty());
}

#[test]
fn a_consumer_that_dies_before_it_resets_the_attempts_costs_the_next_record_none_but_tries() {
    let ring = rings(16);
    Producer::new(ring()).push(b"next", b"").unwrap();
    ring()
        .control(ATTEMPTS)
        .store(MOST_ATTEMPTS - 1, Ordering::Relaxed);
    assert_eq!(pop(&Consumer::new(ring())).unwrap(), b"next");
}

#[test]
fn corruption_empties_the_ring_and_is_counted() {
    let header = |length: u32| record_header(length);
    for (name, word) in [
        ("zeros", 0),
        ("ones", u64::MAX),
        ("no check", 16 << 32),
        ("longer than what is there", header(17)),
        ("longer than the ring", header(u32::MAX)),
    ] {
        let ring = rings(16);
        let (producer, consumer) = (Producer::new(ring()), Consumer::new(ring()));
        producer.push(&[1; 8], &[2; 8]).unwrap();
        ring().data()[0].store(word, Ordering::Relaxed);
        assert_eq!(pop(&consumer), None, "{name}");
        assert_eq!(consumer.resets(), 1, "{name}");
        assert!(consumer.is_empty());
        producer.push(b"again", b"").unwrap();
        assert_eq!(pop(&consumer).unwrap(), b"again", "{name}");
    }
}

#[test]
fn positions_that_make_no_sense_are_full_for_one_end_and_a_reset_for_the_other() {
    for (head, tail) in [
        (5, 4),
        (0, 17),
        (u64::MAX, 0x7fff),
        (0, u64::MAX),
        (1 << 63, 0),
    ] {
        let ring = rings(16);
        ring().control(HEAD).store(head, Ordering::Relaxed);
        ring().control(TAIL).store(tail, Ordering::Relaxed);
        let (producer, consumer) = (Producer::new(ring()), Consumer::new(ring()));
        assert_eq!(producer.push(b"x", b""), Err(Full));
        assert_eq!((pop(&consumer), consumer.resets()), (None, 1));
        producer.push(b"x", b"").unwrap();
        assert_eq!(pop(&consumer).unwrap(), b"x");
    }
}

#[test]
fn two_threads_pass_every_record_on_in_order() {
    let ring = rings(256);
    let (producer, consumer) = (Producer::new(ring()), Consumer::new(ring()));
    let record = |number: u64| vec![number as u8; (number * 7 % 900) as usize];
    let total = 100_000u64;
    let pushing = thread::spawn(move || {
        for number in 0..total {
            while producer
                .push(&number.to_ne_bytes(), &record(number))
                .is_err()
            {
                thread::yield_now();
            }
        }
    });
    for number in 0..total {
        let expected = [&number.to_ne_bytes()[..], &record(number)].concat();
        while !consumer.pop(|bytes| assert_eq!(bytes, expected)) {
            thread::yield_now();
        }
    }
    pushing.join().unwrap();
    assert!(consumer.is_empty());
    assert_eq!((consumer.resets(), consumer.skipped()), (0, 0));
}

/// What happens to a mailbox. Each push and pop is by an end of its own: all state is in the ring.
#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    PushAndDie(usize, usize),
    Pop,
    PopAndDie,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..70).prop_map(Step::Push),
        2 => (0usize..70, 0usize..12).prop_map(|(length, stores)| Step::PushAndDie(length, stores)),
        4 => Just(Step::Pop),
        2 => Just(Step::PopAndDie),
    ]
}

/// The mailbox as it should be: records in a queue, and the attempts at the first one.
#[derive(Default)]
struct Model {
    records: VecDeque<Vec<u8>>,
    attempts: u64,
    skipped: u64,
}

impl Model {
    fn push(&mut self, record: &[u8], capacity: u64) -> Result<(), Full> {
        let used: u64 = self
            .records
            .iter()
            .map(|record| 1 + word_count(record.len()))
            .sum();
        if used + 1 + word_count(record.len()) > capacity {
            return Err(Full);
        }
        self.records.push_back(record.to_vec());
        Ok(())
    }

    /// Takes away a first record that was tried too often.
    fn skip(&mut self) {
        if self.attempts == MOST_ATTEMPTS {
            self.records.pop_front();
            (self.attempts, self.skipped) = (0, self.skipped + 1);
        }
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        self.skip();
        self.attempts = 0;
        self.records.pop_front()
    }

    fn pop_and_die(&mut self) -> bool {
        self.skip();
        let dies = !self.records.is_empty();
        self.attempts += u64::from(dies);
        dies
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_mailbox_is_a_bounded_queue_whoever_dies(steps in vec(step(), 0..200)) {
        let capacity = 16;
        let ring = rings(capacity);
        let mut model = Model::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push(length) => {
                    let record = vec![number as u8; length];
                    let (head, payload) = record.split_at(length / 2);
                    let result = Producer::new(ring()).push(head, payload);
                    prop_assert_eq!(result, model.push(&record, capacity as u64));
                }
                Step::PushAndDie(length, stores) => {
                    let record = vec![number as u8; length];
                    let is_complete = stores as u64 >= 2 + word_count(length);
                    let result = push_and_die(&Producer::new(ring()), &record, stores);
                    let expected = model.push(&record, capacity as u64);
                    prop_assert_eq!(result, expected);
                    if expected.is_ok() && !is_complete {
                        model.records.pop_back();
                    }
                }
                Step::Pop => prop_assert_eq!(pop(&Consumer::new(ring())), model.pop()),
                Step::PopAndDie => {
                    prop_assert_eq!(pop_and_die(&Consumer::new(ring())), model.pop_and_die());
                }
            }
            prop_assert_eq!(Consumer::new(ring()).is_empty(), model.records.is_empty());
        }
        let consumer = Consumer::new(ring());
        prop_assert_eq!((consumer.skipped(), consumer.resets()), (model.skipped, 0));
    }

    #[test]
    fn no_corruption_panics_or_sticks(
        pushes in vec(0usize..40, 0..6),
        spoilt in vec((0usize..16 + 24, any::<u64>()), 1..6),
    ) {
        let ring = rings(16);
        let (producer, consumer) = (Producer::new(ring()), Consumer::new(ring()));
        for length in pushes {
            let _ = producer.push(&vec![9; length], b"");
        }
        for (index, word) in spoilt {
            let target = ring();
            let target = if index < 16 { &target.data()[index] } else { target.control(index - 16) };
            target.store(word, Ordering::Relaxed);
        }
        // Whatever is popped, a ring of 16 words holds no more than 16 records.
        let popped = (0..20).take_while(|_| pop(&consumer).is_some()).count();
        prop_assert!(popped <= 16);
        prop_assert!(consumer.is_empty());
        // A figure that was spoilt must not make the next record look like a poisonous one.
        ring().control(ATTEMPTS).store(0, Ordering::Relaxed);
        producer.push(b"works ", b"again").unwrap();
        prop_assert_eq!(pop(&consumer).unwrap(), b"works again");
    }
}
