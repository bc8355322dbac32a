//! One conference's audio: contributions in, mix-minus out.
