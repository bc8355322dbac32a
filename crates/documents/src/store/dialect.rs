//! Owns what differs between the databases: how each is reached and set up, how a writer takes its turn, and the
//! expressions that are not common SQL. Everything else in the store is written once, for both.

use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use sqlx::any::{Any, AnyConnectOptions};
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, AnyPool, Executor, Transaction};

use crate::error::StoreError;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// Set up on every SQLite connection. A statement waits 5 s for another writer.
const SQLITE_SETUP: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
     PRAGMA foreign_keys = ON";

/// Set up on every PostgreSQL connection: a statement waits 5 s for another writer, and a server that was cut off in the
/// middle of a write holds up the others no longer than a minute.
const POSTGRES_SETUP: &str = "SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '60s'";

/// The advisory lock that writers of PostgreSQL hold: the letters of `confab`.
const POSTGRES_WRITER_LOCK: &str = "SELECT pg_advisory_xact_lock(109330244723042)";

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// Where a database is.
pub(super) struct Address {
    pub(super) dialect: Dialect,
    pub(super) options: AnyConnectOptions,
    /// How an operator is told which one it is; never with a password.
    pub(super) name: String,
}

impl Address {
    /// Returns the address of the SQLite file at `path`.
    pub(super) fn file(path: &Path) -> Result<Address, StoreError> {
        let encoded = percent_encode(path.as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC);
        let options = format!("sqlite://{encoded}?mode=rwc").parse();
        Ok(Address {
            dialect: Dialect::Sqlite,
            options: options.map_err(|error| StoreError::database(&path.display().to_string(), error))?,
            name: path.display().to_string(),
        })
    }

    /// Returns the address that `store.url` gives: of PostgreSQL.
    pub(super) fn url(url: &str) -> Result<Address, StoreError> {
        let unusable = |problem: &str| StoreError::Url {
            problem: problem.to_owned(),
        };
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(unusable("must be empty or begin with postgres://"));
        }
        let options: AnyConnectOptions = url.parse().map_err(|_| {
            unusable("cannot be read: it must look like postgres://user:password@host:5432/database")
        })?;
        let address = &options.database_url;
        let host = address.host_str().unwrap_or("localhost").to_owned();
        let port = address.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Address {
            dialect: Dialect::Postgres,
            name: format!("postgres://{host}{port}{}", address.path()),
            options,
        })
    }
}

impl Dialect {
    pub(super) fn migrations(self) -> &'static Migrator {
        match self {
            Dialect::Sqlite => &SQLITE_MIGRATIONS,
            Dialect::Postgres => &POSTGRES_MIGRATIONS,
        }
    }

    /// Sets up a new connection.
    pub(super) async fn set_up(self, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        match self {
            Dialect::Sqlite => connection.execute(SQLITE_SETUP).await.map(drop),
            Dialect::Postgres => connection.execute(POSTGRES_SETUP).await.map(drop),
        }
    }

    /// Begins a transaction that holds the right to write from its start, until it ends. Of SQLite, one writer at a time
    /// has it anyway; of PostgreSQL, a lock that all servers on this database know.
    pub(super) async fn begin(self, pool: &AnyPool) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self {
            Dialect::Sqlite => pool.begin_with("BEGIN IMMEDIATE").await,
            Dialect::Postgres => {
                let mut transaction = pool.begin().await?;
                transaction.execute(POSTGRES_WRITER_LOCK).await?;
                Ok(transaction)
            }
        }
    }

    /// Brings everything written into the database's file.
    pub(super) async fn settle(self, pool: &AnyPool) -> Result<(), sqlx::Error> {
        match self {
            Dialect::Sqlite => pool.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.map(drop),
            Dialect::Postgres => Ok(()),
        }
    }

    /// Returns the expression that makes one JSON list of all rows, in their order, each a list of `columns`; NULL or `[]` without rows.
    pub(super) fn list(self, columns: &str) -> String {
        match self {
            Dialect::Sqlite => format!("json_group_array(json_array({columns}))"),
            Dialect::Postgres => format!("CAST(json_agg(json_build_array({columns})) AS text)"),
        }
    }

    /// Returns the table expression of the items of the JSON list that is the parameter `$n`: `each`, its column `value`.
    pub(super) fn each(self, parameter: &str) -> String {
        match self {
            Dialect::Sqlite => format!("json_each({parameter}) AS each"),
            Dialect::Postgres => format!("json_array_elements(CAST({parameter} AS json)) AS each (value)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_without_its_password() {
        let address = Address::url("postgres://confab:geheim@db.example:5433/conferences?sslmode=require");
        let address = address.ok().unwrap();
        assert_eq!(address.name, "postgres://db.example:5433/conferences");
        for wrong in ["mysql://h/d", "db.example", "postgres://[", "postgres://h:port/d"] {
            let error = Address::url(wrong).err().unwrap().to_string();
            assert!(
                error.starts_with("store.url ") && !error.contains(wrong),
                "{error}"
            );
        }
    }
}
