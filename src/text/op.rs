//! An operation on a text, always in canonical form, and the builder that brings it there.
//!
//! Canonical form: neighbours of one kind are joined, an insert comes before a delete at one place,
//! nothing is empty, and no retain comes last. Two operations that do the same in the same way are
//! therefore equal.

use smallvec::SmallVec;
use smol_str::{SmolStr, SmolStrBuilder};

use crate::text::chars::chars_of;
use crate::text::error::{Invalid, OutOfBounds};

/// The components of a keystroke (retain, insert, delete) stay inline.
type Components = SmallVec<[Component; 3]>;

/// Is one step of an operation through the text; lengths count Unicode scalar values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// Keeps that many characters.
    Retain(u32),
    /// Puts text in.
    Insert(SmolStr),
    /// Takes that many characters out.
    Delete(u32),
}

/// Rewrites one text into another: components from the start of the text; what follows the last
/// one is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operation {
    components: Components,
}

impl Operation {
    /// Returns the operation that changes nothing.
    pub fn identity() -> Self {
        Self::default()
    }

    /// Returns a builder at the start of the text.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Brings components in any valid form into canonical form.
    ///
    /// # Errors
    /// If a component is empty, or the text before or after would be longer than a `u32` counts.
    pub fn from_components(
        components: impl IntoIterator<Item = Component>,
    ) -> Result<Self, Invalid> {
        let mut builder = Self::builder();
        let (mut before, mut after) = (0u32, 0u32);
        let add = |sum: u32, chars: u32| sum.checked_add(chars).ok_or(Invalid::TooLong);
        for (index, component) in components.into_iter().enumerate() {
            match component {
                Component::Retain(0) => return Err(Invalid::ZeroRetain { index }),
                Component::Delete(0) => return Err(Invalid::ZeroDelete { index }),
                Component::Retain(chars) => {
                    (before, after) = (add(before, chars)?, add(after, chars)?);
                    builder.push_retain(chars);
                }
                Component::Delete(chars) => {
                    before = add(before, chars)?;
                    builder.push_delete(chars);
                }
                Component::Insert(text) => {
                    if text.is_empty() {
                        return Err(Invalid::EmptyInsert { index });
                    }
                    let chars = text.chars().count();
                    after = add(after, u32::try_from(chars).map_err(|_| Invalid::TooLong)?)?;
                    builder.push_insert(&text);
                }
            }
        }
        Ok(builder.build())
    }

    /// Tells whether the operation changes nothing.
    pub fn is_identity(&self) -> bool {
        self.components.is_empty()
    }

    /// Returns the components, in canonical form.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// Returns the length of the shortest text that the operation applies to.
    pub fn base_chars(&self) -> u64 {
        self.sum(|component| match component {
            Component::Retain(chars) | Component::Delete(chars) => u64::from(*chars),
            Component::Insert(_) => 0,
        })
    }

    /// Returns how many characters are put in.
    pub fn inserted_chars(&self) -> u64 {
        self.sum(|component| match component {
            Component::Insert(text) => u64::from(chars_of(text)),
            Component::Retain(_) | Component::Delete(_) => 0,
        })
    }

    /// Returns how many characters are taken out.
    pub fn deleted_chars(&self) -> u64 {
        self.sum(|component| match component {
            Component::Delete(chars) => u64::from(*chars),
            Component::Retain(_) | Component::Insert(_) => 0,
        })
    }

    /// Returns how long a text of `base_chars` characters is after the operation.
    ///
    /// # Errors
    /// If the operation reaches past the end of such a text.
    pub fn chars_after(&self, base_chars: u64) -> Result<u64, OutOfBounds> {
        let (mut needs, mut after) = (0u64, base_chars);
        for component in &self.components {
            match component {
                Component::Retain(chars) => needs += u64::from(*chars),
                Component::Insert(text) => after += u64::from(chars_of(text)),
                Component::Delete(chars) => {
                    needs += u64::from(*chars);
                    after = after.saturating_sub(u64::from(*chars));
                }
            }
        }
        if needs <= base_chars { Ok(after) } else { Err(OutOfBounds { needs, has: base_chars }) }
    }

