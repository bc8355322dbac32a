//! Which addresses an RTP or RTCP socket listens to, and where it may send: no takeover of somebody's audio by packets
//! to an open port (RTPbleed), no use of the server as a reflector. Owns the rules and their state for one call leg;
//! owns no socket. RFC 7362 describes why media is expected from elsewhere than signalled.
//!
//! Receiving:
//! - The signalled address is listened to at once and always.
//! - Another address is *latched* to only when the signalled address is private (the peer is behind a NAT) or was silent
//!   for 500 ms; only from an IP that signalling vouches for (unless [`Latch::Any`]); only after three packets in a row
//!   of one SSRC with negotiated payload types; and once per offer/answer exchange.
//! - A source in use *moves* (NAT rebinding) only with its SSRC, its sequence within +100, and after the old address
//!   was silent for 300 ms.
//! - RTCP follows the same rules for itself. It has no sequence numbers, so it moves only to an IP that signalling
//!   vouches for or that RTP is accepted from.
//!
//! Sending:
//! - Never to multicast, unspecified or broadcast addresses; to loopback and private ones only when they are the IP that
//!   signalling came from or lie in the configured local networks, or may be the same peer's in the other family: signalling came from a
//!   private address, too.
//! - To a third party (an IP that is not the signalling peer's) for at most 10 s without RTP or RTCP from it.

use std::net::{IpAddr, SocketAddr};

use crate::ids::{PayloadType, PayloadTypes, SequenceNumber, Ssrc};

mod net;

pub use net::IpNet;

/// Silence of the signalled address after which another may be latched to.
pub const LATCH_AFTER_SILENCE_NS: u64 = 500_000_000;
/// Packets in a row that a new address must show.
pub const LATCH_PACKETS: u8 = 3;
/// Silence of the address in use after which its stream may come from elsewhere.
pub const MOVE_AFTER_SILENCE_NS: u64 = 300_000_000;
/// Sequence numbers that a moved stream may be ahead.
pub const MOVE_MAX_AHEAD: u16 = 100;
/// Time that a third party gets media without answering.
pub const THIRD_PARTY_GRACE_NS: u64 = 10_000_000_000;
/// Addresses observed at once as candidates for latching; the least recent gives way.
const CANDIDATES: usize = 4;

/// From which IPs a stream may be latched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Latch {
    /// The signalling peer's IP and those of its Via and Contact.
    #[default]
    Signalling,
    /// Any IP.
    Any,
}

/// What signalling knows about the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRules {
    /// RTP address of the peer's session description.
    pub remote: SocketAddr,
    /// RTCP address of the peer's session description; equal to `remote` when RTCP is multiplexed.
    pub remote_rtcp: SocketAddr,
    /// IP that the peer's SIP messages come from.
    pub signalling_ip: IpAddr,
    /// Further IPs of its INVITE: Via (received, sent-by) and Contact.
    pub trusted_ips: Vec<IpAddr>,
    /// Payload types that the answer allows.
    pub payload_types: PayloadTypes,
    /// Which IPs may be latched to.
    pub latch: Latch,
    /// Networks in which private addresses may be sent to.
    pub local_nets: Vec<IpNet>,
}

/// Verdict on one received packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// From the source in use.
    Accept,
    /// From a new source, which is in use from this packet on.
    Latched,
    /// Not for this leg; drop it.
    Reject(RejectReason),
}

/// Why a packet was dropped; the index of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// The signalled or latched address is alive.
    SourceActive,
    /// Signalling does not vouch for the IP.
    UntrustedAddress,
    /// The payload type was not negotiated.
    PayloadType,
    /// A trusted address that has not yet shown three packets in a row.
    Confirming,
    /// A source was latched to since the last answer, and this is not its stream moving.
    AlreadyLatched,
    /// The source in use is silent, but the SSRC is not its own.
    ForeignSsrc,
    /// The source in use is silent, but the sequence does not go on from it.
    SequenceJump,
}

