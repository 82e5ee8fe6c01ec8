//! What the issuer of a token gives, and who asks with it. Pure: who somebody is has been found out
//! before.

use crate::access::{Asker, Rights, Subject};
use crate::auth::pattern::Pattern;
use crate::types::DocId;

/// The most grants of one token.
pub const GRANTS_MAX: usize = 64;

/// Is what a token's issuer gives: rights on the documents of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Which documents.
    pub pattern: Pattern,
    /// What may be done with them.
    pub rights: Rights,
}

/// Is who asks: nobody in particular, or a subject whose token was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Somebody without a token.
    Anonymous,
    /// Anybody, on a server that is open.
    Anybody,
    /// A subject, and what its token grants.
    Known {
        /// Who.
        subject: Subject,
        /// At most [`GRANTS_MAX`].
        grants: Vec<Grant>,
    },
}

impl Principal {
    /// Returns what a document has to know of who asks.
    pub fn asks(&self, doc: &DocId) -> Asker {
        match self {
            Self::Anonymous => Asker::default(),
            Self::Anybody => Asker::anything(),
            Self::Known { subject, grants } => {
                let granted = grants.iter().filter(|grant| grant.pattern.matches(doc));
                let granted = granted.fold(Rights::NONE, |sum, grant| sum.and(grant.rights));
                Asker { subject: Some(subject.clone()), granted }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn granted(grants: &[(&str, &str)]) -> Rights {
        let grant = |(pattern, rights): &(&str, &str)| Grant {
            pattern: pattern.parse().expect("a pattern"),
            rights: rights.parse().expect("rights"),
        };
        let grants = grants.iter().map(grant).collect();
        let known = Principal::Known { subject: "eve".parse().expect("a subject"), grants };
        let asker = known.asks(&"acme.notes".parse().expect("an id"));
        assert_eq!(asker.subject, "eve".parse().ok());
        asker.granted
    }

    #[test]
    fn grants_count_for_the_documents_of_their_patterns() {
        for (grants, expected) in [
            (&[][..], ""),
            (&[("other", "admin")], ""),
            (&[("acme.*", "history")], "read,history"),
            (&[("**", "read"), ("acme.notes", "write")], "read,write"),
        ] {
            assert_eq!(granted(grants).to_string(), expected);
        }
        let doc = "x".parse().expect("an id");
        assert_eq!(Principal::Anonymous.asks(&doc), Asker::default());
        assert_eq!(Principal::Anybody.asks(&doc).granted, Rights::ALL);
    }

    proptest! {
        /// More grants never take a right away.
        #[test]
        fn grants_only_add(cut in 0_usize..4) {
            let all =
                [("acme.*", "read"), ("acme.notes", "history"), ("x", "admin"), ("**", "write")];
            let (few, many) = (granted(&all[..cut]), granted(&all));
            prop_assert_eq!(few.and(many), many);
        }
    }
}
