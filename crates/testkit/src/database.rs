//! Owns giving each test a database of its own. Never starts a database server: `tests/postgres` does.

use std::process::Command;

use crate::random::SeededRandom;

/// The environment variable that names a PostgreSQL server for tests: a URL without a database, ending in `/`, of a user who
/// may make databases.
pub const SERVER_VARIABLE: &str = "CONFAB_TEST_POSTGRES";

/// Returns the `store.url` of a test: an empty text, which is SQLite in the data directory; or a new, empty database on
/// the PostgreSQL server that [`SERVER_VARIABLE`] names.
///
/// # Panics
/// When the server does not make the database.
pub fn fresh() -> String {
    let Ok(server) = std::env::var(SERVER_VARIABLE) else {
        return String::new();
    };
    let name = format!("test_{:016x}", SeededRandom::from_process().next_u64());
    let made = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--command"])
        .arg(format!("CREATE DATABASE {name}"))
        .arg(format!("{server}postgres"))
        .output();
    match made {
        Ok(output) if output.status.success() => format!("{server}{name}"),
        Ok(output) => panic!("no database: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("psql: {error}"),
    }
}
