//! The command line.
//!
//! Owns its grammar and the `check-config` command; starts nothing else.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, Idle, Overrides};

/// A self-contained SIP conferencing media server.
#[derive(Debug, Parser)]
#[command(
    name = "confab",
    version,
    after_help = "Without a command: serve, with all defaults."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Answer calls and API requests until SIGTERM or SIGINT.
    Serve(Serve),
    /// Read the configuration and say whether it is right.
    CheckConfig {
        /// TOML file to check; without it, defaults and environment.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Look at this machine and say what would go wrong: ports, addresses, certificates, clock, privileges, room.
    Doctor {
        /// TOML file that the server is to run with.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Folder of database, media, recordings and key file.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Ask the server on this machine whether it is alive; exit code 0 when it is.
    Health {
        /// TOML file that the server runs with, for its HTTP address.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Options of `serve`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Serve {
    /// TOML file; every key has a default, the environment (CONFAB__SECTION__KEY) overrides.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of database, media, recordings and key file.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl Serve {
    /// Loads the configuration that these options and the process environment give. Called again on SIGHUP.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        let overrides = Overrides {
            data_dir: self.data_dir.clone(),
        };
        Config::load(self.config.as_deref(), std::env::vars_os(), &overrides)
    }
}

/// Reads the command line of this process. `--help`, `--version` and mistakes end the process here.
pub(crate) fn command() -> Command {
    with_default(Cli::parse())
}

/// Runs `check-config`: `ok` on standard output and exit code 0, or every mistake on standard error and 1. Keys that do nothing are told on
/// standard error, and are no mistake.
pub(crate) fn check_config(path: Option<&Path>) -> ExitCode {
    let config = Config::load(path, std::env::vars_os(), &Overrides::default());
    let checked = config.and_then(|config| {
        config.check_files()?;
        config.check_times()?;
        Ok(config)
    });
    match checked {
        Ok(config) => {
            for Idle { key, why } in config.idle_keys() {
                eprintln!("{key}: set, but {why}");
            }
            println!("ok");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn with_default(cli: Cli) -> Command {
    cli.command.unwrap_or_else(|| Command::Serve(Serve::default()))
}

/// Like [`command`], from given arguments (the first is the program's name).
#[cfg(test)]
fn command_from(arguments: impl IntoIterator<Item = &'static str>) -> Result<Command, clap::Error> {
    Cli::try_parse_from(arguments).map(with_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_understood() {
        let serve = |config: Option<&str>, data_dir: Option<&str>| {
            Command::Serve(Serve {
                config: config.map(PathBuf::from),
                data_dir: data_dir.map(PathBuf::from),
            })
        };
        let check = |config: Option<&str>| Command::CheckConfig {
            config: config.map(PathBuf::from),
        };
        let rows: [(&[&'static str], Command); 7] = [
            (&["confab"], serve(None, None)),
            (&["confab", "serve"], serve(None, None)),
            (
                &["confab", "serve", "--config", "c.toml"],
                serve(Some("c.toml"), None),
            ),
            (
                &["confab", "serve", "--data-dir=d", "--config=c.toml"],
                serve(Some("c.toml"), Some("d")),
            ),
            (&["confab", "serve", "--data-dir", "d"], serve(None, Some("d"))),
            (&["confab", "check-config"], check(None)),
            (
                &["confab", "check-config", "--config", "c.toml"],
                check(Some("c.toml")),
            ),
        ];
        for (arguments, expected) in rows {
            assert_eq!(
                command_from(arguments.iter().copied()).unwrap(),
                expected,
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn mistakes_help_and_version_end_with_the_right_code() {
        let rows: [(&[&'static str], i32); 6] = [
            (&["confab", "--help"], 0),
            (&["confab", "--version"], 0),
            (&["confab", "serve", "--help"], 0),
            (&["confab", "dance"], 2),
            (&["confab", "serve", "--config"], 2),
            (&["confab", "check-config", "--data-dir", "d"], 2),
        ];
        for (arguments, code) in rows {
            assert_eq!(
                command_from(arguments.iter().copied()).unwrap_err().exit_code(),
                code,
                "{arguments:?}"
            );
        }
    }
}