impl RejectReason {
    /// Every reason, in the order of [`SourceCounters::rejected`].
    pub const ALL: [Self; 7] = [
        Self::SourceActive,
        Self::UntrustedAddress,
        Self::PayloadType,
        Self::Confirming,
        Self::AlreadyLatched,
        Self::ForeignSsrc,
        Self::SequenceJump,
    ];

    /// Name for a metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SourceActive => "source_active",
            Self::UntrustedAddress => "untrusted_address",
            Self::PayloadType => "payload_type",
            Self::Confirming => "confirming",
            Self::AlreadyLatched => "already_latched",
            Self::ForeignSsrc => "foreign_ssrc",
            Self::SequenceJump => "sequence_jump",
        }
    }
}

/// Verdicts counted since construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceCounters {
    /// Packets accepted, the latching ones included.
    pub accepted: u64,
    /// Times a new source was latched to or moved to.
    pub latched: u64,
    /// Packets dropped, by [`RejectReason`] in the order of [`RejectReason::ALL`].
    pub rejected: [u64; RejectReason::ALL.len()],
}

/// Why nothing may be sent at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendBlocked {
    /// Multicast, broadcast, unspecified, or port 0.
    NotUnicast,
    /// Loopback or private, and neither the signalling peer, a neighbour of it in the other family, nor a local network.
    PrivateAddress,
    /// A third party that sent nothing for 10 s.
    SilentThirdParty,
}

/// The rules for one leg: RTP and RTCP, receiving and sending.
#[derive(Debug, Clone)]
pub struct SourceGuard {
    /// What every packet needs of the rules.
    payload_types: PayloadTypes,
    rtp: Track,
    /// Boxed, as is all that a packet from the usual source does not touch.
    rtcp: Box<Track>,
    rules: Box<SourceRules>,
    /// When the rules were set; silence counts from here before the first packet.
    since_ns: u64,
}

#[derive(Debug, Clone)]
struct Track {
    signalled: SocketAddr,
    signalled_heard_ns: Option<u64>,
    source: Option<Source>,
    latched: bool,
    candidates: Box<[Option<Candidate>; CANDIDATES]>,
    /// There is a candidate.
    observing: bool,
    counters: SourceCounters,
}

#[derive(Debug, Clone, Copy)]
struct Source {
    address: SocketAddr,
    ssrc: Ssrc,
    sequence: Option<SequenceNumber>,
    heard_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    source: Source,
    packets: u8,
}

impl SourceGuard {
    /// Starts listening under `rules`.
    #[must_use]
    pub fn new(now_ns: u64, rules: SourceRules) -> Self {
        let (rtp, rtcp) = (Track::new(rules.remote), Track::new(rules.remote_rtcp));
        Self {
            payload_types: rules.payload_types,
            rtp,
            rtcp: Box::new(rtcp),
            rules: Box::new(rules),
            since_ns: now_ns,
        }
    }

    /// Sets new rules after an offer/answer exchange: one more latch is allowed. Counters go on.
    ///
    /// The source in use stays in use when its address is still the signalled one or the signalled address is unchanged.
    /// Leaves the rules of before in their place, for a caller that must not free memory where it calls this.
    pub fn reset(&mut self, now_ns: u64, rules: &mut SourceRules) {
        self.rtp.renew(rules.remote);
        self.rtcp.renew(rules.remote_rtcp);
        self.payload_types = rules.payload_types;
        self.since_ns = now_ns;
        std::mem::swap(&mut *self.rules, rules);
    }

    /// Judges a received RTP packet.
    pub fn check(
        &mut self,
        now_ns: u64,
        from: SocketAddr,
        ssrc: Ssrc,
        sequence: SequenceNumber,
        payload_type: PayloadType,
    ) -> Verdict {
        let negotiated = self.payload_types.contains(payload_type);
        let packet = Arrival {
            now_ns,
            from,
            ssrc,
            sequence: Some(sequence),
            negotiated,
        };
        let verdict = self.rtp.judge(&self.rules, self.since_ns, &packet, None);
        self.rtp.counters.count(verdict);
        verdict
    }

