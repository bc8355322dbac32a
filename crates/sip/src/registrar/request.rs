//! Owns reading a REGISTER: what it wants, checked as far as it can be without knowing any binding. Never judges who sent it.

use bytes::Bytes;

use super::output::Reply;
use crate::byte_str::ByteStr;
use crate::endpoint::Flow;
use crate::message::{CallId, HeaderError, HeaderName, NameAddr, Request, StatusCode};
use crate::uri::{Host, SipUri, Uri};

/// Contacts that one REGISTER may name.
const MOST_CONTACTS: usize = 32;
/// Octets of a contact's URI.
const LONGEST_CONTACT: usize = 512;
/// Values of Path.
const MOST_HOPS: usize = 8;
/// Octets of all of Path.
const LONGEST_PATH: usize = 2048;
/// Octets of `+sip.instance`, of Call-ID and of User-Agent that are kept.
const LONGEST_NAME: usize = 255;
/// RFC 3261 §20.10 and §20.19: what an unreadable time is taken for, seconds.
const UNREADABLE_EXPIRES: u32 = 3600;

/// What a REGISTER wants, detached from the message it came in.
#[derive(Debug, Clone)]
pub struct RegisterRequest {
    /// User part of the address-of-record, without escapes; empty when there is none.
    pub user: String,
    /// Host of the address-of-record.
    pub domain: Host,
    /// The flow it came over.
    pub flow: Flow,
    pub(super) contacts: Contacts,
    pub(super) expires: Option<u32>,
    pub(super) path: Vec<NameAddr>,
    pub(super) supports_path: bool,
    pub(super) supports_outbound: bool,
    /// No proxy is between: the contact is at the other end of the flow.
    pub(super) is_direct: bool,
    pub(super) call_id: CallId,
    pub(super) cseq: u32,
    pub(super) user_agent: Option<String>,
}

/// What becomes of bindings.
#[derive(Debug, Clone)]
pub(super) enum Contacts {
    /// Nothing: the bindings are to be told.
    Asked,
    /// `*`: all go.
    RemoveAll,
    /// These are bound, refreshed or removed.
    Bind(Vec<Wanted>),
}

/// One contact that a REGISTER names.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) uri: Uri,
    pub(super) expires: Option<u32>,
    /// Thousandths.
    pub(super) q: u16,
    /// `+sip.instance`, its quotes included.
    pub(super) instance: Option<ByteStr>,
    pub(super) reg_id: Option<u32>,
    /// The URI has `ob` (RFC 5626 §5.2).
    pub(super) is_outbound: bool,
}

impl RegisterRequest {
    /// Reads a REGISTER that came over `flow`.
    ///
    /// # Errors
    /// What to refuse it with: 400 for what cannot be read or contradicts itself, 416 for an address-of-record of another scheme.
    pub fn read(request: &Request, flow: Flow) -> Result<RegisterRequest, Reply> {
        let headers = &request.headers;
        let to = required(HeaderName::To, headers.to())?;
        let Uri::Sip(record) = &to.uri else {
            return Err(Reply::refusal(StatusCode::UNSUPPORTED_URI_SCHEME, None));
        };
        let call_id = required(HeaderName::CallId, headers.call_id())?;
        if call_id.as_bytes().len() > LONGEST_NAME {
            return Err(bad("Call-ID Too Long"));
        }
        let cseq = required(HeaderName::CSeq, headers.cseq())?.number;
        // Unreadable ones count as an hour (RFC 3261 §20.19).
        let expires = headers
            .has(&HeaderName::Expires)
            .then(|| headers.expires().ok().flatten().unwrap_or(UNREADABLE_EXPIRES));
        let vias = headers.vias().map_err(|error| bad_header(&error))?;
        let supported = headers.supported().unwrap_or_default();
        let supports = |tag: &str| supported.iter().any(|known| known.eq_ignore_case(tag));
        let user_agent = headers
            .user_agent()
            .map(|agent| agent.to_str_lossy().into_owned());
        let path = path(request)?;
        Ok(RegisterRequest {
            user: user_of(record),
            domain: detached_host(&record.host)?,
            flow,
            contacts: contacts(request, expires)?,
            expires,
            supports_path: supports("path"),
            supports_outbound: supports("outbound"),
            is_direct: path.is_empty() && vias.len() == 1,
            path,
            call_id: CallId::new(ByteStr::copy_from(call_id.as_bytes())),
            cseq,
            user_agent: user_agent.map(|agent| agent.chars().take(LONGEST_NAME).collect()),
        })
    }

    /// Whether it changes no binding and only asks for those that there are.
    pub fn only_asks(&self) -> bool {
        matches!(self.contacts, Contacts::Asked)
    }
}

fn user_of(uri: &SipUri) -> String {
    uri.user_decoded()
        .map(|user| user.to_str_lossy().into_owned())
        .unwrap_or_default()
}

