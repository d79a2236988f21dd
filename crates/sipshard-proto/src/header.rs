//! Header field names and the index entry of one header field.

use crate::span::Span;

/// Declares the names once: variant, name on the wire, compact form (`0` when it has none).
///
/// To add a header, add its line; lookup, case and compact form follow from it.
macro_rules! header_names {
    ($($variant:ident $name:literal $compact:literal $source:literal,)*) => {
        /// The header names that are known; all others are [`HeaderName::Other`].
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $name, "`, ", $source, ".")] $variant,)*
            /// A name that is not in the list.
            Other,
        }

        /// Every known name, in the order of the enum.
        const NAMES: &[Name] = &[
            $(Name { header: HeaderName::$variant, text: $name, compact: $compact },)*
        ];
    };
}

struct Name {
    header: HeaderName,
    text: &'static str,
    compact: u8,
}

header_names! {
    Via "Via" b'v' "RFC 3261 §20.42",
    From "From" b'f' "RFC 3261 §20.20",
    To "To" b't' "RFC 3261 §20.39",
    CallId "Call-ID" b'i' "RFC 3261 §20.8",
    CSeq "CSeq" 0 "RFC 3261 §20.16",
    Contact "Contact" b'm' "RFC 3261 §20.10",
    MaxForwards "Max-Forwards" 0 "RFC 3261 §20.22",
    MaxBreadth "Max-Breadth" 0 "RFC 5393 §5",
    Route "Route" 0 "RFC 3261 §20.34",
    RecordRoute "Record-Route" 0 "RFC 3261 §20.30",
    ContentLength "Content-Length" b'l' "RFC 3261 §20.14",
    ContentType "Content-Type" b'c' "RFC 3261 §20.15",
    ContentEncoding "Content-Encoding" b'e' "RFC 3261 §20.12",
    ContentDisposition "Content-Disposition" 0 "RFC 3261 §20.11",
    ContentLanguage "Content-Language" 0 "RFC 3261 §20.13",
    MimeVersion "MIME-Version" 0 "RFC 3261 §20.24",
    Expires "Expires" 0 "RFC 3261 §20.19",
    MinExpires "Min-Expires" 0 "RFC 3261 §20.23",
    Path "Path" 0 "RFC 3327",
    ServiceRoute "Service-Route" 0 "RFC 3608",
    Require "Require" 0 "RFC 3261 §20.32",
    ProxyRequire "Proxy-Require" 0 "RFC 3261 §20.29",
    Supported "Supported" b'k' "RFC 3261 §20.37",
    Unsupported "Unsupported" 0 "RFC 3261 §20.40",
    Allow "Allow" 0 "RFC 3261 §20.5",
    AllowEvents "Allow-Events" b'u' "RFC 6665 §8.2.2",
    Accept "Accept" 0 "RFC 3261 §20.1",
    AcceptContact "Accept-Contact" b'a' "RFC 3841 §9.2",
    AcceptEncoding "Accept-Encoding" 0 "RFC 3261 §20.2",
    AcceptLanguage "Accept-Language" 0 "RFC 3261 §20.3",
    RejectContact "Reject-Contact" b'j' "RFC 3841 §9.2",
    RequestDisposition "Request-Disposition" b'd' "RFC 3841 §9.1",
    Authorization "Authorization" 0 "RFC 3261 §20.7",
    ProxyAuthorization "Proxy-Authorization" 0 "RFC 3261 §20.28",
    WwwAuthenticate "WWW-Authenticate" 0 "RFC 3261 §20.44",
    ProxyAuthenticate "Proxy-Authenticate" 0 "RFC 3261 §20.27",
    AuthenticationInfo "Authentication-Info" 0 "RFC 3261 §20.6",
    UserAgent "User-Agent" 0 "RFC 3261 §20.41",
    Server "Server" 0 "RFC 3261 §20.35",
    RetryAfter "Retry-After" 0 "RFC 3261 §20.33",
    Date "Date" 0 "RFC 3261 §20.17",
    Timestamp "Timestamp" 0 "RFC 3261 §20.38",
    Subject "Subject" b's' "RFC 3261 §20.36",
    Organization "Organization" 0 "RFC 3261 §20.25",
    Priority "Priority" 0 "RFC 3261 §20.26",
    Warning "Warning" 0 "RFC 3261 §20.43",
    AlertInfo "Alert-Info" 0 "RFC 3261 §20.4",
    CallInfo "Call-Info" 0 "RFC 3261 §20.9",
    ErrorInfo "Error-Info" 0 "RFC 3261 §20.18",
    InReplyTo "In-Reply-To" 0 "RFC 3261 §20.21",
    ReplyTo "Reply-To" 0 "RFC 3261 §20.31",
    Event "Event" b'o' "RFC 6665 §8.2.1",
    SubscriptionState "Subscription-State" 0 "RFC 6665 §8.2.3",
    SipEtag "SIP-ETag" 0 "RFC 3903 §11.3.1",
    SipIfMatch "SIP-If-Match" 0 "RFC 3903 §11.3.2",
    ReferTo "Refer-To" b'r' "RFC 3515 §2.1",
    ReferredBy "Referred-By" b'b' "RFC 3892 §3",
    Replaces "Replaces" 0 "RFC 3891 §6.1",
    Join "Join" 0 "RFC 3911 §7.1",
    TargetDialog "Target-Dialog" 0 "RFC 4538 §7",
    Reason "Reason" 0 "RFC 3326 §2",
    RAck "RAck" 0 "RFC 3262 §7.2",
    RSeq "RSeq" 0 "RFC 3262 §7.1",
    SessionExpires "Session-Expires" b'x' "RFC 4028 §4",
    MinSe "Min-SE" 0 "RFC 4028 §5",
    SessionId "Session-ID" 0 "RFC 7989 §5",
    Identity "Identity" b'y' "RFC 8224 §4",
    Privacy "Privacy" 0 "RFC 3323 §4.2",
    Diversion "Diversion" 0 "RFC 5806 §4",
    HistoryInfo "History-Info" 0 "RFC 7044 §5",
    Geolocation "Geolocation" 0 "RFC 6442 §4.1",
    UserToUser "User-to-User" 0 "RFC 7433 §4",
    FlowTimer "Flow-Timer" 0 "RFC 5626 §10",
    PAssertedIdentity "P-Asserted-Identity" 0 "RFC 3325 §9.1",
    PPreferredIdentity "P-Preferred-Identity" 0 "RFC 3325 §9.2",
    PAssociatedUri "P-Associated-URI" 0 "RFC 7315 §4.1",
    PCalledPartyId "P-Called-Party-ID" 0 "RFC 7315 §4.2",
    PVisitedNetworkId "P-Visited-Network-ID" 0 "RFC 7315 §4.3",
    PAccessNetworkInfo "P-Access-Network-Info" 0 "RFC 7315 §4.4",
    PChargingVector "P-Charging-Vector" 0 "RFC 7315 §4.6",
}

