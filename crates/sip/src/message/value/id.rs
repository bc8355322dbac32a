//! Identifiers of calls, dialogs and transactions. All compare byte by byte.

use std::fmt;

use crate::byte_str::ByteStr;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(ByteStr);

        impl $name {
            /// Takes text as it is.
            pub fn new(text: impl Into<ByteStr>) -> Self {
                $name(text.into())
            }

            /// The bytes on the wire.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// The text with invalid UTF-8 replaced.
            pub fn to_str_lossy(&self) -> std::borrow::Cow<'_, str> {
                self.0.to_str_lossy()
            }

            /// A copy that does not keep the received message's buffer alive: for keys that outlive it.
            #[must_use]
            pub fn detached(&self) -> Self {
                $name(ByteStr::copy_from(self.0.as_bytes()))
            }
        }

        impl From<$name> for ByteStr {
            fn from(id: $name) -> ByteStr {
                id.0
            }
        }

        impl From<$name> for bytes::Bytes {
            fn from(id: $name) -> bytes::Bytes {
                id.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

identifier! {
    /// The Call-ID of RFC 3261 §20.8. Not an id of ours: callers choose it.
    CallId
}
identifier! {
    /// The tag of a From or To (RFC 3261 §19.3).
    Tag
}
identifier! {
    /// The branch of a Via (RFC 3261 §8.1.1.7).
    Branch
}

impl Branch {
    /// What every branch made by the rules of RFC 3261 begins with.
    pub const MAGIC_COOKIE: &'static str = "z9hG4bK";

    /// True when the cookie is there and something follows it: only then does the branch alone name a transaction
    /// (RFC 3261 §17.2.3; RFC 4475 §3.2.1 for the bare cookie).
    pub fn is_transaction_id(&self) -> bool {
        self.as_bytes()
            .strip_prefix(Self::MAGIC_COOKIE.as_bytes())
            .is_some_and(|rest| !rest.is_empty())
    }
}