    /// Judges a received RTCP packet; `ssrc` is that of its first report's sender.
    pub fn check_rtcp(&mut self, now_ns: u64, from: SocketAddr, ssrc: Ssrc) -> Verdict {
        let packet = Arrival {
            now_ns,
            from,
            ssrc,
            sequence: None,
            negotiated: true,
        };
        let rtp_ip = self.rtp.source.map(|source| source.address.ip());
        let verdict = self.rtcp.judge(&self.rules, self.since_ns, &packet, rtp_ip);
        self.rtcp.counters.count(verdict);
        verdict
    }

    /// Takes a packet whose SRTP tag authenticated: its address is in use from now on, whatever it is.
    pub fn authenticated(
        &mut self,
        now_ns: u64,
        from: SocketAddr,
        ssrc: Ssrc,
        sequence: SequenceNumber,
    ) -> Verdict {
        let packet = Arrival {
            now_ns,
            from,
            ssrc,
            sequence: Some(sequence),
            negotiated: true,
        };
        self.rtp.take_authenticated(&packet)
    }

    /// Takes an RTCP packet whose SRTP tag authenticated.
    pub fn authenticated_rtcp(&mut self, now_ns: u64, from: SocketAddr, ssrc: Ssrc) -> Verdict {
        let packet = Arrival {
            now_ns,
            from,
            ssrc,
            sequence: None,
            negotiated: true,
        };
        self.rtcp.take_authenticated(&packet)
    }

    /// Where to send RTP now: the source in use, or the signalled address before there is one.
    ///
    /// # Errors
    /// [`SendBlocked`] says which rule forbids it.
    pub fn rtp_destination(&self, now_ns: u64) -> Result<SocketAddr, SendBlocked> {
        self.may_send(now_ns, self.rtp.destination())
    }

    /// Where to send RTCP now.
    ///
    /// # Errors
    /// [`SendBlocked`] says which rule forbids it.
    pub fn rtcp_destination(&self, now_ns: u64) -> Result<SocketAddr, SendBlocked> {
        self.may_send(now_ns, self.rtcp.destination())
    }

    /// Verdicts on RTP.
    #[must_use]
    pub const fn counters(&self) -> &SourceCounters {
        &self.rtp.counters
    }

    /// Verdicts on RTCP.
    #[must_use]
    pub const fn rtcp_counters(&self) -> &SourceCounters {
        &self.rtcp.counters
    }

    /// The address RTP is accepted from, once there was a packet.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        self.rtp.source.map(|source| source.address)
    }

    fn may_send(&self, now_ns: u64, to: SocketAddr) -> Result<SocketAddr, SendBlocked> {
        let ip = to.ip().to_canonical();
        if !net::is_unicast(ip) || to.port() == 0 {
            return Err(SendBlocked::NotUnicast);
        }
        let is_peer = ip == self.rules.signalling_ip.to_canonical();
        let is_near = is_peer || self.rules.is_neighbour(ip);
        if net::is_private(ip) && !is_near && !self.rules.local_nets.iter().any(|net| net.contains(ip)) {
            return Err(SendBlocked::PrivateAddress);
        }
        let heard_ns = [&self.rtp, &*self.rtcp]
            .into_iter()
            .filter_map(|track| track.heard_from(ip))
            .max();
        let silent_ns = now_ns.saturating_sub(heard_ns.unwrap_or(self.since_ns).max(self.since_ns));
        if !is_peer && silent_ns >= THIRD_PARTY_GRACE_NS {
            return Err(SendBlocked::SilentThirdParty);
        }
        Ok(to)
    }
}

