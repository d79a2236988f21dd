//! Contact, as a registrar reads it.

use crate::fault::Fault;
use crate::name_addr::NameAddr;
use crate::parameter::{parameters, unquoted};
use crate::scan::{decimal, trim};

/// One item of a Contact header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contact<'a> {
    /// `*`: all bindings, to be removed (RFC 3261 §10.2.2).
    Star,
    /// An address.
    Address {
        /// The address and its header parameters.
        name_addr: NameAddr<'a>,
        /// Preference in thousandths, 0 to 1000 (RFC 3261 §20.10).
        q: Option<u16>,
        /// Seconds that the binding should live. What is no number counts as absent (RFC 3261 §10.3 step 7),
        /// what is too large becomes `u32::MAX`.
        expires: Option<u32>,
        /// `+sip.instance` without quotes and angle brackets (RFC 5626 §4.1).
        instance: Option<&'a [u8]>,
        /// `reg-id` (RFC 5626 §4.2).
        reg_id: Option<u32>,
    },
}

impl<'a> Contact<'a> {
    /// Parses one item.
    ///
    /// RFC 3261 §25.1:
    ///
    /// ```text
    /// Contact            =  ("Contact" / "m" ) HCOLON ( STAR / (contact-param *(COMMA contact-param)))
    /// contact-param      =  (name-addr / addr-spec) *(SEMI contact-params)
    /// c-p-q              =  "q" EQUAL qvalue
    /// c-p-expires        =  "expires" EQUAL delta-seconds
    /// ```
    ///
    /// # Errors
    /// [`Fault::BadContact`].
    pub fn parse(one: &'a [u8]) -> Result<Contact<'a>, Fault> {
        let one = trim(one);
        if one == b"*" {
            return Ok(Contact::Star);
        }
        parse_address(one).ok_or(Fault::BadContact)
    }
}

fn parse_address(one: &[u8]) -> Option<Contact<'_>> {
    let name_addr = NameAddr::parse(one).ok()?;
    let (mut q, mut expires, mut instance, mut reg_id) = (None, None, None, None);
    for parameter in parameters(name_addr.parameters) {
        let parameter = parameter.ok()?;
        let Some(value) = parameter.value else {
            continue;
        };
        match parameter.name.to_ascii_lowercase().as_slice() {
            b"q" => q = Some(parse_q(value)?),
            b"expires" => expires = decimal(value).map(saturated),
            b"+sip.instance" => instance = Some(without_brackets(unquoted(value))),
            b"reg-id" => reg_id = decimal(value).map(saturated),
            _ => {}
        }
    }
    Some(Contact::Address {
        name_addr,
        q,
        expires,
        instance,
        reg_id,
    })
}

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// RFC 3261 §25.1, in thousandths; digits behind the third do not count.
///
/// ```text
/// qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
/// ```
///
/// Phones leave the zero before the point out, so `.5` is taken as well.
fn parse_q(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = crate::scan::cut(value, b'.');
    let whole = match whole {
        b"0" => 0,
        b"1" => 1000,
        b"" if fraction.is_some_and(|digits| !digits.is_empty()) => 0,
        _ => return None,
    };
    let digits = fraction.unwrap_or_default();
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths: u16 = (0..3)
        .map(|place| digits.get(place).map_or(0, |digit| u16::from(digit - b'0')))
        .fold(0, |sum, digit| sum * 10 + digit);
    (whole + thousandths <= 1000).then_some(whole + thousandths)
}

fn without_brackets(value: &[u8]) -> &[u8] {
    match value {
        [b'<', content @ .., b'>'] => content,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(one: &[u8]) -> (Option<u16>, Option<u32>) {
        match Contact::parse(one) {
            Ok(Contact::Address { q, expires, .. }) => (q, expires),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rfc3261_10_2_2_star() {
        assert_eq!(Contact::parse(b" * "), Ok(Contact::Star));
    }

    #[test]
    fn rfc3261_20_10_q_is_read_in_thousandths() {
        for (text, q) in [
            ("0", 0),
            ("1", 1000),
            ("0.5", 500),
            ("0.33", 330),
            ("1.000", 1000),
            (".7", 700),
            ("0.1239", 123),
        ] {
            let contact = format!("<sip:a@b>;q={text}");
            assert_eq!(address(contact.as_bytes()).0, Some(q), "{text}");
        }
        for text in ["2", "1.1", "0.x", "-1", "."] {
            let contact = format!("<sip:a@b>;q={text}");
            assert_eq!(
                Contact::parse(contact.as_bytes()),
                Err(Fault::BadContact),
                "{text}"
            );
        }
    }

    #[test]
    fn rfc3261_10_3_a_bad_expires_counts_as_absent_and_a_huge_one_saturates() {
        assert_eq!(address(b"<sip:a@b>;expires=60").1, Some(60));
        assert_eq!(address(b"<sip:a@b>;expires=soon").1, None);
        assert_eq!(
            address(b"<sip:a@b>;expires=1000000000000000000000").1,
            Some(u32::MAX)
        );
    }

    #[test]
    fn rfc5626_4_1_instance_and_reg_id() {
        let contact = br#"<sip:a@b>;reg-id=1;+sip.Instance="<urn:uuid:0001>""#;
        let Ok(Contact::Address {
            instance, reg_id, ..
        }) = Contact::parse(contact)
        else {
            panic!("refused");
        };
        assert_eq!(instance, Some(&b"urn:uuid:0001"[..]));
        assert_eq!(reg_id, Some(1));
    }

    #[test]
    fn rfc4475_3_1_2_1_empty_parameters_are_refused() {
        assert_eq!(
            Contact::parse(br#""Joe" <sip:joe@example.org>;;;;"#),
            Err(Fault::BadContact)
        );
    }

    #[test]
    fn rfc4475_3_1_2_13_a_question_mark_needs_brackets() {
        let contact = b"sip:user@example.com?Route=%3Csip:sip.example.com%3E";
        assert_eq!(Contact::parse(contact), Err(Fault::BadContact));
    }
}
