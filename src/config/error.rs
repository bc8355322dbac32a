//! Mistakes in the configuration, each one line.

use std::fmt;

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// The mistakes in the order of the layers; at least one.
    pub(crate) problems: Vec<Problem>,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where the value stands.
    pub(crate) place: Place,
    /// The key, such as `sip.udp`, when it is about one.
    pub(crate) key: Option<String>,
    /// What is wrong and what to write instead. Never holds a secret.
    pub(crate) text: String,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is the default.
    Default,
    /// A line of a file, counted from 1.
    File {
        /// Name of the file as it was given.
        name: String,
        /// The line.
        line: usize,
    },
    /// A file as a whole.
    WholeFile(String),
    /// An environment variable.
    Environment(String),
    /// An option of the command line.
    CommandLine(&'static str),
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Default => {}
            Place::File { name, line } => write!(f, "{name}:{line}: ")?,
            Place::WholeFile(name) => write!(f, "{name}: ")?,
            Place::Environment(variable) => write!(f, "environment {variable}: ")?,
            Place::CommandLine(option) => write!(f, "{option}: ")?,
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.text)
    }
}