/// Slots of the hash table: over four for each name, so that a lookup nearly always meets one candidate.
const SLOTS: usize = 512;
const EMPTY: u8 = u8::MAX;
const _: () = assert!(NAMES.len() < EMPTY as usize && NAMES.len() * 4 < SLOTS);

/// Open addressing: index into [`NAMES`], or [`EMPTY`].
static BY_HASH: [u8; SLOTS] = fill_table();

/// The packed form of each name.
static PACKED: [PackedName; NAMES.len()] = pack_names();

/// Compact form, as a lower-case letter counted from `a`, to header (RFC 3261 §7.3.3).
static BY_LETTER: [HeaderName; 26] = fill_letters();

/// The longest name that a [`Packed`] holds without loss.
const LONGEST: usize = 24;

/// Bit 5 of each byte: what tells the cases of a letter apart.
const CASE_BITS: u64 = 0x2020_2020_2020_2020;

/// A token of 1 to 24 bytes in three words, all of its bytes in it at least once: comparing and hashing words
/// costs a fraction of comparing bytes.
#[derive(Clone, Copy)]
struct Packed([u64; 3]);

impl Packed {
    #[inline]
    const fn of(token: &[u8]) -> Packed {
        let length = token.len();
        if length >= 8 {
            let middle = if length > 16 { 8 } else { 0 };
            return Packed([
                word_at(token, 0),
                word_at(token, middle),
                word_at(token, length - 8),
            ]);
        }
        if length >= 4 {
            return Packed([half_word_at(token, 0), half_word_at(token, length - 4), 0]);
        }
        let (first, middle, last) = (token[0], token[length / 2], token[length - 1]);
        Packed([first as u64, middle as u64, last as u64])
    }

