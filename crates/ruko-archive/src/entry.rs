//! Entries: what headers, GNU's long names and pax records together say about one file. Everything that
//! two readers could understand differently is refused.

use std::io::Read;

use tar::{EntryType, Header};

use crate::block::{Blocks, StreamError};
use crate::name::{BadName, Name, shown};

/// The longest set of pax records that is read; extended attributes may be among them.
const MOST_PAX: u64 = 1 << 20;

/// The largest size that a header can say in octal digits; beyond it, pax records say the size.
const MOST_OCTAL: u64 = 0o77_777_777_777;

/// What an entry is.
#[derive(Debug)]
pub(crate) enum Kind {
    Directory,
    /// With its size.
    File(u64),
    /// With its target as it stands.
    Symlink(Vec<u8>),
    /// With the entry that it is another name of.
    HardLink(Name),
}

/// One entry. Its contents, if it is a file, follow in the stream.
#[derive(Debug)]
pub(crate) struct Entry {
    /// None is the top directory itself.
    pub(crate) name: Option<Name>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
}

/// Why an entry cannot be read.
#[derive(Debug)]
pub(crate) enum EntryError {
    Stream(StreamError),
    /// The entry with this name is refused.
    Refused(String, String),
}

impl From<StreamError> for EntryError {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

fn damaged<T>(why: &str) -> Result<T, EntryError> {
    Err(EntryError::Stream(StreamError::Damaged(why.into())))
}

/// What stands before the header it belongs to.
#[derive(Default)]
struct Before {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

impl Before {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_link.is_none() && self.pax.is_none()
    }
}

/// Reads entries.
pub(crate) struct Entries<R> {
    pub(crate) blocks: Blocks<R>,
    path_bytes: usize,
    /// `git archive` begins with one global header, which holds the commit.
    global_seen: bool,
}

impl<R: Read> Entries<R> {
    pub(crate) fn new(from: R, path_bytes: usize) -> Self {
        Self { blocks: Blocks::new(from), path_bytes, global_seen: false }
    }

    /// The next entry; none at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, EntryError> {
        let mut before = Before::default();
        while let Some(header) = self.blocks.header()? {
            match header.entry_type() {
                EntryType::GNULongName => self.long(&header, &mut before.long_name)?,
                EntryType::GNULongLink => self.long(&header, &mut before.long_link)?,
                EntryType::XHeader => {
                    if before.pax.is_some() {
                        return damaged("an entry has two sets of pax records");
                    }
                    before.pax = Some(self.pax(&header)?);
                }
                EntryType::XGlobalHeader => self.global(&header)?,
                _ => return self.entry(&header, before).map(Some),
            }
        }
        if before.is_empty() { Ok(None) } else { damaged("it ends with the beginning of an entry") }
    }

    /// A GNU long name or link target: contents that end with a NUL.
    fn long(&mut self, header: &Header, into: &mut Option<Vec<u8>>) -> Result<(), EntryError> {
        if into.is_some() {
            return damaged("an entry has two long names");
        }
        let mut long = self.read(size_of(header)?, self.path_bytes as u64 + 1, "a long name")?;
        if long.last() == Some(&0) {
            long.pop();
        }
        *into = Some(long);
        Ok(())
    }

    fn pax(&mut self, header: &Header) -> Result<Pax, EntryError> {
        let records = self.read(size_of(header)?, MOST_PAX, "a set of pax records")?;
        Pax::parse(&records)
    }

    /// Global records apply to all entries that follow. None of them may say what an entry is.
    fn global(&mut self, header: &Header) -> Result<(), EntryError> {
        let pax = self.pax(header)?;
        if self.global_seen {
            return damaged("it has two global headers");
        }
        self.global_seen = true;
        if pax.path.is_some() || pax.link.is_some() || pax.size.is_some() {
            return damaged("a global header names a file");
        }
        Ok(())
    }

    fn read(&mut self, size: u64, most: u64, what: &str) -> Result<Vec<u8>, EntryError> {
        if size > most {
            return damaged(&format!("{what} of {size} bytes is longer than {most} bytes"));
        }
        let mut bytes = Vec::new();
        self.blocks.contents(size, |piece| {
            bytes.extend_from_slice(piece);
            Ok::<(), EntryError>(())
        })?;
        Ok(bytes)
    }

    fn entry(&self, header: &Header, before: Before) -> Result<Entry, EntryError> {
        let pax = before.pax.unwrap_or_default();
        let raw = one_of(before.long_name, pax.path)?.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = one_of(before.long_link, pax.link)?
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let refused = |why: String| EntryError::Refused(shown(&raw), why);
        let size = agreed(size_of(header)?, pax.size).map_err(&refused)?;
        let name = Name::parse(&raw, self.path_bytes).map_err(|e| refused(e.to_string()))?;
        let kind = kind(header.entry_type(), size, link, self.path_bytes).map_err(&refused)?;
        match kind {
            Kind::Directory => {}
            _ if name.is_none() => return Err(refused(BadName::Empty.to_string())),
            _ if raw.ends_with(b"/") => return Err(refused("its name ends like a directory's".into())),
            _ => {}
        }
        let (Ok(mode), Ok(mtime)) = (header.mode(), header.mtime()) else {
            return damaged("a number in a header cannot be read");
        };
        // Times before 1970 are written in two's complement by GNU tar.
        Ok(Entry { name, kind, mode, mtime: mtime.cast_signed() })
    }
}

fn size_of(header: &Header) -> Result<u64, EntryError> {
    number(&header.as_old().size).map_or_else(|| damaged("the size in a header cannot be read"), Ok)
}

