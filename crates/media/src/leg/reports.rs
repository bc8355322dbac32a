//! A leg's RTCP: when the next report is due, writing reports and the BYE, and what the peer's reports say. Keeps no
//! socket.

use std::time::Duration;

use confab_rtp::rtcp::{
    DelaySinceReference, ExtendedReport, NtpTimestamp, ReportBlock, RtcpWriter, SenderInfo, VoipMetrics,
    WriteError, report_interval_ns,
};
use confab_rtp::{ClockRate, ReceptionStatistics, RtpTimestamp, Ssrc};

use super::Received;
use super::output::Output;
use super::receiving::Receiving;
use super::session::Session;
use crate::arrival::ClockPair;

/// Room for a sender report with one block, a CNAME, an extended report and a BYE.
pub(crate) const REPORT_ROOM: usize = 256;

/// Loss that is worth repair data, in 1/256: 2 %.
const LOSSY_FRACTION: u8 = 5;

/// Loss that is as good as none, in 1/256, and how many such reports end the repair: half a minute at the usual interval.
const CLEAN_FRACTION: u8 = 1;
const CLEAN_REPORTS: u32 = 6;

/// What the peer says of how our stream sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RemoteQuality {
    /// Transmission rating, 0 to 100.
    pub(crate) r_factor: Option<u8>,
    /// Ten times the opinion score of conversation, or of listening where that is all there is: 10 to 50.
    pub(crate) mos_tenths: Option<u8>,
}

impl RemoteQuality {
    fn of(metrics: &VoipMetrics) -> Self {
        RemoteQuality {
            r_factor: metrics.r_factor,
            mos_tenths: metrics.mos_cq_tenths.or(metrics.mos_lq_tenths),
        }
    }
}

/// A reference time of the peer that waits for its answer.
#[derive(Debug, Clone, Copy)]
struct Reference {
    ssrc: Ssrc,
    ntp: NtpTimestamp,
    arrival_ns: u64,
}

/// The reporting state of one leg.
pub(crate) struct Reports {
    /// Name under which our reports go (RFC 7022: random, for the leg's life).
    cname: Box<str>,
    /// State of a xorshift generator; never 0.
    random: u32,
    next_ns: Option<u64>,
    /// Packets sent when the last report was: more since then makes the next one a sender report.
    packets_reported: u32,
    pub(crate) round_trip: Option<Duration>,
    pub(crate) remote_fraction_lost: u8,
    pub(crate) remote_quality: RemoteQuality,
    /// The peer loses so much of what we send that repair data are worth their bits.
    pub(crate) is_lossy: bool,
    /// Reports without loss, one after the other.
    clean_reports: u32,
    reference: Option<Reference>,
}

impl Reports {
    pub(crate) fn new(cname: Box<str>, seed: u32) -> Self {
        Reports {
            cname,
            random: seed.max(1),
            next_ns: None,
            packets_reported: 0,
            round_trip: None,
            remote_fraction_lost: 0,
            remote_quality: RemoteQuality::default(),
            is_lossy: false,
            clean_reports: 0,
            reference: None,
        }
    }

    /// Returns whether a report is due, and then schedules the next one. The first call only schedules.
    pub(crate) fn is_due(&mut self, now_ns: u64) -> bool {
        let due = self.next_ns.is_some_and(|next_ns| next_ns <= now_ns);
        if due || self.next_ns.is_none() {
            let first = self.next_ns.is_none();
            self.next_ns = Some(now_ns + report_interval_ns(first, self.next_random()));
        }
        due
    }

    /// Makes the extended report that was negotiated, about the peer's stream `source`.
    fn extended(&self, session: &mut Session, source: Option<Ssrc>, clocks: ClockPair) -> ExtendedReport {
        let negotiated = session.extended_reports;
        let mut report = ExtendedReport::default();
        if let Some(ssrc) = source.filter(|_| negotiated.voip_metrics) {
            let Receiving { quality, playout, .. } = &mut session.receiving;
            report.voip_metrics = Some(quality.voip_metrics(ssrc, playout, self.round_trip));
        }
        if negotiated.receiver_round_trip {
            report.reference_time = Some(NtpTimestamp::from_unix(Duration::from_nanos(clocks.wall_ns)));
            report.delay_since_reference = self.reference.map(|reference| {
                let Reference {
                    ssrc,
                    ntp,
                    arrival_ns,
                } = reference;
                DelaySinceReference::new(ssrc, ntp, arrival_ns, clocks.monotonic_ns)
            });
        }
        report
    }

