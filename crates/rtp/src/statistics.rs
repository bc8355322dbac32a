//! Reception statistics of one incoming stream: expected and lost (RFC 3550 A.3), interarrival jitter (A.8), duplicates
//! and reordering. Owns counters only; holds no packet and decides nothing about playout.

use crate::ids::{ClockRate, ExtendedSequenceNumber, RtpTimestamp, Ssrc};
use crate::packet::RtpPacket;
use crate::rtcp::{NtpTimestamp, ReportBlock};
use crate::sequence::{SequenceExtender, SequenceStep};

/// What one packet was to the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// First packet of a source, or of a source that restarted its numbering.
    First,
    /// The one that follows the highest, or beyond it after a gap.
    InOrder,
    /// Older than the highest and not seen before.
    Reordered,
    /// Seen before.
    Duplicate,
    /// Far off in sequence, or from a source still on probation: not counted as received.
    Ignored,
}

/// Totals over the leg's life, over all sources and restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceptionTotals {
    /// Distinct packets received.
    pub received: u64,
    /// Packets expected by their numbers and never received. Reordered packets that come later make up for it.
    pub lost: u64,
    /// Packets that came too late to be heard; see [`ReceptionStatistics::record_late`].
    pub late: u64,
    /// Copies of packets received before.
    pub duplicated: u64,
    /// Packets that arrived after a later one.
    pub reordered: u64,
    /// Packets ignored for a jump in sequence or on probation.
    pub ignored: u64,
    /// Sources begun: the first, and each change of SSRC or restart of numbering.
    pub sources: u64,
    /// Payload octets of distinct packets.
    pub octets: u64,
}

/// Statistics of the source that is being received; a change of SSRC starts a new source.
#[derive(Debug, Clone)]
pub struct ReceptionStatistics {
    clock_rate: ClockRate,
    probation: u16,
    source: Option<Source>,
    finished: ReceptionTotals,
}

#[derive(Debug, Clone)]
struct Source {
    ssrc: Ssrc,
    extender: SequenceExtender,
    probation: u16,
    base: ExtendedSequenceNumber,
    highest: ExtendedSequenceNumber,
    /// Bit n: `highest − n` was received.
    recent: u64,
    /// Received in the sense of RFC 3550 §6.4.1: duplicates count.
    received: u64,
    distinct: u64,
    expected_prior: u64,
    received_prior: u64,
    transit: Option<u32>,
    /// Interarrival jitter in sixteenths of a timestamp unit, as RFC 3550 A.8 keeps it.
    jitter_16: u32,
    last_report: Option<(NtpTimestamp, u64)>,
}

impl ReceptionStatistics {
    /// Makes empty statistics. `probation` is how many packets in sequence a new source must show before it counts
    /// (RFC 3550 A.1 suggests 2); 0 counts from the first packet, for when addresses are vetted otherwise.
    #[must_use]
    pub fn new(clock_rate: ClockRate, probation: u16) -> Self {
        Self {
            clock_rate,
            probation,
            source: None,
            finished: ReceptionTotals::default(),
        }
    }

    /// Counts a packet whose timestamp tells when it was sampled, received at `arrival_ns`.
    pub fn received(&mut self, arrival_ns: u64, packet: &RtpPacket<'_>) -> Reception {
        let reception = self.received_untimed(packet);
        if let (Reception::First | Reception::InOrder | Reception::Reordered, Some(source)) =
            (reception, &mut self.source)
        {
            source.measure_jitter(self.clock_rate, arrival_ns, packet.timestamp());
        }
        reception
    }

