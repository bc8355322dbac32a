//! A shard under a virtual clock: what is heard, when, by whom, and that nothing is allocated on the way.

mod allocation;
mod codecs;
mod dialling;
mod economy;
mod falling_silent;
mod giving_way;
mod hearing;
mod house;
mod keys;
mod placing;
mod playback;
mod playing_on;
mod plays_at_random;
mod protocol;
mod recorder;
mod recording;
mod secured;
mod settings;
mod speaker;
mod speech;
mod streams;
mod talk_at_random;
mod tapping;
mod timing;
mod waiting;
mod world;
