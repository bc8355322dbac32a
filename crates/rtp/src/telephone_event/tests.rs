use super::*;
use crate::ids::{PayloadType, SequenceNumber};
use crate::packet::RtpHeader;

const MS: u64 = 1_000_000;

struct Phone {
    receiver: TelephoneEventReceiver,
    now_ns: u64,
    ssrc: u32,
    heard: Vec<DtmfEvent>,
}

impl Phone {
    fn new() -> Self {
        Self {
            receiver: TelephoneEventReceiver::new(ClockRate::HZ_8000),
            now_ns: 0,
            ssrc: 1,
            heard: Vec::new(),
        }
    }

    /// One packet 20 ms after the last.
    fn send(&mut self, marker: bool, timestamp: u32, payload: &[u8]) {
        self.now_ns += 20 * MS;
        let header = RtpHeader {
            marker,
            payload_type: PayloadType::from_low_bits(101),
            sequence_number: SequenceNumber(0),
            timestamp: RtpTimestamp(timestamp),
            ssrc: Ssrc(self.ssrc),
        };
        let mut head = [0; 12];
        header.write(&mut head);
        let bytes = [&head[..], payload].concat();
        let packet = RtpPacket::parse(&bytes).unwrap();
        self.heard.extend(self.receiver.push(self.now_ns, &packet));
        self.heard.extend(self.receiver.tick(self.now_ns));
    }

    /// An update (or end) of `key` that began at `timestamp`.
    fn event(&mut self, key: char, timestamp: u32, duration: u16, end: bool) {
        self.send(false, timestamp, &payload(key, duration, end));
    }

    /// A whole digit as RFC 4733 describes it: start with marker, updates, three ends.
    fn digit(&mut self, key: char, timestamp: u32) {
        self.send(true, timestamp, &payload(key, 160, false));
        for n in 2..=5 {
            self.event(key, timestamp, n * 160, false);
        }
        for _ in 0..3 {
            self.event(key, timestamp, 960, true);
        }
    }

    fn wait(&mut self, duration_ms: u64) {
        for _ in 0..duration_ms / 20 {
            self.now_ns += 20 * MS;
            self.heard.extend(self.receiver.tick(self.now_ns));
        }
    }

    fn keys(&self) -> String {
        self.heard.iter().map(|event| event.digit.key()).collect()
    }
}

fn payload(key: char, duration: u16, end: bool) -> [u8; 4] {
    let code = DtmfDigit::from_key(key).unwrap().event();
    let [high, low] = duration.to_be_bytes();
    [code, u8::from(end) << 7 | 10, high, low]
}

#[test]
fn each_digit_is_reported_once_with_its_duration() {
    let mut phone = Phone::new();
    for (n, key) in "0123456789*#ABCD".chars().enumerate() {
        phone.digit(key, (n as u32 * 2000).wrapping_sub(9000));
    }
    phone.wait(1000);
    assert_eq!(phone.keys(), "0123456789*#ABCD");
    assert!(
        phone
            .heard
            .iter()
            .all(|event| event.duration_ms == 120 && event.end == DtmfEnd::Marked)
    );
    assert!(phone.heard.iter().all(|event| event.volume == 10));
    assert_eq!(phone.receiver.counters().repeated, 2 * 16);
}

#[test]
fn the_same_key_twice_is_two_digits() {
    let mut phone = Phone::new();
    phone.digit('5', 0);
    phone.digit('5', 1600);
    assert_eq!(phone.keys(), "55");
}

#[test]
fn any_one_packet_of_a_digit_is_enough() {
    for (marker, duration, end) in [
        (true, 160, false),
        (false, 480, false),
        (false, 960, true),
        (true, 0, false),
    ] {
        let mut phone = Phone::new();
        phone.send(marker, 1000, &payload('7', duration, end));
        phone.wait(1000);
        assert_eq!(phone.keys(), "7", "{marker} {duration} {end}");
    }
}

#[test]
fn a_digit_without_its_end_ends_by_time_and_later_copies_are_not_a_second_one() {
    let mut phone = Phone::new();
    phone.event('3', 500, 160, false);
    phone.event('3', 500, 320, false);
    phone.wait(160);
    assert_eq!(phone.keys(), "");
    phone.wait(60);
    assert_eq!(phone.heard[0].end, DtmfEnd::Timeout);
    assert_eq!(phone.heard[0].duration_ms, 40);
    phone.event('3', 500, 960, true);
    phone.event('3', 500, 960, true);
    phone.wait(1000);
    assert_eq!(phone.keys(), "3");
}

