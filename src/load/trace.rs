//! Recorded editing, as in the public data set josephg/editing-traces: gzipped JSON.
//!
//! Positions count Unicode scalar values. A transaction is a list of patches, each relative to the
//! text after the one before.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use flate2::read::GzDecoder;

use crate::load::model::Recording;
use crate::text::{Operation, compose_all};

/// A recording.
#[derive(Debug, Clone)]
pub enum Trace {
    /// By one writer, or by several whose edits were put in one line.
    Sequential(Sequential),
    /// By several writers at once.
    Concurrent(Concurrent),
}

/// A recording in one line.
#[derive(Debug, Clone)]
pub struct Sequential {
    /// The transactions.
    pub edits: Vec<Operation>,
    /// The text after all of them.
    pub end: String,
}

/// A recording of several writers.
#[derive(Debug, Clone)]
pub struct Concurrent {
    /// For each writer its transactions, in order.
    pub agents: Vec<Vec<Transaction>>,
    /// The text after all of them, up to the order of inserts at one place.
    pub end: String,
}

/// One transaction of a writer.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// The edit, relative to the merge of what the writer had seen.
    pub edit: Operation,
    /// How many transactions of each writer that was.
    pub seen: Vec<usize>,
}

impl Trace {
    /// Reads a recording from a file, gzipped or not.
    ///
    /// # Errors
    /// Where the file cannot be read or is no recording.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot read the trace {}", path.display());
        let file = BufReader::new(File::open(path).with_context(context)?);
        let gzipped = path.extension().is_some_and(|extension| extension == "gz");
        let bytes: Box<dyn Read> =
            if gzipped { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
        let file = serde_json::from_reader(BufReader::new(bytes)).with_context(context)?;
        Self::from_file(file).with_context(context)
    }

    fn from_file(file: Recording) -> anyhow::Result<Self> {
        if file.kind == "concurrent" {
            return Ok(Self::Concurrent(concurrent(file)?));
        }
        let mut edits: Vec<_> = file.txns.iter().map(|txn| edit(&txn.patches)).collect();
        if !file.start_content.is_empty() {
            edits.insert(0, Operation::builder().insert(&file.start_content).build());
        }
        Ok(Self::Sequential(Sequential { edits, end: file.end_content }))
    }
}

fn concurrent(file: Recording) -> anyhow::Result<Concurrent> {
    let writers = file.num_agents;
    let mut agents = vec![Vec::new(); writers];
    let mut after: Vec<Vec<usize>> = Vec::with_capacity(file.txns.len());
    for (index, txn) in file.txns.iter().enumerate() {
        let mut seen = vec![0; writers];
        for parent in &txn.parents {
            let Some(parent) = after.get(*parent) else {
                bail!("transaction {index} has a parent that comes later");
            };
            for (count, other) in seen.iter_mut().zip(parent) {
                *count = (*count).max(*other);
            }
        }
        let Some(own) = agents.get_mut(txn.agent) else {
            bail!("transaction {index} is of writer {}, there are {writers}", txn.agent);
        };
        own.push(Transaction { edit: edit(&txn.patches), seen: seen.clone() });
        seen[txn.agent] = own.len();
        after.push(seen);
    }
    Ok(Concurrent { agents, end: file.end_content })
}

fn edit(patches: &[(u32, u32, String)]) -> Operation {
    let one = |(at, deleted, inserted): &(u32, u32, String)| {
        Operation::builder().retain(*at).insert(inserted).delete(*deleted).build()
    };
    compose_all(&patches.iter().map(one).collect::<Vec<_>>())
}
