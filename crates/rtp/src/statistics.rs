//! Reception statistics of one source (RFC 3550 A.1, A.3, A.8).
