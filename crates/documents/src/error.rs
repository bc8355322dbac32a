//! Owns what can go wrong with the store and how it is told to an operator. Never decides an HTTP status.

use std::path::PathBuf;

use thiserror::Error;

use crate::schema::Violations;

/// Why the store cannot be opened or does not answer. The text says what is wrong and what to do, in one line: causes
/// are part of it and no `source()` of their own.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The data directory cannot be made, read or written.
    #[error(
        "the data directory {} cannot be used: {error}; give the user that runs confab read and write access, or \
         set another directory with --data-dir", .path.display()
    )]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// The key file cannot be read or written.
    #[error("the key file {} cannot be used: {error}", .path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// There is a database, but not the key it was made with.
    #[error(
        "the key file {} is missing; restore it, or set the environment variable CONFAB_KEY to the key that the \
         database beside it was made with", .path.display()
    )]
    MissingKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is no 64 hex characters.
    #[error("{origin} does not hold a key of 64 hex characters; restore the key this store was made with")]
    MalformedKey {
        /// The key file or the environment variable.
        origin: String,
    },
    /// The key is well formed, but another one than the store was made with.
    #[error(
        "{origin} is not the key that {database} was made with; restore the right key, or move the data directory away \
         to start with an empty store"
    )]
    ForeignKey {
        /// The key file or the environment variable.
        origin: String,
        /// The database.
        database: String,
    },
    /// The file is no SQLite database, or the database is a damaged one.
    #[error(
        "the database {database} is damaged ({detail}); restore it from a backup, or move it away to start with an empty \
         store"
    )]
    Corrupt {
        /// The database.
        database: String,
        /// What the database said.
        detail: String,
    },
    /// The database holds migrations that this program does not know, or other ones than it was made with.
    #[error(
        "the database {database} does not fit this version of confab ({detail}); use the version that wrote it last"
    )]
    OtherVersion {
        /// The database.
        database: String,
        /// What does not fit.
        detail: String,
    },
    /// A stored document cannot be read back: the row was changed from outside.
    #[error("the stored document {id} is unreadable: {detail}")]
    UnreadableDocument {
        /// The document.
        id: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A `[bootstrap]` value cannot be used for the first account.
    #[error("bootstrap.{key} {problem}")]
    Bootstrap {
        /// The configuration key within `[bootstrap]`.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// A password could not be hashed: out of memory, or the runtime is shutting down.
    #[error("a password could not be hashed: {detail}")]
    Hashing {
        /// What the hash function said.
        detail: String,
    },
    /// `store.url` is no address of a database that this program can use.
    #[error("store.url {problem}")]
    Url {
        /// What is wrong with it.
        problem: String,
    },
    /// The database does not answer: not reached, locked for too long, disk full, file gone.
    #[error("the database {database} does not answer: {error}")]
    Unavailable {
        /// The database.
        database: String,
        /// What the database or the pool said.
        error: sqlx::Error,
    },
}

/// SQLite's primary result code for a damaged database image (`SQLITE_CORRUPT`).
const SQLITE_CORRUPT: i32 = 11;
/// SQLite's primary result code for a file that is no database (`SQLITE_NOTADB`).
const SQLITE_NOTADB: i32 = 26;
/// PostgreSQL's codes for damaged data and a damaged index.
const POSTGRES_CORRUPT: [&str; 2] = ["XX001", "XX002"];

impl StoreError {
    /// Classifies an error of a database.
    pub(crate) fn database(database: &str, error: sqlx::Error) -> StoreError {
        let told = error.as_database_error();
        let code = told.and_then(|error| error.code()).unwrap_or_default();
        let primary = code
            .parse::<i32>()
            .ok()
            .filter(|_| code.len() < 5)
            .map(|code| code & 0xff);
        let database = database.to_owned();
        match (primary, told) {
            (Some(SQLITE_CORRUPT | SQLITE_NOTADB), Some(told)) => {
                let detail = told.message().to_owned();
                StoreError::Corrupt { database, detail }
            }
            (_, Some(told)) if POSTGRES_CORRUPT.contains(&&*code) => {
                let detail = told.message().to_owned();
                StoreError::Corrupt { database, detail }
            }
            _ => StoreError::Unavailable { database, error },
        }
    }
}

/// Why a document was not saved or deleted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The document breaks rules of its schema, or takes what another document has.
    #[error("the document is not valid")]
    Invalid(Violations),
    /// There is no such document.
    #[error("there is no such document")]
    NotFound,
    /// The caller expected another revision, or the id is taken.
    #[error("the document is at another revision, or its id is taken")]
    Conflict,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}
