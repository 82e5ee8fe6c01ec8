//! What makes a request that comes twice count once: its idempotency key becomes the id of a
//! session, and a document takes a session's batch once, on every node and after every crash.
//!
//! The id is an HMAC under a key of the cluster, of who asks, the document and the key, so that
//! nobody who guesses another one's key can be in the way of it. While the cluster's secret is
//! being replaced the previous one is used, which all nodes have until all have the new one.

use ring::hmac;

use crate::access::Subject;
use crate::auth::secret::Secret;
use crate::types::{DocId, SessionId};

/// Turns idempotency keys into sessions.
#[derive(Debug, Clone)]
pub struct Repeats(hmac::Key);

impl Repeats {
    /// Returns what does so under the cluster's secret.
    pub fn new(current: &Secret, previous: Option<&Secret>) -> Self {
        Self::of(&previous.unwrap_or(current).derive("idempotency 1"))
    }

    /// Returns what does so where everybody may do everything: there is no secret to be kept.
    pub fn open() -> Self {
        Self::of(&[0; 32])
    }

    fn of(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Returns the session of a request.
    pub fn session(&self, subject: Option<&Subject>, doc: &DocId, key: &str) -> SessionId {
        let mut tag = hmac::Context::with_key(&self.0);
        // None of the parts holds a 0; nobody is told from whoever has a name.
        let subject = subject.map_or("", Subject::as_str);
        for part in [subject, doc.as_str(), key] {
            tag.update(part.as_bytes());
            tag.update(&[0]);
        }
        let tag = tag.sign();
        let (id, _) = tag.as_ref().split_first_chunk().expect("a tag has 32 bytes");
        SessionId(*id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(repeats: &Repeats, subject: &str, doc: &str, key: &str) -> String {
        let doc: DocId = doc.parse().unwrap();
        repeats.session(subject.parse().ok().as_ref(), &doc, key).to_hex()
    }

    /// It is in logs and checkpoints: another version has to find it there.
    #[test]
    fn a_key_stands_for_the_same_session_for_ever() {
        let secret = Secret::read(&b"s".repeat(32)).unwrap();
        let repeats = Repeats::new(&secret, None);
        assert_eq!(of(&repeats, "anna", "a", "1"), "261e24a1a05882c6669ee64abbdf7e34");
        assert_eq!(of(&Repeats::open(), "", "a", "1"), "92200bbd2c958f05e0ee207025dacf58");
    }

    #[test]
    fn whoever_and_whatever_differs_has_another_session() {
        let [one, two] = [b"a".repeat(32), b"b".repeat(32)].map(|text| Secret::read(&text));
        let (one, two) = (one.unwrap(), two.unwrap());
        let repeats = Repeats::new(&one, None);
        let same = of(&repeats, "anna", "a", "1");
        assert_eq!(of(&repeats, "anna", "a", "1"), same);
        for other in [
            of(&repeats, "eve", "a", "1"),
            of(&repeats, "", "a", "1"),
            of(&repeats, "anna", "b", "1"),
            of(&repeats, "anna", "a", "2"),
            of(&repeats, "ann", "aa", "1"),
            of(&Repeats::new(&two, None), "anna", "a", "1"),
        ] {
            assert_ne!(other, same);
        }
        let replacing = Repeats::new(&two, Some(&one));
        assert_eq!(of(&replacing, "anna", "a", "1"), same, "as on nodes that have one secret");
    }
}
