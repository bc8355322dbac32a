//! Reason (RFC 3326): why a call ends.

use bytes::{BufMut, Bytes, BytesMut};

use crate::byte_str::ByteStr;
use crate::param::Params;
use crate::scan::{Problem, Scanner, print_quoted};

/// One Reason value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// `SIP`, `Q.850` or another protocol.
    pub protocol: ByteStr,
    /// Code of that protocol.
    pub cause: Option<u16>,
    /// Text without quotes.
    pub text: Option<ByteStr>,
}

impl Reason {
    /// A reason in terms of SIP status codes.
    pub fn sip(cause: u16, text: &str) -> Reason {
        Reason {
            protocol: ByteStr::from_static("SIP"),
            cause: Some(cause),
            text: Some(ByteStr::from(text)),
        }
    }

    /// A reason in terms of ITU-T Q.850.
    pub fn q850(cause: u16, text: &str) -> Reason {
        Reason {
            protocol: ByteStr::from_static("Q.850"),
            cause: Some(cause),
            text: Some(ByteStr::from(text)),
        }
    }

    pub(crate) fn scan(scanner: &mut Scanner<'_>) -> Result<Reason, Problem> {
        let protocol = scanner.token().ok_or(Problem::UnexpectedByte)?;
        let params = Params::scan(scanner)?;
        let cause = params
            .value("cause")
            .and_then(|value| value.as_str())
            .and_then(|digits| digits.parse().ok());
        let text = params.get("text").and_then(crate::param::Param::unquoted);
        Ok(Reason {
            protocol,
            cause,
            text,
        })
    }

    /// The value as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_slice(self.protocol.as_bytes());
        if let Some(cause) = self.cause {
            out.put_slice(b";cause=");
            out.put_slice(cause.to_string().as_bytes());
        }
        if let Some(text) = &self.text {
            out.put_slice(b";text=");
            print_quoted(text.as_bytes(), &mut out);
        }
        out.freeze()
    }
}
