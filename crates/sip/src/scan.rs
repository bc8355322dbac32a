//! The lexer: a cursor over one header value or URI, and the character classes of RFC 3261 §25.1.
//!
//! Owns tokens, quoted strings, numbers and white space. It never knows which header it reads. Values it sees hold
//! no line ends: the message parser has unfolded them.

use bytes::{BufMut, Bytes, BytesMut};

use crate::byte_str::ByteStr;

/// What is wrong with a piece of SIP text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A header that must be there is not.
    #[error("missing")]
    Missing,
    /// A header that may appear once appears more often.
    #[error("given more than once")]
    Repeated,
    /// Nothing where a value is required.
    #[error("empty value")]
    Empty,
    /// A byte the grammar does not allow at this place.
    #[error("unexpected character")]
    UnexpectedByte,
    /// A quoted string without its closing quote.
    #[error("unterminated quoted string")]
    UnterminatedQuote,
    /// `<` without `>`.
    #[error("unterminated angle bracket")]
    UnterminatedBracket,
    /// A URI with `?` or `,` outside of angle brackets (RFC 3261 §20).
    #[error("URI needs angle brackets")]
    NeedsBrackets,
    /// Two `;` without a parameter between them.
    #[error("empty parameter")]
    EmptyParameter,
    /// No scheme, or one with characters a scheme cannot have.
    #[error("bad URI scheme")]
    BadScheme,
    /// An empty or impossible host.
    #[error("bad host")]
    BadHost,
    /// A port that is no number or above 65535.
    #[error("bad port")]
    BadPort,
    /// Digits expected.
    #[error("not a number")]
    NotANumber,
    /// A number above the range of the field.
    #[error("number out of range")]
    OutOfRange,
    /// A header component in a Request-URI (RFC 3261 §19.1.1, table 1).
    #[error("header fields in Request-URI")]
    UriHeaders,
    /// The method of CSeq is not that of the request (RFC 3261 §8.1.1.5).
    #[error("method differs from the request's")]
    MethodMismatch,
    /// A protocol other than SIP/2.0 in Via.
    #[error("not SIP/2.0")]
    WrongProtocol,
    /// More list elements than a message may carry.
    #[error("too many values")]
    TooMany,
}

const TOKEN: u8 = 1;
const HOST: u8 = 2;
const SCHEME: u8 = 4;
const URI: u8 = 8;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        if byte.is_ascii_alphanumeric() {
            table[index] = TOKEN | HOST | SCHEME;
        }
        if byte > b' ' && !matches!(byte, b'<' | b'>' | b'"' | 0x7f) {
            table[index] |= URI;
        }
        index += 1;
    }
    let token = b"-.!%*_+`'~";
    let mut index = 0;
    while index < token.len() {
        table[token[index] as usize] |= TOKEN;
        index += 1;
    }
    table[b'-' as usize] |= HOST | SCHEME;
    table[b'.' as usize] |= HOST | SCHEME;
    table[b'_' as usize] |= HOST;
    table[b'+' as usize] |= SCHEME;
    table
}

/// True for the characters of `token` (RFC 3261 §25.1).
pub(crate) fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// True for letters, digits, `-`, `.` and (tolerated, seen in local networks) `_`.
pub(crate) fn is_host(byte: u8) -> bool {
    CLASSES[byte as usize] & HOST != 0
}

/// True for the characters of a URI scheme behind its first letter (RFC 3986 §3.1).
pub(crate) fn is_scheme(byte: u8) -> bool {
    CLASSES[byte as usize] & SCHEME != 0
}

/// True for the bytes a URI may hold here. Wider than the grammar (`#`, `^`, UTF-8 and the like pass), narrower than a
/// line: white space, control characters, quotes and angle brackets always mean that something is wrong.
pub(crate) fn is_uri(byte: u8) -> bool {
    CLASSES[byte as usize] & URI != 0
}

/// True for SP and HTAB, and for line ends, which only text from elsewhere can still hold.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// `bytes` without white space at both ends.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .iter()
        .position(|byte| !is_space(*byte))
        .unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|byte| !is_space(*byte))
        .map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// Reads an unsigned decimal with leading zeros allowed; the whole of `digits` must be used.
pub(crate) fn number(digits: &[u8], max: u64) -> Result<u64, Problem> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Problem::NotANumber);
    }
    let mut value: u64 = 0;
    for digit in digits {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit - b'0')))
            .filter(|value| *value <= max)
            .ok_or(Problem::OutOfRange)?;
    }
    Ok(value)
}

