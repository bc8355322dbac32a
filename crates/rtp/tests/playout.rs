//! Playout by media time, case by case: what the listener hears when packets come in time, not at all, or otherwise than
//! expected.

mod listener;

use confab_rtp::jitter::Rejected;
use confab_rtp::{ClockRate, Content, RtpTimestamp, SequenceNumber, Ssrc};
use listener::{Heard, Listener, MS, Speaker, runs};

const STARTS: [u16; 6] = [0, 1, 127, 32_767, 65_534, 65_535];
/// Simulated time begins here, clear of zero.
const T0: u64 = 1_000 * MS;

#[test]
fn the_first_packet_fixes_the_tick_and_arrival_phase_never_chooses_it_again() {
    for phase_us in (0..20_000).step_by(500) {
        let mut listener = Listener::new(20, T0);
        let mut speaker = Speaker::new(65_530, u32::MAX - 1000);
        let first_arrival = T0 + phase_us * 1000;
        for n in 0..50_u64 {
            // Up to 2 ms later than the first: within the margin.
            let jitter = n * 7919 % 2000 * 1000;
            listener
                .arrive(first_arrival + n * 20 * MS + jitter, &speaker.packet(160))
                .unwrap();
        }
        listener.run_ticks(3);
        // The first tick at or after arrival + 3 ms.
        let tick = (phase_us + 3000).div_ceil(20_000) as usize;
        assert_eq!(
            listener.index_of_first_sample(),
            tick * 160,
            "phase {phase_us} µs"
        );
        listener.assert_bit_exact(50 * 160, &format!("phase {phase_us} µs"));
    }
}

#[test]
fn nothing_is_added_or_missing_for_any_start_packet_size_and_tick() {
    for start in STARTS {
        for packet_ms in [10, 20, 30, 40, 60] {
            for tick_ms in [5, 10, 20, 30] {
                let mut listener = Listener::new(tick_ms, T0);
                let mut speaker = Speaker::new(start, u32::MAX - 700);
                for n in 0..60 {
                    let jitter = n * 1_103 % 1900 * 1000;
                    listener
                        .arrive(
                            T0 + n * packet_ms * MS + jitter,
                            &speaker.packet(packet_ms as u32 * 8),
                        )
                        .unwrap();
                }
                listener.run_ticks(20);
                let context = format!("start {start}, {packet_ms} ms packets, {tick_ms} ms ticks");
                listener.assert_bit_exact(60 * packet_ms * 8, &context);
            }
        }
    }
}

#[test]
fn packet_duration_may_change_in_mid_stream() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(65_500, 5);
    let mut at = T0;
    for n in 0..300_usize {
        let packet_ms = [20, 30, 10, 60, 40, 20, 50][n / 3 % 7];
        // A packet leaves when it is full: the first of a longer kind comes later than the one before suggested.
        at += packet_ms * MS;
        listener
            .arrive(at, &speaker.packet(packet_ms as u32 * 8))
            .unwrap();
    }
    listener.run_ticks(20);
    let samples: Vec<u8> = listener
        .heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::Sample(sample) => Some(*sample),
            _ => None,
        })
        .collect();
    let all: Vec<u8> = (0..speaker.position).map(listener::said).collect();
    assert!(samples == all, "every sample once, in order");
    // 60 ms packets after 10 ms ones are 40 ms late by the old measure: that much delay is added, once.
    let counters = listener.counters();
    assert!(counters.inserted_samples <= 60 * 8, "{counters:?}");
    assert_eq!(counters.rejected, [0; 6]);
}

#[test]
fn a_lost_packet_is_concealed_for_its_duration_and_nothing_moves() {
    for start in STARTS {
        for (packet_ms, lost) in [(20, 1), (20, 3), (30, 1), (10, 4), (60, 1)] {
            let mut listener = Listener::new(20, T0);
            let mut speaker = Speaker::new(start, 12_345);
            let samples = packet_ms as u32 * 8;
            for n in 0..60 {
                if (30..30 + lost).contains(&n) {
                    speaker.lose(samples);
                } else {
                    listener
                        .arrive(T0 + n * packet_ms * MS, &speaker.packet(samples))
                        .unwrap();
                }
            }
            listener.run_ticks(10);
            let before = 30 * samples as usize;
            let gap = lost as usize * samples as usize;
            let expected = [
                ("speech", before),
                ("lost", gap),
                ("speech", (30 - lost as usize) * samples as usize),
            ];
            assert_eq!(
                runs(listener.stretch()),
                expected,
                "start {start}, {lost} × {packet_ms} ms"
            );
            assert_eq!(listener.counters().lost_samples, gap as u64 + trailing(&listener));
        }
    }
}

