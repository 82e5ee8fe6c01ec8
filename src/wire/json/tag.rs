//! What kind of message a JSON frame is, before its body is read.

use std::borrow::Cow;

use serde::Deserialize;

/// Finds the message's `t`: at once where it stands first, as senders write it, else by a pass
/// over the whole frame.
///
/// # Errors
/// What serde finds wrong: no object, no `t`, no string.
pub(crate) fn tag(frame: &[u8]) -> Result<Cow<'_, str>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Tagged<'a> {
        #[serde(borrow)]
        t: Cow<'a, str>,
    }
    match leading(frame) {
        Some(tag) => Ok(Cow::Borrowed(tag)),
        None => serde_json::from_slice(frame).map(|tagged: Tagged<'_>| tagged.t),
    }
}

fn leading(frame: &[u8]) -> Option<&str> {
    let rest = frame.strip_prefix(br#"{"t":""#).or_else(|| frame.strip_prefix(br#"{"t": ""#))?;
    let length = rest.iter().position(|byte| !byte.is_ascii_lowercase())?;
    let (tag, rest) = rest.split_at(length);
    if rest.first() == Some(&b'"') { std::str::from_utf8(tag).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_found_wherever_it_stands() {
        let frames = [
            r#"{"t":"op","seq":1}"#,
            r#"{"t": "op", "seq": 1}"#,
            r#" { "t" : "op" }"#,
            r#"{"seq":1,"op":["\ud800"],"t":"op"}"#,
            r#"{"t":"o\u0070"}"#,
        ];
        for frame in frames {
            assert_eq!(tag(frame.as_bytes()).unwrap(), "op", "{frame}");
        }
        for frame in
            ["", "[", "1", "{}", r#"{"t":1}"#, r#"{"t":"op"#, r#"{"a":1,"t":"op","t":"op"}"#]
        {
            assert!(tag(frame.as_bytes()).is_err(), "{frame}");
        }
    }
}
