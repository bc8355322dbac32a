//! Signal blocks of the mixer: gain, limiter, level meter, talk gate.
