//! `ByteStr`: a cheap slice of a received message that is text by intention but not by guarantee.
//!
//! Owns how such text is compared and shown. It never checks or converts what it holds: SIP text should be UTF-8
//! (RFC 3261 §7), and messages that are not must still be answered.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

/// Text taken from a SIP message: reference-counted bytes, normally ASCII or UTF-8, compared byte by byte.
///
/// Cloning and slicing copy no text.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteStr(Bytes);

impl ByteStr {
    /// Wraps a string that lives for the whole program.
    pub const fn from_static(text: &'static str) -> Self {
        ByteStr(Bytes::from_static(text.as_bytes()))
    }

    /// Copies `bytes` into a value of its own, so that no larger buffer is kept alive.
    pub fn copy_from(bytes: &[u8]) -> Self {
        ByteStr(Bytes::copy_from_slice(bytes))
    }

    /// The bytes as received.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The shared buffer itself.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The text when it is valid UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The text with every invalid sequence replaced by U+FFFD.
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares without regard to ASCII case, the rule for SIP tokens (RFC 3261 §7.3.1).
    pub fn eq_ignore_case(&self, other: impl AsRef<[u8]>) -> bool {
        self.0.eq_ignore_ascii_case(other.as_ref())
    }
}

impl AsRef<[u8]> for ByteStr {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for ByteStr {
    fn from(bytes: Bytes) -> Self {
        ByteStr(bytes)
    }
}

impl From<ByteStr> for Bytes {
    fn from(text: ByteStr) -> Self {
        text.0
    }
}

impl From<String> for ByteStr {
    fn from(text: String) -> Self {
        ByteStr(Bytes::from(text))
    }
}

impl From<Vec<u8>> for ByteStr {
    fn from(text: Vec<u8>) -> Self {
        ByteStr(Bytes::from(text))
    }
}

impl From<&str> for ByteStr {
    fn from(text: &str) -> Self {
        ByteStr::copy_from(text.as_bytes())
    }
}

impl PartialEq<str> for ByteStr {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for ByteStr {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Display for ByteStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_str_lossy())
    }
}

impl fmt::Debug for ByteStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{:?}", self.to_str_lossy())
    }
}
