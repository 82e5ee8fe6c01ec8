//! What each field of a client's message must be: the words of the refusals of both decoders.

use crate::text::Invalid;
use crate::wire::{ErrorCode, Refusal};

/// A field of a client's message.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its key in JSON.
    pub(crate) key: &'static str,
    /// Its place in the message.
    pub(crate) path: &'static str,
    /// What it must be, after "must be".
    pub(crate) must: &'static str,
    /// What it is refused with.
    pub(crate) code: ErrorCode,
}

const fn field(path: &'static str, must: &'static str) -> Field {
    Field { key: path, path, must, code: ErrorCode::BadFrame }
}

const COUNT: &str = "a whole number from 0 to 9007199254740991";

/// Stands for the message itself.
pub(crate) const FRAME: Field = field("frame", "one message");
pub(crate) const TAG: Field = field("t", "hello, op, cursor or ping");
pub(crate) const V: Field = field("v", "a whole number");
pub(crate) const SESSION: Field = field("session", "32 lower-case hex digits");
pub(crate) const REV: Field = field("rev", COUNT);
pub(crate) const MODE: Field = field("mode", "edit or view");
pub(crate) const ORDERED: Field = field("ordered", "true or false");
pub(crate) const USER: Field = field("user", "a name and a color");
pub(crate) const USER_NAME: Field = Field {
    key: "name",
    path: "user.name",
    must: "a string of at most 64 bytes without control characters",
    code: ErrorCode::BadFrame,
};
pub(crate) const USER_COLOR: Field = Field {
    key: "color",
    path: "user.color",
    must: "a color as #rrggbb",
    code: ErrorCode::BadFrame,
};
pub(crate) const SEQ: Field = field("seq", "a whole number from 1 to 9007199254740991");
pub(crate) const BASE: Field = field("base", COUNT);
pub(crate) const OP: Field = Field {
    key: "op",
    path: "op",
    must: "a list of whole numbers from 1 to 4294967295, strings that are not empty, and \
           {\"d\": number}",
    code: ErrorCode::BadOp,
};
pub(crate) const SEL: Field = field("sel", "two positions or null");
pub(crate) const N: Field = field("n", COUNT);

impl Field {
    /// Refuses the field for not being what it must be.
    pub(crate) fn refusal(&self) -> Refusal {
        Refusal::new(self.code, format!("{} must be {}", self.path, self.must))
    }

    /// Refuses the field for another reason.
    pub(crate) fn because(&self, why: &str) -> Refusal {
        Refusal::new(self.code, format!("{} {why}", self.path))
    }

    /// Refuses the message for having the field more than once.
    pub(crate) fn twice(&self) -> Refusal {
        Refusal::new(ErrorCode::BadFrame, format!("{} stands twice", self.path))
    }

    /// Refuses the message for lacking the field.
    pub(crate) fn missing(&self) -> Refusal {
        Refusal::new(ErrorCode::BadFrame, format!("{} is missing", self.path))
    }
}

/// Refuses an operation as a whole.
pub(crate) fn bad_op(invalid: Invalid) -> Refusal {
    OP.because(&format!("is refused: {invalid}"))
}

/// Refuses a component of an operation by its index.
pub(crate) fn bad_component(index: usize, why: &str) -> Refusal {
    Refusal::new(ErrorCode::BadOp, format!("op[{index}] {why}"))
}

/// What every component must be.
pub(crate) const COMPONENT: &str = "must be a whole number from 1 to 4294967295, a string that is \
                                    not empty, or {\"d\": such a number}";

/// Refuses an operation for its number of components.
pub(crate) fn too_many_components(max: usize) -> Refusal {
    let why = format!("op has at most {max} components: send it in parts");
    Refusal::new(ErrorCode::TooLarge, why)
}

/// Refuses an operation for the length of its inserted text.
pub(crate) fn too_much_text(max: usize) -> Refusal {
    let why = format!("op inserts at most {max} bytes of text: send it in parts");
    Refusal::new(ErrorCode::TooLarge, why)
}

/// Refuses a version other than ours.
pub(crate) fn bad_version() -> Refusal {
    Refusal::new(ErrorCode::Version, "v must be 1: this server speaks no other version")
}
