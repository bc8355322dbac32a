//! Owns the database: opening, migrating, closing, transactions. One module beside this per kind of thing stored. Never
//! decides what a valid document is.

mod account;
mod bootstrap;
mod credentials;
mod devices;
mod dialect;
mod document;
mod keys;
mod list;
mod media;
mod recent;
mod registrations;
mod route;
mod wall_clock;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::any::{Any, AnyPoolOptions};
use sqlx::migrate::MigrateError;
use sqlx::{AnyConnection, AnyPool, Connection, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use crate::error::StoreError;
use crate::secret::{KeyOrigin, Sealer};
use dialect::{Address, Dialect};
use recent::Recent;

pub use bootstrap::{BootstrapConfig, FirstStart};
pub use credentials::{AccountName, Login};
pub use devices::{Change, DeviceLogin};
pub use list::{ListOrder, ListPage, ListScope};
pub use media::{MAX_MEDIA_BYTES, MediaFile};
pub use registrations::{Registration, RegistrationKey};
pub use route::{Route, RouteRole};

/// The SQLite file's name within the data directory.
const DATABASE_FILE: &str = "confab.db";

/// The file that says which of the servers on a PostgreSQL database this is: a random id.
const SERVER_FILE: &str = "server-id";

/// How long a request waits for a connection or for its turn to write before the store counts as not answering.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections held open. Readers run beside the one writer; of SQLite, each costs a thread and a page cache.
const CONNECTIONS: u32 = 4;

/// The fact that proves that a key is the one the store was made with, and its text in the clear.
const KEY_CHECK: (&str, &str) = ("key_check", "confab");

/// The document store. Cheap to clone; all clones share one pool of connections.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    pool: AnyPool,
    dialect: Dialect,
    /// How an operator is told which database it is.
    name: String,
    /// Which server of those on the database this is; empty for SQLite, which one has for itself.
    server: String,
    sealer: Sealer,
    /// Held by the one writer. Writers queue here in turn, so that those who wait hold no connection and readers, the
    /// routing of calls among them, always find one.
    turn: Arc<Mutex<()>>,
    /// Held while a password is hashed or checked: one at a time, for each takes tens of milliseconds of CPU and 19 MB.
    hashing: Semaphore,
    recent: Recent,
    /// Counts the changes of media that were committed.
    media_changes: AtomicU64,
}

/// A transaction that holds the right to write from its start, so that what it reads stays true until it commits and no
/// upgrade can fail half way. Dropped without a commit, it changes nothing.
struct Write {
    transaction: Transaction<'static, Any>,
    /// Media documents or their files are among what is written.
    touches_media: bool,
    _turn: OwnedMutexGuard<()>,
}

impl Write {
    fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("database", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store of `data_dir`, making directory, key file and database where they are not there. The database is a
    /// SQLite file in the directory, or the PostgreSQL database that `url` names when it is not empty. The key is taken
    /// from the environment variable `CONFAB_KEY` when that is set.
    pub async fn open(data_dir: &Path, url: &str) -> Result<Store, StoreError> {
        let key = std::env::var(crate::secret::KEY_VARIABLE)
            .ok()
            .filter(|text| !text.is_empty());
        Store::open_with_key(data_dir, url, key).await
    }

    /// Opens the store as [`Store::open`] does, with the given key (64 hex characters), or with the key file when there is
    /// none given.
    pub async fn open_with_key(data_dir: &Path, url: &str, key: Option<String>) -> Result<Store, StoreError> {
        let path = data_dir.join(DATABASE_FILE);
        let origin = key.map_or_else(|| KeyOrigin::in_directory(data_dir), KeyOrigin::Given);
        let address = if url.is_empty() {
            make_writable(data_dir, Some(&path)).await?;
            Address::file(&path)?
        } else {
            make_writable(data_dir, None).await?;
            Address::url(url)?
        };
        sqlx::any::install_default_drivers();
        let dialect = address.dialect;
        let failed = |error| StoreError::database(&address.name, error);
        // By itself first: a pool would try again and again, and not say what is wrong.
        let mut first = AnyConnection::connect_with(&address.options)
            .await
            .map_err(failed)?;
        dialect.set_up(&mut first).await.map_err(failed)?;
        first.close().await.map_err(failed)?;
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| Box::pin(dialect.set_up(connection)))
            // SQLite ends a transaction by itself when its disk is full or fails. The driver counts it as open for good, and
            // refuses every later one of that connection: it is closed, and another opened.
            .before_acquire(|connection, _| Box::pin(std::future::ready(Ok(!connection.is_in_transaction()))))
            .connect_with(address.options.clone())
            .await
            .map_err(failed)?;
        let server = match dialect {
            Dialect::Sqlite => String::new(),
            Dialect::Postgres => server_id(data_dir).await?,
        };
        match Store::unlock(pool.clone(), dialect, (address.name, server), &origin).await {
            Ok(store) => Ok(store),
            Err(error) => {
                pool.close().await;
                Err(error)
            }
        }
    }