fn detached_host(host: &Host) -> Result<Host, Reply> {
    Host::parse(&ByteStr::from(host.to_string())).map_err(|_| bad("Bad To"))
}

fn contacts(request: &Request, expires: Option<u32>) -> Result<Contacts, Reply> {
    let headers = &request.headers;
    if headers.contact_is_star() {
        // RFC 3261 §10.2.2.
        return match expires {
            Some(0) => Ok(Contacts::RemoveAll),
            _ => Err(bad("Contact * Wants Expires 0")),
        };
    }
    let found = headers.contacts().map_err(|error| bad_header(&error))?;
    if found.is_empty() {
        return Ok(Contacts::Asked);
    }
    if found.len() > MOST_CONTACTS {
        return Err(bad("Too Many Contacts"));
    }
    let mut wanted: Vec<Wanted> = Vec::new();
    for contact in &found {
        let contact = Wanted::read(contact)?;
        // The last one of several alike counts.
        wanted.retain(|other| !other.uri.is_equivalent(&contact.uri));
        wanted.push(contact);
    }
    Ok(Contacts::Bind(wanted))
}

fn path(request: &Request) -> Result<Vec<NameAddr>, Reply> {
    let hops = request
        .headers
        .addresses(HeaderName::Path)
        .map_err(|error| bad_header(&error))?;
    let printed: Vec<Bytes> = hops.iter().map(NameAddr::to_bytes).collect();
    let length: usize = printed.iter().map(Bytes::len).sum();
    if printed.len() > MOST_HOPS || length > LONGEST_PATH {
        return Err(bad("Path Too Long"));
    }
    if hops.iter().any(|hop| hop.uri.as_sip().is_none()) {
        return Err(bad("Bad Path"));
    }
    let detached = printed.into_iter().map(NameAddr::parse);
    detached.collect::<Result<_, _>>().map_err(|_| bad("Bad Path"))
}

impl Wanted {
    fn read(contact: &NameAddr) -> Result<Wanted, Reply> {
        let params = &contact.params;
        let number = |name: &str| -> Option<Option<u32>> {
            let value = params.get(name)?.value.as_ref()?;
            Some(value.as_str().and_then(|text| text.parse().ok()))
        };
        let Some(uri) = contact.uri.as_sip() else {
            return Err(bad("Bad Contact"));
        };
        let printed = contact.uri.to_bytes();
        if printed.len() > LONGEST_CONTACT {
            return Err(bad("Contact Too Long"));
        }
        let instance = params
            .value("+sip.instance")
            .map(|instance| ByteStr::copy_from(instance.as_bytes()));
        if instance.as_ref().is_some_and(|name| name.len() > LONGEST_NAME) {
            return Err(bad("Instance Too Long"));
        }
        // RFC 5626 §4.2: `reg-id` means nothing without an instance, and begins at 1.
        let reg_id = number("reg-id")
            .flatten()
            .filter(|id| *id > 0 && instance.is_some());
        Ok(Wanted {
            is_outbound: uri.params.has("ob"),
            uri: Uri::parse(printed).map_err(|_| bad("Bad Contact"))?,
            expires: number("expires").map(|expires| expires.unwrap_or(UNREADABLE_EXPIRES)),
            q: params.value("q").map_or(1000, |q| thousandths(q.as_bytes())),
            instance,
            reg_id,
        })
    }
}

/// Reads a `qvalue` (RFC 3261 §25.1): 0 to 1 with three digits behind the point; anything else counts as 1.
fn thousandths(text: &[u8]) -> u16 {
    let (whole, digits) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &[][..]),
    };
    let fits = digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit);
    match whole {
        b"0" | b"" if fits && !text.is_empty() => {
            let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(3);
            padded.fold(0, |value, digit| value * 10 + u16::from(digit - b'0'))
        }
        _ => 1000,
    }
}

fn required<T>(header: HeaderName, value: Result<Option<T>, HeaderError>) -> Result<T, Reply> {
    match value {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(bad(&format!("Missing {header}"))),
        Err(error) => Err(bad_header(&error)),
    }
}

fn bad_header(error: &HeaderError) -> Reply {
    bad(&format!("Bad {}", error.header))
}

fn bad(reason: &str) -> Reply {
    Reply::refusal(StatusCode::BAD_REQUEST, Some(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qvalue_reads_as_thousandths() {
        let rows: [(&[u8], u16); 9] = [
            (b"1", 1000),
            (b"1.000", 1000),
            (b"0", 0),
            (b"0.7", 700),
            (b".25", 250),
            (b"0.125", 125),
            (b"0.1234", 1000),
            (b"", 1000),
            (b"-0.5", 1000),
        ];
        for (text, q) in rows {
            assert_eq!(thousandths(text), q, "{}", String::from_utf8_lossy(text));
        }
    }
}
