//! Named cases of RFC 3261 §12.