/// Samples concealed after the last packet, while it was not yet known that none would follow.
fn trailing(listener: &Listener) -> u64 {
    let after = listener.index_of_first_sample() + listener.stretch().len();
    listener.heard[after..]
        .iter()
        .filter(|heard| **heard == Heard::Concealed)
        .count() as u64
}

#[test]
fn a_pause_is_silence_when_comfort_noise_announces_it() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(65_534, 99);
    for n in 0..10 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    let noise = speaker.other_packet();
    listener
        .arrive_as(T0 + 200 * MS, &noise, Content::ComfortNoise)
        .unwrap();
    speaker.pause(20 * 160);
    for n in 30..40 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    listener.run_ticks(5);
    assert_eq!(
        runs(listener.stretch()),
        [("speech", 1600), ("noise", 3200), ("speech", 1600)]
    );
}

#[test]
fn a_pause_without_notice_is_concealed_briefly_and_keeps_its_length() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(10, 99);
    for n in 0..10 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    speaker.pause(20 * 160);
    for n in 30..40 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    listener.run_ticks(5);
    let expected = [("speech", 1600), ("lost", 800), ("quiet", 2400), ("speech", 1600)];
    assert_eq!(runs(listener.stretch()), expected);
}

#[test]
fn a_pause_known_from_the_packet_after_it_is_silence() {
    // 30 ms of pause, so that the packet behind it is there before the pause is heard.
    let mut listener = Listener::new(20, T0 - 4 * MS);
    let mut speaker = Speaker::new(10, 99);
    listener.arrive(T0, &speaker.packet(160)).unwrap();
    speaker.pause(80);
    listener.arrive(T0 + 10 * MS, &speaker.packet(160)).unwrap();
    listener.run_ticks(5);
    assert_eq!(
        runs(listener.stretch()),
        [("speech", 160), ("quiet", 80), ("speech", 160)]
    );
}

#[test]
fn telephone_events_take_numbers_but_are_no_loss() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(65_530, 99);
    for n in 0..10 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    for n in 10..20 {
        let event = speaker.other_packet();
        listener
            .arrive_as(T0 + n * 20 * MS, &event, Content::NoAudio)
            .unwrap();
    }
    speaker.pause(1600);
    for n in 20..30 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    listener.run_ticks(5);
    assert_eq!(
        runs(listener.stretch()),
        [("speech", 1600), ("quiet", 1600), ("speech", 1600)]
    );
    assert_eq!(listener.counters().lost_samples, trailing(&listener));
}

#[test]
fn loss_before_a_pause_is_concealed_and_the_pause_is_silence() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(7, 99);
    listener.arrive(T0, &speaker.packet(160)).unwrap();
    speaker.lose(160);
    speaker.pause(480);
    listener.arrive(T0 + 5 * MS, &speaker.packet(160)).unwrap();
    listener.run_ticks(8);
    assert_eq!(
        runs(listener.stretch()),
        [("speech", 160), ("lost", 160), ("quiet", 480), ("speech", 160)]
    );
}

#[test]
fn reordered_and_duplicated_packets_are_put_right() {
    for start in STARTS {
        let mut listener = Listener::new(20, T0);
        let mut speaker = Speaker::new(start, 3);
        let packets: Vec<_> = (0..60).map(|_| speaker.packet(160)).collect();
        let mut duplicates = 0;
        for (n, pair) in packets.chunks(2).enumerate() {
            let at = T0 + n as u64 * 40 * MS;
            // The second of each pair overtakes the first, and both come twice.
            for packet in [&pair[1], &pair[0], &pair[1], &pair[0]] {
                match listener.arrive(at, packet) {
                    Ok(()) => {}
                    Err(reason) => {
                        assert_eq!(reason, Rejected::Duplicate);
                        duplicates += 1;
                    }
                }
            }
        }
        listener.run_ticks(5);
        listener.assert_bit_exact(60 * 160, &format!("start {start}"));
        assert_eq!(duplicates, 60);
        assert_eq!(listener.counters().rejected_for(Rejected::Duplicate), 60);
    }
}

#[test]
fn a_new_ssrc_is_a_new_stream() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(100, 3);
    for n in 0..10 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    (speaker.ssrc, speaker.sequence, speaker.timestamp) =
        (Ssrc(2), SequenceNumber(60_000), RtpTimestamp(1 << 31));
    let before = speaker.position;
    for n in 10..20 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    listener.run_ticks(5);
    assert_eq!(listener.counters().streams, 2);
    let last: Vec<_> = listener.stretch().iter().rev().take(1600).copied().collect();
    let expected: Vec<_> = (before..before + 1600)
        .rev()
        .map(|p| Heard::Sample(listener::said(p)))
        .collect();
    assert_eq!(last, expected);
}

