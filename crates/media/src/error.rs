//! The errors of the media plane's control methods. Network input never ends up here: it is dropped and counted.

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::metrics::JoinRefusal;

/// Why the media plane could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The port range holds no even port with its successor.
    #[error("media ports {}-{} hold no pair of an even port and the next", .0.start(), .0.end())]
    EmptyPortRange(RangeInclusive<u16>),
    /// No address to bind legs to was given.
    #[error("no media address to bind to")]
    NoBindAddress,
    /// The address is not one of this machine.
    #[error("media cannot bind to {address}: {source}")]
    Bind {
        /// The configured address.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or a kernel object could not be created; usually a limit of the process.
    #[error("media thread could not be started: {0}")]
    Start(#[from] io::Error),
}

/// Why a leg could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLegError {
    /// Every port pair of the range is in use, by us or by other programs.
    #[error("no free port pair left in {}-{} on {address}", .range.start(), .range.end())]
    PortsExhausted {
        /// The address that was asked for.
        address: IpAddr,
        /// The configured range.
        range: RangeInclusive<u16>,
    },
    /// The address is not among the configured ones.
    #[error("{0} is not a configured media address")]
    UnknownAddress(IpAddr),
    /// The system refused a socket for another reason than a port in use; usually the limit of open files.
    #[error("media socket could not be opened: {0}")]
    Socket(#[source] io::Error),
    /// The shards hold as many legs as they were sized for.
    #[error("the media shards are full")]
    Full,
    /// The media plane is stopping.
    #[error("the media plane has stopped")]
    Stopped,
}

/// Why a command to a leg or a conference had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The leg was closed.
    #[error("the leg is closed")]
    LegClosed,
    /// The conference's audio was closed.
    #[error("the conference is closed")]
    ConferenceClosed,
    /// The leg has no negotiated media yet: `start` comes before `join`.
    #[error("the leg has no media yet")]
    NotStarted,
    /// The shard of the conference holds as many legs or conferences as it was sized for.
    #[error("the media shard is full")]
    Full,
    /// The shard had no place for the leg in the conference, or no such leg or conference any more. Counted in
    /// [`ShardMetrics::joins_refused`](crate::ShardMetrics::joins_refused). The leg is in no conference.
    #[error("the media shard could not place the leg in the conference ({0})")]
    NotPlaced(JoinRefusal),
    /// Digits cannot be sent: telephone-events were not negotiated.
    #[error("the peer takes no telephone-events")]
    NoTelephoneEvents,
    /// There is no room for so many digits: at most 32 digits and pauses of a leg wait.
    #[error("too many digits wait to be sent")]
    DigitsFull,
    /// The text holds something that is neither a digit nor a pause.
    #[error("not a digit")]
    NoDigit,
    /// The leg is not in this conference.
    #[error("the leg is not in this conference")]
    NotInConference,
    /// As many plays wait as may ([`PLAY_QUEUE`](crate::PLAY_QUEUE)).
    #[error("too many plays wait already")]
    PlayQueueFull,
    /// The media plane is stopping.
    #[error("the media plane has stopped")]
    Stopped,
}
