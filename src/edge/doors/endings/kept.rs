//! The file of a node's ended logins: their ids one behind the other, 16 bytes each, in the order
//! in which they ended. Each is added at the end; the file is written anew, with those alone that
//! are still known, when it has twice as many as that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::auth::LoginId;
use crate::edge::doors::endings::ENDED_MAX;

/// The file's name in the node's data folder.
const FILE: &str = "ended.logins";

const ID_BYTES: usize = 16;

/// Writes down which logins have ended.
pub(super) struct Kept {
    path: PathBuf,
    file: File,
    /// How many there are in the file.
    count: usize,
}

impl Kept {
    /// Opens the file of a folder, and returns what is in it, the newest last.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Vec<LoginId>)> {
        let path = folder.join(FILE);
        let file = options().read(true).append(true).create(true).open(&path)?;
        let bytes_max = (2 * ENDED_MAX + 1) * ID_BYTES;
        let mut bytes = Vec::new();
        Read::by_ref(&mut &file).take(bytes_max as u64).read_to_end(&mut bytes)?;
        let logins = read(&bytes);
        // What a write that was cut off has left would move all that is written behind it.
        let whole = logins.len() * ID_BYTES;
        file.set_len(whole as u64)?;
        Ok((Self { path, file, count: logins.len() }, logins))
    }

    /// Adds some that have ended just now; `known` returns all that are known, these among them.
    pub(super) fn add(
        &mut self,
        new: &[LoginId],
        known: impl FnOnce() -> Vec<LoginId>,
    ) -> io::Result<()> {
        if self.count + new.len() > 2 * ENDED_MAX {
            return self.rewrite(&known());
        }
        self.file.write_all(&spelled(new))?;
        self.file.sync_data()?;
        self.count += new.len();
        Ok(())
    }

    /// Writes the file anew: there is the old one or the new one, whatever happens.
    fn rewrite(&mut self, known: &[LoginId]) -> io::Result<()> {
        let draft = self.path.with_extension("draft");
        let mut file = options().write(true).create(true).truncate(true).open(&draft)?;
        file.write_all(&spelled(known))?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        (self.file, self.count) = (options().append(true).open(&self.path)?, known.len());
        Ok(())
    }
}

fn options() -> OpenOptions {
    let mut options = File::options();
    options.mode(0o600);
    options
}

/// Spells logins one behind the other.
pub(super) fn spelled(logins: &[LoginId]) -> Vec<u8> {
    logins.iter().flat_map(|login| login.0).collect()
}

/// Reads what is whole.
pub(super) fn read(bytes: &[u8]) -> Vec<LoginId> {
    let (whole, _) = bytes.as_chunks();
    whole.iter().copied().map(LoginId).collect()
}
