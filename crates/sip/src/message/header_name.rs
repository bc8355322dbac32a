//! Names of header fields: full and compact spelling, compared without regard to case (RFC 3261 §7.3.1, §7.3.3).

use std::fmt;

use crate::byte_str::ByteStr;

macro_rules! names {
    ($($variant:ident $full:literal $(/ $compact:literal)?,)+) => {
        /// The name of a header field. Known names print in their registered spelling, others as received.
        #[derive(Clone, Debug)]
        #[allow(missing_docs)]
        #[non_exhaustive]
        pub enum HeaderName {
            $($variant,)+
            /// A name without a variant of its own.
            Other(ByteStr),
        }

        impl HeaderName {
            /// The name in full, as it goes on the wire.
            pub fn as_bytes(&self) -> &[u8] {
                match self {
                    $(HeaderName::$variant => $full.as_bytes(),)+
                    HeaderName::Other(name) => name.as_bytes(),
                }
            }

            /// The name `text` stands for, in full or compact form. The caller has checked that it is a token.
            pub fn from_token(text: ByteStr) -> HeaderName {
                HeaderName::known(text.as_bytes()).unwrap_or(HeaderName::Other(text))
            }

            /// The variant for `name`, if there is one.
            pub(crate) fn known(name: &[u8]) -> Option<HeaderName> {
                match name {
                    $($([letter] if letter.eq_ignore_ascii_case(&$compact) => return Some(HeaderName::$variant),)?)+
                    [_] => return None,
                    _ => {}
                }
                let key = (name.len(), name.first().map(u8::to_ascii_lowercase));
                $(if key == ($full.len(), Some($full.as_bytes()[0].to_ascii_lowercase()))
                    && name.eq_ignore_ascii_case($full.as_bytes())
                {
                    return Some(HeaderName::$variant);
                })+
                None
            }

            #[cfg(test)]
            fn table() -> Vec<(HeaderName, &'static str, Option<u8>)> {
                vec![$({
                    let compact: &[u8] = &[$($compact)?];
                    (HeaderName::$variant, $full, compact.first().copied())
                }),+]
            }
        }
    };
}

names! {
    Via "Via" / b'v',
    From "From" / b'f',
    To "To" / b't',
    CallId "Call-ID" / b'i',
    CSeq "CSeq",
    Contact "Contact" / b'm',
    MaxForwards "Max-Forwards",
    ContentLength "Content-Length" / b'l',
    ContentType "Content-Type" / b'c',
    Route "Route",
    RecordRoute "Record-Route",
    Allow "Allow",
    Supported "Supported" / b'k',
    UserAgent "User-Agent",
    Require "Require",
    ProxyRequire "Proxy-Require",
    Unsupported "Unsupported",
    Accept "Accept",
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    Expires "Expires",
    MinExpires "Min-Expires",
    SessionExpires "Session-Expires" / b'x',
    MinSe "Min-SE",
    Reason "Reason",
    RetryAfter "Retry-After",
    Server "Server",
    Subject "Subject" / b's',
    Date "Date",
    Timestamp "Timestamp",
    Warning "Warning",
    Authorization "Authorization",
    ProxyAuthorization "Proxy-Authorization",
    WwwAuthenticate "WWW-Authenticate",
    ProxyAuthenticate "Proxy-Authenticate",
    AuthenticationInfo "Authentication-Info",
    Organization "Organization",
    Priority "Priority",
    AlertInfo "Alert-Info",
    CallInfo "Call-Info",
    ErrorInfo "Error-Info",
    ContentDisposition "Content-Disposition",
    ContentEncoding "Content-Encoding" / b'e',
    ContentLanguage "Content-Language",
    MimeVersion "MIME-Version",
    InReplyTo "In-Reply-To",
    ReplyTo "Reply-To",
    Event "Event" / b'o',
    AllowEvents "Allow-Events" / b'u',
    SubscriptionState "Subscription-State",
    ReferTo "Refer-To" / b'r',
    ReferredBy "Referred-By" / b'b',
    Replaces "Replaces",
    RSeq "RSeq",
    RAck "RAck",
    Path "Path",
    ServiceRoute "Service-Route",
    PAssertedIdentity "P-Asserted-Identity",
    PPreferredIdentity "P-Preferred-Identity",
    RemotePartyId "Remote-Party-ID",
    Diversion "Diversion",
    Privacy "Privacy",
    HistoryInfo "History-Info",
    InfoPackage "Info-Package",
    RecvInfo "Recv-Info",
}

impl HeaderName {
    /// A name without a variant, from text of our own.
    pub fn custom(name: &str) -> HeaderName {
        HeaderName::from_token(ByteStr::from(name))
    }
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (HeaderName::Other(left), HeaderName::Other(right)) => left.eq_ignore_case(right),
            (left, right) => std::mem::discriminant(left) == std::mem::discriminant(right),
        }
    }
}

impl Eq for HeaderName {}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case_and_in_compact_form() {
        for (name, full, compact) in HeaderName::table() {
            for spelling in [full.to_owned(), full.to_lowercase(), full.to_uppercase()] {
                assert_eq!(HeaderName::custom(&spelling), name, "{spelling}");
            }
            if let Some(letter) = compact {
                for letter in [letter, letter.to_ascii_uppercase()] {
                    assert_eq!(
                        HeaderName::custom(&char::from(letter).to_string()),
                        name,
                        "{full}"
                    );
                }
            }
        }
    }

    #[test]
    fn unknown_names_keep_their_spelling_and_ignore_case_in_comparison() {
        let name = HeaderName::custom("X-nEw");
        assert_eq!(name.as_bytes(), b"X-nEw");
        assert_eq!(name, HeaderName::custom("x-NEW"));
        assert_ne!(name, HeaderName::custom("x-news"));
        assert_ne!(HeaderName::custom("z"), HeaderName::Via);
    }
}
