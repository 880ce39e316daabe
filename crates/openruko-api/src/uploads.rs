//! The directory in which tarballs wait to be built: the only files that the API keeps beside its database.

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::{Stream, StreamExt, stream};
use ruko_api_types::Stored;
use ruko_http::{Place, Places};
use ruko_sys::Space;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use ulid::Ulid;

/// The largest tarball that is taken, in bytes; a smaller disk of builds bounds it, too.
pub(crate) const MAX_BYTES: u64 = 1 << 30;

/// What uploads leave free on their file system, in bytes: the database may be on it, too.
const RESERVE: u64 = 256 << 20;

/// How often, in bytes, an upload looks whether there is still room.
const STRIDE: u64 = 16 << 20;

/// How long an upload may send nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// What is read at a time, in bytes.
const PIECE: usize = 128 << 10;

/// Why a tarball was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It is larger than this.
    TooLarge(u64),
    /// There would be too little room left on the disk.
    NoRoom,
    /// It broke off, or nothing came for too long.
    BrokenOff,
    /// It is nothing at all.
    Empty,
    /// Another one comes to the same source at this moment.
    Coming,
    /// The disk failed us.
    Disk(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::StorageFull { Self::NoRoom } else { Self::Disk(error) }
    }
}

/// The directory.
pub(crate) struct Uploads {
    dir: PathBuf,
    /// The sources to which a tarball is coming: one at a time, so that one does not replace another, and that
    /// the disk and the connections that a source can take are bounded.
    coming: Places<String>,
}

/// A file that is being written; removed when dropped.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Uploads {
    /// Takes a directory, which is made if its parent is there.
    pub(crate) fn at(dir: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Whether it can be used shows now and not with the first upload.
        let probe = Part(dir.join(format!("{}.part", Ulid::generate())));
        File::create(&probe.0)?;
        Ok(Self { dir: dir.to_owned(), coming: Places::new(usize::MAX, 1) })
    }

    /// The right to bring a source its tarball, until it is dropped.
    pub(crate) fn begin(&self, id: &str) -> Result<Place<String>, Refused> {
        self.coming.take(&id.to_owned()).map_err(|_| Refused::Coming)
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.tar.gz"))
    }

    /// Writes a tarball, counting and hashing it. It is there under its name when all of it is.
    pub(crate) async fn store(&self, id: &str, body: Body, max: u64) -> Result<Stored, Refused> {
        let part = Part(self.dir.join(format!("{id}-{}.part", Ulid::generate())));
        let mut file = tokio::fs::File::create_new(&part.0).await?;
        let mut pieces = pin!(body.into_data_stream());
        let (mut bytes, mut hash) = (0_u64, Sha256::new());
        self.require_room()?;
        loop {
            let piece = match tokio::time::timeout(SILENCE, pieces.next()).await {
                Ok(None) => break,
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(_))) | Err(_) => return Err(Refused::BrokenOff),
            };
            let before = bytes;
            bytes += piece.len() as u64;
            if bytes > max {
                return Err(Refused::TooLarge(max));
            }
            if before / STRIDE != bytes / STRIDE {
                self.require_room()?;
            }
            hash.update(&piece);
            file.write_all(&piece).await?;
        }
        if bytes == 0 {
            return Err(Refused::Empty);
        }
        file.flush().await?;
        tokio::fs::rename(&part.0, self.path(id)).await?;
        Ok(Stored { bytes, sha256: ruko_core::hex(&hash.finalize()) })
    }

    fn require_room(&self) -> Result<(), Refused> {
        if Space::at(&self.dir)?.free < RESERVE { Err(Refused::NoRoom) } else { Ok(()) }
    }

    /// The bytes of a tarball; none when it is gone.
    pub(crate) async fn read(
        &self,
        id: &str,
    ) -> io::Result<Option<impl Stream<Item = io::Result<Bytes>> + Send + use<>>> {
        let file = match tokio::fs::File::open(self.path(id)).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(stream::try_unfold(file, |mut file| async move {
            let mut piece = vec![0; PIECE];
            let count = file.read(&mut piece).await?;
            piece.truncate(count);
            Ok::<_, io::Error>((count > 0).then(|| (piece.into(), file)))
        })))
    }

    /// Removes a tarball that nobody needs. One that stays is swept later.
    pub(crate) async fn remove(&self, id: &str) {
        let _ = tokio::fs::remove_file(self.path(id)).await;
    }

    /// The names of all files, for [`Uploads::sweep`].
    pub(crate) async fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let mut dir = tokio::fs::read_dir(&self.dir).await?;
        while let Some(entry) = dir.next_entry().await? {
            names.extend(entry.file_name().into_string());
        }
        Ok(names)
    }

    /// Removes those of the files that belong to none of these sources.
    pub(crate) async fn sweep(&self, names: &[String], sources: &HashSet<String>) {
        for name in names.iter().filter(|name| !sources.contains(source_of(name))) {
            let _ = tokio::fs::remove_file(self.dir.join(name)).await;
        }
    }
}

/// The source that a file is of, or is becoming.
fn source_of(name: &str) -> &str {
    name.split(['-', '.']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Runtime::new().unwrap().block_on(work)
    }

    fn broken() -> Body {
        let pieces: [Result<&str, io::Error>; 2] = [Ok("half"), Err(io::ErrorKind::BrokenPipe.into())];
        Body::from_stream(stream::iter(pieces))
    }

    #[test]
    fn only_what_came_whole_and_is_not_too_large_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = Uploads::at(&dir.path().join("uploads")).unwrap();
        run(async {
            let stored = uploads.store("A", Body::from("abc"), 3).await.unwrap();
            assert_eq!((stored.bytes, &stored.sha256[..8]), (3, "ba7816bf"));
            assert!(matches!(uploads.store("B", Body::from("abcd"), 3).await, Err(Refused::TooLarge(3))));
            assert!(matches!(uploads.store("C", Body::empty(), 3).await, Err(Refused::Empty)));
            assert!(matches!(uploads.store("D", broken(), 9).await, Err(Refused::BrokenOff)));
            assert_eq!(uploads.names().await.unwrap(), ["A.tar.gz"], "nothing of the others is left");
            let pieces: Vec<_> = uploads.read("A").await.unwrap().unwrap().collect().await;
            assert_eq!(pieces[0].as_ref().unwrap().as_ref(), b"abc");
            assert!(uploads.read("B").await.unwrap().is_none());
        });
    }

    #[test]
    fn files_of_no_source_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = Uploads::at(dir.path()).unwrap();
        for name in ["A.tar.gz", "A-X.part", "B.tar.gz", "B-X.part"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        run(async {
            let names = uploads.names().await.unwrap();
            uploads.sweep(&names, &["A".to_owned()].into()).await;
            let mut left = uploads.names().await.unwrap();
            left.sort();
            assert_eq!(left, ["A-X.part", "A.tar.gz"]);
        });
    }
}
