//! Opening and closing the file, and what each failure means.

use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, Error, StorageError};

use crate::checkpoint::embedded::tables;
use crate::checkpoint::error::{OpenError, StoreError};
use crate::folder;

/// The name of the file in the data folder.
pub(crate) const FILE: &str = "checkpoints.redb";

/// Its name while it is being created, or written anew.
pub(crate) const HALF_FILE: &str = "checkpoints.redb.new";

/// What the database may keep of the file in memory: checkpoints are read once.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Files in these bounds are compacted when they are closed, if they are more than half empty: a
/// small one is not worth it, a large one takes too long.
const COMPACT_BYTES_MIN: u64 = 8 * 1024 * 1024;
const COMPACT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Opens the file in `folder`, or creates both.
pub(crate) fn open(folder: &Path) -> Result<(Database, PathBuf), OpenError> {
    let path = folder.join(FILE);
    if !path.exists() {
        create(folder, &path)?;
    }
    let (db, found) = open_file(&path)?;
    if found > tables::FORMAT {
        return Err(OpenError::Newer { path, found, known: tables::FORMAT });
    }
    // What a rewriting left that was cut off; another process that creates it just now finds that
    // this one is there.
    let _ = std::fs::remove_file(folder.join(HALF_FILE));
    Ok((db, path))
}

/// Creates the file under another name first: a crash must not leave half a file under its own,
/// which would be refused for ever.
fn create(folder: &Path, path: &Path) -> Result<(), OpenError> {
    let io = |source| io_error(source, path);
    let half = folder.join(HALF_FILE);
    std::fs::create_dir_all(folder).map_err(io)?;
    match std::fs::remove_file(&half) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        Ok(()) | Err(_) => {}
    }
    open_file(&half)?.0.close().map_err(|error| open_error(error, path))?;
    // Unlike renaming, linking does not replace what another process has just created.
    match std::fs::hard_link(&half, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(io(error)),
        Ok(()) | Err(_) => std::fs::remove_file(&half).map_err(io)?,
    }
    // The name of the file must survive a crash like its content.
    folder::sync(folder).map_err(io)
}

fn open_file(path: &Path) -> Result<(Database, u64), OpenError> {
    let db = builder().create(path).map_err(|error| open_error(error, path))?;
    let found = tables::prepare(&db).map_err(|error| damaged(error, path))?;
    Ok((db, found))
}

pub(crate) fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Makes everything durable and closes the file.
pub(crate) fn close(mut db: Database, path: &Path) -> Result<(), Error> {
    let txn = db.begin_write()?;
    let length = std::fs::metadata(path)?.len();
    let half_empty = if (COMPACT_BYTES_MIN..=COMPACT_BYTES_MAX).contains(&length) {
        let stats = txn.stats()?;
        (stats.stored_bytes() + stats.metadata_bytes()) * 2 < length
    } else {
        false
    };
    txn.commit()?;
    if half_empty {
        db.compact()?;
    }
    db.close()?;
    Ok(())
}

/// Tells what an error of the open database means to the caller.
pub(crate) fn store_error(error: &Error) -> StoreError {
    match error {
        Error::Io(error) if is_full(error) => StoreError::NoSpace,
        Error::DatabaseClosed => StoreError::Closed,
        Error::PreviousIo => StoreError::Failed {
            reason: "an earlier write failed: restart once the disk is well".into(),
        },
        other => StoreError::Failed { reason: other.to_string().into() },
    }
}

fn open_error(error: DatabaseError, path: &Path) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenError::InUse { path: path.to_owned() }
        }
        DatabaseError::Storage(StorageError::Io(error)) => io_error(error, path),
        other => damaged(other.into(), path),
    }
}

fn io_error(source: IoError, path: &Path) -> OpenError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { path },
        // This is how redb says that the file begins with something else.
        ErrorKind::InvalidData => OpenError::Foreign { path },
        ErrorKind::UnexpectedEof => OpenError::Damaged { path, reason: source.to_string() },
        _ if is_full(&source) => OpenError::NoSpace { path },
        _ => OpenError::Io { path, source },
    }
}

fn damaged(error: Error, path: &Path) -> OpenError {
    match error {
        Error::Io(error) => io_error(error, path),
        other => OpenError::Damaged { path: path.to_owned(), reason: other.to_string() },
    }
}

fn is_full(error: &IoError) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use redb::TableDefinition;

    use super::*;

    fn set_format(folder: &Path, format: u64) {
        let (db, path) = open(folder).unwrap();
        let txn = db.begin_write().unwrap();
        let meta: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
        txn.open_table(meta).unwrap().insert("format", format).unwrap();
        txn.commit().unwrap();
        close(db, &path).unwrap();
    }

    #[test]
    fn a_newer_format_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        set_format(folder.path(), 2);
        for _ in 0..2 {
            let error = open(folder.path()).unwrap_err();
            assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_open_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        assert!(matches!(open(folder.path()), Err(OpenError::InUse { .. })));
        drop(first);
        open(folder.path()).unwrap();
    }

    #[test]
    fn something_else_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let content = b"a letter to someone, longer than a magic number".repeat(100);
        std::fs::write(folder.path().join(FILE), &content).unwrap();
        assert!(matches!(open(folder.path()), Err(OpenError::Foreign { .. })));
        assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap(), content);
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = open(&folder.path().join("file/data")).unwrap_err();
        assert!(matches!(error, OpenError::Io { .. }), "{error}");
    }

    #[test]
    fn each_failure_of_the_machine_has_its_name() {
        let name = |kind| match io_error(IoError::from(kind), Path::new("x")) {
            OpenError::ReadOnly { .. } => "read-only",
            OpenError::NoSpace { .. } => "no space",
            OpenError::Io { .. } => "other",
            error => panic!("{error}"),
        };
        assert_eq!(name(ErrorKind::PermissionDenied), "read-only");
        assert_eq!(name(ErrorKind::ReadOnlyFilesystem), "read-only");
        assert_eq!(name(ErrorKind::StorageFull), "no space");
        assert_eq!(name(ErrorKind::TimedOut), "other");
        let full = store_error(&Error::Io(IoError::from(ErrorKind::StorageFull)));
        assert!(matches!(full, StoreError::NoSpace));
        assert!(matches!(store_error(&Error::PreviousIo), StoreError::Failed { .. }));
    }

    #[test]
    fn a_truncated_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (db, path) = open(folder.path()).unwrap();
        close(db, &path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in [100, 4_096, 10_000, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = open(folder.path()).unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "{length}: {error:?}");
        }
    }

    #[test]
    fn a_crash_while_the_file_is_created_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(HALF_FILE), [0; 5_000]).unwrap();
        open(folder.path()).unwrap();
        let names = std::fs::read_dir(folder.path()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE]);
    }
}