    /// Brings the database up to date and finds the key that fits it.
    async fn unlock(
        pool: AnyPool,
        dialect: Dialect,
        (name, server): (String, String),
        origin: &KeyOrigin,
    ) -> Result<Store, StoreError> {
        dialect
            .migrations()
            .run(&pool)
            .await
            .map_err(|error| migration_error(&name, error))?;
        let sealed: Option<String> = sqlx::query_scalar("SELECT value FROM server_facts WHERE name = $1")
            .bind(KEY_CHECK.0)
            .fetch_optional(&pool)
            .await
            .map_err(|error| StoreError::database(&name, error))?;
        let sealer = origin.load(sealed.is_some())?;
        let store = Store {
            shared: Arc::new(Shared {
                pool,
                dialect,
                name,
                server,
                sealer,
                turn: Arc::default(),
                hashing: Semaphore::new(1),
                recent: Recent::new(),
                media_changes: AtomicU64::default(),
            }),
        };
        store.check_key(origin).await?;
        store.delete_orphaned_files().await?;
        Ok(store)
    }

    /// Notes the key with a new store, and refuses a foreign key with an old one.
    async fn check_key(&self, origin: &KeyOrigin) -> Result<(), StoreError> {
        let (name, text) = KEY_CHECK;
        let mut write = self.write().await?;
        let sealed = self.fact(&mut write, name).await?;
        match sealed {
            None => {
                self.set_fact(&mut write, name, &self.shared.sealer.seal(name, text))
                    .await?;
                self.commit(write).await
            }
            Some(sealed) if self.shared.sealer.open(name, &sealed).as_deref() == Ok(text) => Ok(()),
            Some(_) => Err(StoreError::ForeignKey {
                origin: origin.name(),
                database: self.shared.name.clone(),
            }),
        }
    }

