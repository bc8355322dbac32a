//! Audio codecs with loss concealment behind one trait.

mod codec;
pub mod g711;

pub use codec::{CodecKind, DecodeError, Decoder, Encoder};
