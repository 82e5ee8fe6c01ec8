//! Who may do what with a document, as the document says it.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use crate::access::{Access, Fingerprint, Right, Rights, Subject, Visibility};
use crate::doc::Write;
use crate::edge::api::Answer;
use crate::edge::extract::{Asked, Body, Doc, Fresh, Nothing};
use crate::edge::model::{Named, RightsBody};
use crate::edge::problem::Problem;
use crate::edge::validator::{Expected, Validator};

/// Returns who may do what, as the document says it.
///
/// What the tokens of those who ask grant comes on top of that.
#[utoipa::path(
    get, path = "/v1/docs/{doc}/rights", tag = "rights",
    params(Named, ("If-None-Match" = Option<String>, Header,
        description = "The `ETag` of what the client has")),
    responses(
        (status = 200, description = "Owner, members, and whether all may read",
            body = RightsBody, headers(("ETag" = String, description = "Stands for them"))),
        (status = 304, description = "The client has it"),
    )
)]
pub(crate) async fn read(doc: Doc, headers: HeaderMap, _: Asked<Nothing>) -> Answer<Response> {
    doc.existing(Right::Admin).await?;
    let access = doc.access().await?;
    let validator = validator(&access);
    if validator.is_had(&headers) { Ok(validator.not_modified()) } else { Ok(told(&access)) }
}

/// Says who may do what.
///
/// It takes the place of all that was said before; with `If-Match`, only if that is still what was
/// seen, or is what is wanted already. What changes does so one by one, with nothing between, and
/// at last what whoever asks may do: where no answer comes, a part of it may be done.
#[utoipa::path(
    put, path = "/v1/docs/{doc}/rights", tag = "rights",
    params(Named, ("If-Match" = Option<String>, Header,
        description = "The `ETag` of what is to be replaced")),
    request_body = RightsBody,
    responses((status = 200, description = "What holds now", body = RightsBody,
        headers(("ETag" = String, description = "Stands for it"))))
)]
pub(crate) async fn change(
    doc: Doc,
    headers: HeaderMap,
    _: Asked<Nothing>,
    Body(wanted): Body<RightsBody>,
) -> Answer<Response> {
    let wanted = access(wanted)?;
    let seen = |tag: &[u8]| Validator::hash_in(tag).map(Fingerprint);
    let expected = match Expected::read(&headers, seen) {
        // A document that is not there takes no rights anyway.
        Expected::Anything | Expected::Existing => None,
        Expected::OneOf(seen) => Some(seen),
    };
    let author = doc.author("")?;
    doc.write(Write::Grant { author, wanted: wanted.clone(), expected }).await?;
    // Whoever asks may have taken the right to see it from themselves.
    Ok(told(&wanted))
}

fn told(access: &Access) -> Response {
    ([(header::ETAG, validator(access).value())], Fresh(body(access))).into_response()
}

fn validator(access: &Access) -> Validator {
    Validator::of_hash(access.fingerprint().0)
}

fn body(access: &Access) -> RightsBody {
    let names = |rights: Rights| {
        let has = Right::ALL.into_iter().filter(move |right| rights.has(*right));
        has.map(Into::into).collect()
    };
    let members = access.members().iter();
    RightsBody {
        owner: access.owner.as_ref().map(Subject::to_string),
        public: access.visibility == Visibility::Public,
        members: members.map(|(member, rights)| (member.to_string(), names(*rights))).collect(),
    }
}

fn access(wanted: RightsBody) -> Result<Access, Problem> {
    let subject = |name: &str| -> Result<Subject, Problem> {
        name.parse().map_err(|bad: crate::access::BadSubject| {
            Problem::unfit("bad-subject", &bad.to_string())
        })
    };
    let mut access = Access::default();
    access.owner = wanted.owner.as_deref().map(subject).transpose()?;
    access.visibility = if wanted.public { Visibility::Public } else { Visibility::Private };
    for (member, names) in wanted.members {
        let rights = names.into_iter().map(Right::from).collect();
        let admitted = access.admit(subject(&member)?, rights);
        admitted.map_err(|full| Problem::unfit("too-many-members", &full.to_string()))?;
    }
    Ok(access)
}
