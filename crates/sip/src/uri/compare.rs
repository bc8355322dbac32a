//! Equivalence of SIP URIs (RFC 3261 §19.1.4, with RFC 5954 for IPv6).

use super::SipUri;
use super::parse::escaped_byte;
use crate::byte_str::ByteStr;
use crate::param::Params;

/// Parameters that must be in both URIs when they are in one.
const BINDING: [&str; 5] = ["transport", "user", "ttl", "method", "maddr"];

pub(super) fn sip_uris(left: &SipUri, right: &SipUri) -> bool {
    left.scheme == right.scheme
        && optional_text(left.user.as_ref(), right.user.as_ref())
        && optional_text(left.password.as_ref(), right.password.as_ref())
        && left.host.is_same(&right.host)
        && left.port == right.port
        && params(&left.params, &right.params)
        && params(&right.params, &left.params)
        && headers(&left.headers, &right.headers)
}

fn optional_text(left: Option<&ByteStr>, right: Option<&ByteStr>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => characters(left).eq(characters(right)),
        (None, None) => true,
        _ => false,
    }
}

/// Every parameter of `left` has its equal in `right`, or may be missing there. A name given twice, which RFC 3261
/// §19.1.1 forbids, is satisfied by either value, so that a URI is equivalent to itself whatever it holds.
fn params(left: &Params, right: &Params) -> bool {
    left.iter().all(|param| {
        let mut namesakes = right
            .iter()
            .filter(|other| any_case(&other.name, &param.name))
            .peekable();
        if namesakes.peek().is_none() {
            return !BINDING.iter().any(|name| param.name.eq_ignore_case(name));
        }
        namesakes.any(|other| optional_any_case(param.value.as_ref(), other.value.as_ref()))
    })
}

fn headers(left: &Params, right: &Params) -> bool {
    let contains = |list: &Params, name: &ByteStr, value: Option<&ByteStr>| {
        list.iter()
            .any(|header| any_case(&header.name, name) && optional_text(header.value.as_ref(), value))
    };
    left.len() == right.len()
        && left
            .iter()
            .all(|header| contains(right, &header.name, header.value.as_ref()))
        && right
            .iter()
            .all(|header| contains(left, &header.name, header.value.as_ref()))
}

fn optional_any_case(left: Option<&ByteStr>, right: Option<&ByteStr>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => any_case(left, right),
        (None, None) => true,
        _ => false,
    }
}

fn any_case(left: &ByteStr, right: &ByteStr) -> bool {
    let lower = |(byte, escaped): (u8, bool)| (byte.to_ascii_lowercase(), escaped);
    characters(left).map(lower).eq(characters(right).map(lower))
}

/// The characters for comparison. An escape equals its character unless that is reserved: then `%40` and `@` differ,
/// which the flag expresses.
fn characters(text: &ByteStr) -> impl Iterator<Item = (u8, bool)> + '_ {
    let bytes = text.as_bytes();
    let mut index = 0;
    std::iter::from_fn(move || {
        let first = *bytes.get(index)?;
        match escaped_byte(bytes, index) {
            Some(byte) => {
                index += 3;
                Some((byte, is_reserved(byte)))
            }
            None => {
                index += 1;
                Some((first, false))
            }
        }
    })
}

/// `reserved` of RFC 3261 §25.1.
fn is_reserved(byte: u8) -> bool {
    b";/?:@&=+$,".contains(&byte)
}
