//! Which addresses an RTP or RTCP socket listens to and may send to.