/// A number in a header: octal digits, or GNU's binary form, which begins with 0x80. Readers differ in
/// what else they take for a number, and then in where they find the next header.
fn number(field: &[u8; 12]) -> Option<u64> {
    if let [0x80, 0, 0, 0, binary @ ..] = field {
        return Some(u64::from_be_bytes(*binary));
    }
    let end = field.iter().position(|b| matches!(b, 0 | b' ')).unwrap_or(field.len());
    let (digits, rest) = field.split_at(end);
    let plain =
        digits.iter().all(|b| (b'0'..=b'7').contains(b)) && rest.iter().all(|b| matches!(b, 0 | b' '));
    // An empty field is what some writers leave for a directory.
    plain.then(|| digits.iter().fold(0, |sum, digit| sum * 8 + u64::from(digit - b'0')))
}

/// A name that is given twice, by GNU's and by pax's way, is two names to two readers.
fn one_of(gnu: Option<Vec<u8>>, pax: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, EntryError> {
    if gnu.is_some() && pax.is_some() {
        return damaged("an entry has a long name and a pax name");
    }
    Ok(gnu.or(pax))
}

/// Readers that heed the pax size and readers that do not find the next header at different places
/// (RUSTSEC-2026-0068). So both sizes must be the same, unless the header has no room for it.
fn agreed(header: u64, pax: Option<u64>) -> Result<u64, String> {
    match pax {
        Some(pax) if pax != header && pax <= MOST_OCTAL => {
            Err(format!("its header says {header} bytes and its pax records say {pax}"))
        }
        Some(pax) => Ok(pax),
        None => Ok(header),
    }
}

fn kind(kind: EntryType, size: u64, link: Option<Vec<u8>>, path_bytes: usize) -> Result<Kind, String> {
    let target = || match link {
        Some(target) if target.len() > path_bytes => {
            Err(format!("its target is longer than {path_bytes} bytes"))
        }
        Some(target) if !target.is_empty() && !target.contains(&0) => Ok(target),
        _ => Err("its target is empty or contains a NUL byte".to_owned()),
    };
    let parsed = match kind {
        EntryType::Regular => return Ok(Kind::File(size)),
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(target()?),
        EntryType::Link => {
            let target = target()?;
            let name = Name::parse(&target, path_bytes).ok().flatten();
            Kind::HardLink(name.ok_or_else(|| format!("it is a hard link to `{}`", shown(&target)))?)
        }
        EntryType::Char | EntryType::Block => return Err("it is a device".into()),
        EntryType::Fifo => return Err("it is a fifo".into()),
        EntryType::GNUSparse => return Err("it is a sparse file".into()),
        other => return Err(format!("it is of type {:?}", char::from(other.as_byte()))),
    };
    if size == 0 { Ok(parsed) } else { Err(format!("it is no file and yet has {size} bytes of contents")) }
}

/// Those pax records that matter here. Others (times to the nanosecond, owners, attributes) are passed over.
#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Pax {
    fn parse(mut records: &[u8]) -> Result<Self, EntryError> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let Some((key, value, rest)) = pax_record(records) else {
                return damaged("a pax record cannot be read");
            };
            let twice = match key {
                b"path" => pax.path.replace(value.to_vec()).is_some(),
                b"linkpath" => pax.link.replace(value.to_vec()).is_some(),
                b"size" => match std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()) {
                    Some(size) => pax.size.replace(size).is_some(),
                    None => return damaged("the size in a pax record cannot be read"),
                },
                _ if key.starts_with(b"GNU.sparse") => return damaged("it contains a sparse file"),
                _ => false,
            };
            if twice {
                return damaged("a pax record is given twice");
            }
            records = rest;
        }
        Ok(pax)
    }
}

/// Splits off a record: `LENGTH KEY=VALUE\n`, where the length counts all of it. Values may contain
/// newlines, so records are found by their length only.
fn pax_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(10).position(|&b| b == b' ')?;
    let digits = &records[..space];
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&b| b == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_records_are_found_by_their_length() {
        let (key, value, rest) = pax_record(b"14 path=a\nb=c\n11 size=10\n").unwrap();
        assert_eq!((key, value), (&b"path"[..], &b"a\nb=c"[..]));
        assert_eq!(pax_record(rest), Some((&b"size"[..], &b"10"[..], &b""[..])));
        for bad in [&b"14 path=a"[..], b"x path=a\n", b"3 a\n", b"+9 path=a\n", b"10 path=ab", b"0 a=b\n"] {
            assert_eq!(pax_record(bad), None, "{}", shown(bad));
        }
    }

    #[test]
    fn a_number_is_read_one_way_only() {
        assert_eq!(number(b"00000001750\0"), Some(1000));
        assert_eq!(number(b"777777777777"), Some(MOST_OCTAL << 3 | 7));
        assert_eq!(number(b"12 \0 \0      "), Some(10));
        assert_eq!(number(&[0; 12]), Some(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(1 << 33));
        for bad in
            [b"+0000000001\0", b"00000000008\0", b"0001\x000001\0\0\0", b"\x80\0\x01\0\0\0\0\0\0\0\0\0"]
        {
            assert_eq!(number(bad), None, "{}", shown(bad));
        }
        assert_eq!(number(&[0xff; 12]), None);
    }

    #[test]
    fn sizes_must_agree_where_the_header_has_room() {
        assert_eq!(agreed(5, None), Ok(5));
        assert_eq!(agreed(5, Some(5)), Ok(5));
        assert_eq!(agreed(0, Some(MOST_OCTAL + 1)), Ok(MOST_OCTAL + 1));
        assert!(agreed(0, Some(512)).is_err());
    }
}
