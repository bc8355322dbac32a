//! Audio codecs with loss concealment behind one trait.
