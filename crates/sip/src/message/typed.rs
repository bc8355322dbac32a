//! Typed getters on `Headers`: the one place where a header's cardinality and list form are known.
//!
//! Each getter reads afresh and keeps nothing; slices share the message's buffer.

use std::ops::Range;

use bytes::Bytes;

use super::error::HeaderError;
use super::header_name::HeaderName;
use super::headers::Headers;
use super::method::Method;
use super::value::{CSeq, CallId, MediaType, NameAddr, Reason, RetryAfter, Tag, Via};
use crate::byte_str::ByteStr;
use crate::scan::{Problem, Scanner, is_space, number};

/// Values a list header may have in one message; a bound on work, far above anything real.
pub const MAX_LIST_VALUES: usize = 256;

type One<T> = Result<Option<T>, HeaderError>;
type Many<T> = Result<Vec<T>, HeaderError>;

/// The five header fields every message must have, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Essentials {
    /// The topmost Via.
    pub via: Via,
    /// From.
    pub from: NameAddr,
    /// To.
    pub to: NameAddr,
    /// Call-ID.
    pub call_id: CallId,
    /// CSeq.
    pub cseq: CSeq,
}

impl Essentials {
    /// Reads them. Never fails for headers of a message that `Message::parse` returned and nobody changed.
    ///
    /// # Errors
    /// The first of them that is missing, repeated or malformed.
    pub fn of(headers: &Headers) -> Result<Essentials, HeaderError> {
        Ok(Essentials {
            via: required(HeaderName::Via, headers.top_via())?,
            from: required(HeaderName::From, headers.from())?,
            to: required(HeaderName::To, headers.to())?,
            call_id: required(HeaderName::CallId, headers.call_id())?,
            cseq: required(HeaderName::CSeq, headers.cseq())?,
        })
    }

    /// The tag of From.
    pub fn from_tag(&self) -> Option<Tag> {
        self.from.tag()
    }

    /// The tag of To; present within a dialog.
    pub fn to_tag(&self) -> Option<Tag> {
        self.to.tag()
    }
}

fn required<T>(header: HeaderName, value: One<T>) -> Result<T, HeaderError> {
    value?.ok_or(HeaderError {
        header,
        offset: 0,
        problem: Problem::Missing,
    })
}

impl Headers {
    /// All Via values, topmost first.
    pub fn vias(&self) -> Many<Via> {
        self.list(HeaderName::Via, Via::scan)
    }

    /// The topmost Via. Values behind it are not looked at.
    pub fn top_via(&self) -> One<Via> {
        let Some(value) = self.get(&HeaderName::Via) else {
            return Ok(None);
        };
        let mut scanner = Scanner::new(value);
        element(&HeaderName::Via, &mut scanner, Via::scan).map(Some)
    }

    /// From.
    pub fn from(&self) -> One<NameAddr> {
        self.single(HeaderName::From, NameAddr::scan)
    }

    /// To.
    pub fn to(&self) -> One<NameAddr> {
        self.single(HeaderName::To, NameAddr::scan)
    }

    /// Call-ID.
    pub fn call_id(&self) -> One<CallId> {
        self.single(HeaderName::CallId, |scanner| {
            let id = scanner.run(|byte| !is_space(byte));
            if id.is_empty() {
                Err(Problem::Empty)
            } else {
                Ok(CallId::new(id))
            }
        })
    }

    /// CSeq.
    pub fn cseq(&self) -> One<CSeq> {
        self.single(HeaderName::CSeq, CSeq::scan)
    }

    /// The addresses of Contact; none for `Contact: *`, which [`Headers::contact_is_star`] tells.
    pub fn contacts(&self) -> Many<NameAddr> {
        if self.contact_is_star() {
            Ok(Vec::new())
        } else {
            self.list(HeaderName::Contact, NameAddr::scan)
        }
    }

    /// The addresses of Contact that can be read, `most` at most: what else stands there is passed over.
    pub fn readable_contacts(&self, most: usize) -> Vec<NameAddr> {
        let values = self.get_all(&HeaderName::Contact);
        let each = values.flat_map(|value| elements(value).map(move |range| value.slice(range)));
        each.filter_map(|element| NameAddr::parse(element).ok())
            .take(most)
            .collect()
    }

