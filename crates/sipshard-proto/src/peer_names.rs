//! Names that peers have proven by a certificate (RFC 5922 §7.1), each text kept once, so that what a message came with
//! can carry them in four bytes.
//!
//! Only certificates that an authority of the operator's has signed get here, so there are as many names as he has trunks.

use hashbrown::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

/// More names than any operator has trunks; those beyond are not shown to policies.
const MAX_TEXTS: usize = 4_096;

/// The names of one certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerId(NonZeroU32);

/// All names of one worker's peers.
#[derive(Default)]
pub struct PeerNames {
    texts: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, PeerId>,
}

impl PeerNames {
    /// Keeps a text, the names of a certificate with spaces between them. `None` when there is no room.
    pub fn file(&mut self, text: &str) -> Option<PeerId> {
        if let Some(&id) = self.ids.get(text) {
            return Some(id);
        }
        if text.is_empty() || self.texts.len() >= MAX_TEXTS {
            return None;
        }
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        let id = PeerId(NonZeroU32::new(self.texts.len() as u32)?);
        self.ids.insert(text, id);
        Some(id)
    }

    /// The text that was kept.
    pub fn text(&self, id: PeerId) -> Option<&Arc<str>> {
        self.texts.get(id.0.get() as usize - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_their_number_is_bounded() {
        let mut names = PeerNames::default();
        let one = names.file("pbx.example.com").unwrap();
        assert_eq!(names.file("pbx.example.com"), Some(one));
        assert_eq!(names.text(one).map(|text| &**text), Some("pbx.example.com"));
        assert_eq!(names.file(""), None);
        for number in 1..MAX_TEXTS {
            assert!(names.file(&format!("pbx{number}.example.com")).is_some());
        }
        assert_eq!(names.file("one-more.example.com"), None);
        assert_eq!(names.file("pbx.example.com"), Some(one));
    }
}
