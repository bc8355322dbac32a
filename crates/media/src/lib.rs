//! The media plane: shards, sockets, legs.
