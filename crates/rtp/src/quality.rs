//! How a call sounds, from what its network does: the E-model (ITU-T G.107) reduced to delay, loss and codec, and what a leg tells
//! about its received stream. Owns arithmetic and the last interval's counts; measures no audio.

use std::time::Duration;

use crate::burst::{BurstMeter, GMIN};
use crate::ids::Ssrc;
use crate::jitter::{Playout, Rejected};
use crate::rtcp::{ReceiverConfig, VoipMetrics};
use crate::statistics::{ReceptionStatistics, ReceptionTotals};

/// What is left of 100 after the noise and side tone of a good telephone: G.107's R with all parameters at their defaults.
const UNIMPAIRED: f64 = 93.2;
/// The worst equipment impairment (G.107 §7.4).
const WORST_EQUIPMENT: f64 = 95.0;
/// Time over which a rating is made.
const INTERVAL_NS: u64 = 5_000_000_000;

/// How a codec sounds by itself and how well it bears loss (ITU-T G.107 §7.4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CodecImpairment {
    /// Ie, 0 (transparent) to 95.
    pub equipment: f64,
    /// Bpl, at least 1: the higher, the better loss is concealed.
    pub robustness: f64,
}

impl CodecImpairment {
    /// G.711 with concealment as in its Appendix I (ITU-T G.113 Appendix I).
    pub const G711: Self = Self {
        equipment: 0.0,
        robustness: 25.1,
    };
    /// The same for other waveform codecs with concealment (G.722, L16): ITU-T gives no narrowband figures for them.
    pub const WAVEFORM: Self = Self::G711;
    /// Opus without forward error correction; assumed, as ITU-T gives no figures.
    pub const OPUS: Self = Self {
        equipment: 0.0,
        robustness: 20.0,
    };
    /// Opus with in-band forward error correction, which repairs most single losses; assumed.
    pub const OPUS_FEC: Self = Self {
        equipment: 0.0,
        robustness: 40.0,
    };
}

/// What one direction of a call does to speech.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transmission {
    /// From mouth to ear.
    pub delay: Duration,
    /// Share of packets lost or too late, 0 to 1.
    pub loss: f64,
    /// BurstR: 1 for independent losses, more when they cluster.
    pub burst_ratio: f64,
    /// The codec.
    pub codec: CodecImpairment,
}

/// A transmission rating R (ITU-T G.107), 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rating(f64);

impl Transmission {
    /// Rates the transmission: R = 93.2 − Idd − Ie,eff. Echo is taken to be cancelled.
    #[must_use]
    pub fn rating(&self) -> Rating {
        Rating((UNIMPAIRED - self.delay_impairment() - self.equipment_impairment()).clamp(0.0, 100.0))
    }

    /// Idd of G.107 §7.3: nothing up to 100 ms.
    fn delay_impairment(&self) -> f64 {
        let ms = self.delay.as_secs_f64() * 1000.0;
        if ms <= 100.0 {
            return 0.0;
        }
        let x = (ms / 100.0).log2();
        25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
    }

    /// Ie,eff of G.107 §7.4.
    fn equipment_impairment(&self) -> f64 {
        let loss_percent = self.loss.clamp(0.0, 1.0) * 100.0;
        let CodecImpairment {
            equipment,
            robustness,
        } = self.codec;
        let by_loss = loss_percent / (loss_percent / self.burst_ratio.max(1.0) + robustness.max(1.0));
        equipment + (WORST_EQUIPMENT - equipment) * by_loss
    }
}

impl Rating {
    /// R, 0 to 100; 93.2 is the best that a narrowband call reaches.
    #[must_use]
    pub const fn r_factor(self) -> f64 {
        self.0
    }

    /// Mean opinion score, 1.0 to 4.5 (G.107 Annex B).
    #[must_use]
    pub fn mos(self) -> f64 {
        let r = self.0;
        let mos = 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6;
        // The formula dips below 1 for R under 6.5.
        mos.clamp(1.0, 4.5)
    }
}

