//! Writing the file anew, so that nothing is in it that was removed: in free pages, and between the
//! rows of others, redb leaves the bytes.
//!
//! ```text
//! copied into a new file, synced ─► named as the old one ─► folder synced ─► old one overwritten
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use parking_lot::RwLock;
use redb::{Database, Error};

use crate::checkpoint::embedded::{open, tables};
use crate::checkpoint::error::StoreError;
use crate::folder;

/// Why the file was not written anew.
pub(crate) enum Failed {
    /// The old one is there as it was, or the new one with all that was in it.
    Harmless(StoreError),
    /// Which of the two a restart finds is not known.
    Unknown(StoreError),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Harmless(open::store_error(&error))
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Error::from(error).into()
    }
}

/// Writes the file anew. Nothing may be written meanwhile; it may be read.
pub(crate) fn rewrite(db: &RwLock<Option<Database>>, path: &Path) -> Result<(), Failed> {
    let closed = || Failed::Harmless(StoreError::Closed);
    let folder = path.parent().ok_or_else(closed)?;
    let new = folder.join(open::HALF_FILE);
    let copied = copied(db.read().as_ref().ok_or_else(closed)?, &new).and_then(|db| {
        let old = OpenOptions::new().write(true).open(path)?;
        fs::rename(&new, path)?;
        Ok((db, old))
    });
    let (fresh, mut old) = copied.inspect_err(|_| {
        // It holds nothing that is not in the other one.
        let _ = fs::remove_file(&new);
    })?;
    if let Err(error) = folder::sync(folder) {
        *db.write() = None;
        return Err(Failed::Unknown(open::store_error(&error.into())));
    }
    drop(db.write().replace(fresh));
    Ok(overwrite(&mut old)?)
}

/// Copies everything that is there into a new file.
fn copied(from: &Database, new: &Path) -> Result<Database, Error> {
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let db = open::builder().create(new)?;
    tables::prepare(&db)?;
    tables::copy_all(from, &db)?;
    Ok(db)
}

/// Overwrites a file that has no name any more, before its place is given to others.
fn overwrite(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    io::copy(&mut io::repeat(0).take(length), file)?;
    file.sync_data()
}
