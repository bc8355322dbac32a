//! RTP, RTCP, telephone-event, jitter buffer and reception statistics, without sockets or clocks.
