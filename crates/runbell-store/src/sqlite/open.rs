//! Opens a file: lock, format, version.

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{StoreError, StoreResult};

/// The application id of Runbell's files: "RBel".
const APPLICATION: i32 = 0x5242_656c;

/// The steps of the schema; its version is the number of steps taken.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

/// How long a reader waits for a checkpoint.
const BUSY: Duration = Duration::from_secs(5);

/// How much of the file the writer keeps in memory, in KiB below zero: new keys are random, and touch every part of an index.
const CACHE: i64 = -8_192;

/// Statements kept compiled.
const CACHED: usize = 64;

/// The mode of a file with params: readable by its owner only. SQLite gives the files beside it the same mode.
const OWNER: u32 = 0o600;

/// Makes the file, readable by its owner only, unless it exists.
pub(super) fn private(file: &Path) -> StoreResult<()> {
    match File::options().create_new(true).write(true).mode(OWNER).open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Unavailable(format!("{}: {}", file.display(), error.kind()))),
    }
}

/// Locks the store for this process, by a file beside it: the locks on the database itself are SQLite's.
pub(super) fn lock(file: &Path) -> StoreResult<File> {
    let mut name = file.as_os_str().to_owned();
    name.push(".lock");
    let unavailable =
        |error: std::io::Error| StoreError::Unavailable(format!("{}.lock: {}", file.display(), error.kind()));
    let lock = File::options().create(true).truncate(false).write(true).mode(OWNER).open(name).map_err(unavailable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Held(file.display().to_string())),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

/// The file itself, to be kept open.
pub(super) fn held(file: &Path) -> StoreResult<File> {
    File::open(file).map_err(|error| StoreError::Unavailable(format!("{}: {}", file.display(), error.kind())))
}

pub(super) fn connect(file: &Path) -> StoreResult<Connection> {
    private(file)?;
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(CACHED);
    Ok(connection)
}

pub(super) fn reader(file: &Path) -> StoreResult<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(CACHED);
    Ok(connection)
}

/// Brings the file to the present schema, and sets how it is written.
pub(super) fn migrate(connection: &mut Connection, file: &Path) -> StoreResult<()> {
    let number = |pragma: &str, connection: &Connection| -> StoreResult<i64> {
        connection.pragma_query_value(None, pragma, |row| row.get(0)).map_err(|error| match error {
            rusqlite::Error::SqliteFailure(failure, _) if failure.code == rusqlite::ErrorCode::NotADatabase => {
                StoreError::Foreign(file.display().to_string())
            }
            other => other.into(),
        })
    };
    let known = MIGRATIONS.len() as i64;
    let (application, version) = (number("application_id", connection)?, number("user_version", connection)?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != i64::from(APPLICATION) {
        return Err(StoreError::Foreign(file.display().to_string()));
    }
    if version > known {
        return Err(StoreError::Newer { found: version, known });
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", CACHE)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // Otherwise a statement is compiled again whenever another time is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    let transaction = connection.transaction()?;
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", step as i64 + 1)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.commit()?;
    Ok(())
}