    /// Asks the database for nothing but an answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let asked = sqlx::query("SELECT 1").fetch_one(self.pool()).await;
        asked.map(drop).map_err(|error| self.error(error))
    }

    /// Writes everything into the database file and closes it. Calls that are under way finish first; later ones fail
    /// with [`StoreError::Unavailable`].
    pub async fn close(&self) {
        if let Err(error) = self.shared.dialect.settle(&self.shared.pool).await {
            tracing::debug!(%error, "the write-ahead log stays beside the database");
        }
        self.shared.pool.close().await;
    }

    fn pool(&self) -> &AnyPool {
        &self.shared.pool
    }

    fn error(&self, error: sqlx::Error) -> StoreError {
        StoreError::database(&self.shared.name, error)
    }

    /// Waits for its turn and begins to write.
    async fn write(&self) -> Result<Write, StoreError> {
        let turn = tokio::time::timeout(ACQUIRE_TIMEOUT, self.shared.turn.clone().lock_owned()).await;
        let turn = turn.map_err(|_| self.error(sqlx::Error::PoolTimedOut))?;
        let transaction = self.shared.dialect.begin(self.pool()).await;
        Ok(Write {
            transaction: transaction.map_err(|error| self.error(error))?,
            touches_media: false,
            _turn: turn,
        })
    }

    async fn commit(&self, write: Write) -> Result<(), StoreError> {
        let touches_media = write.touches_media;
        let committed = write.transaction.commit().await;
        if touches_media {
            self.shared.media_changes.fetch_add(1, Ordering::Release);
        }
        committed.map_err(|error| self.error(error))
    }

    /// Runs a statement of a transaction that returns nothing.
    async fn execute(
        &self,
        write: &mut Write,
        query: sqlx::query::Query<'_, Any, sqlx::any::AnyArguments>,
    ) -> Result<(), StoreError> {
        query
            .execute(write.connection())
            .await
            .map(drop)
            .map_err(|error| self.error(error))
    }

    async fn exists(
        &self,
        write: &mut Write,
        query: sqlx::query::Query<'_, Any, sqlx::any::AnyArguments>,
    ) -> Result<bool, StoreError> {
        let row = query.fetch_optional(write.connection()).await;
        row.map(|row| row.is_some()).map_err(|error| self.error(error))
    }

    async fn fact(&self, write: &mut Write, name: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT value FROM server_facts WHERE name = $1")
            .bind(name)
            .fetch_optional(write.connection())
            .await
            .map_err(|error| self.error(error))
    }

    async fn set_fact(&self, write: &mut Write, name: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO server_facts (name, value) VALUES ($1, $2)")
            .bind(name)
            .bind(value)
            .execute(write.connection())
            .await
            .map(drop)
            .map_err(|error| self.error(error))
    }
}

fn migration_error(database: &str, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) => StoreError::database(database, error),
        MigrateError::ExecuteMigration(error, _) => StoreError::database(database, error),
        other => StoreError::OtherVersion {
            database: database.to_owned(),
            detail: other.to_string(),
        },
    }
}

/// Makes the directory and the database file where they are missing, and proves that files can be made there. The
/// database is for its owner only: PINs are in it. SQLite gives the files beside it the same mode.
async fn make_writable(data_dir: &Path, database: Option<&Path>) -> Result<(), StoreError> {
    let error = |error| StoreError::DataDir {
        path: data_dir.to_owned(),
        error,
    };
    if tokio::fs::metadata(data_dir)
        .await
        .is_ok_and(|found| !found.is_dir())
    {
        return Err(error(ErrorKind::NotADirectory.into()));
    }
    tokio::fs::create_dir_all(data_dir).await.map_err(error)?;
    if let Some(database) = database {
        let mut owner_only = tokio::fs::OpenOptions::new();
        owner_only.write(true).create_new(true).mode(0o600);
        match owner_only.open(database).await {
            Err(refused) if refused.kind() != ErrorKind::AlreadyExists => return Err(error(refused)),
            _ => {}
        }
    }
    let probe = data_dir.join(format!(".probe-{}", crate::document::random_id()));
    tokio::fs::write(&probe, b"").await.map_err(error)?;
    tokio::fs::remove_file(&probe).await.map_err(error)
}

/// Returns the id of the server whose data directory this is, made at its first start.
async fn server_id(data_dir: &Path) -> Result<String, StoreError> {
    let path = data_dir.join(SERVER_FILE);
    let error = |error| StoreError::DataDir {
        path: path.clone(),
        error,
    };
    match tokio::fs::read_to_string(&path).await {
        Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
        Err(failed) if failed.kind() != ErrorKind::NotFound => return Err(error(failed)),
        _ => {}
    }
    let id = crate::document::random_id();
    tokio::fs::write(&path, format!("{id}\n")).await.map_err(error)?;
    Ok(id)
}

#[cfg(test)]
mod tests;