#[test]
fn the_next_digit_ends_one_whose_ends_were_lost() {
    let mut phone = Phone::new();
    phone.event('1', 0, 480, false);
    phone.event('2', 4000, 160, false);
    assert_eq!(phone.keys(), "1");
    assert_eq!(phone.heard[0].end, DtmfEnd::NextDigit);
    phone.event('2', 4000, 480, true);
    assert_eq!(phone.keys(), "12");
    // All that is left of the third is an end packet, while the second was still reported as ended.
    phone.event('4', 8000, 480, true);
    assert_eq!(phone.keys(), "124");
}

#[test]
fn a_lost_end_and_a_lone_end_give_both_digits() {
    let mut phone = Phone::new();
    phone.event('1', 0, 480, false);
    phone.event('2', 4000, 480, true);
    phone.wait(20);
    assert_eq!(phone.keys(), "12");
}

#[test]
fn reordered_packets_change_nothing() {
    let mut phone = Phone::new();
    phone.event('9', 100, 480, false);
    phone.event('9', 100, 320, false);
    phone.event('9', 100, 640, true);
    phone.event('9', 100, 160, false);
    phone.digit('8', 5000);
    phone.event('9', 100, 640, true);
    phone.wait(1000);
    assert_eq!(phone.keys(), "98");
    assert_eq!(phone.heard[0].duration_ms, 80);
}

#[test]
fn a_key_held_beyond_the_duration_field_is_one_digit() {
    let mut phone = Phone::new();
    let start = u32::MAX - 30_000;
    for segment in 0..3_u32 {
        let timestamp = start.wrapping_add(segment * 0xffff);
        for n in 1..=409_u32 {
            phone.event(
                '#',
                timestamp,
                u16::try_from((n * 160).min(0xffff)).unwrap(),
                false,
            );
        }
        phone.event('#', timestamp, 0xffff, false);
    }
    let last = start.wrapping_add(3 * 0xffff);
    phone.event('#', last, 800, true);
    phone.event('#', last, 800, true);
    assert_eq!(phone.keys(), "#");
    assert_eq!(u64::from(phone.heard[0].duration_ms), (3 * 65_535 + 800) / 8);
}

#[test]
fn a_new_source_may_reuse_a_timestamp() {
    let mut phone = Phone::new();
    phone.digit('6', 1000);
    phone.ssrc = 2;
    phone.digit('6', 1000);
    assert_eq!(phone.keys(), "66");
}

#[test]
fn other_events_and_short_packets_are_counted_and_give_nothing() {
    let mut phone = Phone::new();
    phone.send(true, 0, &[16, 0x8a, 0, 100]);
    phone.send(true, 0, &[255, 0x8a, 0, 100]);
    phone.send(true, 0, &[1, 2, 3]);
    phone.send(true, 0, &[]);
    phone.wait(500);
    assert_eq!(phone.keys(), "");
    let counters = phone.receiver.counters();
    assert_eq!(
        (counters.packets, counters.not_dtmf, counters.malformed),
        (0, 2, 2)
    );
}

#[test]
fn keys_and_codes_agree() {
    for code in 0..=255_u8 {
        match DtmfDigit::from_event(code) {
            Some(digit) => {
                assert_eq!(DtmfDigit::from_key(digit.key()), Some(digit));
                assert_eq!(digit.event(), code);
            }
            None => assert!(code > 15),
        }
    }
    assert_eq!(DtmfDigit::from_key('d').map(DtmfDigit::key), Some('D'));
    assert_eq!(DtmfDigit::from_key('x'), None);
    assert_eq!(DtmfDigit::from_key('é'), None);
}

#[test]
fn a_digit_sounds_from_its_first_packet_to_its_end() {
    let mut phone = Phone::new();
    assert_eq!(phone.receiver.sounding(0), None);
    phone.event('8', 500, 160, false);
    assert_eq!(
        phone.receiver.sounding(phone.now_ns).map(DtmfDigit::key),
        Some('8')
    );
    assert_eq!(
        phone.receiver.sounding(phone.now_ns + END_TIMEOUT_NS),
        None,
        "its end was lost"
    );
    phone.event('8', 500, 320, true);
    assert_eq!(phone.receiver.sounding(phone.now_ns), None);
}

#[test]
fn durations_are_in_units_of_the_event_clock() {
    for (hz, duration, expected_ms) in [(8000, 800, 100), (16_000, 1600, 100), (48_000, 4800, 100)] {
        let mut phone = Phone::new();
        phone.receiver.restart(ClockRate::new(hz).unwrap());
        phone.event('4', 500, duration, true);
        assert_eq!(phone.heard[0].duration_ms, expected_ms, "{hz} Hz");
    }
}