/// What a leg tells about the stream it receives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamSnapshot {
    /// Packets received, lost, late, duplicated, reordered.
    pub totals: ReceptionTotals,
    /// Audio made up for what was lost or late.
    pub concealed: Duration,
    /// Interarrival jitter (RFC 3550 A.8).
    pub jitter: Duration,
    /// Received audio that waits to be heard.
    pub buffered: Duration,
    /// Speed of the sender's clock against ours in parts per million; `None` in the first minute.
    pub skew_ppm: Option<i32>,
    /// To the peer and back, by RTCP.
    pub round_trip: Option<Duration>,
    /// Over the last five seconds with audio; `None` before.
    pub rating: Option<Rating>,
}

/// Rates a leg's received stream in intervals of five seconds.
#[derive(Debug, Clone)]
pub struct QualityMeter {
    codec: CodecImpairment,
    interval_began_ns: Option<u64>,
    counted: BurstMeter,
    rating: Option<Rating>,
    reported: Reported,
}

/// Where the last VoIP metrics report left off.
#[derive(Debug, Clone, Copy, Default)]
struct Reported {
    bursts: BurstMeter,
    late: u64,
}

impl QualityMeter {
    /// Makes a meter that has seen nothing.
    #[must_use]
    pub fn new(codec: CodecImpairment) -> Self {
        Self {
            codec,
            interval_began_ns: None,
            counted: BurstMeter::new(),
            rating: None,
            reported: Reported::default(),
        }
    }

    /// Goes on with another codec.
    pub fn set_codec(&mut self, codec: CodecImpairment) {
        self.codec = codec;
    }

    /// Looks at the stream; call it a few times a second. An interval without packets leaves the rating as it was.
    pub fn update(&mut self, now_ns: u64, playout: &Playout, round_trip: Option<Duration>) {
        let began_ns = *self.interval_began_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(began_ns) < INTERVAL_NS {
            return;
        }
        let interval = playout.bursts().since(&self.counted);
        self.interval_began_ns = Some(now_ns);
        self.counted = *playout.bursts();
        if interval.expected() > 0 {
            let transmission = Transmission {
                delay: one_way(playout, round_trip),
                loss: interval.loss(),
                burst_ratio: interval.burst_ratio(),
                codec: self.codec,
            };
            self.rating = Some(transmission.rating());
        }
    }

    /// The rating of the last interval.
    #[must_use]
    pub const fn rating(&self) -> Option<Rating> {
        self.rating
    }

    /// Returns all that the leg tells about its stream; `concealed` is the leg's own count.
    #[must_use]
    pub fn snapshot(
        &self,
        reception: &ReceptionStatistics,
        playout: &Playout,
        concealed: Duration,
        round_trip: Option<Duration>,
    ) -> StreamSnapshot {
        StreamSnapshot {
            totals: reception.totals(),
            concealed,
            jitter: Duration::from_nanos(reception.jitter_ns()),
            buffered: Duration::from_nanos(playout.buffered_ns()),
            skew_ppm: playout.skew_ppm(),
            round_trip,
            rating: self.rating,
        }
    }

    /// Makes the VoIP metrics block about `ssrc` (RFC 3611 §4.7) for the time since the last one.
    pub fn voip_metrics(
        &mut self,
        ssrc: Ssrc,
        playout: &Playout,
        round_trip: Option<Duration>,
    ) -> VoipMetrics {
        let late = playout.counters().rejected_for(Rejected::Late);
        let before = std::mem::replace(
            &mut self.reported,
            Reported {
                bursts: *playout.bursts(),
                late,
            },
        );
        let interval = playout.bursts().since(&before.bursts);
        let clusters = interval.report();
        let missing = interval.missing_packets();
        let discarded = late.saturating_sub(before.late).min(missing);
        let packet_ms = playout.packet_ns() / 1_000_000;
        let rating = self.rating;
        VoipMetrics {
            ssrc,
            loss_rate: share(missing - discarded, interval.expected()),
            discard_rate: share(discarded, interval.expected()),
            burst_density: clusters.burst_density,
            gap_density: clusters.gap_density,
            burst_ms: in_ms(u64::from(clusters.burst_packets) * packet_ms),
            gap_ms: in_ms(u64::from(clusters.gap_packets) * packet_ms),
            round_trip_ms: in_ms(millis(round_trip.unwrap_or_default())),
            end_system_delay_ms: in_ms(playout.buffered_ns() / 1_000_000),
            signal_dbm: None,
            noise_dbm: None,
            echo_return_loss_db: None,
            gmin: GMIN,
            r_factor: rating.map(|rating| rating.r_factor().round() as u8),
            external_r_factor: None,
            mos_lq_tenths: rating.map(|_| self.listening_mos_tenths(&interval)),
            mos_cq_tenths: rating.map(|rating| (rating.mos() * 10.0).round() as u8),
            config: ReceiverConfig::ADAPTIVE_WITH_CONCEALMENT,
            buffer_nominal_ms: in_ms(playout.buffered_ns() / 1_000_000),
            buffer_max_ms: in_ms(playout.config().max_delay_ns / 1_000_000),
            buffer_absolute_max_ms: in_ms(playout.config().max_delay_ns / 1_000_000),
        }
    }