    /// Counts a packet without measuring jitter: telephone-event packets repeat the timestamp of their event's start.
    pub fn received_untimed(&mut self, packet: &RtpPacket<'_>) -> Reception {
        let source = match &mut self.source {
            Some(source) if source.ssrc == packet.ssrc() => source,
            _ => self.change_source(packet.ssrc()),
        };
        let step = source.extender.extend(packet.sequence_number());
        let reception = source.place(step);
        let octets = packet.payload().len() as u64;
        match reception {
            Reception::First if matches!(step, SequenceStep::Restarted(_)) => {
                let (ssrc, extender) = (source.ssrc, source.extender.clone());
                self.change_source(ssrc).restart(extender, step);
                self.finished.octets += octets;
            }
            Reception::First | Reception::InOrder => self.finished.octets += octets,
            Reception::Reordered => {
                self.finished.octets += octets;
                self.finished.reordered += 1;
            }
            Reception::Duplicate => self.finished.duplicated += 1,
            Reception::Ignored => self.finished.ignored += 1,
        }
        reception
    }

    /// Counts a packet that playout rejected as too late. It stays counted as received (RFC 3550 §6.4.1).
    pub fn record_late(&mut self) {
        self.finished.late += 1;
    }

    /// Takes note of a sender report of this source, for LSR and DLSR (RFC 3550 §6.4.1).
    pub fn record_sender_report(&mut self, arrival_ns: u64, ssrc: Ssrc, ntp: NtpTimestamp) {
        if let Some(source) = self.source.as_mut().filter(|source| source.ssrc == ssrc) {
            source.last_report = Some((ntp, arrival_ns));
        }
    }

    /// Makes the report block about the source and starts a new interval for its fraction lost; `None` before there is one.
    pub fn report(&mut self, now_ns: u64) -> Option<ReportBlock> {
        self.source
            .as_mut()
            .filter(|source| source.probation == 0)
            .map(|source| source.report(now_ns))
    }

    /// Totals over all sources.
    #[must_use]
    pub fn totals(&self) -> ReceptionTotals {
        let mut totals = self.finished;
        if let Some(source) = &self.source {
            source.add_to(&mut totals);
        }
        totals
    }

    /// Interarrival jitter in units of the RTP clock (RFC 3550 §6.4.1); 0 before the second packet.
    #[must_use]
    pub fn jitter_units(&self) -> u32 {
        self.source.as_ref().map_or(0, |source| source.jitter_16 >> 4)
    }

    /// Interarrival jitter in nanoseconds.
    #[must_use]
    pub fn jitter_ns(&self) -> u64 {
        self.clock_rate.nanoseconds(u64::from(self.jitter_units()))
    }

    /// The source being received.
    #[must_use]
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// Changes the clock after a change of codec: the next jitter is measured afresh.
    pub fn set_clock_rate(&mut self, clock_rate: ClockRate) {
        self.clock_rate = clock_rate;
        if let Some(source) = &mut self.source {
            source.transit = None;
            source.jitter_16 = 0;
        }
    }

    fn change_source(&mut self, ssrc: Ssrc) -> &mut Source {
        if let Some(source) = self.source.take() {
            source.add_to(&mut self.finished);
        }
        self.finished.sources += 1;
        self.source.insert(Source::new(ssrc, self.probation))
    }
}

impl Source {
    fn new(ssrc: Ssrc, probation: u16) -> Self {
        Self {
            ssrc,
            extender: SequenceExtender::new(),
            probation,
            base: ExtendedSequenceNumber(0),
            highest: ExtendedSequenceNumber(0),
            recent: 0,
            received: 0,
            distinct: 0,
            expected_prior: 0,
            received_prior: 0,
            transit: None,
            jitter_16: 0,
            last_report: None,
        }
    }

    fn place(&mut self, step: SequenceStep) -> Reception {
        match step {
            SequenceStep::Jump => Reception::Ignored,
            SequenceStep::Restarted(_) => Reception::First,
            SequenceStep::First(number) => self.begin(number),
            SequenceStep::Ahead(number) if self.probation > 0 => self.probe(number),
            SequenceStep::Ahead(number) => {
                let steps = number.0 - self.highest.0;
                self.recent = u32::try_from(steps)
                    .ok()
                    .and_then(|s| self.recent.checked_shl(s))
                    .unwrap_or(0)
                    | 1;
                self.highest = number;
                self.count_distinct();
                Reception::InOrder
            }
            SequenceStep::Behind(_) if self.probation > 0 => Reception::Ignored,
            SequenceStep::Behind(number) => self.place_behind(number),
        }
    }

