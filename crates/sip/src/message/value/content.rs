//! Media types and Retry-After (RFC 3261 §20.1, §20.15, §20.33).

use bytes::{BufMut, Bytes, BytesMut};

use crate::byte_str::ByteStr;
use crate::param::Params;
use crate::scan::{Problem, Scanner};

/// A media type of Content-Type or Accept. In Accept both parts may be `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    /// `application`, `multipart`, …
    pub kind: ByteStr,
    /// `sdp`, `mixed`, …
    pub subtype: ByteStr,
    /// `charset`, `boundary`, `q`, …
    pub params: Params,
}

impl MediaType {
    /// True for this type, case apart: `is("application", "sdp")`.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_case(kind) && self.subtype.eq_ignore_case(subtype)
    }

    /// True when this range of an Accept header covers the given type.
    pub fn covers(&self, kind: &str, subtype: &str) -> bool {
        (self.kind == "*" || self.kind.eq_ignore_case(kind))
            && (self.subtype == "*" || self.subtype.eq_ignore_case(subtype))
    }

    pub(crate) fn scan(scanner: &mut Scanner<'_>) -> Result<MediaType, Problem> {
        let kind = scanner.token().ok_or(Problem::UnexpectedByte)?;
        scanner.skip_space();
        if !scanner.take(b'/') {
            return Err(Problem::UnexpectedByte);
        }
        scanner.skip_space();
        let subtype = scanner.token().ok_or(Problem::UnexpectedByte)?;
        let params = Params::scan(scanner)?;
        Ok(MediaType {
            kind,
            subtype,
            params,
        })
    }

    /// The value as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(32);
        out.put_slice(self.kind.as_bytes());
        out.put_u8(b'/');
        out.put_slice(self.subtype.as_bytes());
        self.params.print(&mut out);
        out.freeze()
    }
}

/// Retry-After: when to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryAfter {
    /// Seconds from the receipt on.
    pub seconds: u32,
    /// `duration` and others.
    pub params: Params,
}

impl RetryAfter {
    /// Seconds, then possibly a comment in parentheses (passed over), then parameters.
    pub(crate) fn scan(scanner: &mut Scanner<'_>) -> Result<RetryAfter, Problem> {
        let seconds = scanner.number(u64::from(u32::MAX))?;
        scanner.skip_space();
        if scanner.peek() == Some(b'(') {
            skip_comment(scanner)?;
        }
        let params = Params::scan(scanner)?;
        Ok(RetryAfter {
            seconds: u32::try_from(seconds).map_err(|_| Problem::OutOfRange)?,
            params,
        })
    }
}

fn skip_comment(scanner: &mut Scanner<'_>) -> Result<(), Problem> {
    let mut depth = 0_usize;
    while let Some(byte) = scanner.peek() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'\\' => scanner.advance(1),
            _ => {}
        }
        scanner.advance(1);
        if depth == 0 {
            return Ok(());
        }
    }
    Err(Problem::UnterminatedBracket)
}
