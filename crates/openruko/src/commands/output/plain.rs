//! Foreign text without what drives a terminal.

use std::io::{self, Write};

/// Control characters escaped, except line breaks and tabs.
pub(crate) fn text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            shown.extend(c.escape_default())
        } else {
            shown.push(c)
        }
    }
    shown
}

/// The longest sequence that is looked at as a colour, in bytes.
const LONGEST: usize = 64;

/// Passes on the text of logs and builds: lines, tabs and colours (SGR), no other control characters and no
/// other escape sequences. Bytes that are no UTF-8 become replacement characters.
pub(crate) struct Coloured<W> {
    to: W,
    /// The beginning of a character or of an escape sequence whose end has not come yet.
    begun: Vec<u8>,
}

impl<W: Write> Coloured<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, begun: Vec::new() }
    }
}

impl<W: Write> Write for Coloured<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let (text, begun) = coloured(&all);
        self.begun = begun.to_vec();
        self.to.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The text that is shown, and the bytes at the end that are the beginning of something.
pub(crate) fn coloured(bytes: &[u8]) -> (String, &[u8]) {
    let mut shown = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        if first == 0x1b {
            match sequence(rest) {
                Sequence::Colour(length) => {
                    shown.push_str(&String::from_utf8_lossy(&rest[..length]));
                    rest = &rest[length..];
                }
                Sequence::Other(length) => rest = &rest[length..],
                Sequence::Begun => return (shown, rest),
            }
            continue;
        }
        let end = rest.iter().position(|&b| b == 0x1b).unwrap_or(rest.len());
        let (text, after) = rest.split_at(end);
        match push(&mut shown, text) {
            0 => {}
            begun if after.is_empty() => return (shown, &text[text.len() - begun..]),
            _ => shown.push(char::REPLACEMENT_CHARACTER),
        }
        rest = after;
    }
    (shown, rest)
}

/// Adds what may be shown of text without escapes; gives how many bytes at its end begin a character.
fn push(shown: &mut String, text: &[u8]) -> usize {
    let mut done = 0;
    for chunk in text.utf8_chunks() {
        shown.extend(chunk.valid().chars().filter(|&c| !c.is_control() || c == '\n' || c == '\t'));
        done += chunk.valid().len() + chunk.invalid().len();
        let begins = std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
        if begins && done == text.len() {
            return chunk.invalid().len();
        }
        if !chunk.invalid().is_empty() {
            shown.push(char::REPLACEMENT_CHARACTER);
        }
    }
    0
}

/// What an escape character begins (ECMA-48, 5.4), with its length in bytes.
enum Sequence {
    Colour(usize),
    Other(usize),
    Begun,
}

fn sequence(bytes: &[u8]) -> Sequence {
    match bytes.get(1) {
        None => Sequence::Begun,
        Some(b'[') => {
            let body = &bytes[2..];
            let parameters = body.iter().take_while(|b| (0x20..0x40).contains(*b)).count();
            match body.get(parameters) {
                _ if parameters > LONGEST => Sequence::Other(2 + parameters),
                None => Sequence::Begun,
                Some(b'm') if body[..parameters].iter().all(|b| b.is_ascii_digit() || b";:".contains(b)) => {
                    Sequence::Colour(3 + parameters)
                }
                Some(0x40..=0x7e) => Sequence::Other(3 + parameters),
                Some(_) => Sequence::Other(2 + parameters),
            }
        }
        // An operating system command or the like: its introducer goes, and what follows is plain text then.
        Some(0x30..=0x7e) => Sequence::Other(2),
        Some(_) => Sequence::Other(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let mut coloured = Coloured::new(&mut out);
        pieces.iter().for_each(|piece| coloured.write_all(piece).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn colours_stay_and_everything_else_goes() {
        assert_eq!(shown(&[b"a\x1b[1;31mred\x1b[0m\tb\r\n"]), "a\x1b[1;31mred\x1b[0m\tb\n");
        assert_eq!(shown(&[b"\x1b[2J\x1b[1;1Hx\x07\x08\x7f"]), "x");
        assert_eq!(shown(&[b"\x1b]0;title\x07x\x1b[?1049hy"]), "0;titlexy");
        assert_eq!(shown(&["\u{9b}2J\u{90}é".as_bytes()]), "2Jé");
        assert_eq!(shown(&[b"\x1b[?31m\x1b[31\x1b[32mx"]), "\x1b[32mx");
    }

    #[test]
    fn pieces_make_no_difference() {
        assert_eq!(shown(&[b"\x1b", b"[3", b"1mx\xe2\x82", b"\xac\x1b[", b"2Jy"]), "\x1b[31mx€y");
        assert_eq!(shown(&[b"\xffa\xe2\x82\x1b[0m"]), "\u{fffd}a\u{fffd}\x1b[0m");
        let long = [b"\x1b[".as_slice(), &b"1;".repeat(1000), b"Hx"].concat();
        assert_eq!(shown(&[&long]), "Hx");
    }

    #[test]
    fn what_is_escaped_can_be_read() {
        assert_eq!(text("a\tb\n\x1b[2J\u{9b}"), "a\tb\n\\u{1b}[2J\\u{9b}");
    }
}