impl SourceRules {
    /// Whether a private address may be that of the signalling peer in the other family, which nothing else can tell: both are within the same
    /// site, or on this machine.
    fn is_neighbour(&self, ip: IpAddr) -> bool {
        let peer = self.signalling_ip.to_canonical();
        peer.is_ipv4() != ip.is_ipv4() && net::is_private(peer) && peer.is_loopback() == ip.is_loopback()
    }

    fn vouches_for(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.signalling_ip.to_canonical() == ip || self.trusted_ips.iter().any(|t| t.to_canonical() == ip)
    }
}

/// One received packet as the rules see it.
struct Arrival {
    now_ns: u64,
    from: SocketAddr,
    ssrc: Ssrc,
    sequence: Option<SequenceNumber>,
    negotiated: bool,
}

impl Track {
    fn new(signalled: SocketAddr) -> Self {
        Self {
            signalled,
            signalled_heard_ns: None,
            source: None,
            latched: false,
            candidates: Box::new([None; CANDIDATES]),
            observing: false,
            counters: SourceCounters::default(),
        }
    }

    fn renew(&mut self, signalled: SocketAddr) {
        let moved = !same(self.signalled, signalled);
        if moved {
            self.signalled_heard_ns = None;
            self.source = self.source.filter(|source| same(source.address, signalled));
        }
        self.signalled = signalled;
        self.latched = false;
        *self.candidates = [None; CANDIDATES];
    }

    fn judge(
        &mut self,
        rules: &SourceRules,
        since_ns: u64,
        packet: &Arrival,
        also_vouched: Option<IpAddr>,
    ) -> Verdict {
        if same(packet.from, self.signalled) {
            self.signalled_heard_ns = Some(packet.now_ns);
            self.accept(packet);
            return Verdict::Accept;
        }
        let Some(source) = self.source else {
            return self.judge_candidate(rules, since_ns, packet);
        };
        if same(packet.from, source.address) {
            self.accept(packet);
            return Verdict::Accept;
        }
        match source.may_move_to(rules, packet, also_vouched) {
            Ok(()) => {
                self.accept(packet);
                Verdict::Latched
            }
            Err(RejectReason::SourceActive) => Verdict::Reject(RejectReason::SourceActive),
            Err(reason) if self.latched => Verdict::Reject(match reason {
                RejectReason::UntrustedAddress => RejectReason::AlreadyLatched,
                reason => reason,
            }),
            Err(_) => self.judge_candidate(rules, since_ns, packet),
        }
    }

    /// Takes a packet that needs no judgement.
    fn take_authenticated(&mut self, packet: &Arrival) -> Verdict {
        let goes_on = match self.source {
            Some(source) => same(packet.from, source.address),
            None => same(packet.from, self.signalled),
        };
        if same(packet.from, self.signalled) {
            self.signalled_heard_ns = Some(packet.now_ns);
        }
        self.accept(packet);
        let verdict = if goes_on {
            Verdict::Accept
        } else {
            Verdict::Latched
        };
        self.counters.count(verdict);
        verdict
    }

    /// Judges a packet from an address that is neither signalled nor in use.
    fn judge_candidate(&mut self, rules: &SourceRules, since_ns: u64, packet: &Arrival) -> Verdict {
        if self.latched {
            return Verdict::Reject(RejectReason::AlreadyLatched);
        }
        let silent_since_ns = self.signalled_heard_ns.unwrap_or(since_ns).max(since_ns);
        let silent_ns = packet.now_ns.saturating_sub(silent_since_ns);
        let behind_nat =
            self.signalled_heard_ns.is_none() && net::is_private(self.signalled.ip().to_canonical());
        if !behind_nat && silent_ns < LATCH_AFTER_SILENCE_NS {
            return Verdict::Reject(RejectReason::SourceActive);
        }
        if rules.latch == Latch::Signalling && !rules.vouches_for(packet.from.ip()) {
            return Verdict::Reject(RejectReason::UntrustedAddress);
        }
        if !packet.negotiated {
            return Verdict::Reject(RejectReason::PayloadType);
        }
        if self.confirm(packet) < LATCH_PACKETS {
            return Verdict::Reject(RejectReason::Confirming);
        }
        self.latched = true;
        self.accept(packet);
        Verdict::Latched
    }

