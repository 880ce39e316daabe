//! Which addresses in an answer the CLI would connect to by itself, and how they are exchanged.
//!
//! The answer is not parsed and written anew: every byte outside the exchanged addresses stays as the
//! server wrote it.

use std::ops::Range;

/// A member of an answer whose value is an address that the CLI connects to without its key.
///
/// `source_blob.get_url` is not among them: the CLI only hands it back to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A log session's stream (`logplex_url`), the output of a build or a release
    /// (`output_stream_url`), and where a source goes (`put_url`).
    Stream,
    /// Where a one-off dyno is reached (`attach_url`).
    Attach,
}

impl Key {
    fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"logplex_url" | b"output_stream_url" | b"put_url" => Some(Self::Stream),
            b"attach_url" => Some(Self::Attach),
            _ => None,
        }
    }
}

/// An address found in an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) key: Key,
    pub(crate) url: String,
    /// Where it stands, with its quotes.
    place: Range<usize>,
}

/// The addresses in a JSON text, in their order. What is no JSON has none or is cut off where it breaks.
pub(crate) fn links(json: &[u8]) -> Vec<Link> {
    let mut found = Vec::new();
    let mut key = None;
    let mut end = 0;
    while let Some(place) = next_string(json, end) {
        let is_value = json[end..place.start].trim_ascii() == b":";
        if let (Some(key), true) = (key, is_value)
            && let Ok(url) = serde_json::from_slice(&json[place.clone()])
        {
            found.push(Link { key, url, place: place.clone() });
        }
        key = Key::named(&json[place.start + 1..place.end - 1]);
        end = place.end;
    }
    found
}

/// The next string from `from` on, with its quotes.
fn next_string(json: &[u8], from: usize) -> Option<Range<usize>> {
    let start = from + json[from..].iter().position(|byte| *byte == b'"')?;
    let mut at = start + 1;
    loop {
        match json.get(at)? {
            b'"' => return Some(start..at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The text with some of its addresses exchanged: each link with what stands in its place.
pub(crate) fn exchanged(json: &[u8], links: &[(Link, String)]) -> Vec<u8> {
    let mut text = Vec::with_capacity(json.len() + 64 * links.len());
    let mut end = 0;
    for (link, url) in links {
        text.extend_from_slice(&json[end..link.place.start]);
        text.extend_from_slice(serde_json::Value::from(url.as_str()).to_string().as_bytes());
        end = link.place.end;
    }
    text.extend_from_slice(&json[end..]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(json: &str) -> Vec<(Key, String)> {
        links(json.as_bytes()).into_iter().map(|link| (link.key, link.url)).collect()
    }

    #[test]
    fn addresses_are_found_wherever_they_stand() {
        let json = r#"{"logplex_url": "https://a/s?x=1","list":[{"output_stream_url" :"https:\/\/b\/é"}],
            "source_blob":{"get_url":"https://c/get","put_url":"https://c/put"},"attach_url":"rendezvous://d:1/x"}"#;
        let expected = [
            (Key::Stream, "https://a/s?x=1"),
            (Key::Stream, "https://b/é"),
            (Key::Stream, "https://c/put"),
            (Key::Attach, "rendezvous://d:1/x"),
        ];
        assert_eq!(found(json), expected.map(|(key, url)| (key, url.to_owned())));
    }

    #[test]
    fn what_only_looks_like_an_address_is_left_alone() {
        for json in [
            r#"{"attach_url":null,"name":"rendezvous://d:1/x"}"#,
            r#"["attach_url","rendezvous://d:1/x"]"#,
            r#"{"name":"attach_url","web_url":"https://a/"}"#,
            r#"{"description":"\"attach_url\":\"rendezvous://d:1/x\""}"#,
            r#"{"attach_url":"unended"#,
            r#"{"attach_url":"\"#,
            "",
        ] {
            assert_eq!(found(json), [], "{json}");
        }
    }

    #[test]
    fn only_the_address_changes() {
        let json = br#"{ "b" : 1.50, "logplex_url" : "https:\/\/a/1" , "a":"\u00e9" }"#;
        let links = links(json).into_iter().map(|link| (link, "http://l/\"2".to_owned())).collect::<Vec<_>>();
        let expected = r#"{ "b" : 1.50, "logplex_url" : "http://l/\"2" , "a":"\u00e9" }"#;
        assert_eq!(String::from_utf8(exchanged(json, &links)).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_scanned(bytes: Vec<u8>) {
            links(&bytes);
        }

        #[test]
        fn any_address_is_found_and_put_back(before: String, url: String, other: String) {
            let answer = |url: &str| serde_json::json!({"a": before, "attach_url": url, "z": [before]}).to_string();
            let json = answer(&url);
            let found = links(json.as_bytes());
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].url, &url);
            let links = found.into_iter().map(|link| (link, other.clone())).collect::<Vec<_>>();
            prop_assert_eq!(String::from_utf8(exchanged(json.as_bytes(), &links)).unwrap(), answer(&other));
        }
    }
}
