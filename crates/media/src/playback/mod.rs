//! What can be played into a conference, to whom and how. Values only: the queues are kept, and played, by the conference's
//! shard (`shard/conference/playback`). Knows no files and no URLs; what a name of a sound means is decided elsewhere.

mod clip;

pub use clip::Clip;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use confab_dsp::{NoiseLevel, ToneScript};

use crate::handle::LegHandle;

/// Plays that may wait in the queue of one audience behind the one that is heard.
pub const PLAY_QUEUE: usize = 16;

/// Something that can be played: recorded sound, tones, or silence. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound(pub(crate) Kind);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Clip(Clip),
    Tones(Arc<ToneScript>),
}

impl Sound {
    /// Returns recorded sound.
    pub fn clip(clip: Clip) -> Sound {
        Sound(Kind::Clip(clip))
    }

    /// Returns tones, made at the rate of the mix while they are played. A script may last for ever.
    pub fn tones(script: ToneScript) -> Sound {
        Sound(Kind::Tones(Arc::new(script)))
    }

    /// Returns silence of so many milliseconds, `None` for ever, with comfort noise if any: `noise` divides full scale as in
    /// [`NoiseLevel::from_profile`], 0 is none.
    pub fn silence(duration_ms: Option<u32>, noise: Option<u16>) -> Sound {
        let lasts = duration_ms.map(|ms| Duration::from_millis(ms.into()));
        Sound::tones(ToneScript::silence(
            lasts,
            noise.and_then(NoiseLevel::from_profile),
        ))
    }

    /// Returns how long the sound is, `None` if it never ends.
    pub fn duration(&self) -> Option<Duration> {
        match &self.0 {
            Kind::Clip(clip) => Some(Duration::from_millis(clip.duration_ms())),
            Kind::Tones(script) => script.duration(),
        }
    }
}

/// How often a play's sounds are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeat {
    /// From the first to the last, and that is all.
    #[default]
    Once,
    /// So many times in all; 0 is once like 1.
    Times(u32),
    /// Until it is stopped. Sounds that have no length at all end it at once.
    Forever,
}

/// One thing to be played: sounds one after another, without a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    /// In the order in which they are heard.
    pub sounds: Vec<Sound>,
    /// How often.
    pub repeat: Repeat,
    /// Gain in dB, −40..=20; values beyond count as these.
    pub gain_db: f32,
    /// By how many dB it is lowered while somebody talks, the one who hears it alone excepted. What plays to those who wait
    /// is not lowered.
    pub duck_db: Option<f32>,
    /// It ends when the one who hears it alone presses a key. Without effect on a play to several.
    pub barge_in: bool,
    /// It gives way to what the queue of everybody plays: in the queue of one it begins when that has said what it
    /// [announces](Play::announces), and waits for no further announcement; in his background it pauses, faded, while that plays
    /// anything. Without effect on a play to several. Whatever the queue of one plays keeps from him what plays to others as well, and an
    /// announcement that begins meanwhile to its end ([`AnnouncementMissed`](crate::MediaEvent::AnnouncementMissed)).
    pub gives_way: bool,
    /// In the queue of everybody: it is short, and what gives way waits for it.
    pub announces: bool,
}

impl Default for Play {
    /// Nothing, once, as loud as it is.
    fn default() -> Self {
        Play {
            sounds: Vec::new(),
            repeat: Repeat::Once,
            gain_db: 0.0,
            duck_db: None,
            barge_in: false,
            gives_way: false,
            announces: false,
        }
    }
}

impl Play {
    /// Returns a play of one sound, once, as loud as it is.
    pub fn once(sound: Sound) -> Play {
        Play {
            sounds: vec![sound],
            ..Play::default()
        }
    }
}

/// A play that was asked for, as the control side and the shard share it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) play: Play,
    /// It has ended: it does not wait any more.
    over: AtomicBool,
}

impl Asked {
    pub(crate) fn new(play: Play) -> Arc<Asked> {
        Arc::new(Asked {
            play,
            over: AtomicBool::new(false),
        })
    }

    /// Notes that it has ended; to be told only afterwards.
    pub(crate) fn set_over(&self) {
        self.over.store(true, Release);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Acquire)
    }
}

/// Who hears a play.
#[derive(Debug, Clone, Copy)]
pub enum Hearers<'a> {
    /// All who hear the mix. A deaf leg does not, and one that waits does not.
    Everybody,
    /// All who wait: legs that are held out of the mix.
    Waiting,
    /// One leg alone, deaf or waiting as it may be.
    One(&'a LegHandle),
}

/// How a play stands to the others that the same hearers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// One after another without a gap, at most [`PLAY_QUEUE`] waiting.
    Queue,
    /// At most one: a new one takes the place of the old, which is faded out. It pauses, faded, while the queue plays.
    Background,
}

/// Which plays to stop. What is heard is faded out within 20 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopPlay {
    /// What the queue plays now; the next one begins.
    Current,
    /// What the queue plays and what waits in it.
    All,
    /// The background.
    Background,
    /// One play, wherever it is.
    Id(PlayId),
}

/// A change of a play that waits or is heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PlayChange {
    /// Goes on so far from the beginning of its sounds, faded out and in within 20 ms. Tones have no place within: it goes on at their
    /// beginning. Beyond the end, this pass of a [repeated](Repeat) play is over, and another play at its end.
    SeekTo(Duration),
    /// The same so many milliseconds from where it is, forward or back; from within tones, counted from their beginning.
    SeekBy(i64),
    /// Its gain in dB, −40..=20, reached within 5 ms; values beyond count as these, and what is no number changes nothing.
    Gain(f32),
}

/// Identity of one play, unique within a run of the media plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlayId(pub u64);

impl fmt::Display for PlayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "play-{}", self.0)
    }
}

/// How a play came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlayEnd {
    /// It was played to its end.
    Finished,
    /// It was told to stop, or its place in the background was taken.
    Stopped,
    /// Its listener pressed a key.
    BargedIn,
    /// Its listener left.
    Gone,
}
