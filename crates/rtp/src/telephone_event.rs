//! DTMF in RTP (RFC 4733).
