//! Messages that wait until a connection is established, when it is known how they are framed.

/// What stands in front of each message: its length.
const LENGTH_BYTES: usize = 4;

/// The messages, one behind the other, each behind its length. The lengths count as well, so that
/// many small messages are bounded as a few large ones are.
#[derive(Default)]
pub(super) struct EarlyMessages {
    bytes: Vec<u8>,
}

impl EarlyMessages {
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a message. Returns false when it is longer than any can be.
    pub(super) fn push(&mut self, message: &[u8]) -> bool {
        let Ok(length) = u32::try_from(message.len()) else {
            return false;
        };
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(message);
        true
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<LENGTH_BYTES>()?;
            let length = u32::from_ne_bytes(*length) as usize;
            let (message, behind) = behind.split_at_checked(length)?;
            rest = behind;
            Some(message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in() {
        let mut early = EarlyMessages::default();
        assert_eq!(early.bytes(), 0);
        for message in [&b"one"[..], b"", b"three"] {
            assert!(early.push(message));
        }
        assert_eq!(
            early.iter().collect::<Vec<_>>(),
            [&b"one"[..], b"", b"three"]
        );
        assert_eq!(early.bytes(), 8 + 3 * LENGTH_BYTES);
    }
}
