//! Who a client is and where an event was written down, as numbers and back.

use rustc_hash::FxHashMap;

use crate::audit::model::Violation;

/// Says whose event it is and where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Witness {
    pub(crate) client: u32,
    pub(crate) file: u32,
    pub(crate) line: u64,
}

/// Knows the names behind a [`Witness`].
#[derive(Debug, Default)]
pub(crate) struct Names {
    clients: Vec<String>,
    numbers: FxHashMap<String, u32>,
    files: Vec<String>,
}

impl Names {
    /// Adds a file and returns its number.
    pub(crate) fn file(&mut self, name: &str) -> u32 {
        self.files.push(name.to_owned());
        number(self.files.len() - 1)
    }

    /// Returns the number of a client.
    pub(crate) fn client(&mut self, name: &str) -> u32 {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        let new = number(self.clients.len());
        self.clients.push(name.to_owned());
        self.numbers.insert(name.to_owned(), new);
        new
    }

    /// Tells how many clients there are.
    pub(crate) fn clients(&self) -> u64 {
        self.clients.len() as u64
    }

    /// Names a witness in a violation, as its first one or a further one.
    pub(crate) fn name(&self, violation: &mut Violation, witness: Witness) {
        let get = |list: &Vec<String>, at: u32| list.get(at as usize).cloned();
        if violation.client.is_none() {
            violation.client = get(&self.clients, witness.client);
        }
        let file = get(&self.files, witness.file).unwrap_or_default();
        violation.lines.push(format!("{file}:{}", witness.line));
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("four thousand million names do not fit the memory")
}
