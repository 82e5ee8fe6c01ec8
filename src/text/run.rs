//! The run rule: where several people type at one place, each one's run of text stays together.
//!
//! By default the earlier revision's insert goes left on a tie. A batch that goes on exactly where
//! its session's last insert ended sticks to that run: it goes left of every insert whose author
//! had not yet seen the run.

use crate::text::op::Operation;
use crate::text::position::map_position;
use crate::text::transform::Side;
use crate::types::Revision;

/// Is the end of a session's last run of text, carried along to the newest revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    made: Revision,
    at: u64,
}

impl Run {
    /// Returns the run that ends with the last insert of `op`, the session's revision `made`; none
    /// if it inserts nothing.
    #[must_use]
    pub fn begin(op: &Operation, made: Revision) -> Option<Self> {
        op.last_insert_end().map(|at| Self { made, at })
    }

    /// Returns the session's run after its own revision `made`: a new one if `op` inserts, else
    /// the old one carried through it.
    #[must_use]
    pub fn after(run: Option<Self>, op: &Operation, made: Revision) -> Option<Self> {
        Self::begin(op, made).or_else(|| {
            run.map(|mut run| {
                run.map(op);
                run
            })
        })
    }

    /// Carries the run's end through the next revision, staying left of an insert there.
    pub fn map(&mut self, over: &Operation) {
        self.at = map_position(self.at, over, Side::Left);
    }

    /// Returns the revision whose last insert the run ends with.
    pub fn made(&self) -> Revision {
        self.made
    }

    /// Returns the place right after the run, in the text it was last carried to.
    pub fn at(&self) -> u64 {
        self.at
    }
}

/// Tells what a batch sticks to: the run that it goes on with, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stick(Option<Revision>);

impl Stick {
    /// Returns the stick of a batch that continues no run.
    pub const NONE: Self = Self(None);

    /// Returns what `op` sticks to, where `run` is its session's run at the revision it was made
    /// on.
    #[must_use]
    pub fn of(op: &Operation, run: Option<&Run>) -> Self {
        Self(run.filter(|run| op.first_insert() == Some(run.at)).map(|run| run.made))
    }

    /// Returns the revision whose run is continued.
    pub fn revision(self) -> Option<Revision> {
        self.0
    }

    /// Returns the side on which the batch's inserts go of those of a revision whose author had
    /// seen everything up to `base`.
    #[must_use]
    pub fn side_over(self, base: Revision) -> Side {
        match self.0 {
            Some(made) if base < made => Side::Left,
            Some(_) | None => Side::Right,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(at: u32, text: &str) -> Operation {
        Operation::builder().retain(at).insert(text).build()
    }

    #[test]
    fn a_batch_sticks_where_its_run_ends() {
        let mut run = Run::begin(&insert(3, "😀b"), Revision(7)).unwrap();
        assert_eq!((run.at(), run.made()), (5, Revision(7)));
        run.map(&insert(5, "other"));
        run.map(&insert(0, "xy"));
        assert_eq!(run.at(), 7);
        assert_eq!(Stick::of(&insert(7, "c"), Some(&run)).revision(), Some(Revision(7)));
        for elsewhere in [insert(6, "c"), insert(8, "c"), Operation::identity()] {
            assert_eq!(Stick::of(&elsewhere, Some(&run)), Stick::NONE);
        }
        assert_eq!(Stick::of(&insert(7, "c"), None), Stick::NONE);
    }

    #[test]
    fn only_what_had_not_seen_the_run_goes_right_of_it() {
        let run = Run::begin(&insert(0, "a"), Revision(4));
        let stick = Stick::of(&insert(1, "b"), run.as_ref());
        assert_eq!(stick.side_over(Revision(3)), Side::Left);
        assert_eq!(stick.side_over(Revision(4)), Side::Right);
        assert_eq!(Stick::NONE.side_over(Revision(0)), Side::Right);
    }

    #[test]
    fn a_delete_of_its_own_leaves_the_run_where_it_was() {
        let run = Run::begin(&insert(2, "abc"), Revision(1));
        let backspace = Operation::builder().retain(4).delete(1).build();
        let after = Run::after(run, &backspace, Revision(2)).unwrap();
        assert_eq!((after.at(), after.made()), (4, Revision(1)));
        let after = Run::after(Some(after), &insert(9, "z"), Revision(3)).unwrap();
        assert_eq!((after.at(), after.made()), (10, Revision(3)));
    }
}
