//! A shard under a virtual clock: what is heard, when, by whom, and that nothing is allocated on the way.

mod allocation;
mod codecs;
mod dialling;
mod economy;
mod hearing;
mod keys;
mod protocol;
mod settings;
mod speaker;
mod streams;
mod timing;
mod world;
