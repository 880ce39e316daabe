//! The images of slugs on this node: one squashfs file each, named by the digest of its slug, made once.

mod making;

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ruko_api_types::Stored;
use ruko_api_types::host::SlugToRun;
use ruko_core::{Exit, Fault, Hint, ImageName, hex};
use ruko_storage::StorageUrl;
use ruko_sys::process::CommandSys;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

pub(crate) use making::make;

use crate::dyno::wire::Failed;

/// What an image that is being made is called, before its name.
const PART: &str = ".part-";

/// An address that holds for less is asked for anew before a slug is fetched.
const ADDRESS_HOLDS: Duration = Duration::from_secs(30 * 60);

/// What of a failed maker's words is kept, in bytes.
const WORDS: u64 = 4096;

type Outcome = Option<Result<(), Failed>>;

/// The images, and those that are being made.
#[derive(Debug)]
pub(crate) struct Images {
    dir: PathBuf,
    max_bytes: u64,
    /// This program.
    program: PathBuf,
    making: Mutex<HashMap<ImageName, watch::Receiver<Outcome>>>,
    /// Those that dynos have.
    in_use: Mutex<BTreeSet<ImageName>>,
}

impl Images {
    /// Images in this directory, in which nobody else makes any. What was not finished is removed.
    pub(crate) fn open(dir: &Path, max_bytes: u64, program: PathBuf) -> Result<Arc<Self>, Fault> {
        let entries = fs::read_dir(dir).fault(format!("cannot read `{}`", dir.display()))?;
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PART) {
                let _ = fs::remove_file(entry.path());
            }
        }
        let (making, in_use) = Default::default();
        Ok(Arc::new(Self { dir: dir.to_owned(), max_bytes, program, making, in_use }))
    }

    /// Says which images dynos have. They are kept, whatever they take.
    pub(crate) fn set_in_use(&self, names: BTreeSet<ImageName>) {
        *self.in_use.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// The image of a slug, made if it is not there. Who wants the same one at the same time waits for the same making.
    pub(crate) async fn get(self: &Arc<Self>, slug: &SlugToRun) -> Result<ImageName, Failed> {
        let bad = |message: String| Failed { message, try_again: false };
        let name: ImageName = slug.stored.sha256.parse().map_err(|why| bad(format!("the slug: {why}")))?;
        if self.touch(&name) {
            return Ok(name);
        }
        let url: StorageUrl = slug.url.parse().map_err(|why| bad(format!("the slug's address: {why}")))?;
        let mut made = self.join(&name, url, slug.stored.clone());
        let outcome = made.wait_for(Option::is_some).await;
        match outcome.map(|outcome| outcome.clone()) {
            Ok(Some(Ok(()))) => Ok(name),
            Ok(Some(Err(failed))) => Err(failed),
            Ok(None) | Err(_) => {
                Err(Failed { message: "the slug's image was not made".into(), try_again: true })
            }
        }
    }

    /// Whether the image of a slug has to be made, and the slug's address does not hold for as long as that may take.
    pub(crate) fn lacks_address(&self, slug: &SlugToRun) -> bool {
        let is_there = slug.stored.sha256.parse().is_ok_and(|name: ImageName| self.touch(&name));
        let ends = slug.url.parse::<StorageUrl>().ok().and_then(|url| url.ends());
        !is_there && ends.is_some_and(|ends| ends < SystemTime::now() + ADDRESS_HOLDS)
    }

    /// Whether it is there; notes that it was wanted.
    fn touch(&self, name: &ImageName) -> bool {
        let file = File::open(self.dir.join(name.as_str()));
        file.and_then(|file| file.set_modified(SystemTime::now())).is_ok()
    }

    fn join(self: &Arc<Self>, name: &ImageName, url: StorageUrl, stored: Stored) -> watch::Receiver<Outcome> {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = making.get(name) {
            return made.clone();
        }
        let (tell, made) = watch::channel(None);
        making.insert(name.clone(), made.clone());
        let (images, name) = (self.clone(), name.clone());
        tokio::task::spawn_blocking(move || {
            let outcome = images.make(&name, &url, &stored);
            images.making.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            let _ = tell.send(Some(outcome));
        });
        made
    }

    fn make(&self, name: &ImageName, url: &StorageUrl, stored: &Stored) -> Result<(), Failed> {
        // It may have been finished just before.
        if self.touch(name) {
            return Ok(());
        }
        self.make_room();
        let part = self.dir.join(format!("{PART}{name}"));
        let made = self.make_part(&part, url, stored).and_then(|()| {
            let renamed = fs::rename(&part, self.dir.join(name.as_str()));
            renamed
                .and_then(|()| File::open(&self.dir)?.sync_all())
                .try_again("the slug's image cannot be kept")
        });
        if made.is_err() {
            let _ = fs::remove_file(&part);
        }
        made.map_err(|fault| Failed {
            message: ruko_core::exit::one_line(&fault.message),
            try_again: fault.exit == Exit::TryAgain,
        })
    }

    /// Hands the object to the process that makes an image of it, and sees that it is what it should be.
    fn make_part(&self, part: &Path, url: &StorageUrl, stored: &Stored) -> Result<(), Fault> {
        let object = ruko_storage::get(url).try_again("the slug cannot be read")?;
        let mut object = object.ok_or_else(|| Fault::refused(format!("the slug `{url}` is not there")))?;
        let mut maker = self.start_maker(part)?;
        let copied = copy(&mut object, &mut maker, stored.bytes);
        drop(maker.stdin.take());
        let mut why = String::new();
        if let Some(stderr) = maker.stderr.take() {
            let _ = stderr.take(WORDS).read_to_string(&mut why);
        }
        let status = maker.wait().try_again("cannot wait for the image")?;
        let copied = copied.try_again(format!("cannot read `{url}`"))?;
        match copied {
            Copied::Whole(is) if is != *stored => {
                return Err(Fault::refused(format!(
                    "the slug `{url}` is damaged: it has {} bytes with the SHA-256 {}, and should have {} with {}",
                    is.bytes, is.sha256, stored.bytes, stored.sha256
                )));
            }
            Copied::TooLong => {
                let bytes = stored.bytes;
                return Err(Fault::refused(format!(
                    "the slug `{url}` is damaged: it has more than {bytes} bytes"
                )));
            }
            Copied::Whole(_) | Copied::NotTaken => {}
        }
        if status.success() {
            return Ok(());
        }
        let why = why.trim().trim_start_matches(crate::PROGRAM).trim_start_matches(": ");
        let message =
            format!("the slug cannot be used: {}", if why.is_empty() { "it took too long" } else { why });
        match status.code() {
            Some(1) => Err(Fault::refused(message)),
            _ => Err(Fault::try_again(message)),
        }
    }

    fn start_maker(&self, part: &Path) -> Result<Child, Fault> {
        let mut command = Command::new(&self.program);
        command.arg("image").arg(part).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        // This thread waits for it.
        command.die_with_parent();
        command.spawn().try_again(format!("cannot run `{}`", self.program.display()))
    }

    /// Removes images that were not wanted for the longest time until they take no more than they may.
    fn make_room(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let image = |entry: fs::DirEntry| {
            let name: ImageName = entry.file_name().to_str()?.parse().ok()?;
            let meta = entry.metadata().ok()?;
            Some(Kept { name, bytes: meta.len(), wanted: meta.modified().ok()? })
        };
        let images = entries.flatten().filter_map(image).collect();
        for name in too_many(images, self.max_bytes, &in_use) {
            tracing::info!(image = %name, "removed the image of a slug");
            let _ = fs::remove_file(self.dir.join(name.as_str()));
        }
    }
}