/// Takes quotes and backslash escapes off a quoted string; anything else comes back as it is.
pub(crate) fn unquote(text: &ByteStr) -> ByteStr {
    let bytes = text.as_bytes();
    if bytes.len() < 2 || bytes[0] != b'"' || bytes[bytes.len() - 1] != b'"' {
        return text.clone();
    }
    let inner = &bytes[1..bytes.len() - 1];
    if !inner.contains(&b'\\') {
        return ByteStr::from(text.bytes().slice(1..bytes.len() - 1));
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut rest = inner.iter();
    while let Some(byte) = rest.next() {
        let literal = if *byte == b'\\' {
            rest.next().unwrap_or(byte)
        } else {
            byte
        };
        plain.push(*literal);
    }
    ByteStr::from(plain)
}

/// Tokens nearly every message holds. Static text needs no reference count, which is what parsing spends most on.
fn frequent(token: &[u8]) -> Option<&'static str> {
    Some(match token {
        b"UDP" => "UDP",
        b"TCP" => "TCP",
        b"branch" => "branch",
        b"rport" => "rport",
        b"tag" => "tag",
        b"lr" => "lr",
        b"transport" => "transport",
        b"udp" => "udp",
        b"tcp" => "tcp",
        b"expires" => "expires",
        b"application" => "application",
        b"sdp" => "sdp",
        _ => return None,
    })
}

/// Prints `text` as a quoted string, with `"`, `\` and control characters as quoted pairs; line ends, which no pair can
/// hold (RFC 3261 §25.1), become spaces.
pub(crate) fn print_quoted(text: &[u8], out: &mut BytesMut) {
    out.put_u8(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.put_slice(&[b'\\', *byte]),
            b'\r' | b'\n' => out.put_u8(b' '),
            0..=8 | 11..=31 | 127 => out.put_slice(&[b'\\', *byte]),
            other => out.put_u8(*other),
        }
    }
    out.put_u8(b'"');
}

/// A cursor over one value. Slices it hands out share the value's buffer.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    source: &'a Bytes,
    position: usize,
    end: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(source: &'a Bytes) -> Self {
        Scanner {
            source,
            position: 0,
            end: source.len(),
        }
    }

    /// Offset of the next byte.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// What is still to be read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.source[self.position..self.end]
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    pub(crate) fn at_end(&self) -> bool {
        self.position >= self.end
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.position = self.end.min(self.position + count);
    }

    /// Steps over `byte` when it is next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.position += usize::from(next);
        next
    }

    pub(crate) fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.position += 1;
        }
    }

    /// Takes `count` bytes as text sharing the buffer.
    pub(crate) fn slice(&mut self, count: usize) -> ByteStr {
        let start = self.position;
        self.advance(count);
        ByteStr::from(self.source.slice(start..self.position))
    }

    /// A cursor over the next `count` bytes only, with the offsets of this one.
    pub(crate) fn limited(&self, count: usize) -> Scanner<'a> {
        let end = self.end.min(self.position + count);
        Scanner { end, ..*self }
    }

    /// Takes the longest run that satisfies `class`; may be empty.
    pub(crate) fn run(&mut self, class: impl Fn(u8) -> bool) -> ByteStr {
        let count = self.run_length(class);
        self.slice(count)
    }

    /// Takes the same run without sharing the buffer.
    pub(crate) fn borrow_run(&mut self, class: impl Fn(u8) -> bool) -> &'a [u8] {
        let run = &self.rest()[..self.run_length(class)];
        self.position += run.len();
        run
    }

    /// Length of the longest run that satisfies `class`.
    pub(crate) fn run_length(&self, class: impl Fn(u8) -> bool) -> usize {
        let rest = self.rest();
        rest.iter().position(|byte| !class(*byte)).unwrap_or(rest.len())
    }

    /// Takes a token; `None` when the next byte is not one of its characters.
    pub(crate) fn token(&mut self) -> Option<ByteStr> {
        self.borrow_token().map(|token| self.share(token))
    }

    /// Takes a token without sharing the buffer.
    pub(crate) fn borrow_token(&mut self) -> Option<&'a [u8]> {
        let token = self.borrow_run(is_token);
        (!token.is_empty()).then_some(token)
    }

    /// Makes text of its own of `part`, which this cursor handed out.
    pub(crate) fn share(&self, part: &'a [u8]) -> ByteStr {
        match frequent(part) {
            Some(text) => ByteStr::from_static(text),
            None => ByteStr::from(self.source.slice_ref(part)),
        }
    }

    /// Takes a quoted string with its quotes.
    pub(crate) fn quoted(&mut self) -> Result<ByteStr, Problem> {
        let rest = self.rest();
        if rest.first() != Some(&b'"') {
            return Err(Problem::UnexpectedByte);
        }
        let mut index = 1;
        while let Some(byte) = rest.get(index) {
            match byte {
                b'"' => return Ok(self.slice(index + 1)),
                b'\\' => index += 2,
                _ => index += 1,
            }
        }
        Err(Problem::UnterminatedQuote)
    }

    /// Takes a parameter value: a quoted string, or everything up to white space, a control character or one of `;,<>"`.
    pub(crate) fn param_value(&mut self) -> Result<ByteStr, Problem> {
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        Ok(self.run(|byte| is_uri(byte) && !matches!(byte, b';' | b',')))
    }

    /// Takes a decimal number of at most `max`.
    pub(crate) fn number(&mut self, max: u64) -> Result<u64, Problem> {
        let count = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let value = number(&self.rest()[..count], max)?;
        self.position += count;
        Ok(value)
    }
}