    /// True for a single `Contact: *` (RFC 3261 §10.2.2).
    pub fn contact_is_star(&self) -> bool {
        let mut values = self.get_all(&HeaderName::Contact);
        values.next().is_some_and(|value| value.as_ref() == b"*") && values.next().is_none()
    }

    /// Record-Route, topmost first.
    pub fn record_routes(&self) -> Many<NameAddr> {
        self.list(HeaderName::RecordRoute, NameAddr::scan)
    }

    /// Route, topmost first.
    pub fn routes(&self) -> Many<NameAddr> {
        self.list(HeaderName::Route, NameAddr::scan)
    }

    /// The addresses of any header that lists them: P-Asserted-Identity, Path, Diversion, …
    pub fn addresses(&self, name: HeaderName) -> Many<NameAddr> {
        self.list(name, NameAddr::scan)
    }

    /// Max-Forwards (RFC 3261 §20.22). A number above 255 reads as 255: no reason to refuse (RFC 4475 §3.1.2.4).
    pub fn max_forwards(&self) -> One<u8> {
        self.single(HeaderName::MaxForwards, |scanner| {
            let digits = scanner.run(|byte| byte.is_ascii_digit());
            match number(digits.as_bytes(), u64::from(u8::MAX)) {
                Ok(value) => Ok(u8::try_from(value).unwrap_or(u8::MAX)),
                Err(Problem::OutOfRange) => Ok(u8::MAX),
                Err(problem) => Err(problem),
            }
        })
    }

    /// Content-Length in bytes. Several equal fields count as one; different ones are an error.
    pub fn content_length(&self) -> One<u64> {
        let mut length = None;
        for value in self.get_all(&HeaderName::ContentLength) {
            let error = |problem| HeaderError {
                header: HeaderName::ContentLength,
                offset: 0,
                problem,
            };
            let this = number(value, u64::MAX).map_err(error)?;
            if length.is_some_and(|length| length != this) {
                return Err(error(Problem::Repeated));
            }
            length = Some(this);
        }
        Ok(length)
    }

    /// Content-Type.
    pub fn content_type(&self) -> One<MediaType> {
        self.single(HeaderName::ContentType, MediaType::scan)
    }

    /// Accept. `Ok` with an empty list both without the header and with an empty one; [`Headers::has`] tells.
    pub fn accept(&self) -> Many<MediaType> {
        self.sparse_list(HeaderName::Accept, MediaType::scan)
    }

    /// Option tags of Require.
    pub fn require(&self) -> Many<ByteStr> {
        self.tokens(HeaderName::Require)
    }

    /// Option tags of Proxy-Require.
    pub fn proxy_require(&self) -> Many<ByteStr> {
        self.tokens(HeaderName::ProxyRequire)
    }

    /// Option tags of Supported.
    pub fn supported(&self) -> Many<ByteStr> {
        self.tokens(HeaderName::Supported)
    }

    /// Option tags of Unsupported.
    pub fn unsupported(&self) -> Many<ByteStr> {
        self.tokens(HeaderName::Unsupported)
    }

    /// Methods of Allow.
    pub fn allow(&self) -> Many<Method> {
        Ok(self
            .tokens(HeaderName::Allow)?
            .into_iter()
            .map(Method::from_token)
            .collect())
    }

    /// Content codings of Content-Encoding.
    pub fn content_encodings(&self) -> Many<ByteStr> {
        self.tokens(HeaderName::ContentEncoding)
    }

    /// Expires in seconds, 0 to 2³² − 1.
    pub fn expires(&self) -> One<u32> {
        let value = self.number(HeaderName::Expires, u64::from(u32::MAX))?;
        Ok(value.and_then(|value| u32::try_from(value).ok()))
    }

    /// User-Agent as text.
    pub fn user_agent(&self) -> Option<ByteStr> {
        self.text(&HeaderName::UserAgent)
    }

    /// All Reason values.
    pub fn reasons(&self) -> Many<Reason> {
        self.list(HeaderName::Reason, Reason::scan)
    }

    /// The first Reason value.
    pub fn reason(&self) -> One<Reason> {
        Ok(self.reasons()?.into_iter().next())
    }

    /// Retry-After.
    pub fn retry_after(&self) -> One<RetryAfter> {
        self.single(HeaderName::RetryAfter, RetryAfter::scan)
    }

