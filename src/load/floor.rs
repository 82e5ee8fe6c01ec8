//! What a durable append costs on a disk without any server: the floor of an acknowledgement.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// How many appends are timed, and how long each is.
const APPENDS: usize = 300;
const BYTES: [u8; 100] = [b'x'; 100];

/// Is what appends with `fdatasync` took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// The median.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
}

impl Floor {
    /// Measures it in a folder, with a file that is removed afterwards. Blocks.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn measure(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(format!("floor-{:016x}", rand::random::<u64>()));
        let cannot = || format!("cannot write {}: name a folder with --floor", path.display());
        let open = OpenOptions::new().create_new(true).append(true).open(&path);
        let mut file = open.with_context(cannot)?;
        let mut took = Vec::with_capacity(APPENDS);
        for _ in 0..APPENDS {
            let began = Instant::now();
            file.write_all(&BYTES).and_then(|()| file.sync_data()).with_context(cannot)?;
            took.push(began.elapsed());
        }
        std::fs::remove_file(&path).with_context(cannot)?;
        took.sort_unstable();
        Ok(Self { p50: took[APPENDS / 2], p99: took[APPENDS * 99 / 100] })
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        write!(f, "p50 {:.3} ms, p99 {:.3} ms", millis(self.p50), millis(self.p99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leaves_nothing_behind_and_says_where_it_could_not() {
        let folder = tempfile::tempdir().unwrap();
        let floor = Floor::measure(folder.path()).unwrap();
        assert!(floor.p50 <= floor.p99);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let refused = Floor::measure(&folder.path().join("missing")).unwrap_err();
        assert!(refused.to_string().contains("--floor"), "{refused}");
    }
}