    /// A slot of the table; the same for every case of the letters.
    #[inline]
    const fn slot(self, length: usize) -> usize {
        let Packed([one, two, three]) = self;
        let mixed = (one | CASE_BITS)
            ^ (two | CASE_BITS).rotate_left(21)
            ^ (three | CASE_BITS).rotate_left(42);
        let hashed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        (hashed as usize + length) % SLOTS
    }
}

#[inline]
const fn word_at(token: &[u8], start: usize) -> u64 {
    let (_, rest) = token.split_at(start);
    match rest.first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => 0,
    }
}

#[inline]
const fn half_word_at(token: &[u8], start: usize) -> u64 {
    let (_, rest) = token.split_at(start);
    match rest.first_chunk() {
        Some(bytes) => u32::from_le_bytes(*bytes) as u64,
        None => 0,
    }
}

/// A name to compare with: its bytes, and bit 5 of those that are letters and may have it either way.
#[derive(Clone, Copy)]
struct PackedName {
    length: usize,
    bytes: Packed,
    letters: Packed,
}

impl PackedName {
    const fn of(name: &[u8]) -> PackedName {
        assert!(!name.is_empty() && name.len() <= LONGEST);
        let mut letters = [0; LONGEST];
        let mut index = 0;
        while index < name.len() {
            letters[index] = (name[index].is_ascii_alphabetic() as u8) << 5;
            index += 1;
        }
        PackedName {
            length: name.len(),
            bytes: Packed::of(name),
            letters: Packed::of(letters.split_at(name.len()).0),
        }
    }

    #[inline]
    fn is(&self, length: usize, token: Packed) -> bool {
        let differing = |word: usize| (token.0[word] ^ self.bytes.0[word]) & !self.letters.0[word];
        self.length == length && (differing(0) | differing(1) | differing(2)) == 0
    }
}

const fn pack_names() -> [PackedName; NAMES.len()] {
    let mut packed = [PackedName::of(b"Via"); NAMES.len()];
    let mut index = 0;
    while index < NAMES.len() {
        packed[index] = PackedName::of(NAMES[index].text.as_bytes());
        index += 1;
    }
    packed
}