    /// Returns where in the base text the first insert is, if there is one.
    pub fn first_insert(&self) -> Option<u64> {
        let mut at = 0;
        for component in &self.components {
            match component {
                Component::Retain(chars) | Component::Delete(chars) => at += u64::from(*chars),
                Component::Insert(_) => return Some(at),
            }
        }
        None
    }

    /// Returns the place in the resulting text right after the last insert, if there is one.
    pub fn last_insert_end(&self) -> Option<u64> {
        let mut at = 0;
        let mut end = None;
        for component in &self.components {
            match component {
                Component::Retain(chars) => at += u64::from(*chars),
                Component::Insert(text) => {
                    at += u64::from(chars_of(text));
                    end = Some(at);
                }
                Component::Delete(_) => {}
            }
        }
        end
    }

    fn sum(&self, chars: impl Fn(&Component) -> u64) -> u64 {
        self.components.iter().map(chars).sum()
    }
}

/// Collects components in any order and joins them into canonical form.
///
/// Lengths over `u32::MAX` saturate: such an operation is out of bounds of every text.
#[derive(Debug, Default)]
pub struct Builder {
    done: Components,
    /// What is open: one retain, then one insert and one delete at the place after it.
    retained: u32,
    inserted: Text,
    deleted: u32,
}

impl Builder {
    /// Keeps the next `chars` characters.
    #[must_use]
    pub fn retain(mut self, chars: u32) -> Self {
        self.push_retain(chars);
        self
    }

    /// Puts `text` in here.
    #[must_use]
    pub fn insert(mut self, text: &str) -> Self {
        self.push_insert(&SmolStr::new(text));
        self
    }

    /// Takes the next `chars` characters out.
    #[must_use]
    pub fn delete(mut self, chars: u32) -> Self {
        self.push_delete(chars);
        self
    }

    /// Returns the operation.
    #[must_use]
    pub fn build(mut self) -> Operation {
        self.close();
        Operation { components: self.done }
    }

    pub(in crate::text) fn push_retain(&mut self, chars: u32) {
        if chars == 0 {
            return;
        }
        if self.deleted > 0 || !self.inserted.is_empty() {
            self.close();
        }
        self.retained = self.retained.saturating_add(chars);
    }

    pub(in crate::text) fn push_delete(&mut self, chars: u32) {
        self.deleted = self.deleted.saturating_add(chars);
    }

    /// Appends a whole insert; a long one is shared, not copied, as long as it stays alone.
    pub(in crate::text) fn push_insert(&mut self, text: &SmolStr) {
        if self.inserted.is_empty() {
            self.inserted = Text::Whole(text.clone());
        } else {
            self.inserted.join(text);
        }
    }

    /// Appends a part of an insert.
    pub(in crate::text) fn push_part(&mut self, text: &str) {
        if self.inserted.is_empty() {
            self.inserted = Text::Whole(SmolStr::new(text));
        } else {
            self.inserted.join(text);
        }
    }

    pub(in crate::text) fn push(&mut self, component: &Component) {
        match component {
            Component::Retain(chars) => self.push_retain(*chars),
            Component::Insert(text) => self.push_insert(text),
            Component::Delete(chars) => self.push_delete(*chars),
        }
    }

    /// Writes out what is open; a retain stays open until something follows it.
    fn close(&mut self) {
        if self.deleted == 0 && self.inserted.is_empty() {
            return;
        }
        if self.retained > 0 {
            self.done.push(Component::Retain(self.retained));
            self.retained = 0;
        }
        if !self.inserted.is_empty() {
            self.done.push(Component::Insert(std::mem::take(&mut self.inserted).finish()));
        }
        if self.deleted > 0 {
            self.done.push(Component::Delete(self.deleted));
            self.deleted = 0;
        }
    }
}

