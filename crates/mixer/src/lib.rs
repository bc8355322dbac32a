//! One conference's audio: contributions in, mix-minus out.
//!
//! A [`Mixer`] is fed one block of every participant per tick and tells for every listener which signal it hears. Sums
//! are taken once, in 32 bits; a contributor's own voice is subtracted from the sum before anything is limited or
//! narrowed, so that nobody hears himself however loud the others are. A tick costs O(talkers + exceptions) for mixing;
//! a listener like the others costs nothing here but the question which signal is his.
//!
//! What is deliberately not here: sockets, clocks, codecs, threads, and whatever works on one voice before it is mixed
//! (automatic gain, noise suppression). Time is a count of blocks; who is due when, and what an encoded block looks like,
//! is decided by the media plane. Nothing is allocated between construction and [`Mixer::adopt_storage`] or
//! [`Mixer::adopt_format`], which trade the storage for one that was made elsewhere.
//!
//! Outputs are *signals*, not buffers per listener: everybody who hears [`Signal::Common`] hears the same block, so one
//! encoded payload serves them all, and a finished block can be handed to another thread that serves further listeners.
//!
//! # Who hears whom
//! Everybody hears every voice but his own, with these exceptions: *muted* and *held* participants are not heard, *deaf*
//! ones do not hear the mix, *waiting* ones do neither, and a *relation* ([`Mixer::set_relation`]) keeps one talker from
//! one listener. A *ghost* is mixed but never has the floor. Playback ([`Mixer::add_source`]) is addressed to all who
//! hear the mix, to one (deaf or waiting as he may be), or to those who wait. Gains apply to what comes from a participant
//! before his gate, and to what goes to him after his limiter.
//!
//! # Levels
//! One voice alone, at 0 dB, passes bit-exactly. Sums of two or more are held at −3 dBFS; the gain comes back by at most
//! 20 dB per second. A listener stays with his own mix until its gain is that of the common one.
//!
//! A recording takes the mix as it is before that ([`Mixer::full_mix`]), and its parts: the sum of everybody's [`Mixer::contribution`] and of
//! [`Mixer::server_part`], saturated to 16 bits, is the full mix, sample for sample.
//!
//! ```
//! use confab_mixer::{MixFormat, Mixer, Signal};
//!
//! let mut mixer = Mixer::new(MixFormat::new(8000, 20).unwrap(), 2, 20);
//! let alice = mixer.add(false, false).unwrap();
//! let bob = mixer.add(false, false).unwrap();
//! mixer.begin();
//! mixer.input(alice, &[1000; 160]);
//! mixer.input_quiet(bob);
//! mixer.mix();
//! assert_eq!(mixer.signal(bob), Signal::Common); // Bob hears Alice
//! assert_eq!(mixer.common()[159], 1000);
//! assert_eq!(mixer.signal(alice), Signal::Silence); // Alice does not hear herself
//! ```

mod floor;
mod format;
mod gain;
mod mixer;
mod relation;
mod slot;
mod source;
mod storage;

pub use floor::Floor;
pub use format::{MAX_INTERVAL_MS, MAX_RATE_HZ, MIN_INTERVAL_MS, MIN_RATE_HZ, MixFormat};
pub use gain::{MAX_GAIN_DB, MIN_GAIN_DB};
pub use mixer::{Mixed, Mixer, Signal};
pub use slot::{InputReport, MAX_SLOTS, MemberOptions, SlotId};
pub use source::{Audience, SourceId};
pub use storage::{MixerStorage, Room};
