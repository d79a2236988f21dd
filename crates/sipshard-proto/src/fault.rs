//! What is wrong with a message, and what to answer.

/// Why a message, or a part of it, was refused.
///
/// Small and without text of the sender: the bad path is the path of an attack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing but line ends: a keepalive (RFC 5626 §3.5.1), never answered.
    Empty,
    /// More than 64 KiB.
    TooLarge,
    /// More than 256 header fields.
    TooManyHeaders,
    /// The first line is neither a Request-Line nor a Status-Line.
    BadStartLine,
    /// SIP, but not 2.0.
    UnsupportedVersion,
    /// The Request-URI does not parse.
    BadRequestUri,
    /// The status code is not three digits from 100 to 699.
    BadStatusCode,
    /// A line of the head without a name and a colon, or with a lone CR.
    BadHeaderLine,
    /// The head does not end in a blank line.
    UnfinishedHead,
    /// No Via.
    MissingVia,
    /// The topmost Via does not parse.
    BadVia,
    /// No From.
    MissingFrom,
    /// From does not parse.
    BadFrom,
    /// From more than once.
    DuplicateFrom,
    /// No To.
    MissingTo,
    /// To does not parse.
    BadTo,
    /// To more than once.
    DuplicateTo,
    /// No Call-ID.
    MissingCallId,
    /// The Call-ID is empty or has white space or control characters in it.
    BadCallId,
    /// Call-ID more than once.
    DuplicateCallId,
    /// No CSeq.
    MissingCSeq,
    /// CSeq is not a number below 2³² and a method.
    BadCSeq,
    /// CSeq more than once.
    DuplicateCSeq,
    /// CSeq names another method than the Request-Line.
    CSeqMethodMismatch,
    /// As [`Fault::CSeqMethodMismatch`], with a method in the Request-Line that nobody here knows.
    UnknownMethodMismatch,
    /// Max-Forwards is no number.
    BadMaxForwards,
    /// Max-Forwards more than once.
    DuplicateMaxForwards,
    /// Content-Length is no number.
    BadContentLength,
    /// Content-Length more than once.
    DuplicateContentLength,
    /// The datagram ends before the body does.
    ShortBody,
    /// A URI does not parse.
    BadUri,
    /// A `name-addr` or `addr-spec` does not parse.
    BadNameAddr,
    /// A parameter does not parse.
    BadParameter,
    /// A Contact does not parse.
    BadContact,
    /// A URI of a scheme that is not served here.
    UnsupportedScheme,
}

impl Fault {
    /// The status code of the response that refuses such a request (RFC 3261 §21.4, §21.5).
    pub fn status(self) -> u16 {
        match self {
            Fault::TooLarge => 413,
            Fault::UnsupportedScheme => 416,
            Fault::UnknownMethodMismatch => 501,
            Fault::UnsupportedVersion => 505,
            _ => 400,
        }
    }

    /// The reason phrase of that response. RFC 3261 §21.4.1 asks that it names the problem.
    pub fn reason(self) -> &'static str {
        match self {
            Fault::Empty => "Empty Message",
            Fault::TooLarge => "Request Entity Too Large",
            Fault::TooManyHeaders => "Too Many Header Fields",
            Fault::BadStartLine => "Bad Start Line",
            Fault::UnsupportedVersion => "Version Not Supported",
            Fault::BadRequestUri => "Bad Request-URI",
            Fault::BadStatusCode => "Bad Status Code",
            Fault::BadHeaderLine => "Bad Header Line",
            Fault::UnfinishedHead => "Unfinished Head",
            Fault::MissingVia => "Missing Via",
            Fault::BadVia => "Bad Via",
            Fault::MissingFrom => "Missing From",
            Fault::BadFrom => "Bad From",
            Fault::DuplicateFrom => "Duplicate From",
            Fault::MissingTo => "Missing To",
            Fault::BadTo => "Bad To",
            Fault::DuplicateTo => "Duplicate To",
            Fault::MissingCallId => "Missing Call-ID",
            Fault::BadCallId => "Bad Call-ID",
            Fault::DuplicateCallId => "Duplicate Call-ID",
            Fault::MissingCSeq => "Missing CSeq",
            Fault::BadCSeq => "Bad CSeq",
            Fault::DuplicateCSeq => "Duplicate CSeq",
            Fault::CSeqMethodMismatch => "CSeq Does Not Match Method",
            Fault::UnknownMethodMismatch => "Not Implemented",
            Fault::BadMaxForwards => "Bad Max-Forwards",
            Fault::DuplicateMaxForwards => "Duplicate Max-Forwards",
            Fault::BadContentLength => "Bad Content-Length",
            Fault::DuplicateContentLength => "Duplicate Content-Length",
            Fault::ShortBody => "Body Shorter Than Content-Length",
            Fault::BadUri => "Bad URI",
            Fault::BadNameAddr => "Bad Address",
            Fault::BadParameter => "Bad Parameter",
            Fault::BadContact => "Bad Contact",
            Fault::UnsupportedScheme => "Unsupported URI Scheme",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3261_21_4_the_exact_code_is_used_where_there_is_one() {
        assert_eq!(Fault::BadCSeq.status(), 400);
        assert_eq!(Fault::TooLarge.status(), 413);
        assert_eq!(Fault::UnsupportedScheme.status(), 416);
        assert_eq!(Fault::UnknownMethodMismatch.status(), 501);
        assert_eq!(Fault::UnsupportedVersion.status(), 505);
    }

    #[test]
    fn a_fault_is_one_byte() {
        assert_eq!(std::mem::size_of::<Fault>(), 1);
    }
}
