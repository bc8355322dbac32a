//! By what a call is known that this server has placed to itself, from one conference into another.
//!
//! Owns a random text that is told to nobody else.

use confab_sip::{ByteStr, HeaderName, Request};
use subtle::ConstantTimeEq as _;

/// Its name in the INVITE.
const NAME: &str = "X-Confab-Pass";

/// A text that only this server knows, for as long as it runs. `Debug` does not show it.
pub(crate) struct Pass(String);

impl Pass {
    pub(crate) fn new() -> Pass {
        Pass(format!("{:032x}", rand::random::<u128>()))
    }

    /// The header field that shows it.
    pub(crate) fn header(&self) -> (HeaderName, String) {
        (HeaderName::from_token(ByteStr::from(NAME)), self.0.clone())
    }

    /// Whether a request shows it.
    pub(crate) fn is_shown(&self, request: &Request) -> bool {
        let shown = request.headers.get(&HeaderName::from_token(ByteStr::from(NAME)));
        shown.is_some_and(|shown| bool::from(shown[..].ct_eq(self.0.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use confab_sip::{Method, Uri};

    use super::*;

    #[test]
    fn only_its_own_text_passes() {
        let (own, other) = (Pass::new(), Pass::new());
        let uri = Uri::parse("sip:3000@a.example").unwrap();
        let plain = Request::new(Method::Invite, uri);
        let (name, value) = own.header();
        let shown = plain.clone().with_header(name, value);
        assert!(own.is_shown(&shown));
        assert!(!other.is_shown(&shown) && !own.is_shown(&plain));
    }
}
