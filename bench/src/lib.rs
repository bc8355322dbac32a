//! Load bench support.
