//! Owns the audio half of test participants: real UDP sockets that send and receive RTP on an absolute schedule.
//!
//! One [`RtpEngine`] drives any number of streams from few threads: it wakes once per quantum, sends what is due, then reads what has
//! arrived with the kernel's receive timestamps. It conceals nothing: what is captured is what was on the wire, in order of arrival.

mod capture;
mod engine;
mod packet;
mod reflector;
mod source;
mod stream;
mod syscall;

pub use capture::{Capture, CapturedPacket};
pub use engine::{EngineConfig, Lateness, RtpEngine};
pub use packet::RtpView;
pub use reflector::{Reflector, ReflectorPace};
pub use source::{Packets, Source};
pub use stream::{CaptureMode, Stream, StreamCounts};
pub use syscall::{monotonic_ns, pin_to_core, request_real_time};
