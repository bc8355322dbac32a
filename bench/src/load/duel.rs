//! Owns the comparison of several programs or loads in one run: all stand ready, one runs at a time for a few seconds while the
//! others are stopped, round after round. What the machine does meanwhile hits all of them alike.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use confab_testkit::rtp::RtpEngine;
use confab_testkit::server::signal;

use super::measure::measure_generator;
use super::{Crowd, Scenario, Window};

/// Left to a contender that goes on, before its window begins: it finds its place in time again.
const SETTLE: Duration = Duration::from_millis(1500);
const STOP: i32 = 19;
const GO_ON: i32 = 18;

/// One program under one load.
pub struct Contender<'a> {
    /// What it is.
    pub name: String,
    /// Its load.
    pub scenario: Scenario,
    /// The process.
    pub process: u32,
    /// Those who load it.
    pub crowd: &'a Crowd,
    /// What was measured, round after round.
    pub windows: Vec<Window>,
}

impl Contender<'_> {
    fn pause(&self) -> Result<()> {
        self.crowd.set_paused(true);
        Ok(signal(self.process, STOP)?)
    }

    fn go_on(&self) -> Result<()> {
        signal(self.process, GO_ON)?;
        self.crowd.set_paused(false);
        Ok(())
    }

    /// CPU milliseconds per participant-second in each round.
    fn costs(&self) -> Vec<f64> {
        let participants = self.scenario.participants();
        let cost = |window: &Window| window.cpu_ms_per_participant_second(participants);
        self.windows.iter().map(cost).collect()
    }

    /// CPU milliseconds per second in each round.
    fn totals(&self) -> Vec<f64> {
        self.windows
            .iter()
            .map(|window| window.cpu_ms_per_participant_second(1))
            .collect()
    }
}

/// Measures a window of each contender in each round.
pub fn run_duel(
    contenders: &mut [Contender<'_>],
    engine: &RtpEngine,
    rounds: usize,
    length: Duration,
) -> Result<()> {
    for contender in &*contenders {
        contender.pause()?;
    }
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            // Nobody always comes after the same one.
            let index = if round % 2 == 0 {
                turn
            } else {
                contenders.len() - 1 - turn
            };
            let contender = &mut contenders[index];
            contender.go_on()?;
            sleep(SETTLE);
            let window = measure_generator(contender.process, contender.crowd, engine, length);
            contender.pause()?;
            contender.windows.push(window?);
        }
    }
    for contender in &*contenders {
        signal(contender.process, GO_ON)?;
    }
    Ok(())
}

/// Prints what each costs, beside the others. Ratios are medians of the rounds' ratios.
pub fn print_duel(contenders: &[Contender<'_>]) {
    print!("\n| program | scenario | CPU ms per participant-second, median (least – most) |");
    for number in 1..=contenders.len() {
        print!(" by {number} |");
    }
    println!(" packets sent / back |");
    println!("|---|---|---|{}---|", "---|".repeat(contenders.len()));
    for (number, contender) in contenders.iter().enumerate() {
        let costs = contender.costs();
        print!(
            "| {}: {} | {} | {:.3} ({:.3} – {:.3}) |",
            number + 1,
            contender.name,
            contender.scenario,
            quantile(&costs, 0.5),
            quantile(&costs, 0.0),
            quantile(&costs, 1.0),
        );
        for other in contenders {
            let ratios: Vec<f64> = costs.iter().zip(other.costs()).map(|(a, b)| a / b).collect();
            print!(" {:.3} |", quantile(&ratios, 0.5));
        }
        let count = |of: fn(&Window) -> u64| contender.windows.iter().map(of).sum::<u64>();
        println!(
            " {} / {} |",
            count(|window| window.generator.sent),
            count(|window| window.generator.received)
        );
    }
    print_margins(contenders);
}

/// Prints what a participant more costs, where two contenders differ in the number of participants alone.
fn print_margins(contenders: &[Contender<'_>]) {
    for large in contenders {
        for small in contenders {
            let (more, fewer) = (large.scenario.participants(), small.scenario.participants());
            let alike = Scenario {
                per_room: small.scenario.per_room,
                ..large.scenario.clone()
            };
            if more <= fewer || large.name != small.name || alike != small.scenario {
                continue;
            }
            let margin = |(large, small): (f64, f64)| (large - small) / (more - fewer) as f64;
            let margins: Vec<f64> = large
                .totals()
                .into_iter()
                .zip(small.totals())
                .map(margin)
                .collect();
            println!(
                "- {}, {} beyond {}: {:.3} ms per further participant and second ({:.3} – {:.3})",
                large.name,
                large.scenario,
                small.scenario,
                quantile(&margins, 0.5),
                quantile(&margins, 0.0),
                quantile(&margins, 1.0),
            );
        }
    }
}

/// The least is quantile 0, the most is quantile 1; not a number when there is nothing.
fn quantile(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len().saturating_sub(1) as f64 * quantile).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}
