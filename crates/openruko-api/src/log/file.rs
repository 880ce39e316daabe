//! The files of an app's log: `ID.log`, and `ID.old` before it. What is longer than both is forgotten from the
//! beginning.
//!
//! A record is a line of text: the number of a line and the line as it is told. Before the lines of a batch stands
//! `# SENDER BATCH FIRST`: which of the batch's lines of this app the next one is, so that one that comes again, even
//! after a `kill -9` in the middle of it, is kept once; before lines of no batch stands `#`. Records are only appended, each call's in one write; of the
//! last one all is there or it is dropped. They are not synced: a power cut may cost the last seconds of a log.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ruko_sys::Space;

use super::line::Line;

/// The size of a file from which on the next one begins, in bytes. An app has two.
pub(crate) const SEGMENT: u64 = 2 << 20;

/// What logs leave free on their file system: the database may be on it, too. Of a small one, a twentieth.
const RESERVE: u64 = 256 << 20;

/// The files of an app.
pub(super) struct Files {
    log: PathBuf,
    old: PathBuf,
}

/// A record that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Line(Line),
    /// From here on stand lines of a batch, from the one with this index on.
    Batch {
        sender: &'a str,
        batch: u64,
        first: usize,
    },
    /// From here on stand lines of no batch.
    NoBatch,
}

impl<'a> Record<'a> {
    /// None for what is none of ours: a disk may give anything after a power cut.
    fn read(record: &'a [u8]) -> Option<Self> {
        let record = str::from_utf8(record).ok()?;
        if record == "#" {
            return Some(Self::NoBatch);
        }
        let Some(mark) = record.strip_prefix("# ") else { return Line::of_record(record).map(Self::Line) };
        let mut words = mark.split(' ');
        let (sender, batch, first) =
            (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some(Self::Batch { sender, batch, first })
    }
}

/// Writes down of which batch the next lines are.
pub(super) fn mark(into: &mut String, sender: &str, batch: u64, first: usize) {
    into.push_str(&format!("# {sender} {batch} {first}\n"));
}

/// Writes down that the next lines are of none.
pub(super) fn mark_none(into: &mut String) {
    into.push_str("#\n");
}

/// Writes down a line.
pub(super) fn record(into: &mut String, line: &Line) {
    into.push_str(&format!("{} {}\n", line.seq, line.shown()));
}

impl Files {
    pub(super) fn of(dir: &Path, app: &str) -> Self {
        Self { log: dir.join(format!("{app}.log")), old: dir.join(format!("{app}.old")) }
    }

    /// Drops what a `kill -9` left of a record at the end, and gives the size of the file that is written to.
    pub(super) fn mend(&self) -> io::Result<u64> {
        let Some(mut file) = found(OpenOptions::new().read(true).write(true).open(&self.log))? else {
            return Ok(0);
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |last| last + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64)?;
        }
        Ok(whole as u64)
    }

    /// Begins another file.
    pub(super) fn rotate(&self) -> io::Result<()> {
        found(std::fs::rename(&self.log, &self.old)).map(drop)
    }

    /// Appends records, and gives the size of the file. Of those that cannot be written none is there afterwards.
    pub(super) fn append(&self, records: &str) -> io::Result<u64> {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.log)?;
        let size = file.metadata()?.len();
        match file.write_all(records.as_bytes()) {
            Ok(()) => Ok(size + records.len() as u64),
            Err(error) => {
                // If this fails as well, a torn record ends with the next one, and neither reads as a line.
                let _ = file.set_len(size);
                Err(error)
            }
        }
    }

    /// Opens both files as they are, to be read later.
    pub(super) fn open(&self) -> io::Result<Opened> {
        let mut files = Vec::new();
        for path in [&self.old, &self.log] {
            if let Some(file) = found(File::open(path))? {
                let size = file.metadata()?.len();
                files.push((file, size));
            }
        }
        Ok(Opened(files))
    }

    pub(super) fn remove(&self) {
        for path in [&self.log, &self.old] {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// What was in the files at a moment, whatever is appended to them or put in their place meanwhile.
pub(super) struct Opened(Vec<(File, u64)>);

impl Opened {
    pub(super) fn read(self) -> io::Result<Content> {
        let mut bytes = Vec::new();
        for (file, size) in self.0 {
            file.take(size).read_to_end(&mut bytes)?;
        }
        Ok(Content(bytes))
    }
}

/// The bytes of both files.
pub(super) struct Content(Vec<u8>);

impl Content {
    /// From the first to the last.
    pub(super) fn records(&self) -> impl DoubleEndedIterator<Item = Record<'_>> {
        self.0.split(|b| *b == b'\n').filter_map(Record::read)
    }

    /// From the last to the first.
    pub(super) fn lines_backwards(&self) -> impl Iterator<Item = Line> {
        self.records().rev().filter_map(|record| match record {
            Record::Line(line) => Some(line),
            Record::Batch { .. } | Record::NoBatch => None,
        })
    }
}

/// Whether the disk has room for logs.
pub(super) fn require_room(dir: &Path) -> io::Result<()> {
    let Space { free, size, .. } = Space::at(dir)?;
    if free < RESERVE.min(size / 20) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_none_of_ours_is_no_record() {
        for bad in [
            "",
            "x",
            "# a b c",
            "# 01J 1",
            "# 01J 1 2 3",
            "7 2026-11-22T11:06:39.172000+00:00 app",
            "7 2026-11-22T11:06:39.172000+00:00 moon[web.1]: x",
            "7 2026-11-22T11:06:39.172000+00:00 app[w b]: x",
            "7 yesterday-and-a-few-hours-more-... app[web.1]: x",
            "-7 2026-11-22T11:06:39.172000+00:00 app[web.1]: x",
            "7 éééééééééééééééééééééééé app[web.1]: x",
        ] {
            assert_eq!(Record::read(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Record::read(b"#"), Some(Record::NoBatch));
        assert_eq!(Record::read(b"\xff\xfe 1"), None);
        assert_eq!(Record::read(b"# 01J 1 2"), Some(Record::Batch { sender: "01J", batch: 1, first: 2 }));
    }

    #[test]
    fn half_a_record_at_the_end_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::of(dir.path(), "A");
        assert_eq!(files.mend().unwrap(), 0);
        for (there, left) in [("one\ntw", "one\n"), ("o", ""), ("one\n", "one\n")] {
            std::fs::write(&files.log, there).unwrap();
            assert_eq!(files.mend().unwrap(), left.len() as u64);
            assert_eq!(std::fs::read_to_string(&files.log).unwrap(), left);
        }
    }
}
