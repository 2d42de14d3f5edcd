//! Connections and the file they open: pragmas, migration, and setting a damaged file aside.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};

use super::error::{Failure, OpenError};
use crate::time::Timestamp;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// How long a commit waits for another process's lock before it is tried anew.
const BUSY: Duration = Duration::from_millis(500);
const READERS: u32 = 2;
/// A file up to this size is checked at every start; a larger one only when it is suspected.
const CHECKED_BYTES: u64 = 8 << 20;

/// Where the buffer's files are.
#[derive(Clone, Debug)]
pub(super) struct Location {
    pub(super) db: PathBuf,
    /// Pages the database may have, 0 for any; only tests set it, for a full disk.
    max_pages: Arc<AtomicU32>,
}

impl Location {
    pub(super) fn new(db: PathBuf) -> Self {
        Self { db, max_pages: Arc::default() }
    }

    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.max_pages.store(pages, Relaxed);
    }

    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.db.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.db)
            .foreign_keys(false)
            .busy_timeout(BUSY)
            .disable_statement_logging()
    }

    fn writing(&self) -> SqliteConnectOptions {
        let options = self
            .options()
            .create_if_missing(true)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", "0")
            .thread_name(|_| "store-writer".into());
        match self.max_pages.load(Relaxed) {
            0 => options,
            pages => options.pragma("max_page_count", pages.to_string()),
        }
    }

    pub(super) async fn writer(&self) -> Result<SqliteConnection, sqlx::Error> {
        self.writing().connect().await
    }

    pub(super) async fn checkpointer(&self) -> Result<SqliteConnection, sqlx::Error> {
        self.writing().thread_name(|_| "store-checkpoint".into()).connect().await
    }

    pub(super) fn readers(&self) -> SqlitePool {
        let options = self.options().read_only(true).thread_name(|id| format!("store-reader-{id}"));
        SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(10))
            .connect_lazy_with(options)
    }

    /// Bytes of the database and of its WAL.
    pub(super) fn sizes(&self) -> (u64, u64) {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        (size(&self.db), size(&self.beside("-wal")))
    }

    /// Keeps a second daemon from the same file for as long as the result lives.
    pub(super) fn lock(&self) -> Result<File, OpenError> {
        let path = self.beside(".lock");
        let failed = |source| OpenError::Lock { path: path.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: self.db.clone() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Leaves word for the next start that the file must be looked at.
    pub(super) fn suspect(&self) {
        if let Err(error) = File::create(self.beside(".suspect")) {
            tracing::error!(%error, "cannot leave a note that the buffer is damaged");
        }
    }
}

/// A migrated database, and where a damaged predecessor went.
pub(super) struct Opened {
    pub(super) writer: SqliteConnection,
    pub(super) set_aside: Option<PathBuf>,
}

pub(super) async fn open(location: &Location) -> Result<Opened, OpenError> {
    let path = || location.db.clone();
    match try_open(location).await {
        Ok(writer) => Ok(Opened { writer, set_aside: None }),
        Err(error) if is_damage(&error) => {
            let aside = set_aside(location)
                .map_err(|source| OpenError::SetAside { path: path(), source })?;
            tracing::error!(
                %error, database = %location.db.display(), moved_to = %aside.display(),
                "The buffer was damaged and is set aside; a new one begins."
            );
            let writer = try_open(location).await.map_err(|error| error.into_open(path()))?;
            Ok(Opened { writer, set_aside: Some(aside) })
        }
        Err(error) => Err(error.into_open(path())),
    }
}

#[derive(Debug, thiserror::Error)]
enum TryOpenError {
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    #[error("{0}")]
    Migrate(#[from] MigrateError),
    #[error("quick_check says: {0}")]
    Check(String),
}

impl TryOpenError {
    fn into_open(self, path: PathBuf) -> OpenError {
        match self {
            Self::Database(source) => OpenError::Open { path, source },
            Self::Migrate(source) => OpenError::Migrate { path, source },
            Self::Check(text) => OpenError::Open { path, source: sqlx::Error::Protocol(text) },
        }
    }
}

fn is_damage(error: &TryOpenError) -> bool {
    match error {
        TryOpenError::Check(_) => true,
        TryOpenError::Database(error)
        | TryOpenError::Migrate(
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
        ) => Failure::of(error) == Failure::Damaged,
        TryOpenError::Migrate(_) => false,
    }
}

async fn try_open(location: &Location) -> Result<SqliteConnection, TryOpenError> {
    let suspect = location.beside(".suspect");
    let size = std::fs::metadata(&location.db).map_or(0, |file| file.len());
    let mut writer = location.writer().await?;
    if suspect.exists() || (1..=CHECKED_BYTES).contains(&size) {
        let verdict: String =
            sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut writer).await?;
        if verdict != "ok" {
            drop(writer.close().await);
            return Err(TryOpenError::Check(verdict));
        }
        drop(std::fs::remove_file(&suspect));
    }
    MIGRATOR.run_direct(None, &mut writer, false).await?;
    Ok(writer)
}

/// Moves the database with its -wal and -shm away, under a name with the time.
fn set_aside(location: &Location) -> std::io::Result<PathBuf> {
    let stamp: String =
        Timestamp::now().to_rfc3339().chars().filter(char::is_ascii_alphanumeric).collect();
    let aside = |suffix: &str| location.beside(&format!(".damaged-{stamp}{suffix}"));
    std::fs::rename(&location.db, aside(""))?;
    for suffix in ["-wal", "-shm"] {
        let from = location.beside(suffix);
        if from.exists() {
            std::fs::rename(from, aside(suffix))?;
        }
    }
    let suspect = location.beside(".suspect");
    if suspect.exists() {
        std::fs::remove_file(suspect)?;
    }
    Ok(aside(""))
}
