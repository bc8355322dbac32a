//! One conference's audio: contributions in, mix-minus out.
//!
//! A [`Mixer`] is fed one block of every participant per tick and tells for every listener which signal it hears. Sums
//! are taken once, in 32 bits; a contributor's own voice is subtracted from the sum before anything is limited or
//! narrowed, so that nobody hears himself however loud the others are. A tick costs O(talkers) for mixing; a listener
//! costs nothing here but the question which signal is his.
//!
//! What is deliberately not here: sockets, clocks, codecs, threads. Time is a count of blocks; who is due when, and
//! what an encoded block looks like, is decided by the media plane. Nothing is allocated between construction and
//! [`Mixer::adopt_storage`], which trades the storage for a larger one that was made elsewhere.
//!
//! Outputs are *signals*, not buffers per listener: everybody who hears [`Signal::Common`] hears the same block, so one
//! encoded payload serves them all, and a finished block can be handed to another thread that serves further listeners.
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
mod mixer;
mod slot;

pub use floor::Floor;
pub use format::{MAX_INTERVAL_MS, MAX_RATE_HZ, MIN_INTERVAL_MS, MIN_RATE_HZ, MixFormat};
pub use mixer::{Mixed, Mixer, MixerStorage, Signal};
pub use slot::{InputReport, MAX_SLOTS, SlotId};