const fn fill_table() -> [u8; SLOTS] {
    let mut table = [EMPTY; SLOTS];
    let mut index = 0;
    while index < NAMES.len() {
        let name = NAMES[index].text.as_bytes();
        let mut slot = Packed::of(name).slot(name.len());
        while table[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = index as u8;
        index += 1;
    }
    table
}

const fn fill_letters() -> [HeaderName; 26] {
    let mut table = [HeaderName::Other; 26];
    let mut index = 0;
    while index < NAMES.len() {
        if NAMES[index].compact != 0 {
            table[(NAMES[index].compact - b'a') as usize] = NAMES[index].header;
        }
        index += 1;
    }
    table
}

impl HeaderName {
    /// The header with this name: any case (RFC 3261 §7.3.1), long or compact form (§7.3.3).
    #[inline]
    pub fn from_token(token: &[u8]) -> HeaderName {
        match token {
            [] => HeaderName::Other,
            [letter] if letter.is_ascii_alphabetic() => {
                BY_LETTER[usize::from((letter | 0x20) - b'a')]
            }
            _ => HeaderName::from_long_form(token),
        }
    }

    #[inline]
    fn from_long_form(token: &[u8]) -> HeaderName {
        let length = token.len();
        if length > LONGEST {
            return HeaderName::Other;
        }
        let packed = Packed::of(token);
        let mut slot = packed.slot(length);
        while BY_HASH[slot] != EMPTY {
            let index = usize::from(BY_HASH[slot]);
            if PACKED[index].is(length, packed) {
                return NAMES[index].header;
            }
            slot = (slot + 1) % SLOTS;
        }
        HeaderName::Other
    }

    /// The long form as RFCs write it; empty for [`HeaderName::Other`].
    pub fn as_str(self) -> &'static str {
        NAMES.get(self as usize).map_or("", |name| name.text)
    }
}

/// One header field of a message: which, and where its parts are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderField {
    /// The name, when it is a known one.
    pub name: HeaderName,
    /// The name as it was written.
    pub name_span: Span,
    /// The value without white space at its ends; folds inside are kept.
    pub value: Span,
    /// The whole field with its folds and its line end. The `whole` spans of all fields follow each other
    /// without a gap, so copying them copies the head byte by byte.
    pub whole: Span,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for name in NAMES {
            let text = name.text.as_bytes();
            assert_eq!(HeaderName::from_token(text), name.header);
            assert_eq!(
                HeaderName::from_token(&text.to_ascii_lowercase()),
                name.header
            );
            assert_eq!(
                HeaderName::from_token(&text.to_ascii_uppercase()),
                name.header
            );
            assert_eq!(name.header.as_str(), name.text);
        }
    }

    #[test]
    fn rfc3261_7_3_3_compact_forms_in_any_case() {
        let forms = [
            (b"v", HeaderName::Via),
            (b"F", HeaderName::From),
            (b"t", HeaderName::To),
            (b"I", HeaderName::CallId),
            (b"m", HeaderName::Contact),
            (b"l", HeaderName::ContentLength),
            (b"C", HeaderName::ContentType),
            (b"e", HeaderName::ContentEncoding),
            (b"k", HeaderName::Supported),
            (b"s", HeaderName::Subject),
            (b"z", HeaderName::Other),
            (b"1", HeaderName::Other),
        ];
        for (token, header) in forms {
            assert_eq!(HeaderName::from_token(token), header);
        }
    }

    #[test]
    fn what_only_looks_like_a_name_is_another_one() {
        for impostor in [
            &b"aufq"[..],
            b"Vxa",
            b"Via2",
            b"Call_ID",
            b"Call\rID",
            b"From\0",
            b"C%6Fntact",
            b"Max-Forward\x13",
            b"",
            b"@",
            b"Content-Lengtg",
            b"P-Access-Network-Info-And-More",
        ] {
            assert_eq!(
                HeaderName::from_token(impostor),
                HeaderName::Other,
                "{impostor:?}"
            );
        }
    }

    #[test]
    fn a_name_with_one_other_byte_is_another_one() {
        for name in NAMES {
            for index in 0..name.text.len() {
                for flipped in [0x01, 0x10, 0x20, 0x40, 0x80] {
                    let mut token = name.text.as_bytes().to_vec();
                    token[index] ^= flipped;
                    let same = token.eq_ignore_ascii_case(name.text.as_bytes());
                    assert_eq!(
                        HeaderName::from_token(&token) == name.header,
                        same,
                        "{token:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_lookup_meets_few_candidates() {
        let longest_run = BY_HASH.split(|slot| *slot == EMPTY).map(<[u8]>::len).max();
        assert!(longest_run < Some(8), "{longest_run:?}");
    }

    #[test]
    fn other_has_no_name() {
        assert_eq!(HeaderName::Other.as_str(), "");
    }
}
