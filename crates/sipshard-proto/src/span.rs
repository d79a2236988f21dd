//! A stretch of a message, as offsets into its bytes.

/// Offsets of the first byte and of the byte behind the last one.
///
/// Spans instead of slices let a parsed message be moved, kept and copied together with its bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte; never less than `start`.
    pub end: u32,
}

impl Span {
    /// A span from `usize` offsets; a message is at most 64 KiB, so nothing is lost.
    #[inline]
    pub(crate) fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        Span {
            start: start as u32,
            end: end as u32,
        }
    }

    /// Where `part` lies in `whole`; `part` must have been cut out of `whole`.
    #[inline]
    pub(crate) fn locate(whole: &[u8], part: &[u8]) -> Span {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        debug_assert!(start + part.len() <= whole.len());
        Span::new(start, start + part.len())
    }

    /// The bytes that this span covers.
    ///
    /// # Panics
    /// When the span does not come from a message with these bytes and lies outside of them.
    #[inline]
    pub fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// Whether it covers nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_gives_back_the_part_it_was_located_from() {
        let whole = b"Via: one, two";
        let span = Span::locate(whole, &whole[5..8]);
        assert_eq!(span, Span { start: 5, end: 8 });
        assert_eq!(span.of(whole), b"one");
        assert_eq!(span.len(), 3);
        assert!(!span.is_empty());
    }

    #[test]
    fn an_empty_part_at_the_end_has_a_place() {
        let whole = b"abc";
        let span = Span::locate(whole, &whole[3..]);
        assert_eq!(span, Span { start: 3, end: 3 });
        assert!(span.is_empty());
    }
}
