//! Owns one load run: a crowd against a server or against a reflector, measured over one window each.

mod crowd;
mod measure;
mod report;

pub use crowd::{Crowd, ServerCrowd};
pub use measure::{GeneratorFigures, ServerFigures, Window, measure_generator, measure_server};
pub use report::{Machine, Row, print_report};

/// How participants are spread over conferences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// Conferences.
    pub rooms: usize,
    /// Participants in each.
    pub per_room: usize,
    /// How many of each room's participants send a tone; the others send silence.
    pub talkers: usize,
}

impl Scenario {
    /// Returns the number of all participants.
    pub fn participants(&self) -> usize {
        self.rooms * self.per_room
    }

    /// Reads `ROOMSxPARTICIPANTS:TALKERS`, such as `50x20:2`.
    pub fn parse(text: &str) -> Option<Self> {
        let (shape, talkers) = text.split_once(':')?;
        let (rooms, per_room) = shape.split_once('x')?;
        let scenario = Self {
            rooms: rooms.parse().ok()?,
            per_room: per_room.parse().ok()?,
            talkers: talkers.parse().ok()?,
        };
        (scenario.participants() > 0 && scenario.talkers <= scenario.per_room).then_some(scenario)
    }
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}:{}", self.rooms, self.per_room, self.talkers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_reads_back_as_it_prints() {
        for text in ["1x1000:3", "50x20:2", "3x1:0"] {
            assert_eq!(
                Scenario::parse(text).map(|s| s.to_string()).as_deref(),
                Some(text)
            );
        }
        for text in ["", "1x1000", "0x5:0", "2x2:3", "ax2:1"] {
            assert_eq!(Scenario::parse(text), None, "{text}");
        }
    }
}
