//! Jitter buffer: storage, media time and playout policy as separate types, composed in [`Playout`].
//!
//! - [`buffer`]: ordered, deduplicating, bounded slots with a [`Rejected`] reason for each refusal.
//! - [`timeline`]: RTP timestamps to one unbroken media time.
//! - [`policy`]: when a position is due, how late packets are, whether the delay should change.
//! - [`playout`]: the three together, as a leg uses them.
//!
//! # Playout by media time
//!
//! The stream's first packet fixes the line between media time and ticks: its first sample is heard at the first tick at or
//! after arrival + margin. From then on each tick plays the next tick's worth of media time, whatever the phase of later
//! arrivals. Without loss every sample received is handed out once, in order, with nothing between: the output is bit-exact.
//! Deadlines move by whole ticks, so the delay changes by whole ticks' worth of samples where the change may have any length, and
//! every change is counted:
//!
//! | cause | what happens | counted as |
//! |---|---|---|
//! | over 1 % of packets late or about to be | a late packet is still played: what concealed it becomes added delay | `inserted_samples` |
//! | the same, before anything is late | silence is added, or speech stretched | `inserted_samples` |
//! | losses of the last 10 s, with [`Playout::set_fec`] | the same, until a packet waits for the one behind it | `inserted_samples` |
//! | a sender's clock known to be slow | silence is added up to 2 ms before it is needed | `inserted_samples` |
//! | even the latest packets wait a tick too long | silence is left out | `dropped_samples` |
//! | they wait 2 ms longer still | speech is shortened, a pitch period every 60 ms | `dropped_samples` |
//! | they wait longer than `max_delay_ns` | audio is left out, even speech | `dropped_samples` |
//! | ticks skipped by the clock's owner | their media is left out | `skipped_samples` |
//!
//! # Re-framing
//!
//! [`Playout`] hands out whole packets when their first sample is due and never cuts one. The leg owns the decoder and a FIFO
//! of decoded samples between packets of any duration and ticks of any length. Its loop, per tick of `n` samples:
//!
//! ```
//! # use std::collections::VecDeque;
//! # use confab_rtp::{Adjust, ClockRate, Content, Playout, PlayoutConfig, Pull, RtpPacket, SpeechAdjust, Tick};
//! # fn decode(payload: &[u8], out: &mut [i16]) -> usize {
//! #     for (sample, octet) in out.iter_mut().zip(payload) { *sample = i16::from(*octet) }
//! #     payload.len()
//! # }
//! # fn conceal(out: &mut [i16]) { out.fill(-1) }
//! # fn repair(next_payload: &[u8], out: &mut [i16]) -> bool { false }
//! # fn noise(parameters: &[u8], out: &mut [i16]) { out.fill(0) }
//! # fn shorten(pcm: &mut Vec<i16>, at_most: u32) -> i32 { 0 }
//! # fn lengthen(pcm: &mut Vec<i16>, about: u32) -> i32 { 0 }
//! # fn is_silent(pcm: &[i16]) -> bool { pcm.iter().all(|s| *s == 0) }
//! /// Leaves at least `tick.samples` in the FIFO; the tick then takes exactly that many out.
//! fn fill(playout: &mut Playout, tick: Tick, fifo: &mut VecDeque<i16>, scratch: &mut [i16]) {
//!     let n = tick.samples as usize;
//!     while fifo.len() < n {
//!         let missing = (n - fifo.len()) as u32;
//!         match playout.pull(tick, missing) {
//!             Pull::Frame(frame) => {
//!                 let len = decode(frame.payload, scratch); // on an error: conceal `frame.samples`
//!                 let mut pcm = scratch[(frame.skip as usize).min(len)..len].to_vec(); // a leg has a place for it
//!                 if is_silent(&pcm) {
//!                     match playout.adjust_in_silence(pcm.len() as u32) {
//!                         Adjust::Keep => {}
//!                         Adjust::Drop { samples } => drop(pcm.drain(..samples as usize)),
//!                         Adjust::Insert { samples } => fifo.extend((0..samples).map(|_| 0)),
//!                     }
//!                 } else {
//!                     // Time-scale modification: also when no pitch period fits, playout is told.
//!                     match playout.adjust_in_speech() {
//!                         SpeechAdjust::Keep => {}
//!                         SpeechAdjust::Shorten { samples } => playout.adjusted_in_speech(shorten(&mut pcm, samples)),
//!                         SpeechAdjust::Lengthen { samples } => playout.adjusted_in_speech(lengthen(&mut pcm, samples)),
//!                     }
//!                 }
//!                 fifo.extend(pcm);
//!             }
//!             Pull::Lost { samples, next } => {
//!                 let lost = &mut scratch[..samples as usize];
//!                 let repaired = next.is_some_and(|next| samples >= next.samples && repair(next.payload, lost));
//!                 if !repaired {
//!                     conceal(lost);
//!                 }
//!                 fifo.extend(&*lost);
//!             }
//!             Pull::Quiet { samples } => fifo.extend((0..samples).map(|_| 0)), // Opus: let the decoder conceal, it makes noise
//!             Pull::ComfortNoise { payload, samples } => {
//!                 let quiet = &mut scratch[..samples as usize];
//!                 noise(payload, quiet);
//!                 fifo.extend(&*quiet);
//!             }
//!             Pull::Idle => fifo.resize(n, 0),
//!         }
//!     }
//! }
//!
//! // 30 ms packets, 20 ms ticks.
//! let mut playout = Playout::new(PlayoutConfig::new(ClockRate::HZ_8000));
//! let (mut fifo, mut scratch, mut heard) = (VecDeque::new(), [0_i16; 960], Vec::new());
//! for n in 0..4_u8 {
//!     let mut packet = vec![0x80, 0, 0, n, 0, 0, 0, 0, 0, 0, 0, 1];
//!     packet[4..8].copy_from_slice(&(u32::from(n) * 240).to_be_bytes());
//!     packet.extend([n + 1; 240]);
//!     let packet = RtpPacket::parse(&packet).unwrap();
//!     playout.push(u64::from(n) * 30_000_000, &packet, Content::Audio { samples: 240 }).unwrap();
//! }
//! for tick in 1..=6_u64 {
//!     fill(&mut playout, Tick { at_ns: tick * 20_000_000, samples: 160 }, &mut fifo, &mut scratch);
//!     heard.extend(fifo.drain(..160));
//! }
//! assert_eq!(heard.iter().filter(|s| **s == 2).count(), 240);
//! assert_eq!(heard.len(), 4 * 240);
//! ```
//!
//! `samples` are units of the RTP clock throughout; a codec whose sample rate differs (G.722: twice the clock) scales them at
//! this border, and what it takes out of speech or puts in is then a whole number of units. The FIFO needs room for one tick, one
//! packet, one inserted tick and one pitch period.

pub mod buffer;
mod drift;
mod fuzz;
mod histogram;
pub mod playout;
pub mod policy;
pub mod timeline;

pub use buffer::{Content, JitterBuffer, PacketInfo, Rejected};
pub use fuzz::fuzz_jitter_buffer;
pub use playout::{
    Adjust, FrameRef, Playout, PlayoutConfig, PlayoutCounters, Preload, Pull, SpeechAdjust, Tick,
};
pub use policy::{Due, PlayoutPolicy, PolicyConfig, Wish};
pub use timeline::{MediaPosition, Timeline};