    /// Takes in an extended report of the peer. `has_round_trip` tells that a report block beside it gave the round trip.
    pub(crate) fn heard_extended(
        &mut self,
        sender: Ssrc,
        report: &ExtendedReport,
        received: &Received<'_>,
        has_round_trip: bool,
    ) {
        if let Some(ntp) = report.reference_time {
            self.reference = Some(Reference {
                ssrc: sender,
                ntp,
                arrival_ns: received.arrival_ns,
            });
        }
        if let Some(answer) = report.delay_since_reference.filter(|_| !has_round_trip) {
            let arrival = NtpTimestamp::from_unix(Duration::from_nanos(received.arrival_wall_ns()));
            self.round_trip = answer.round_trip(arrival).or(self.round_trip);
        }
        if let Some(metrics) = &report.voip_metrics {
            self.remote_quality = RemoteQuality::of(metrics);
        }
    }

    /// Writes a compound packet: a report, the CNAME, the extended report if it says anything, and a BYE when `leaving`.
    pub(crate) fn write<'b>(
        &mut self,
        buffer: &'b mut [u8; REPORT_ROOM],
        clocks: ClockPair,
        session: &mut Session,
        output: &Output,
        reception: &mut ReceptionStatistics,
        leaving: bool,
    ) -> Result<&'b [u8], WriteError> {
        let ssrc = output.sender.ssrc();
        let block = reception.report(clocks.monotonic_ns);
        let blocks = block.as_slice();
        let extended = self.extended(session, reception.ssrc(), clocks);
        let mut writer = RtcpWriter::new(buffer);
        if output.sender.packets() == self.packets_reported {
            writer.receiver_report(ssrc, blocks)?;
        } else {
            self.packets_reported = output.sender.packets();
            writer.sender_report(ssrc, &sender_info(output, clocks, session.clock_rate()), blocks)?;
        }
        writer.cname(ssrc, &self.cname)?;
        writer.extended_report(ssrc, &extended)?;
        if leaving {
            writer.bye(ssrc, "")?;
        }
        Ok(writer.finish())
    }

    /// Takes in a report block about what we send, arrived at `wall_ns`.
    pub(crate) fn heard(&mut self, block: &ReportBlock, wall_ns: u64) {
        self.remote_fraction_lost = block.fraction_lost;
        if block.fraction_lost >= LOSSY_FRACTION {
            (self.is_lossy, self.clean_reports) = (true, 0);
        } else if block.fraction_lost <= CLEAN_FRACTION {
            self.clean_reports = self.clean_reports.saturating_add(1);
            self.is_lossy &= self.clean_reports < CLEAN_REPORTS;
        } else {
            self.clean_reports = 0;
        }
        let arrival = NtpTimestamp::from_unix(Duration::from_nanos(wall_ns));
        self.round_trip = block.round_trip(arrival).or(self.round_trip);
    }

    fn next_random(&mut self) -> u32 {
        // Marsaglia, "Xorshift RNGs" (2003): enough to keep reports of many legs apart.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }
}

/// The wall clock and the media clock at the same instant (RFC 3550 §6.4.1).
fn sender_info(output: &Output, clocks: ClockPair, clock_rate: ClockRate) -> SenderInfo {
    let since_block_ns = output
        .last_block_ns
        .map_or(0, |last| clocks.monotonic_ns.saturating_sub(last));
    let RtpTimestamp(next) = output.sender.timestamp();
    SenderInfo {
        ntp: NtpTimestamp::from_unix(Duration::from_nanos(clocks.wall_ns)),
        rtp_timestamp: RtpTimestamp(next.wrapping_add(clock_rate.units(since_block_ns) as u32)),
        packets: output.sender.packets(),
        octets: output.sender.octets(),
    }
}
