//! The bodies of the HTTP API, version 1; the only edge types that derive serde. What is written
//! here about a field is what docs/openapi.json says of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::schema::{AdditionalProperties, Type};
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::access::Right;
use crate::types::Revision;
use crate::wire::NUMBER_MAX;

/// What went wrong, and what to do next (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Always `about:blank`: `code` tells one problem from another.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The status, in words.
    pub(crate) title: &'static str,
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    pub(crate) status: u16,
    /// A word for programs, which stays the same.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) detail: &'a str,
}

/// A revision as it is asked for: a whole number that JSON of every language has, also as `7.0`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rev(pub(crate) Revision);

impl<'de> Deserialize<'de> for Rev {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_u64(Whole { most: NUMBER_MAX }).map(|number| Self(Revision(number)))
    }
}

/// Reads whole numbers.
struct Whole {
    most: u64,
}

impl Visitor<'_> for Whole {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number up to {}", self.most)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        let other = de::Unexpected::Unsigned(number);
        if number <= self.most { Ok(number) } else { Err(E::invalid_value(other, &self)) }
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
        if number.fract() == 0.0 && (0.0..=NUMBER_MAX as f64).contains(&number) {
            return self.visit_u64(number as u64);
        }
        Err(E::invalid_value(de::Unexpected::Float(number), &self))
    }
}

/// Which document is meant.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes what the extractor of documents reads")]
pub(crate) struct Named {
    /// The document's id.
    #[param(
        min_length = 1,
        max_length = 128,
        pattern = "^([A-Za-z0-9._~-]*[A-Za-z0-9_~-][A-Za-z0-9._~-]*|[.]{3,})$"
    )]
    doc: String,
}

/// Which revision is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AtRev {
    /// This revision instead of the newest.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9007199254740991_usize)]
    pub(crate) rev: Option<Rev>,
}

/// Which revisions are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Listing {
    /// The first revision; `next` of the page before.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9007199254740991_usize)]
    pub(crate) from: Option<Rev>,
    /// How many at most; 100 where nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<u32>,
}

/// Which of the named versions are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Pieces {
    /// The first one, counted from 0; `next` of the page before.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 4294967295_usize)]
    pub(crate) from: Option<u32>,
    /// How many at most; 100 where nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<u32>,
}

/// Which pieces of a text are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Blaming {
    /// The text at this revision instead of the newest.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9007199254740991_usize)]
    pub(crate) rev: Option<Rev>,
    /// The first piece, counted from 0; `next` of the page before, of the same `rev`.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 4294967295_usize)]
    pub(crate) from: Option<u32>,
    /// How many pieces at most; 1,000 where nothing is said.
    #[param(minimum = 1, maximum = 10000)]
    pub(crate) limit: Option<u32>,
}

/// Between which revisions, and which pieces of that.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Between {
    /// The earlier revision.
    #[param(value_type = u64, minimum = 0, maximum = 9007199254740991_usize)]
    pub(crate) from: Rev,
    /// The later revision instead of the newest.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9007199254740991_usize)]
    pub(crate) to: Option<Rev>,
    /// The first piece, counted from 0; `next` of the page before, of the same revisions.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 4294967295_usize)]
    pub(crate) piece: Option<u32>,
    /// How many pieces at most; 1,000 where nothing is said.
    #[param(minimum = 1, maximum = 10000)]
    pub(crate) limit: Option<u32>,
}

/// What is exported.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Exporting {
    /// In which form; `text` where nothing is said.
    pub(crate) format: Option<Format>,
    /// At this revision instead of the newest.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9007199254740991_usize)]
    pub(crate) rev: Option<Rev>,
    /// The first revision of the history, for `json` only: `next` of the page before, which is the
    /// one that has the text.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9007199254740991_usize)]
    pub(crate) from: Option<Rev>,
    /// How many revisions of the history at most, for `json` only; 1,000 where nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<u32>,
}

/// In which form a document is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// The text.
    Text,
    /// The text, as a Markdown file.
    Markdown,
    /// Text, named versions and history, in pages.
    Json,
}

/// A document's text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Text {
    /// The document's id.
    pub(crate) doc: String,
    /// The revision of the text.
    pub(crate) rev: u64,
    /// The newest revision.
    pub(crate) head: u64,
    /// The text.
    pub(crate) text: String,
}

