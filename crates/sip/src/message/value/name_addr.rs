//! Addresses with a display name: From, To, Contact, Route and their kin (RFC 3261 §20, §25.1 `name-addr`).

use bytes::{BufMut, Bytes, BytesMut};

use super::Tag;
use crate::byte_str::ByteStr;
use crate::param::Params;
use crate::scan::{Problem, Scanner, is_space, is_token, print_quoted, unquote};
use crate::uri::Uri;

/// Display name, URI and header parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// Display name without quotes and backslash escapes; `None` when there is none or it is empty and unquoted.
    pub display: Option<ByteStr>,
    /// The URI.
    pub uri: Uri,
    /// Parameters of the header, not of the URI.
    pub params: Params,
}

impl NameAddr {
    /// An address without display name and parameters.
    pub fn new(uri: impl Into<Uri>) -> NameAddr {
        NameAddr {
            display: None,
            uri: uri.into(),
            params: Params::new(),
        }
    }

    /// The same address with a display name.
    #[must_use]
    pub fn with_display(mut self, name: &str) -> NameAddr {
        self.display = Some(ByteStr::from(name));
        self
    }

    /// The same address with this tag.
    #[must_use]
    pub fn with_tag(mut self, tag: &Tag) -> NameAddr {
        self.params.set("tag", Some(tag.clone().into()));
        self
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<Tag> {
        self.params
            .value("tag")
            .filter(|tag| !tag.is_empty())
            .map(|tag| Tag::new(tag.clone()))
    }

    /// Reads one address that fills `text` completely.
    ///
    /// # Errors
    /// Offset and [`Problem`] of the first byte that does not fit.
    pub fn parse(text: impl Into<Bytes>) -> Result<NameAddr, (usize, Problem)> {
        let text = text.into();
        let mut scanner = Scanner::new(&text);
        scanner.skip_space();
        let address = NameAddr::scan(&mut scanner).map_err(|problem| (scanner.position(), problem))?;
        scanner.skip_space();
        if scanner.at_end() {
            Ok(address)
        } else {
            Err((scanner.position(), Problem::UnexpectedByte))
        }
    }

    pub(crate) fn scan(scanner: &mut Scanner<'_>) -> Result<NameAddr, Problem> {
        let (display, uri) = if scanner.peek() == Some(b'"') {
            let display = unquote(&scanner.quoted()?);
            scanner.skip_space();
            (Some(display), bracketed(scanner)?)
        } else {
            match display_length(scanner.rest()) {
                Some(length) => (plain_display(scanner, length), bracketed(scanner)?),
                None => (None, bare(scanner)?),
            }
        };
        let params = Params::scan(scanner)?;
        Ok(NameAddr { display, uri, params })
    }

    /// The value as it goes on the wire, always with angle brackets.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(96);
        if let Some(display) = &self.display {
            let plain = !display.is_empty() && display.as_bytes().iter().all(|byte| is_token(*byte));
            if plain {
                out.put_slice(display.as_bytes());
            } else {
                print_quoted(display.as_bytes(), &mut out);
            }
            out.put_u8(b' ');
        }
        out.put_u8(b'<');
        self.uri.print(&mut out);
        out.put_u8(b'>');
        self.params.print(&mut out);
        out.freeze()
    }
}

/// Length of what stands before `<`. `None` when there is no bracket or something comes first that no unquoted display
/// name may hold; letters outside of ASCII are tolerated.
fn display_length(rest: &[u8]) -> Option<usize> {
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'<' | b',' | b';' | b'"'))?;
    (rest[end] == b'<').then_some(end)
}

fn plain_display(scanner: &mut Scanner<'_>, length: usize) -> Option<ByteStr> {
    let text = scanner.slice(length);
    let trimmed = crate::scan::trim(text.as_bytes());
    (!trimmed.is_empty()).then(|| ByteStr::from(text.bytes().slice_ref(trimmed)))
}

fn bracketed(scanner: &mut Scanner<'_>) -> Result<Uri, Problem> {
    if !scanner.take(b'<') {
        return Err(Problem::UnexpectedByte);
    }
    let length = scanner.run_length(|byte| byte != b'>');
    if length == scanner.rest().len() {
        return Err(Problem::UnterminatedBracket);
    }
    let uri = part(scanner, length)?;
    scanner.advance(1);
    Ok(uri)
}

/// A URI without brackets: `;` and `,` behind it belong to the header, and `?` may not be in it (RFC 3261 §20.10).
fn bare(scanner: &mut Scanner<'_>) -> Result<Uri, Problem> {
    let length = scanner.run_length(|byte| !is_space(byte) && !matches!(byte, b';' | b','));
    if length == 0 {
        return Err(Problem::Empty);
    }
    if scanner.rest()[..length].contains(&b'?') {
        return Err(Problem::NeedsBrackets);
    }
    part(scanner, length)
}

/// Reads the next `length` bytes as a URI; on failure the cursor stands at the fault.
fn part(scanner: &mut Scanner<'_>, length: usize) -> Result<Uri, Problem> {
    let mut part = scanner.limited(length);
    let uri = Uri::scan(&mut part);
    scanner.advance(part.position() - scanner.position());
    uri
}
