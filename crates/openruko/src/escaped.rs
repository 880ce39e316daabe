//! What a terminal gets.

use std::io::{self, Write};

/// Passes text on with its control characters escaped, except line breaks and tabs, so that what a build
/// printed cannot drive the terminal. Bytes that are no UTF-8 become replacement characters.
pub(crate) struct Escaped<W> {
    to: W,
    /// The beginning of a character whose end has not come yet: at most three bytes.
    begun: Vec<u8>,
}

impl<W: Write> Escaped<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, begun: Vec::new() }
    }
}

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let (text, begun) = escaped(&all);
        self.begun = begun.to_vec();
        self.to.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The text that the terminal gets, and the bytes at the end that are the beginning of a character.
fn escaped(bytes: &[u8]) -> (String, &[u8]) {
    let mut text = String::with_capacity(bytes.len());
    let mut done = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() && c != '\n' && c != '\t' {
                text.extend(c.escape_default())
            } else {
                text.push(c)
            }
        }
        done += chunk.valid().len();
        let invalid = chunk.invalid();
        if is_beginning(invalid) && done + invalid.len() == bytes.len() {
            return (text, invalid);
        }
        done += invalid.len();
        if !invalid.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    (text, &[])
}

fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let mut escaped = Escaped::new(&mut out);
        pieces.iter().for_each(|piece| escaped.write_all(piece).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_but_lines_and_tabs_reaches_the_terminal() {
        assert_eq!(shown(&[b"a\tb\n\x1b[2J\r\x07\x7f"]), "a\tb\n\\u{1b}[2J\\r\\u{7}\\u{7f}");
        assert_eq!(shown(&["\u{9b}2J é".as_bytes()]), "\\u{9b}2J é");
    }

    #[test]
    fn characters_may_come_in_pieces_and_wrong_bytes_do_no_harm() {
        assert_eq!(shown(&[b"\xc2", b"\x9b", b"\xe2\x82", b"\xac"]), "\\u{9b}€");
        assert_eq!(shown(&[b"\xffa\xc2", b"b\xe2\x82"]), "\u{fffd}a\u{fffd}b");
    }
}