/// A page of the history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History {
    /// The newest revision.
    pub(crate) head: u64,
    /// The revisions, rising.
    pub(crate) revisions: Vec<RevisionRow>,
    /// All named versions.
    pub(crate) versions: Vec<VersionRow>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<u64>,
}

/// One revision.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevisionRow {
    /// Its number.
    pub(crate) rev: u64,
    /// Who wrote it.
    pub(crate) author: String,
    /// When, to the second.
    #[schema(format = DateTime)]
    pub(crate) at: String,
    /// The public id of the session that wrote it.
    #[schema(value_type = u64)]
    pub(crate) participant: u32,
    /// The revision that its author had.
    pub(crate) base: u64,
    /// How many characters it inserts.
    pub(crate) inserted: u64,
    /// How many characters it deletes.
    pub(crate) deleted: u64,
}

/// A page of the named versions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Versions {
    /// The versions, in the order in which they got their names.
    pub(crate) versions: Vec<VersionRow>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<u64>,
}

/// One named version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionRow {
    /// Its name.
    pub(crate) name: String,
    /// The revision.
    pub(crate) rev: u64,
    /// Who named it.
    pub(crate) author: String,
    /// When.
    #[schema(format = DateTime)]
    pub(crate) at: String,
}

/// Who wrote what: a page of pieces, which together are the text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BlameBody {
    /// The revision of the text.
    pub(crate) rev: u64,
    /// The pieces.
    pub(crate) spans: Vec<Span>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<u64>,
}

/// A piece of text by one revision; nobody is known for text from before a cut.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Span {
    /// The text.
    pub(crate) text: String,
    /// The revision that wrote it.
    pub(crate) rev: Option<u64>,
    /// Who wrote it.
    pub(crate) author: Option<String>,
    /// When.
    #[schema(format = DateTime)]
    pub(crate) at: Option<String>,
}

/// What changed: a page of pieces, which together are both texts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Difference {
    /// The earlier revision.
    pub(crate) from: u64,
    /// The later one.
    pub(crate) to: u64,
    /// The pieces.
    pub(crate) hunks: Vec<HunkRow>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<u64>,
}

/// A piece of a difference.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HunkRow {
    /// On which side it is.
    #[schema(value_type = Side)]
    pub(crate) kind: &'static str,
    /// The text.
    pub(crate) text: String,
}

/// On which side a piece of a difference is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "it names what the rows say")]
pub(crate) enum Side {
    /// On both.
    Same,
    /// On the later one only.
    Inserted,
    /// On the earlier one only.
    Deleted,
}

/// A page of an export: text and versions are in the first one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Export {
    /// The document's id.
    pub(crate) doc: String,
    /// The revision of the text.
    pub(crate) rev: u64,
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) text: Option<String>,
    /// All named versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) versions: Option<Vec<VersionRow>>,
    /// Revisions up to that of the text, rising.
    pub(crate) revisions: Vec<RevisionRow>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<u64>,
}

/// A document to be created.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    /// What is in it.
    #[serde(default)]
    pub(crate) text: String,
    /// Who writes, where no token says it.
    #[serde(default)]
    #[schema(max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub(crate) author: String,
}

/// A whole text to be imported.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Import {
    /// The text.
    pub(crate) text: String,
    /// Who writes, where no token says it.
    #[serde(default)]
    #[schema(max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub(crate) author: String,
}

/// An operation on the text at a revision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Apply {
    /// The revision whose text the operation is for.
    #[schema(value_type = u64, minimum = 0, maximum = 9007199254740991_usize)]
    pub(crate) base: Rev,
    /// The operation, as docs/PROTOCOL.md has it: from the beginning of the text on.
    #[schema(max_items = 65536)]
    pub(crate) op: Vec<Part>,
    /// Who writes, where no token says it.
    #[serde(default)]
    #[schema(max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub(crate) author: String,
}

/// A component of an operation.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a component is a number from 1, a string, or {\"d\": number}")]
pub(crate) enum Part {
    /// Keeps that many characters.
    Retain(Count),
    /// Puts text in.
    Insert(String),
    /// Takes characters out.
    Delete(Deletion),
}

/// Takes characters out: an object with one key, and nothing else that stands for one.
#[derive(Debug, Deserialize)]
pub(crate) enum Deletion {
    /// So many.
    #[serde(rename = "d")]
    Chars(Count),
}