    fn begin(&mut self, number: ExtendedSequenceNumber) -> Reception {
        (self.base, self.highest, self.recent) = (number, number, 1);
        if self.probation > 0 {
            self.probation -= 1;
        }
        if self.probation > 0 {
            return Reception::Ignored;
        }
        self.count_distinct();
        Reception::First
    }

    /// On probation: only packets in unbroken sequence bring it to its end (RFC 3550 A.1).
    fn probe(&mut self, number: ExtendedSequenceNumber) -> Reception {
        let in_sequence = number.0 == self.highest.0 + 1;
        if !in_sequence {
            self.highest = number;
            return Reception::Ignored;
        }
        self.begin(number)
    }

    fn place_behind(&mut self, number: ExtendedSequenceNumber) -> Reception {
        let age = self.highest.0 - number.0;
        // Beyond the window nothing is known of single packets: taken for a duplicate, so that loss is not hidden.
        let bit = u32::try_from(age)
            .ok()
            .and_then(|age| 1_u64.checked_shl(age))
            .unwrap_or(0);
        self.received += 1;
        if bit == 0 || self.recent & bit != 0 {
            return Reception::Duplicate;
        }
        self.recent |= bit;
        self.distinct += 1;
        self.base = self.base.min(number);
        Reception::Reordered
    }

    fn restart(&mut self, extender: SequenceExtender, step: SequenceStep) {
        self.extender = extender;
        self.probation = 0;
        if let SequenceStep::Restarted(number) = step {
            self.begin(number);
        }
    }

    fn count_distinct(&mut self) {
        self.received += 1;
        self.distinct += 1;
    }

    fn expected(&self) -> u64 {
        if self.received == 0 {
            0
        } else {
            self.highest.0 - self.base.0 + 1
        }
    }

    fn add_to(&self, totals: &mut ReceptionTotals) {
        totals.received += self.distinct;
        totals.lost += self.expected().saturating_sub(self.distinct);
    }

    fn measure_jitter(&mut self, clock_rate: ClockRate, arrival_ns: u64, timestamp: RtpTimestamp) {
        let transit = (clock_rate.units(arrival_ns) as u32).wrapping_sub(timestamp.0);
        if let Some(previous) = self.transit.replace(transit) {
            let difference = transit.wrapping_sub(previous).cast_signed().unsigned_abs();
            // J += |D| − (J + 8)/16 in sixteenths (RFC 3550 A.8).
            let decayed = self.jitter_16 - ((self.jitter_16 + 8) >> 4).min(self.jitter_16);
            self.jitter_16 = decayed.saturating_add(difference).min(u32::MAX - 8);
        }
    }

    fn report(&mut self, now_ns: u64) -> ReportBlock {
        let expected = self.expected();
        let expected_interval = expected.saturating_sub(self.expected_prior);
        let received_interval = self.received.saturating_sub(self.received_prior);
        (self.expected_prior, self.received_prior) = (expected, self.received);
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction_lost = (lost_interval << 8)
            .checked_div(expected_interval)
            .unwrap_or(0)
            .min(255) as u8;
        let lost = expected.cast_signed() - self.received.cast_signed();
        let (last_sender_report, delay_since_last_sender_report) = match self.last_report {
            None => (0, 0),
            Some((ntp, arrival_ns)) => {
                let delay_65536 = u128::from(now_ns.saturating_sub(arrival_ns)) * 65_536 / 1_000_000_000;
                (ntp.middle(), u32::try_from(delay_65536).unwrap_or(u32::MAX))
            }
        };
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost,
            // 24 bits, signed (RFC 3550 §6.4.1).
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: self.highest.0.wrapping_sub(1 << 16) as u32,
            jitter: self.jitter_16 >> 4,
            last_sender_report,
            delay_since_last_sender_report,
        }
    }
}

#[cfg(test)]
mod tests;
