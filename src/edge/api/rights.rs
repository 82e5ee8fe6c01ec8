//! Who may do what with a document, as the document says it.

use futures_util::future::try_join_all;

use crate::access::{Access, AccessChange, Right, Rights, Subject, Visibility};
use crate::doc::EventKind;
use crate::edge::api::Answer;
use crate::edge::extract::{Asked, Body, Doc, Fresh, Nothing};
use crate::edge::model::{Named, RightsBody};
use crate::edge::problem::Problem;

/// Returns who may do what, as the document says it.
///
/// What the tokens of those who ask grant comes on top of that.
#[utoipa::path(
    get, path = "/v1/docs/{doc}/rights", tag = "rights", params(Named),
    responses((status = 200, description = "Owner, members, and whether all may read",
        body = RightsBody))
)]
pub(crate) async fn read(doc: Doc, _: Asked<Nothing>) -> Answer<Fresh<RightsBody>> {
    doc.existing(Right::Admin).await?;
    Ok(Fresh(body(&doc.access().await?)))
}

/// Says who may do what.
///
/// It takes the place of all that was said before. What changes does so one by one, at last what
/// whoever asks may do: where the answer is a problem, a part of it may be done.
#[utoipa::path(
    put, path = "/v1/docs/{doc}/rights", tag = "rights", params(Named),
    request_body = RightsBody,
    responses((status = 200, description = "What holds now", body = RightsBody))
)]
pub(crate) async fn change(
    doc: Doc,
    _: Asked<Nothing>,
    Body(wanted): Body<RightsBody>,
) -> Answer<Fresh<RightsBody>> {
    let wanted = access(wanted)?;
    doc.existing(Right::Admin).await?;
    let before = doc.access().await?;
    let author = doc.author("")?;
    for step in steps(changes(&before, &wanted), before.owner.as_ref(), doc.subject()) {
        let events = step
            .into_iter()
            .map(|change| doc.event(author.clone(), EventKind::AccessChanged(change)));
        try_join_all(events).await?;
    }
    // Whoever asks may have taken the right to see it from themselves.
    Ok(Fresh(body(&wanted)))
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

/// Returns what makes one of the other; who goes comes before those who come, for there to be room.
fn changes(before: &Access, wanted: &Access) -> Vec<AccessChange> {
    let gone = before.members().keys().filter(|member| !wanted.members().contains_key(*member));
    let mut changes: Vec<_> =
        gone.map(|member| AccessChange::Member(member.clone(), Rights::NONE)).collect();
    let other =
        wanted.members().iter().filter(|(it, rights)| before.members().get(*it) != Some(*rights));
    changes.extend(other.map(|(member, rights)| AccessChange::Member(member.clone(), *rights)));
    if before.visibility != wanted.visibility {
        changes.push(AccessChange::Visibility(wanted.visibility));
    }
    if before.owner != wanted.owner {
        changes.push(AccessChange::Owner(wanted.owner.clone()));
    }
    changes
}

/// Puts at the end what may take the right to change anything from whoever asks: the membership,
/// and then the ownership.
fn steps(
    changes: Vec<AccessChange>,
    owner: Option<&Subject>,
    asks: Option<&Subject>,
) -> [Vec<AccessChange>; 3] {
    let mut steps = [const { Vec::new() }; 3];
    for change in changes {
        let at = match &change {
            AccessChange::Owner(_) if asks.is_some() && owner == asks => 2,
            AccessChange::Member(member, _) if Some(member) == asks => 1,
            AccessChange::Owner(_) | AccessChange::Visibility(_) | AccessChange::Member(..) => 0,
        };
        steps[at].push(change);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str) -> Subject {
        name.parse().unwrap()
    }

    fn of(owner: &str, members: &[(&str, &str)]) -> Access {
        let mut access = Access::default();
        access.owner = owner.parse().ok();
        for (member, rights) in members {
            access.admit(subject(member), rights.parse().unwrap()).unwrap();
        }
        access
    }

    #[test]
    fn only_what_differs_changes_and_oneself_last() {
        let before = of("olga", &[("anna", "admin"), ("bob", "read"), ("cleo", "write")]);
        let mut wanted = of("anna", &[("bob", "write"), ("cleo", "write"), ("dan", "read")]);
        wanted.visibility = Visibility::Public;
        let all = changes(&before, &wanted);
        let mut made = before.clone();
        all.iter().for_each(|change| made.apply(change).unwrap());
        assert_eq!(made, wanted);
        assert_eq!(all.len(), 5, "{all:?}");
        assert_eq!(changes(&wanted, &wanted), []);
        let [first, then, last] = steps(all.clone(), before.owner.as_ref(), Some(&subject("anna")));
        assert_eq!((first.len(), last.len()), (4, 0), "{first:?}");
        assert_eq!(then, [AccessChange::Member(subject("anna"), Rights::NONE)]);
        let [_, _, last] = steps(all.clone(), before.owner.as_ref(), before.owner.as_ref());
        assert_eq!(last, [AccessChange::Owner(wanted.owner.clone())]);
        let [first, then, last] = steps(all, None, None);
        assert_eq!((first.len(), then.len(), last.len()), (5, 0, 0));
    }
}
