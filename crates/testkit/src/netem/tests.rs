//! Proves that each setting of the emulator makes the condition it is named for, and only that one.

use super::*;
use crate::clock::VirtualClock;

const SPACING: Duration = Duration::from_millis(20);

/// Sends `count` numbered packets 20 ms apart and returns what arrived, with its one-way delay.
fn run(config: PathConfig, seed: u64, count: u64) -> (Vec<(u64, Duration)>, PathCounters) {
    let mut clock = VirtualClock::new();
    let mut path = NetworkPath::new(config, seed);
    let mut sent_at = Vec::new();
    let mut arrived = Vec::new();
    for number in 0..count {
        let next_send = clock.now() + SPACING;
        path.send(clock.now(), number);
        sent_at.push(clock.now());
        while let Some(at) = path.next_at().filter(|at| *at <= next_send) {
            clock.advance_to(at);
            let number = path.poll(clock.now()).expect("a packet is due");
            arrived.push((number, clock.now() - sent_at[number as usize]));
        }
        clock.advance_to(next_send);
    }
    while let Some(at) = path.next_at() {
        clock.advance_to(at);
        let number = path.poll(clock.now()).expect("a packet is due");
        arrived.push((number, clock.now() - sent_at[number as usize]));
    }
    (arrived, path.counters())
}

fn numbers(arrived: &[(u64, Duration)]) -> Vec<u64> {
    arrived.iter().map(|(number, _)| *number).collect()
}

fn inversions(arrived: &[(u64, Duration)]) -> usize {
    arrived.windows(2).filter(|pair| pair[1].0 < pair[0].0).count()
}

#[test]
fn a_perfect_path_delivers_everything_at_once_and_in_order() {
    let (arrived, counters) = run(PathConfig::default(), 1, 1000);
    assert_eq!(numbers(&arrived), (0..1000).collect::<Vec<_>>());
    assert!(arrived.iter().all(|(_, delay)| delay.is_zero()));
    assert_eq!(
        counters,
        PathCounters {
            sent: 1000,
            delivered: 1000,
            ..PathCounters::default()
        }
    );
}

#[test]
fn a_packet_does_not_arrive_before_its_time() {
    let clock = VirtualClock::new();
    let delay = Duration::from_millis(50);
    let mut path = NetworkPath::new(
        PathConfig {
            delay,
            ..PathConfig::default()
        },
        1,
    );
    path.send(clock.now(), "x");
    assert_eq!(path.next_at(), Some(clock.now() + delay));
    assert_eq!(path.poll(clock.now() + delay - Duration::from_nanos(1)), None);
    assert_eq!(path.poll(clock.now() + delay), Some("x"));
    assert_eq!(path.next_at(), None);
}

#[test]
fn uniform_loss_has_the_wanted_rate_and_no_bursts() {
    for rate in [0.01, 0.05, 0.20] {
        let (arrived, counters) = run(
            PathConfig {
                loss: Loss::Uniform(rate),
                ..PathConfig::default()
            },
            3,
            50_000,
        );
        let measured = counters.lost as f64 / counters.sent as f64;
        assert!(
            (measured - rate).abs() < 0.1 * rate + 0.002,
            "asked {rate}, measured {measured}"
        );
        // Independent losses: the mean burst is 1 / (1 - rate).
        let expected = 1.0 / (1.0 - rate);
        let burst = mean_burst(&numbers(&arrived), 50_000);
        assert!(
            (burst - expected).abs() < 0.05 * expected,
            "mean burst {burst}, expected {expected}"
        );
    }
}

#[test]
fn gilbert_elliott_loss_has_the_wanted_rate_in_bursts_of_the_wanted_length() {
    for (rate, length) in [(0.02, 3.0), (0.10, 5.0), (0.20, 8.0)] {
        let (arrived, counters) = run(
            PathConfig {
                loss: Loss::bursts(rate, length),
                ..PathConfig::default()
            },
            11,
            200_000,
        );
        let measured = counters.lost as f64 / counters.sent as f64;
        assert!(
            (measured - rate).abs() < 0.1 * rate,
            "asked {rate}, measured {measured}"
        );
        let burst = mean_burst(&numbers(&arrived), 200_000);
        assert!(
            (burst - length).abs() < 0.1 * length,
            "asked bursts of {length}, measured {burst}"
        );
    }
}