/// An image that is there.
#[derive(Clone, Debug)]
struct Kept {
    name: ImageName,
    bytes: u64,
    /// When it was wanted last.
    wanted: SystemTime,
}

/// Which images go, so that the others take no more than `max` bytes: the least recently wanted first, none in use.
fn too_many(mut images: Vec<Kept>, max: u64, in_use: &BTreeSet<ImageName>) -> Vec<ImageName> {
    let mut sum: u64 = images.iter().map(|image| image.bytes).sum();
    images.sort_by_key(|image| image.wanted);
    let mut gone = Vec::new();
    for image in images.into_iter().filter(|image| !in_use.contains(&image.name)) {
        if sum <= max {
            break;
        }
        sum -= image.bytes;
        gone.push(image.name);
    }
    gone
}

/// How an object was handed on.
enum Copied {
    /// All of it.
    Whole(Stored),
    /// It has more bytes than it should.
    TooLong,
    /// The maker did not want all of it.
    NotTaken,
}

fn copy(from: &mut dyn Read, maker: &mut Child, most: u64) -> io::Result<Copied> {
    let Some(to) = &mut maker.stdin else { return Ok(Copied::NotTaken) };
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    let mut chunk = vec![0; 128 << 10];
    loop {
        let count = match from.read(&mut chunk) {
            Ok(0) => return Ok(Copied::Whole(Stored { bytes, sha256: hex(&digest.finalize()) })),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        bytes += count as u64;
        if bytes > most {
            return Ok(Copied::TooLong);
        }
        digest.update(&chunk[..count]);
        if to.write_all(&chunk[..count]).is_err() {
            return Ok(Copied::NotTaken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(digit: char) -> ImageName {
        digit.to_string().repeat(64).parse().unwrap()
    }

    #[test]
    fn an_address_that_ends_is_asked_for_anew_unless_the_image_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open(dir.path(), 0, PathBuf::new()).unwrap();
        let lacks = |url: String| {
            let stored = Stored { bytes: 1, sha256: name('a').to_string() };
            images.lacks_address(&SlugToRun { url, stored, commit: None })
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let at = |ends: u64| format!("https://swift.test/v1/a/c/k?temp_url_sig=s&temp_url_expires={ends}");
        assert!(!lacks("file:///slug".to_owned()) && !lacks(at(now + 7200)));
        assert!(lacks(at(now - 1)) && lacks(at(now + 60)));
        fs::write(dir.path().join(name('a').as_str()), "").unwrap();
        assert!(!lacks(at(now - 1)));
    }

    #[test]
    fn the_least_recently_wanted_goes_and_none_in_use() {
        let kept = |digit, bytes, age: u64| Kept {
            name: name(digit),
            bytes,
            wanted: SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age),
        };
        let images = vec![kept('a', 10, 5), kept('b', 10, 50), kept('c', 10, 500), kept('d', 10, 1)];
        let in_use = BTreeSet::from([name('c')]);
        assert_eq!(too_many(images.clone(), 40, &in_use), []);
        assert_eq!(too_many(images.clone(), 39, &in_use), [name('b')]);
        assert_eq!(too_many(images, 0, &in_use), [name('b'), name('a'), name('d')]);
    }
}
