//! A node's data folder, and the small files in it, which are there whole or not at all: nobody but
//! the node's user reads them.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a folder, and those around it, where it is missing.
///
/// # Errors
/// Where it cannot be made.
pub fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes a file of a folder anew: there is the old one or the new one, whatever happens. Returns
/// it, at its end. Until it is whole it is `name.new`.
///
/// # Errors
/// Where it cannot be written.
pub fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<File> {
    let new = folder.join(format!("{name}.new"));
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(name))?;
    sync(folder)?;
    Ok(file)
}

/// Has the names of a folder's files survive a crash.
///
/// # Errors
/// Where the disk fails.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_by_a_whole_one_that_nobody_else_reads() {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("data");
        make(&folder).unwrap();
        make(&folder).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        // What a write that was cut off has left, longer than what comes.
        fs::write(folder.join("list.new"), "half of an older one").unwrap();
        replace(&folder, "list", b"one").unwrap();
        let mut file = replace(&folder, "list", b"two").unwrap();
        file.write_all(b", and more").unwrap();
        let list = folder.join("list");
        assert_eq!(fs::read(&list).unwrap(), b"two, and more");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no other file is left");
    }

    #[test]
    fn a_new_file_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        replace(folder.path(), "secret", b"x").unwrap();
        let mode = folder.path().join("secret").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