#[test]
fn a_restarted_numbering_loses_one_packet() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(100, 3);
    for n in 0..20 {
        if n == 10 {
            (speaker.sequence, speaker.timestamp) = (SequenceNumber(40_000), RtpTimestamp(777));
        }
        let result = listener.arrive(T0 + n * 20 * MS, &speaker.packet(160));
        let expected = if n == 10 {
            Err(Rejected::SequenceJump)
        } else {
            Ok(())
        };
        assert_eq!(result, expected, "packet {n}");
    }
    listener.run_ticks(5);
    let speech = listener
        .heard
        .iter()
        .filter(|heard| matches!(heard, Heard::Sample(_)))
        .count();
    assert_eq!(speech, 19 * 160);
}

#[test]
fn a_jump_of_the_timestamp_alone_is_not_heard() {
    for jump in [
        1 << 31,
        12_345_678,
        8_000_000_u32.wrapping_neg(),
        160_000,
        1600_u32.wrapping_neg(),
    ] {
        let mut listener = Listener::new(20, T0);
        let mut speaker = Speaker::new(65_533, 3);
        for n in 0..30 {
            if n == 15 {
                speaker.pause(jump);
            }
            listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
        }
        listener.run_ticks(5);
        listener.assert_bit_exact(30 * 160, &format!("jump {jump}"));
        assert_eq!(listener.counters().breaks, 1, "jump {jump}");
    }
}

#[test]
fn timestamps_read_off_a_clock_leave_no_gaps() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(65_533, 3);
    for n in 0..200_u32 {
        // Off by up to 20 samples either way around the true time.
        let wobble = (n * 37 % 41).wrapping_sub(20);
        let packet = speaker.packet(160);
        let mut packet = packet.clone();
        let stated = RtpTimestamp((3 + n * 160).wrapping_add(wobble));
        packet[4..8].copy_from_slice(&stated.0.to_be_bytes());
        listener.arrive(T0 + u64::from(n) * 20 * MS, &packet).unwrap();
    }
    listener.run_ticks(5);
    listener.assert_bit_exact(200 * 160, "wobbling timestamps");
}

#[test]
fn a_sender_whose_clock_stood_still_in_a_pause_is_heard_again() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(5, 3);
    for n in 0..50 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    // 600 ms without a packet and without media time: shorter than what begins a new stream.
    for n in 80..130 {
        let _ = listener.arrive(T0 + n * 20 * MS, &speaker.packet(160));
    }
    listener.run_ticks(5);
    let tail: Vec<_> = listener.stretch().iter().rev().take(40 * 160).copied().collect();
    assert!(
        tail.iter().all(|heard| matches!(heard, Heard::Sample(_))),
        "{:?}",
        runs(listener.stretch())
    );
    assert!(listener.counters().rejected_for(Rejected::Late) <= 4);
}

#[test]
fn a_late_packet_raises_the_delay_once_when_lateness_is_usual() {
    let mut listener = Listener::new(20, T0 - 4 * MS);
    let mut speaker = Speaker::new(5, 3);
    for n in 0..100 {
        // From the tenth packet on the path takes 30 ms more, 14 ms more than there was to spare.
        let extra = if n >= 10 { 30 * MS } else { 0 };
        listener
            .arrive(T0 + n * 20 * MS + extra, &speaker.packet(160))
            .unwrap();
    }
    listener.run_ticks(5);
    let counters = listener.counters();
    assert_eq!(
        counters.rejected, [0; 6],
        "a young stream takes every late packet in"
    );
    assert_eq!(counters.inserted_samples, 160, "{counters:?}");
    assert_eq!(
        runs(listener.stretch()),
        [("speech", 1600), ("lost", 160), ("speech", 90 * 160)]
    );
}

#[test]
fn one_stall_in_a_steady_stream_costs_its_duration_and_no_delay() {
    let mut listener = Listener::new(20, T0 - 10 * MS);
    let mut speaker = Speaker::new(5, 3);
    for n in 0..600_u64 {
        // Five packets are held up and come together, 100 ms after the first was due.
        let arrival = if (400..405).contains(&n) { 405 } else { n };
        let _ = listener.arrive(T0 + arrival * 20 * MS, &speaker.packet(160));
    }
    listener.run_ticks(5);
    let counters = listener.counters();
    assert_eq!(counters.inserted_samples, 0, "{counters:?}");
    let expected = [("speech", 64_000), ("lost", 800), ("speech", 195 * 160)];
    assert_eq!(runs(listener.stretch()), expected);
}

