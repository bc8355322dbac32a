//! Five hundred SIPp calls, fifty a second, into one conference: all answered, all torn down, nothing left behind.

use std::time::{Duration, Instant};

use confab_testkit::peers::Sipp;
use confab_testkit::server::{Metrics, ServerBuilder, exclusive};

const CALLS: u32 = 500;
const PER_SECOND: u32 = 50;
/// Longer than it takes to bring all calls up, so that all five hundred are there at once.
const HOLD: Duration = Duration::from_secs(14);
/// What has to be zero again when everybody has left. Transactions live on for 32 s to answer repetitions (RFC 3261 timer J).
const GAUGES: [&str; 7] = [
    "confab_calls",
    "confab_dialogs",
    "confab_transactions",
    "confab_legs",
    "confab_ports_in_use",
    "confab_conferences",
    "confab_participants",
];

fn gauges(metrics: &Metrics) -> Vec<(&'static str, Option<f64>)> {
    GAUGES.iter().map(|name| (*name, metrics.sum(name))).collect()
}

#[test]
fn five_hundred_calls_come_and_go_without_a_trace() {
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let at_rest = server.metrics().expect("metrics");
    assert!(over(&at_rest), "{:?}", gauges(&at_rest));
    let descriptors = server.usage().expect("usage").descriptors;

    let sipp = Sipp::new("tests/sipp/join.xml", server.sip)
        .load(CALLS, PER_SECOND, HOLD)
        .echo();
    let (report, peak) = std::thread::scope(|scope| {
        let run = scope.spawn(|| sipp.run());
        let all = |metrics: &Metrics| metrics.sum("confab_participants") == Some(f64::from(CALLS));
        let peak = server.wait_metrics(HOLD + Duration::from_secs(10), all);
        (run.join().expect("no panic").expect("SIPp ran"), peak)
    });
    let last_bye = Instant::now();
    let refused = server
        .metrics()
        .expect("metrics")
        .labelled("confab_calls_refused_total", "status", "503");
    // The harness switches the lateness guard off, so that nothing excuses a refusal.
    assert!(refused == 0.0, "{refused} calls refused");
    report.assert_all(u64::from(CALLS));
    let peak = peak.unwrap_or_else(|last| panic!("never {CALLS} participants at once: {:?}", gauges(&last)));
    println!(
        "at the peak: {:?}; {} retransmissions at SIPp",
        gauges(&peak),
        report.retransmissions
    );

    match server.wait_metrics(Duration::from_secs(40), over) {
        Ok(_) => println!("all gauges at zero {:?} after the last BYE", last_bye.elapsed()),
        Err(last) => panic!("40 s after the last BYE: {:?}", gauges(&last)),
    }
    let left = server.usage().expect("usage").descriptors;
    // The store may have opened further connections meanwhile; a leg that leaks has two sockets, five hundred a thousand.
    assert!(
        left < descriptors + 20,
        "{descriptors} descriptors before, {left} after"
    );
}

#[test]
fn with_every_tenth_message_lost_calls_are_answered_and_leave_no_trace() {
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let report = Sipp::new("tests/sipp/join.xml", server.sip)
        .load(200, PER_SECOND, Duration::from_secs(2))
        .losing(10)
        .run()
        .expect("SIPp ran");
    println!(
        "{} went well, {} failed, {} repetitions",
        report.successful, report.failed, report.retransmissions
    );
    // Seven INVITEs, eleven 200s and eleven BYEs each: hardly any is given up.
    assert!(report.successful >= 190, "{}", report.errors);
    assert!(report.retransmissions > 20, "messages were lost");
    // Who gave a call up without telling is found out by the silence of his media.
    match server.wait_metrics(Duration::from_secs(150), over) {
        Ok(_) => {}
        Err(last) => panic!("left: {:?}", gauges(&last)),
    }
}

fn over(metrics: &Metrics) -> bool {
    gauges(metrics).iter().all(|(_, value)| *value == Some(0.0))
}