    /// As one hears who does not talk: without the delay (RFC 3611 §4.7.5).
    fn listening_mos_tenths(&self, interval: &BurstMeter) -> u8 {
        let transmission = Transmission {
            delay: Duration::ZERO,
            loss: interval.loss(),
            burst_ratio: interval.burst_ratio(),
            codec: self.codec,
        };
        (transmission.rating().mos() * 10.0).round() as u8
    }
}

/// Half the way there and back, a packet to fill, and what waits here.
fn one_way(playout: &Playout, round_trip: Option<Duration>) -> Duration {
    let here = Duration::from_nanos(playout.buffered_ns().saturating_add(playout.packet_ns()));
    (round_trip.unwrap_or_default() / 2).saturating_add(here)
}

fn share(part: u64, whole: u64) -> u8 {
    (part * 256).checked_div(whole).unwrap_or(0).min(255) as u8
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn in_ms(ms: u64) -> u16 {
    u16::try_from(ms).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mos(delay_ms: u64, loss: f64, burst_ratio: f64, codec: CodecImpairment) -> f64 {
        let transmission = Transmission {
            delay: Duration::from_millis(delay_ms),
            loss,
            burst_ratio,
            codec,
        };
        transmission.rating().mos()
    }

    #[test]
    fn ratings_agree_with_the_tables_of_g_107_and_g_113() {
        // (delay in ms, loss, MOS)
        let rows = [
            (0, 0.0, 4.41),
            (100, 0.0, 4.41),
            (150, 0.0, 4.40),
            (200, 0.0, 4.34),
            (300, 0.0, 4.00),
            (400, 0.0, 3.65),
            (0, 0.01, 4.33),
            (0, 0.05, 3.99),
            (0, 0.10, 3.45),
        ];
        for (delay_ms, loss, expected) in rows {
            let found = mos(delay_ms, loss, 1.0, CodecImpairment::G711);
            assert!((found - expected).abs() < 0.1, "{delay_ms} ms, {loss}: {found}");
        }
    }

    #[test]
    fn clustered_loss_is_worse_and_repair_better() {
        let random = mos(50, 0.05, 1.0, CodecImpairment::G711);
        assert!(mos(50, 0.05, 3.0, CodecImpairment::G711) < random);
        assert!(mos(50, 0.05, 1.0, CodecImpairment::OPUS_FEC) > mos(50, 0.05, 1.0, CodecImpairment::OPUS));
    }

    #[test]
    fn the_ends_of_the_scale_hold() {
        for delay_ms in [0, 1_000, 100_000, u64::MAX / 1_000_000] {
            for loss in [-1.0, 0.0, 0.5, 1.0, 2.0, f64::MAX] {
                for burst_ratio in [0.0, 1.0, 1e9] {
                    let found = mos(delay_ms, loss, burst_ratio, CodecImpairment::G711);
                    assert!(
                        (1.0..=4.5).contains(&found),
                        "{delay_ms} {loss} {burst_ratio}: {found}"
                    );
                }
            }
        }
    }
}
