//! Writing the file anew, so that nothing is in it that was removed.
//!
//! ```text
//! copied into a new file, synced ─► named as the old one ─► folder synced ─► old one overwritten
//! ```
//! redb leaves the bytes of what is removed in pages that are free, and between rows of those that
//! are not, and compacts by moving pages as they are. A new file has what was put into it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    Value, WriteTransaction,
};

use crate::log::embedded::store::{
    LOWS, META, NEW_FILE, Records, Store, Writable, builder, sync_folder,
};

impl Store {
    /// Writes the file anew. Reads go on meanwhile, and what is to be written waits.
    pub(in crate::log) fn rewrite(&self) -> Result<(), redb::Error> {
        let mut writing = self.writing.lock();
        if *writing == Writable::No {
            return Err(redb::Error::PreviousIo);
        }
        let Some(folder) = self.file.parent() else { return Err(redb::Error::PreviousIo) };
        let new = folder.join(NEW_FILE);
        let copied = self.copied(&new).and_then(|db| {
            let old = OpenOptions::new().write(true).open(&self.file)?;
            fs::rename(&new, &self.file)?;
            Ok((db, old))
        });
        let (db, mut old) = copied.inspect_err(|_| {
            // It holds nothing that is not in the other one.
            let _ = fs::remove_file(&new);
        })?;
        if let Err(error) = sync_folder(folder) {
            *writing = Writable::No;
            return Err(error.into());
        }
        drop(std::mem::replace(&mut *self.db.write(), db));
        Ok(overwrite(&mut old)?)
    }

    /// Copies everything that is there into a new file.
    fn copied(&self, new: &Path) -> Result<Database, redb::Error> {
        match fs::remove_file(new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let from = self.db.read().begin_read()?;
        let db = builder(&self.options).create(new)?;
        let to = db.begin_write()?;
        copy(&from, &to, META)?;
        copy(&from, &to, LOWS)?;
        for table in &self.tables {
            copy(&from, &to, Records::new(table))?;
        }
        to.commit()?;
        Ok(db)
    }
}

fn copy<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), redb::Error> {
    let from = match from.open_table(table) {
        // A shard that was never written.
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        from => from?,
    };
    let mut to = to.open_table(table)?;
    for row in from.iter()? {
        let (key, value) = row?;
        to.insert(key.value(), value.value())?;
    }
    Ok(())
}

/// Overwrites a file that has no name any more, before its place is given to others.
fn overwrite(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    io::copy(&mut io::repeat(0).take(length), file)?;
    file.sync_data()
}