#[test]
fn delay_that_is_no_longer_needed_goes_in_silence_and_only_there() {
    let mut listener = Listener::new(20, T0 - 4 * MS);
    let mut speaker = Speaker::new(65_500, 3);
    let mut at = T0;
    for n in 0..2000_u64 {
        // The first ten packets took 60 ms longer than all others.
        let extra = if n < 10 { 60 * MS } else { 0 };
        let silent = (1000..1010).contains(&n);
        let packet = if silent {
            speaker.silent_packet(160)
        } else {
            speaker.packet(160)
        };
        at = at.max(T0 + n * 20 * MS + extra);
        listener.arrive(at, &packet).unwrap();
    }
    listener.run_ticks(10);
    let counters = listener.counters();
    assert_eq!(counters.dropped_samples, 480, "{counters:?}");
    let expected = [("speech", 160_000), ("quiet", 1600 - 480), ("speech", 990 * 160)];
    assert_eq!(runs(listener.stretch()), expected);
}

#[test]
fn skipped_ticks_do_not_add_delay() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(5, 3);
    for n in 0..50 {
        if n == 25 {
            listener.skip_ticks(2);
        }
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    listener.run_ticks(5);
    assert_eq!(listener.counters().skipped_samples, 320);
    assert_eq!(
        listener.stretch().len(),
        48 * 160,
        "{:?}",
        runs(listener.stretch())
    );
    let last = listener.stretch().last().copied();
    assert_eq!(last, Some(Heard::Sample(listener::said(50 * 160 - 1))));
}

#[test]
fn a_stream_nobody_pulled_starts_afresh_when_somebody_does() {
    let mut listener = Listener::new(20, T0 + 5_000 * MS);
    let mut speaker = Speaker::new(5, 3);
    for n in 0..300 {
        let _ = listener.arrive(T0 + n * 20 * MS, &speaker.packet(160));
    }
    listener.run_ticks(5);
    let stretch = listener.stretch();
    let last = Heard::Sample(listener::said(300 * 160 - 1));
    assert_eq!(stretch.last(), Some(&last));
    let speech_at_the_end = stretch
        .iter()
        .rev()
        .take_while(|heard| matches!(heard, Heard::Sample(_)))
        .count();
    assert!(speech_at_the_end >= 40 * 160, "{:?}", runs(stretch));
}

#[test]
fn each_packet_that_cannot_be_heard_has_its_reason() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(5, 3);
    let first = speaker.packet(160);
    assert_eq!(
        listener.arrive_as(T0, &first, Content::Audio { samples: 0 }),
        Err(Rejected::Empty)
    );
    assert_eq!(listener.arrive(T0, &first), Ok(()));
    assert_eq!(listener.arrive(T0, &first), Err(Rejected::Duplicate));
    assert_eq!(listener.arrive(T0, &speaker.packet(961)), Err(Rejected::TooLarge));
    speaker.sequence = SequenceNumber(30_000);
    assert_eq!(
        listener.arrive(T0, &speaker.packet(160)),
        Err(Rejected::SequenceJump)
    );
    speaker.sequence = SequenceNumber(40);
    assert_eq!(listener.arrive(T0, &speaker.packet(160)), Err(Rejected::Overflow));
    let counters = listener.counters();
    for reason in [
        Rejected::Empty,
        Rejected::Duplicate,
        Rejected::TooLarge,
        Rejected::SequenceJump,
        Rejected::Overflow,
    ] {
        assert_eq!(counters.rejected_for(reason), 1, "{reason:?}");
    }
}

#[test]
fn a_restart_takes_a_new_clock() {
    let mut listener = Listener::new(20, T0);
    let mut speaker = Speaker::new(5, 3);
    for n in 0..5 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    assert!(listener.playout.buffered_ns() > 0);
    listener.playout.restart(ClockRate::HZ_8000);
    assert_eq!(listener.playout.buffered_ns(), 0);
    let mut speaker = Speaker::new(40_000, 9);
    for n in 5..20 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    assert_eq!(listener.counters().streams, 2);
}

#[test]
fn a_talkspurt_that_comes_late_after_a_pause_is_heard_whole() {
    let mut listener = Listener::new(20, T0 - 10 * MS);
    let mut speaker = Speaker::new(5, 3);
    for n in 0..300 {
        listener.arrive(T0 + n * 20 * MS, &speaker.packet(160)).unwrap();
    }
    speaker.pause(20 * 160);
    // 25 ms later than the stream before, which had 10 ms to spare.
    for n in 320..400 {
        listener
            .arrive(T0 + n * 20 * MS + 25 * MS, &speaker.packet(160))
            .unwrap();
    }
    listener.run_ticks(5);
    let expected = [
        ("speech", 48_000),
        ("lost", 800),
        ("quiet", 3200 - 800 + 160),
        ("speech", 80 * 160),
    ];
    assert_eq!(runs(listener.stretch()), expected);
}
