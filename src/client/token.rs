//! What a client shows to be let in: a token, read anew for each connection, so that whoever
//! renews it only replaces a file. It stands in no URL, no error and no `Debug` output.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::client::{Error, Tls};
use crate::task::Tasks;

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// How often it is looked whether there is another token.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Is where a client's token comes from; cheap to clone.
#[derive(Debug, Clone)]
pub enum Token {
    /// This one, which nobody renews.
    Fixed(SecretString),
    /// What the file holds when a connection is made: one token of at most 64 KiB, with or
    /// without white space around it.
    File(PathBuf),
}

/// Is what a client shows to servers, and by what it believes that they are the ones it means.
/// Without a token it comes in where a server, or a document, is open to all.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// What is shown, as `Authorization: Bearer`.
    pub token: Option<Token>,
    /// Whose certificates are believed, where a server's address is `https://` or `wss://`.
    pub tls: Tls,
}

impl Token {
    /// Reads the token.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub async fn read(&self) -> Result<SecretString, Error> {
        let (token, place) = match self {
            Self::Fixed(token) => (token.clone(), "the token".to_owned()),
            Self::File(path) => {
                let path = path.clone();
                let place = path.display().to_string();
                (Tasks::offload(move || read(&path)).await?, place)
            }
        };
        let shown = token.expose_secret();
        let bad = |why: &str| Err(Error::Token { detail: format!("{place} {why}") });
        if shown.is_empty() {
            return bad("is empty: have a token issued into it");
        }
        // What a Bearer header may hold (RFC 6750), so that nothing can be put behind it.
        let is_part = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c);
        if !shown.bytes().all(is_part) {
            return bad("is not one token and nothing else: have a new one issued");
        }
        Ok(token)
    }

    /// Waits until there is another token than the one that was refused, for so long at most, and
    /// tells whether there is. A file that cannot be read may be just being replaced.
    pub(crate) async fn renewed(&self, refused: Option<&SecretString>, within: Duration) -> bool {
        match self {
            Self::Fixed(_) => return false,
            Self::File(_) => {}
        }
        let end = Instant::now() + within;
        loop {
            if let Ok(token) = self.read().await
                && refused.is_none_or(|old| old.expose_secret() != token.expose_secret())
            {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

impl Credentials {
    /// Returns the same, with the token as it is now.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub(crate) async fn now(&self) -> Result<(Self, Option<SecretString>), Error> {
        let token = match &self.token {
            Some(token) => Some(token.read().await?),
            None => None,
        };
        Ok((Self { token: token.clone().map(Token::Fixed), tls: self.tls.clone() }, token))
    }

    /// Returns the value of the `Authorization` header, if there is a token.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub(crate) async fn header(&self) -> Result<Option<HeaderValue>, Error> {
        let Some(token) = &self.token else { return Ok(None) };
        let shown = token.read().await?;
        let value = SecretString::from(format!("Bearer {}", shown.expose_secret()));
        let value = HeaderValue::from_str(value.expose_secret());
        let mut value = value.expect("a token has visible characters only");
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn read(path: &Path) -> Result<SecretString, Error> {
    // Nothing of it is repeated: it may be a token that was put in the wrong place.
    if path.to_string_lossy().starts_with("eyJ") {
        let detail = "a token was given where its file is to be named: write it into a file";
        return Err(Error::Token { detail: detail.to_owned() });
    }
    let bad = |why: String| Error::Token { detail: format!("{} {why}", path.display()) };
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    let bytes = SecretSlice::from(bytes);
    let length = read.map_err(|error| bad(format!("could not be read for the token: {error}")))?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(bad("is longer than 64 KiB: is it the file of a token?".to_owned()));
    }
    let text = std::str::from_utf8(bytes.expose_secret());
    let text = text.map_err(|_| bad("is no text: is it the file of a token?".to_owned()))?;
    Ok(text.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_of_a_token_is_read_each_time_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let token = Token::File(path.clone());
        let why = async || token.read().await.expect_err("it is no token").to_string();
        assert!(why().await.contains("could not be read"), "{}", why().await);
        for text in ["a.b.c", " a.b.c\n", "\r\nx_y-z~1+2/3=\t"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(token.read().await.unwrap().expose_secret(), text.trim());
        }
        let longest = format!("{}\n", "s".repeat((64 << 10) - 1));
        std::fs::write(&path, &longest).unwrap();
        assert_eq!(token.read().await.unwrap().expose_secret().len(), (64 << 10) - 1);
        for (bytes, wanted) in [
            (&b""[..], "is empty"),
            (b" \n", "is empty"),
            (b"secret secret", "not one token"),
            (b"secret\nsecret", "not one token"),
            (b"secret\r\nx-evil: 1", "not one token"),
            ("s\u{e9}cret".as_bytes(), "not one token"),
            (b"secret\xff", "no text"),
            (&[b's'; (64 << 10) + 1], "longer than 64 KiB"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let why = why().await;
            assert!(why.contains(wanted) && !why.contains("secret"), "{why}");
        }
        let misplaced = Token::File("eyJhbGciOi.secret.x".into()).read().await;
        let why = misplaced.expect_err("it is no file").to_string();
        assert!(why.contains("write it into a file") && !why.contains("eyJ"), "{why}");
    }

    #[tokio::test]
    async fn a_token_is_shown_in_one_header_and_nowhere_else() {
        let token = Some(Token::Fixed("secret".into()));
        let credentials = Credentials { token, ..Credentials::default() };
        let header = credentials.header().await.unwrap().expect("there is a token");
        assert_eq!(header, "Bearer secret");
        for debug in [format!("{credentials:?}"), format!("{header:?}")] {
            assert!(!debug.contains("secret"), "{debug}");
        }
        assert_eq!(Credentials::default().header().await, Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn another_token_is_waited_for_but_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "old").unwrap();
        let (token, old) = (Token::File(path.clone()), SecretString::from("old"));
        let minute = Duration::from_secs(60);
        let began = Instant::now();
        assert!(!token.renewed(Some(&old), minute).await);
        // The clock of the test goes in whole milliseconds.
        let (gone, tick) = (began.elapsed(), Duration::from_millis(100));
        assert!(minute <= gone && gone < minute + tick, "{gone:?}");
        assert!(!token.renewed(Some(&old), Duration::ZERO).await);
        assert!(!Token::Fixed("old".into()).renewed(Some(&old), minute).await);
        std::fs::remove_file(&path).unwrap();
        let renewing = async {
            sleep(Duration::from_secs(10)).await;
            std::fs::write(&path, "new").unwrap();
        };
        let (renewed, ()) = tokio::join!(token.renewed(Some(&old), minute), renewing);
        assert!(renewed);
        let gone = began.elapsed() - gone;
        assert!(gone <= Duration::from_secs(11) + tick, "{gone:?}");
        assert!(token.renewed(None, Duration::ZERO).await);
    }
}
