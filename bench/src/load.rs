//! Owns one load run: a crowd against a server or against a reflector, measured over one window each, or several of them in
//! turn.

mod crowd;
mod duel;
mod measure;
mod report;
mod scenario;

pub use crowd::{Crowd, ServerCrowd};
pub use duel::{Contender, print_duel, run_duel};
pub use measure::{GeneratorFigures, ServerFigures, Window, measure_generator, measure_server};
pub use report::{Machine, Row, print_report};
pub use scenario::{Listener, Manner, Part, Scenario};