#[test]
fn numbered_loss_loses_exactly_those_packets() {
    let loss = Loss::Numbers(BTreeSet::from([0, 3, 4]));
    let (arrived, _) = run(
        PathConfig {
            loss,
            ..PathConfig::default()
        },
        1,
        7,
    );
    assert_eq!(numbers(&arrived), [1, 2, 5, 6]);
}

#[test]
fn duplication_delivers_the_wanted_share_twice() {
    let (arrived, counters) = run(
        PathConfig {
            duplicate: 0.1,
            ..PathConfig::default()
        },
        5,
        20_000,
    );
    assert!((1_800..=2_200).contains(&counters.duplicated), "{counters:?}");
    assert_eq!(arrived.len() as u64, 20_000 + counters.duplicated);
    let unique: BTreeSet<_> = numbers(&arrived).into_iter().collect();
    assert_eq!(unique.len(), 20_000);
}

#[test]
fn jitter_spreads_the_delay_evenly_over_its_range_and_keeps_order() {
    let config = PathConfig {
        delay: Duration::from_millis(30),
        jitter: Duration::from_millis(10),
        ..PathConfig::default()
    };
    let (arrived, _) = run(config, 9, 20_000);
    let (min, max) = bounds(&arrived);
    assert!(
        min >= Duration::from_millis(30) && min < Duration::from_micros(30_100),
        "{min:?}"
    );
    assert!(
        max < Duration::from_millis(40) && max > Duration::from_micros(39_900),
        "{max:?}"
    );
    let mean = arrived.iter().map(|(_, delay)| delay.as_secs_f64()).sum::<f64>() / arrived.len() as f64;
    assert!((mean - 0.035).abs() < 0.000_2, "{mean}");
    assert_eq!(inversions(&arrived), 0);
}

#[test]
fn jitter_wider_than_the_spacing_still_keeps_order_unless_asked_otherwise() {
    let config = PathConfig {
        jitter: Duration::from_millis(100),
        ..PathConfig::default()
    };
    assert_eq!(inversions(&run(config.clone(), 9, 5_000).0), 0);
    let reordering = PathConfig {
        jitter_reorders: true,
        ..config
    };
    assert!(inversions(&run(reordering, 9, 5_000).0) > 1_000);
}

#[test]
fn reordering_lets_the_wanted_share_be_overtaken_and_loses_nothing() {
    let config = PathConfig {
        reorder: 0.05,
        reorder_by: Duration::from_millis(50),
        ..PathConfig::default()
    };
    let (arrived, counters) = run(config, 21, 10_000);
    assert!((400..=600).contains(&counters.held_back), "{counters:?}");
    assert!(inversions(&arrived) > 350, "{}", inversions(&arrived));
    let mut sorted = numbers(&arrived);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..10_000).collect::<Vec<_>>());
    assert!(bounds(&arrived).1 <= Duration::from_millis(50));
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let config = PathConfig {
        loss: Loss::bursts(0.1, 4.0),
        duplicate: 0.02,
        jitter: Duration::from_millis(30),
        reorder: 0.02,
        reorder_by: Duration::from_millis(45),
        ..PathConfig::default()
    };
    assert_eq!(run(config.clone(), 1234, 2_000), run(config.clone(), 1234, 2_000));
    assert_ne!(run(config.clone(), 1234, 2_000), run(config, 1235, 2_000));
}

fn bounds(arrived: &[(u64, Duration)]) -> (Duration, Duration) {
    let delays = || arrived.iter().map(|(_, delay)| *delay);
    (
        delays().min().expect("arrivals"),
        delays().max().expect("arrivals"),
    )
}

/// Returns the mean number of consecutive packets missing, over all gaps.
fn mean_burst(arrived: &[u64], sent: u64) -> f64 {
    let present: BTreeSet<u64> = arrived.iter().copied().collect();
    let (mut bursts, mut lost, mut inside) = (0u64, 0u64, false);
    for number in 0..sent {
        let missing = !present.contains(&number);
        bursts += u64::from(missing && !inside);
        lost += u64::from(missing);
        inside = missing;
    }
    lost as f64 / bursts as f64
}