    /// The first field of this name as text.
    pub fn text(&self, name: &HeaderName) -> Option<ByteStr> {
        self.get(name).map(|value| ByteStr::from(value.clone()))
    }

    fn number(&self, name: HeaderName, max: u64) -> One<u64> {
        self.single(name, |scanner| scanner.number(max))
    }

    fn tokens(&self, name: HeaderName) -> Many<ByteStr> {
        self.sparse_list(name, |scanner| scanner.token().ok_or(Problem::UnexpectedByte))
    }

    /// The value of a header that may be there once, read to its end.
    fn single<T>(&self, name: HeaderName, read: impl Fn(&mut Scanner<'_>) -> Result<T, Problem>) -> One<T> {
        let mut values = self.get_all(&name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(HeaderError {
                header: name.clone(),
                offset: 0,
                problem: Problem::Repeated,
            });
        }
        read_whole(&name, value, read).map(Some)
    }

    /// The values of a comma list over all fields of the name; an empty element is an error.
    pub(super) fn list<T>(
        &self,
        name: HeaderName,
        read: impl Fn(&mut Scanner<'_>) -> Result<T, Problem>,
    ) -> Many<T> {
        self.collect(name, false, read)
    }

    /// As `list`, but empty elements are passed over.
    fn sparse_list<T>(
        &self,
        name: HeaderName,
        read: impl Fn(&mut Scanner<'_>) -> Result<T, Problem>,
    ) -> Many<T> {
        self.collect(name, true, read)
    }

    fn collect<T>(
        &self,
        name: HeaderName,
        sparse: bool,
        read: impl Fn(&mut Scanner<'_>) -> Result<T, Problem>,
    ) -> Many<T> {
        let mut list = Vec::new();
        for value in self.get_all(&name) {
            let mut scanner = Scanner::new(value);
            loop {
                scanner.skip_space();
                let empty = matches!(scanner.peek(), None | Some(b','));
                if !(sparse && empty) {
                    list.push(element(&name, &mut scanner, &read)?);
                }
                if list.len() > MAX_LIST_VALUES {
                    return Err(problem(&name, &scanner, Problem::TooMany));
                }
                if !scanner.take(b',') {
                    break;
                }
            }
        }
        Ok(list)
    }
}

fn problem(name: &HeaderName, scanner: &Scanner<'_>, problem: Problem) -> HeaderError {
    HeaderError {
        header: name.clone(),
        offset: scanner.position(),
        problem,
    }
}

/// The places of the elements of a list, told apart by the commas that stand neither in quotes nor in angle brackets. A bracket that is
/// not closed before the next one ends at its first comma.
fn elements(value: &Bytes) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        let comma = comma_in(&value[start..]).map(|comma| start + comma);
        next = comma.map(|comma| comma + 1);
        Some(start..comma.unwrap_or(value.len()))
    })
}

fn comma_in(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    let mut within = None;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !bracketed => quoted = !quoted,
            b'<' if bracketed && within.is_some() => return within,
            b'<' if !quoted => bracketed = true,
            b'>' if !quoted => (bracketed, within) = (false, None),
            b',' if bracketed => within = within.or(Some(at)),
            b',' if !quoted => return Some(at),
            _ => {}
        }
    }
    within
}

/// One list element; behind it only a comma or the end may come.
fn element<T>(
    name: &HeaderName,
    scanner: &mut Scanner<'_>,
    read: impl Fn(&mut Scanner<'_>) -> Result<T, Problem>,
) -> Result<T, HeaderError> {
    scanner.skip_space();
    let value = read(scanner).map_err(|what| problem(name, scanner, what))?;
    scanner.skip_space();
    match scanner.peek() {
        None | Some(b',') => Ok(value),
        Some(_) => Err(problem(name, scanner, Problem::UnexpectedByte)),
    }
}

fn read_whole<T>(
    name: &HeaderName,
    value: &Bytes,
    read: impl Fn(&mut Scanner<'_>) -> Result<T, Problem>,
) -> Result<T, HeaderError> {
    let mut scanner = Scanner::new(value);
    let value = element(name, &mut scanner, read)?;
    if scanner.at_end() {
        Ok(value)
    } else {
        Err(problem(name, &scanner, Problem::Repeated))
    }
}
