//! What can be wrong with an operation that comes from elsewhere.

/// Tells that an operation reaches past the end of the text it is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operation needs a text of at least {needs} characters, this one has {has}")]
pub struct OutOfBounds {
    /// The length of the shortest text the operation applies to.
    pub needs: u64,
    /// The length of the text it met.
    pub has: u64,
}

/// Tells why a list of components is no operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A retain of no characters.
    #[error("component {index} retains 0 characters, leave it out")]
    ZeroRetain {
        /// Which component, from 0.
        index: usize,
    },
    /// A delete of no characters.
    #[error("component {index} deletes 0 characters, leave it out")]
    ZeroDelete {
        /// Which component, from 0.
        index: usize,
    },
    /// An insert of the empty string.
    #[error("component {index} inserts the empty string, leave it out")]
    EmptyInsert {
        /// Which component, from 0.
        index: usize,
    },
    /// More characters before or after the operation than a `u32` counts.
    #[error("the operation spans more than {} characters, split it", u32::MAX)]
    TooLong,
}
