//! CSeq (RFC 3261 §20.16).

use bytes::Bytes;

use crate::message::Method;
use crate::scan::{Problem, Scanner};

/// Sequence number and method of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// 0 to 2³¹ − 1 by RFC 3261 §8.1.1.5; anything that fits 32 bits is read.
    pub number: u32,
    /// The method.
    pub method: Method,
}

impl CSeq {
    pub(crate) fn scan(scanner: &mut Scanner<'_>) -> Result<CSeq, Problem> {
        let number = scanner.number(u64::from(u32::MAX))?;
        let number = u32::try_from(number).map_err(|_| Problem::OutOfRange)?;
        if !scanner.peek().is_some_and(crate::scan::is_space) {
            return Err(Problem::UnexpectedByte);
        }
        scanner.skip_space();
        let method = scanner.borrow_token().ok_or(Problem::UnexpectedByte)?;
        let method = Method::known(method).unwrap_or_else(|| Method::Other(scanner.share(method)));
        Ok(CSeq { number, method })
    }

    /// The value as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = self.number.to_string().into_bytes();
        out.push(b' ');
        out.extend_from_slice(self.method.as_bytes());
        Bytes::from(out)
    }
}
