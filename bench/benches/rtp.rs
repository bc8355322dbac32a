//! One packet's way from datagram to due frame, and the parts of it. A 20 ms frame is one iteration throughout.

use std::net::SocketAddr;

use confab_rtp::{
    ClockRate, Content, Latch, PayloadType, Playout, PlayoutConfig, Pull, ReceptionStatistics, RtpHeader,
    RtpPacket, RtpTimestamp, SequenceNumber, SourceGuard, SourceRules, Ssrc, Tick,
};
use criterion::{Criterion, criterion_group, criterion_main};

const FRAME_NS: u64 = 20_000_000;
const SAMPLES: u32 = 160;

/// Datagrams of a PCMU stream, 20 ms each, made in place.
struct Sender {
    datagram: [u8; 172],
    number: u64,
}

impl Sender {
    fn new() -> Self {
        Self {
            datagram: [0x55; 172],
            number: 0,
        }
    }

    /// The next datagram and when it arrives, up to 2 ms after its time.
    fn next(&mut self) -> (u64, &[u8]) {
        let header = RtpHeader {
            marker: self.number == 0,
            payload_type: PayloadType::PCMU,
            sequence_number: SequenceNumber(self.number as u16),
            timestamp: RtpTimestamp((self.number as u32).wrapping_mul(SAMPLES)),
            ssrc: Ssrc(0x1234_5678),
        };
        header.write(self.datagram.first_chunk_mut().expect("longer than a header"));
        let arrival_ns = self.number * FRAME_NS + self.number * 7919 % 2000 * 1000;
        self.number += 1;
        (arrival_ns, &self.datagram)
    }
}

fn pull(playout: &mut Playout, at_ns: u64) -> u32 {
    match playout.pull(
        Tick {
            at_ns,
            samples: SAMPLES,
        },
        SAMPLES,
    ) {
        Pull::Frame(frame) => frame.payload.iter().map(|&octet| u32::from(octet)).sum(),
        Pull::Lost { samples, .. } | Pull::Quiet { samples } | Pull::ComfortNoise { samples, .. } => samples,
        Pull::Idle => 0,
    }
}

fn rtp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rtp");
    group.bench_function("parse", |bencher| {
        let mut sender = Sender::new();
        sender.next();
        let datagram = sender.datagram;
        bencher.iter(|| {
            let packet = RtpPacket::parse(std::hint::black_box(&datagram)).expect("a packet");
            (
                packet.sequence_number(),
                packet.timestamp(),
                packet.payload().len(),
            )
        });
    });
    group.bench_function("source check", |bencher| {
        let from: SocketAddr = "198.51.100.7:4000".parse().expect("an address");
        let mut guard = SourceGuard::new(
            0,
            SourceRules {
                remote: from,
                remote_rtcp: from,
                signalling_ip: from.ip(),
                trusted_ips: Vec::new(),
                payload_types: [PayloadType::PCMU].into_iter().collect(),
                latch: Latch::Signalling,
                local_nets: Vec::new(),
            },
        );
        let mut sequence = SequenceNumber(0);
        bencher.iter(|| {
            sequence = sequence.next();
            guard.check(u64::from(sequence.0), from, Ssrc(1), sequence, PayloadType::PCMU)
        });
    });
    group.bench_function("statistics", |bencher| {
        let (mut sender, mut statistics) = (Sender::new(), ReceptionStatistics::new(ClockRate::HZ_8000, 0));
        bencher.iter(|| {
            let (arrival_ns, datagram) = sender.next();
            statistics.received(arrival_ns, &RtpPacket::parse(datagram).expect("a packet"))
        });
    });
    group.finish();
}

fn jitter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("jitter");
    for (name, lose_one_in, reorder) in [
        ("push and pull", u64::MAX, false),
        ("push and pull, 5 % lost", 20, false),
        ("push and pull, reordered", u64::MAX, true),
    ] {
        group.bench_function(name, |bencher| {
            let (mut sender, mut playout) = (
                Sender::new(),
                Playout::new(PlayoutConfig::new(ClockRate::HZ_8000)),
            );
            let mut held: Option<Vec<u8>> = None;
            bencher.iter(|| {
                let number = sender.number;
                let (arrival_ns, datagram) = sender.next();
                let mut push = |datagram: &[u8]| {
                    let packet = RtpPacket::parse(datagram).expect("a packet");
                    playout.push(arrival_ns, &packet, Content::Audio { samples: SAMPLES })
                };
                if reorder && number % 10 == 5 {
                    held.get_or_insert_default().clear();
                    held.get_or_insert_default().extend_from_slice(datagram);
                } else {
                    if number % lose_one_in != lose_one_in - 1 {
                        let _ = push(datagram);
                    }
                    if let Some(late) = held.as_ref().filter(|_| reorder && number % 10 == 6) {
                        let _ = push(late);
                    }
                }
                pull(&mut playout, (number + 1) * FRAME_NS)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rtp, jitter);
criterion_main!(benches);