/// A number of characters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count(pub(crate) u32);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = from.deserialize_f64(Whole { most: u32::MAX.into() })?;
        Ok(Self(u32::try_from(number).expect("it is at most that")))
    }
}

impl PartialSchema for Part {
    fn schema() -> RefOr<Schema> {
        let count = |what: &str| {
            let count = ObjectBuilder::new().schema_type(Type::Integer).description(Some(what));
            count.minimum(Some(1)).maximum(Some(u32::MAX))
        };
        let insert = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
        let delete = ObjectBuilder::new()
            .property("d", count("How many"))
            .required("d")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .description(Some("Takes characters out"));
        let one_of = OneOfBuilder::new().description(Some("A component of an operation"));
        let one_of = one_of.item(count("Keeps that many characters"));
        one_of.item(insert.description(Some("Puts text in"))).item(delete).into()
    }
}

impl ToSchema for Part {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Part")
    }
}

/// A revision to go back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restore {
    /// The revision whose text becomes the newest.
    #[schema(value_type = u64, minimum = 0, maximum = 9007199254740991_usize)]
    pub(crate) rev: Rev,
    /// Who writes, where no token says it.
    #[serde(default)]
    #[schema(max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub(crate) author: String,
}

/// A version to be named.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameVersion {
    /// Its name: 1 to 128 bytes without control characters. A name that there is already moves.
    #[schema(min_length = 1, max_length = 128, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub(crate) name: String,
    /// This revision instead of the newest.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 9007199254740991_usize)]
    pub(crate) rev: Option<Rev>,
    /// Who names it, where no token says it.
    #[serde(default)]
    #[schema(max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub(crate) author: String,
}

/// History to be removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cut {
    /// The first revision that is kept.
    #[schema(value_type = u64, minimum = 0, maximum = 9007199254740991_usize)]
    pub(crate) before: Rev,
    /// Who does it, where no token says it.
    #[serde(default)]
    #[schema(max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub(crate) author: String,
}

/// Who asks, where nothing else is said.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct By {
    /// Who does it, where no token says it.
    #[serde(default)]
    #[schema(max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub(crate) author: String,
}

/// What a change made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    /// The revision that it became, or the newest one where it takes none.
    pub(crate) rev: u64,
}

/// Where the history begins after a cut.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CutBody {
    /// The oldest revision that can be read.
    pub(crate) base: u64,
}

/// What a verification found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerifyBody {
    /// The revision that was verified.
    pub(crate) rev: u64,
    /// The hash of its text.
    pub(crate) text_hash: String,
    /// The newest checkpoint's revision, if there is one.
    pub(crate) checkpoint_rev: Option<u64>,
    /// How many revisions were replayed.
    pub(crate) replayed: u64,
    /// Whether everything agrees.
    pub(crate) equal: bool,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedIn {
    /// Whether everybody may do everything, and nobody has to sign in.
    pub(crate) open: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Until when, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<String>,
    /// For how long it may go unused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle_seconds: Option<u64>,
}

/// What opens one socket.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ticket {
    pub(crate) ticket: String,
    /// For how long, in seconds.
    pub(crate) expires_in: u64,
}

/// Who may do what with a document, as the document says it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RightsBody {
    /// The subject who may do everything, if there is one.
    #[schema(required, min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) owner: Option<String>,
    /// Whether all may read the newest text, without a token.
    pub(crate) public: bool,
    /// Subjects and their rights, 1,000 at most.
    pub(crate) members: BTreeMap<String, Vec<RightName>>,
}

/// One thing that may be done: `write` and `history` contain `read`, `admin` contains all.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RightName {
    /// See the newest text.
    Read,
    /// Change the text.
    Write,
    /// See earlier texts, and who wrote what.
    History,
    /// Change who may do what, delete, cut.
    Admin,
}

impl From<Right> for RightName {
    fn from(right: Right) -> Self {
        match right {
            Right::Read => Self::Read,
            Right::Write => Self::Write,
            Right::History => Self::History,
            Right::Admin => Self::Admin,
        }
    }
}

impl From<RightName> for Right {
    fn from(name: RightName) -> Self {
        match name {
            RightName::Read => Self::Read,
            RightName::Write => Self::Write,
            RightName::History => Self::History,
            RightName::Admin => Self::Admin,
        }
    }
}
