//! The registry over the real media plane.