/// The text of an open insert.
#[derive(Debug)]
enum Text {
    /// One string, or none if it is empty.
    Whole(SmolStr),
    /// Several strings, written one after the other.
    Joined(SmolStrBuilder),
}

impl Default for Text {
    fn default() -> Self {
        Self::Whole(SmolStr::default())
    }
}

impl Text {
    fn is_empty(&self) -> bool {
        match self {
            Self::Whole(text) => text.is_empty(),
            Self::Joined(_) => false,
        }
    }

    fn join(&mut self, text: &str) {
        match self {
            Self::Whole(first) => {
                let mut joined = SmolStrBuilder::with_capacity(first.len() + text.len());
                joined.push_str(first);
                joined.push_str(text);
                *self = Self::Joined(joined);
            }
            Self::Joined(joined) => joined.push_str(text),
        }
    }

    fn finish(self) -> SmolStr {
        match self {
            Self::Whole(text) => text,
            Self::Joined(joined) => joined.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(text: &str) -> Component {
        Component::Insert(SmolStr::new(text))
    }

    #[test]
    fn any_valid_form_becomes_canonical() {
        use Component::{Delete, Retain};
        let check = |given: &[Component], canonical: &[Component]| {
            let op = Operation::from_components(given.iter().cloned()).expect("valid");
            assert_eq!(op.components(), canonical, "{given:?}");
        };
        check(&[], &[]);
        check(&[Retain(3)], &[]);
        check(&[Retain(1), Retain(2), Delete(1)], &[Retain(3), Delete(1)]);
        check(&[Delete(1), insert("a"), Delete(2)], &[insert("a"), Delete(3)]);
        check(&[insert("a"), insert("b"), Retain(9)], &[insert("ab")]);
        check(
            &[Delete(1), insert("é"), Retain(1), Delete(1), insert("😀"), insert("x"), Retain(1)],
            &[insert("é"), Delete(1), Retain(1), insert("😀x"), Delete(1)],
        );
        let long = "0123456789".repeat(5);
        check(&[insert(&long), insert("x"), insert("y")], &[insert(&format!("{long}xy"))]);
    }

    #[test]
    fn invalid_components_are_refused() {
        use Component::{Delete, Retain};
        let check = |given: Vec<Component>, why: Invalid| {
            assert_eq!(Operation::from_components(given), Err(why));
        };
        check(vec![Retain(0)], Invalid::ZeroRetain { index: 0 });
        check(vec![Retain(1), Delete(0)], Invalid::ZeroDelete { index: 1 });
        check(vec![Retain(1), insert("")], Invalid::EmptyInsert { index: 1 });
        check(vec![Retain(u32::MAX), Delete(1)], Invalid::TooLong);
        check(vec![Delete(u32::MAX), Delete(1)], Invalid::TooLong);
        check(vec![Retain(u32::MAX), insert("a")], Invalid::TooLong);
    }

    #[test]
    fn an_operation_knows_its_lengths_and_places() {
        let op = Operation::builder().retain(2).insert("é😀").delete(3).retain(1).insert("x");
        let op = op.build();
        assert_eq!(op.base_chars(), 6);
        assert_eq!(op.inserted_chars(), 3);
        assert_eq!(op.deleted_chars(), 3);
        assert_eq!(op.chars_after(6), Ok(6));
        assert_eq!(op.chars_after(5), Err(OutOfBounds { needs: 6, has: 5 }));
        assert_eq!(op.first_insert(), Some(2));
        assert_eq!(op.last_insert_end(), Some(6));
        let delete = Operation::builder().retain(1).delete(1).build();
        assert_eq!((delete.first_insert(), delete.last_insert_end()), (None, None));
    }

    #[test]
    fn sums_that_no_text_has_saturate() {
        let op = Operation::builder().retain(u32::MAX).retain(7).delete(1).build();
        assert_eq!(op.components()[0], Component::Retain(u32::MAX));
    }

    #[test]
    fn components_stay_small() {
        assert_eq!(size_of::<Component>(), 24);
        assert!(size_of::<Operation>() <= 88, "{}", size_of::<Operation>());
    }
}
