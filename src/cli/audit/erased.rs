//! `quire audit erased`: whether the history of a document before a revision is gone.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::audit::{Erasure, Trace, Wanted, erased, holds};
use crate::checkpoint;
use crate::cli::config::Output;
use crate::cli::settings::Settings;
use crate::config::{Config, Engine};
use crate::log;
use crate::node::{open_log_to_read, open_store_to_read};
use crate::types::{DocId, Revision};

/// How much of a file is searched at once, in bytes.
const FILE_BYTES: usize = 1 << 20;

/// Holds the arguments of `quire audit erased`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Document
    doc: DocId,
    /// The first revision that may be there
    #[arg(long, value_name = "REV")]
    before: u64,
    /// A text that must be nowhere, in the newest text neither; also looked for in the bytes of the
    /// files of a data folder
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub(in crate::cli) output: Output,
}

/// Looks for what must be gone.
pub(in crate::cli) async fn audit(args: &Args) -> anyhow::Result<Erasure> {
    let text = match &args.text {
        Some(path) => {
            let read = fs::read_to_string(path);
            Some(read.with_context(|| format!("{} could not be read as text", path.display()))?)
        }
        None => None,
    };
    if text.as_deref().is_some_and(str::is_empty) {
        bail!("the text to look for is empty");
    }
    let config = args.settings.load()?.config;
    let log = open_log_to_read(&config).await?;
    let store = open_store_to_read(&config).await?;
    let wanted =
        Wanted { doc: args.doc.clone(), before: Revision(args.before), text: text.clone() };
    let mut erasure = erased(&*log, &*store, wanted).await?;
    log.close().await;
    store.close().await?;
    if let Some(text) = text {
        for file in files(&config) {
            if search(&file, &text)? {
                let place = file.display().to_string();
                erasure.found.push(Trace { place, what: "the text, in its bytes".to_owned() });
                erasure.clean = false;
            }
            erasure.files += 1;
        }
    }
    Ok(erasure)
}

/// Lists the files of the data folder that are there.
fn files(config: &Config) -> Vec<PathBuf> {
    let engines = [(&config.log, log::Embedded::FILE)]
        .into_iter()
        .chain([(&config.checkpoints, checkpoint::Embedded::FILE)]);
    let embedded = engines.filter(|(engine, _)| **engine == Engine::Embedded);
    let names = embedded.flat_map(|(_, name)| [name.to_owned(), format!("{name}.new")]);
    names.map(|name| config.data.join(name)).filter(|path| path.exists()).collect()
}

/// Tells whether the bytes of a file hold a text.
fn search(path: &Path, text: &str) -> anyhow::Result<bool> {
    let named = || format!("{} could not be read", path.display());
    let mut file = File::open(path).with_context(named)?;
    let mut window = Vec::new();
    loop {
        let read = file.by_ref().take(FILE_BYTES as u64).read_to_end(&mut window);
        if read.with_context(named)? == 0 {
            return Ok(false);
        }
        if holds(&window, text) {
            return Ok(true);
        }
        // One may lie across two pieces.
        let kept = window.len().saturating_sub(text.len().saturating_sub(1));
        window.drain(..kept);
    }
}
