//! The file of a node's ended logins, one for each node that has the folder: their ids one behind
//! the other, 16 bytes each, in the order in which they ended. Each is added at the end; the file
//! is written anew, with those alone that are still known, when it has twice as many as that.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::auth::LoginId;
use crate::edge::doors::endings::ENDED_MAX;
use crate::folder;
use crate::types::NodeId;

/// What the file was called before each node had its own.
const SHARED_FILE: &str = "ended.logins";

const ID_BYTES: usize = 16;

/// Writes down which logins have ended.
pub(super) struct Kept {
    folder: PathBuf,
    name: String,
    file: File,
    /// How many there are in the file.
    count: usize,
    /// Whether a write has failed: nobody knows what of it is in the file.
    is_torn: bool,
    #[cfg(test)]
    pub(super) writes: usize,
}

impl Kept {
    /// Opens the node's file in a folder, and returns what is in it, the newest last, behind what
    /// other nodes of the folder have written, or this one under another name.
    pub(super) fn open(folder: &Path, node: &NodeId) -> io::Result<(Self, Vec<LoginId>)> {
        let name = format!("ended.{}.logins", node.0);
        take_over(folder, &name)?;
        let mut options = File::options();
        options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(folder.join(&name))?;
        let bytes_max = (2 * ENDED_MAX + 1) * ID_BYTES;
        let mut bytes = Vec::new();
        Read::by_ref(&mut &file).take(bytes_max as u64).read_to_end(&mut bytes)?;
        let logins = read(&bytes);
        let mut all = others(folder, &name, bytes_max)?;
        // What a write that was cut off has left would move all that is written behind it.
        let whole = logins.len() * ID_BYTES;
        file.set_len(whole as u64)?;
        folder::sync(folder)?;
        let folder = folder.to_owned();
        all.extend(&logins);
        let kept = Self {
            folder,
            name,
            file,
            count: logins.len(),
            is_torn: false,
            #[cfg(test)]
            writes: 0,
        };
        Ok((kept, all))
    }

    /// Adds some that have ended just now; `known` returns all that are known, these among them.
    pub(super) fn add(
        &mut self,
        new: &[LoginId],
        known: impl FnOnce() -> Vec<LoginId>,
    ) -> io::Result<()> {
        #[cfg(test)]
        {
            self.writes += 1;
        }
        if self.is_torn || self.count + new.len() > 2 * ENDED_MAX {
            let known = known();
            // What is added later goes behind what was written now.
            self.file = folder::replace(&self.folder, &self.name, &spelled(&known))?;
            (self.is_torn, self.count) = (false, known.len());
            return Ok(());
        }
        self.is_torn = true;
        self.file.write_all(&spelled(new))?;
        self.file.sync_data()?;
        (self.is_torn, self.count) = (false, self.count + new.len());
        Ok(())
    }
}

/// Reads what is in the files of others.
fn others(folder: &Path, own: &str, bytes_max: usize) -> io::Result<Vec<LoginId>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("ended.") && name.ends_with(".logins") && name != own {
            let mut bytes = Vec::new();
            File::open(entry.path())?.take(bytes_max as u64).read_to_end(&mut bytes)?;
            all.extend(read(&bytes));
        }
    }
    Ok(all)
}

/// Has what was written to a file of all go on in the one of the first node that has none.
fn take_over(folder: &Path, name: &str) -> io::Result<()> {
    let own = folder.join(name);
    if own.exists() {
        return Ok(());
    }
    match fs::rename(folder.join(SHARED_FILE), own) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn login(number: u8) -> LoginId {
        LoginId([number; 16])
    }

    #[test]
    fn after_a_write_that_failed_the_file_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let node = NodeId("a".parse().unwrap());
        let (mut kept, _) = Kept::open(folder.path(), &node).unwrap();
        kept.add(&[login(1)], Vec::new).unwrap();
        // A disk that takes nothing any more, and has taken a piece.
        let good =
            std::mem::replace(&mut kept.file, File::open(folder.path().join(&kept.name)).unwrap());
        let all = || (1..=3).map(login).collect::<Vec<_>>();
        assert!(kept.add(&[login(2)], all).is_err());
        (&good).write_all(&[9; 5]).unwrap();
        kept.add(&[login(3)], all).unwrap();
        kept.add(&[login(4)], Vec::new).unwrap();
        let (_, logins) = Kept::open(folder.path(), &node).unwrap();
        assert_eq!(logins, (1..=4).map(login).collect::<Vec<_>>());
    }
}
