//! Owns the programs that only these tests use. Each is started with a configuration of its own in a folder that vanishes with it.

mod console;
mod kamailio;
mod linphone;
mod pulse;
mod twinkle;

pub(crate) use kamailio::Kamailio;
pub(crate) use linphone::{Linphone, LinphoneConfig};
pub(crate) use twinkle::{Twinkle, TwinkleConfig};
