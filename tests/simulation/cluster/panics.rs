//! Counts panics, by thread: tokio keeps that of a task to itself.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Begins to count, in this whole process.
pub(crate) fn count() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
}

/// Returns how many panics there were on this thread.
pub(crate) fn so_far() -> u64 {
    PANICS.get()
}
