use super::*;
use proptest::prelude::*;

const ROOM: (&str, &str) = ("a", "c");
const PASS: Verdict = Verdict::Pass { delay_ms: 0 };

fn source(n: u32) -> Source {
    Source::of(IpAddr::from(n.to_be_bytes()))
}

#[test]
fn the_tenth_wrong_pin_within_the_window_blocks_its_source_and_nobody_else() {
    let mut guard = PinGuard::new(GuardLimits::default());
    let (bad, good) = (source(1), source(2));
    for n in 0..9 {
        assert_eq!(guard.tried(n * 1000, &bad, ROOM, false), PASS, "{n}");
    }
    assert_eq!(
        guard.tried(9000, &bad, ROOM, true),
        PASS,
        "a right one does not count"
    );
    assert_eq!(guard.tried(10_000, &bad, ROOM, false), Verdict::Blocked);
    assert!(guard.is_blocked(10_001, &bad) && !guard.is_blocked(10_001, &good));
    assert_eq!(guard.tried(20_000, &bad, ("a", "other"), true), Verdict::Blocked);
    assert_eq!(guard.tried(20_000, &good, ROOM, true), PASS);
    assert_eq!(guard.tried(909_999, &bad, ROOM, true), Verdict::Blocked);
    assert_eq!(guard.tried(910_000, &bad, ROOM, true), PASS, "900 s later");
    assert_eq!(guard.blocked(100_000), 1);
    let counts = guard.counts();
    assert_eq!((counts.wrong, counts.blocks, counts.refused), (10, 1, 2));
}

#[test]
fn wrong_pins_are_forgotten_with_time() {
    let mut guard = PinGuard::new(GuardLimits::default());
    // One every 67 s: never ten within 600 s.
    for n in 0..100 {
        assert_eq!(
            guard.tried(n * 67_000, &source(1), (&n.to_string(), "c"), false),
            PASS,
            "{n}"
        );
    }
}

#[test]
fn a_conference_under_attack_answers_everybody_later_and_refuses_nobody() {
    let mut guard = PinGuard::new(GuardLimits::default());
    for n in 0..60 {
        assert_eq!(guard.tried(n, &source(n as u32), ROOM, false), PASS);
    }
    let mut last = 0;
    for n in 60..100 {
        let Verdict::Pass { delay_ms } = guard.tried(n, &source(n as u32), ROOM, false) else {
            panic!("blocked");
        };
        assert!(delay_ms >= last && delay_ms <= 10_000, "{delay_ms}");
        last = delay_ms;
    }
    assert_eq!(last, 10_000);
    let rightful = source(1_000_000);
    assert_eq!(
        guard.tried(200, &rightful, ROOM, true),
        Verdict::Pass { delay_ms: 10_000 }
    );
    assert_eq!(guard.tried(200, &rightful, ("a", "other"), true), PASS);
    assert_eq!(guard.tried(600_200, &rightful, ROOM, true), PASS, "it is over");
}

#[test]
fn an_ipv6_network_is_one_source_and_a_mapped_address_is_its_own() {
    let of = |text: &str| Source::of(text.parse().expect("an address"));
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
}

#[test]
fn memory_is_bounded_and_the_blocked_stay_blocked_under_a_flood() {
    let mut guard = PinGuard::new(GuardLimits::default());
    for n in 0..10 {
        guard.tried(n, &source(0), ROOM, false);
    }
    for n in 1..=(MOST_KNOWN as u32 + 500) {
        guard.tried(10 + u64::from(n), &source(n), (&n.to_string(), "c"), false);
    }
    assert_eq!(guard.sources.len(), MOST_KNOWN);
    assert!(guard.conferences.len() <= MOST_KNOWN);
    assert!(guard.is_blocked(20_000, &source(0)));
    assert!(guard.counts().forgotten > 0);
    // When all of it has lost its meaning, nothing has to be forgotten before its time.
    let forgotten = guard.counts().forgotten;
    guard.tried(10_000_000, &source(u32::MAX), ROOM, false);
    assert_eq!((guard.sources.len(), guard.counts().forgotten), (1, forgotten));
}

proptest! {
    /// Never more wrong PINs of a source pass within a window than the limit, whatever happens in between.
    #[test]
    fn no_source_gets_more_tries_than_it_may(
        tries in proptest::collection::vec((0_u32..3, 0_u64..120_000, any::<bool>()), 1..300),
        limit in 1_u32..12,
    ) {
        let limits = GuardLimits { source_tries: limit, ..GuardLimits::default() };
        let mut guard = PinGuard::new(limits);
        let mut now = 0;
        let mut passed: Vec<(u32, u64)> = Vec::new();
        for (who, step, right) in tries {
            now += step;
            let blocked = guard.is_blocked(now, &source(who));
            let verdict = guard.tried(now, &source(who), ROOM, right);
            if blocked {
                prop_assert_eq!(verdict, Verdict::Blocked);
            }
            if let Verdict::Pass { delay_ms } = verdict {
                prop_assert!(delay_ms <= MOST_DELAY_MS);
                if !right {
                    passed.push((who, now));
                    let within = passed.iter().filter(|(other, at)| *other == who && now - at < limits.window_ms);
                    prop_assert!(within.count() < limit as usize);
                }
            }
        }
    }
}

#[test]
fn a_source_is_written_as_what_it_stands_for() {
    let of = |address: &str| Source::of(address.parse().unwrap()).to_string();
    assert_eq!(of("192.0.2.7"), "192.0.2.7");
    assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
    assert_eq!(of("2001:db8:1:2:3::9"), "2001:db8:1:2::/64");
    let trunk = Source::Trunk {
        trunk: "t".into(),
        number: "+49".into(),
    };
    assert_eq!(trunk.to_string(), "t/+49");
}
