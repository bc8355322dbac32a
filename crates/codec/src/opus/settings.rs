//! How Opus is to be encoded, and its words in a session description: RFC 7587 §6 and §7.

use opusic_sys as sys;

use super::RATE_HZ;

/// How a listener wants Opus: the parameters of his `a=fmtp` line (RFC 7587 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpusSettings {
    /// `maxaveragebitrate`, 6000 to 510,000 bit/s; 0 is our default for the bandwidth.
    pub bitrate_bps: u32,
    /// `cbr`: every packet of the same size.
    pub cbr: bool,
    /// `stereo`: the peer would rather hear stereo. Our signals are mono and are sent as mono whatever stands here, as RFC 7587
    /// allows.
    pub stereo: bool,
    /// `usedtx`: packets may be left out in silence.
    pub dtx: bool,
    /// `useinbandfec`: the peer makes use of in-band FEC.
    pub inband_fec: bool,
    /// Loss in percent that FEC is made for until told otherwise; not in the description.
    pub loss_percent: u8,
    /// `maxplaybackrate`, 8000 to 48,000 Hz: more than this the peer cannot render.
    pub max_playback_rate_hz: u32,
}

impl Default for OpusSettings {
    /// What RFC 7587 assumes of a peer who says nothing.
    fn default() -> Self {
        Self {
            bitrate_bps: 0,
            cbr: false,
            stereo: false,
            dtx: false,
            inband_fec: false,
            loss_percent: 0,
            max_playback_rate_hz: RATE_HZ,
        }
    }
}

impl OpusSettings {
    /// Reads the parameters of an `a=fmtp` line, those after the payload type. Unknown ones, and values that are no numbers,
    /// are passed over; numbers out of range are moved into it.
    #[must_use]
    pub fn from_fmtp(parameters: &str) -> Self {
        let mut settings = Self::default();
        for parameter in parameters.split(';') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let Ok(value) = value.trim().parse::<u64>() else {
                continue;
            };
            let within = |low: u32, high: u32| value.clamp(u64::from(low), u64::from(high)) as u32;
            match name.trim().to_ascii_lowercase().as_str() {
                "maxaveragebitrate" => settings.bitrate_bps = within(6000, 510_000),
                "maxplaybackrate" => settings.max_playback_rate_hz = within(8000, RATE_HZ),
                "cbr" => settings.cbr = value != 0,
                "stereo" => settings.stereo = value != 0,
                "usedtx" => settings.dtx = value != 0,
                "useinbandfec" => settings.inband_fec = value != 0,
                _ => {}
            }
        }
        settings
    }

    /// Writes the parameters for an `a=fmtp` line, only those that differ from what RFC 7587 assumes; may be empty.
    #[must_use]
    pub fn fmtp(&self) -> String {
        let flags = [
            ("useinbandfec", self.inband_fec),
            ("usedtx", self.dtx),
            ("cbr", self.cbr),
            ("stereo", self.stereo),
        ];
        let default = Self::default();
        let numbers = [
            (
                "maxplaybackrate",
                self.max_playback_rate_hz,
                default.max_playback_rate_hz,
            ),
            ("maxaveragebitrate", self.bitrate_bps, default.bitrate_bps),
        ];
        let flags = flags
            .into_iter()
            .filter(|(_, set)| *set)
            .map(|(name, _)| format!("{name}=1"));
        let numbers = numbers
            .into_iter()
            .filter(|(_, value, default)| value != default)
            .map(|(name, value, _)| format!("{name}={value}"));
        flags.chain(numbers).collect::<Vec<_>>().join(";")
    }

    /// Without what makes no difference to an encoded payload.
    pub(crate) fn for_encoding(self) -> Self {
        let bandwidth = Bandwidth::for_rate(self.max_playback_rate_hz);
        Self {
            stereo: false,
            loss_percent: if self.inband_fec {
                self.loss_percent.min(100)
            } else {
                0
            },
            bitrate_bps: match self.bitrate_bps {
                0 => 0,
                asked => asked.clamp(6000, 510_000),
            },
            max_playback_rate_hz: bandwidth.rate_hz(),
            ..self
        }
    }
}

/// The audio bandwidths of Opus (RFC 6716 §2, table 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bandwidth {
    Narrow,
    Medium,
    Wide,
    SuperWide,
    Full,
}

impl Bandwidth {
    /// The bandwidth that holds all that a signal of this sample rate can hold.
    pub(super) const fn for_rate(rate_hz: u32) -> Self {
        match rate_hz {
            0..=8000 => Self::Narrow,
            8001..=12_000 => Self::Medium,
            12_001..=16_000 => Self::Wide,
            16_001..=24_000 => Self::SuperWide,
            _ => Self::Full,
        }
    }

    const fn rate_hz(self) -> u32 {
        match self {
            Self::Narrow => 8000,
            Self::Medium => 12_000,
            Self::Wide => 16_000,
            Self::SuperWide => 24_000,
            Self::Full => RATE_HZ,
        }
    }

    /// libopus's number for it.
    pub(super) const fn opus(self) -> i32 {
        match self {
            Self::Narrow => sys::OPUS_BANDWIDTH_NARROWBAND,
            Self::Medium => sys::OPUS_BANDWIDTH_MEDIUMBAND,
            Self::Wide => sys::OPUS_BANDWIDTH_WIDEBAND,
            Self::SuperWide => sys::OPUS_BANDWIDTH_SUPERWIDEBAND,
            Self::Full => sys::OPUS_BANDWIDTH_FULLBAND,
        }
    }

    /// The bitrate used when the peer asks for none: above what RFC 7587 §3.1.1 names, 8 to 12 kbit/s for narrowband, 16 to 20 for
    /// wideband and 28 to 40 for fullband speech, as what a conference sends was coded before. Speech at 40 kbit/s that is
    /// coded again at 40, 48, 56 and 64 loses 0.25, 0.17, 0.12 and 0.09 of PESQ; wideband speech at 24 kbit/s that is coded again at
    /// 24, 28, 32 and 40 loses 0.31, 0.21, 0.14 and 0.07 (24 voices each). Redundancy has half as much again, or 12 kbit/s, so that
    /// it does not cost quality.
    pub(super) const fn usual_bitrate_bps(self, redundant: bool) -> u32 {
        let plain = match self {
            Self::Narrow => 16_000,
            Self::Medium => 20_000,
            Self::Wide => 36_000,
            Self::SuperWide => 44_000,
            Self::Full => 56_000,
        };
        match (redundant, plain / 2) {
            (false, _) => plain,
            (true, half) if half > 12_000 => plain + 12_000,
            (true, half) => plain + half,
        }
    }
}
