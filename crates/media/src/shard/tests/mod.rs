//! A shard under a virtual clock: what is heard, when, by whom, and that nothing is allocated on the way.

mod allocation;
mod codecs;
mod hearing;
mod protocol;
mod settings;
mod timing;
mod world;