    /// Counts a candidate's packets in a row, this one included.
    fn confirm(&mut self, packet: &Arrival) -> u8 {
        let source = packet.source();
        let known = self
            .candidates
            .iter()
            .position(|c| c.is_some_and(|c| same(c.source.address, packet.from)));
        let slot = known.unwrap_or_else(|| self.least_recent_candidate());
        let packets = match (known, self.candidates[slot]) {
            (Some(_), Some(candidate)) if candidate.source.is_followed_by(packet) => candidate.packets + 1,
            _ => 1,
        };
        self.candidates[slot] = Some(Candidate { source, packets });
        self.observing = true;
        packets
    }

    fn least_recent_candidate(&self) -> usize {
        let recency = |slot: &usize| self.candidates[*slot].map(|candidate| candidate.source.heard_ns);
        (0..CANDIDATES).min_by_key(recency).unwrap_or(0)
    }

    fn accept(&mut self, packet: &Arrival) {
        self.source = Some(packet.source());
        if std::mem::take(&mut self.observing) {
            *self.candidates = [None; CANDIDATES];
        }
    }

    fn destination(&self) -> SocketAddr {
        self.source.map_or(self.signalled, |source| source.address)
    }

    fn heard_from(&self, ip: IpAddr) -> Option<u64> {
        self.source
            .filter(|source| source.address.ip().to_canonical() == ip)
            .map(|source| source.heard_ns)
    }
}

impl Arrival {
    fn source(&self) -> Source {
        Source {
            address: self.from,
            ssrc: self.ssrc,
            sequence: self.sequence,
            heard_ns: self.now_ns,
        }
    }
}

impl Source {
    /// Tells whether a packet is the next one of the same stream.
    fn is_followed_by(&self, packet: &Arrival) -> bool {
        let in_sequence = match (self.sequence, packet.sequence) {
            (Some(last), Some(sequence)) => sequence == last.next(),
            _ => true,
        };
        self.ssrc == packet.ssrc && in_sequence
    }

    /// NAT rebinding: the same stream goes on from another address.
    fn may_move_to(
        &self,
        rules: &SourceRules,
        packet: &Arrival,
        also_vouched: Option<IpAddr>,
    ) -> Result<(), RejectReason> {
        if packet.now_ns.saturating_sub(self.heard_ns) < MOVE_AFTER_SILENCE_NS {
            return Err(RejectReason::SourceActive);
        }
        if packet.ssrc != self.ssrc {
            return Err(RejectReason::ForeignSsrc);
        }
        match (self.sequence, packet.sequence) {
            (Some(last), Some(sequence)) if !(1..=MOVE_MAX_AHEAD).contains(&sequence.steps_since(last)) => {
                Err(RejectReason::SequenceJump)
            }
            (Some(_), Some(_)) => Ok(()),
            // RTCP shows no sequence: its address must be known otherwise.
            _ if rules.vouches_for(packet.from.ip()) => Ok(()),
            _ if also_vouched.is_some_and(|ip| ip.to_canonical() == packet.from.ip().to_canonical()) => {
                Ok(())
            }
            _ => Err(RejectReason::UntrustedAddress),
        }
    }
}

impl SourceCounters {
    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Accept => self.accepted += 1,
            Verdict::Latched => {
                self.accepted += 1;
                self.latched += 1;
            }
            Verdict::Reject(reason) => self.rejected[reason as usize] += 1,
        }
    }

    /// Packets dropped for this reason.
    #[must_use]
    pub const fn rejected_for(&self, reason: RejectReason) -> u64 {
        self.rejected[reason as usize]
    }
}

/// Equal port and IP, an IPv4-mapped IPv6 address being its IPv4 address.
fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical()
}

#[cfg(test)]
mod tests;
