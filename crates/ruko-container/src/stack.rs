//! Stack images: root file systems that builds and dynos have below what they write.
//!
//! In `stacks_dir` each stack has a record, `NAME.json`, which names its image by its digest: `NAME-DIGEST.squashfs`. A
//! stack that is made anew gets another image and then, in one step, another record. The old image is removed; the
//! containers that have it keep it until they end, since its file is still open.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ruko_core::names::{ImageName, StackName};
use ruko_core::{Fault, Hint};
use ruko_lxc::IdRange;
use ruko_sys::{AtPath, open_trusted};
use rustix::mount::{MountFlags, mount};
use serde::{Deserialize, Serialize};

use crate::image;
use crate::settings::Settings;
use crate::work::Work;

/// The longest record that is read, in bytes.
const MAX_RECORD: u64 = 64 << 10;

/// How often a record may be replaced just while it is read.
const TRIES: usize = 3;

/// What is known of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The SHA-256 digest of its image.
    pub(crate) sha256: ImageName,
    /// How large the image is.
    pub(crate) bytes: u64,
    /// What it calls itself: `Debian GNU/Linux 13 (trixie)`; empty when it does not.
    pub(crate) os: String,
    /// The Heroku stack that it can stand in for.
    pub(crate) heroku: Option<StackName>,
    /// What it was made of.
    pub(crate) source: String,
    /// When, in seconds since 1970.
    pub(crate) made: u64,
}

/// The file of a record.
pub(crate) fn record_path(dir: &Path, name: &StackName) -> PathBuf {
    dir.join(format!("{name}.json"))
}

/// The file of an image.
pub(crate) fn image_name(name: &StackName, sha256: &ImageName) -> String {
    format!("{name}-{sha256}.squashfs")
}

/// Whose image a file is, if it is one.
pub(crate) fn owner_of(file: &str) -> Option<(StackName, ImageName)> {
    let (name, sha256) = file.strip_suffix(".squashfs")?.rsplit_once('-')?;
    Some((name.parse().ok()?, sha256.parse().ok()?))
}

/// The directory of the images.
pub(crate) fn dir(settings: &Settings) -> Result<&Path, Fault> {
    settings.stacks_dir.as_deref().ok_or_else(|| {
        Fault::refused("[container] of the configuration has no `stacks_dir`: there are no stack images")
            .hint("set it to a directory that only root can write, and to which everything above it belongs to root")
    })
}

/// Reads the record of a stack; none: there is no such stack.
pub(crate) fn read(dir: &Path, name: &StackName) -> Result<Option<Record>, Fault> {
    let path = record_path(dir, name);
    let file = match open_trusted(&path) {
        Err(e) if e.source.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = String::new();
    file.take(MAX_RECORD).read_to_string(&mut text).at("read", &path)?;
    serde_json::from_str(&text).fault(format!("`{}` is damaged", path.display())).map(Some)
}

/// All stacks, by name.
pub(crate) fn all(dir: &Path) -> Result<Vec<(StackName, Record)>, Fault> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.at("read", dir)?,
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse::<StackName>().ok());
    let mut all = Vec::new();
    for name in names {
        // It may just be removed.
        if let Some(record) = read(dir, &name)? {
            all.push((name, record));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

/// A stack that was asked for and is there.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) name: StackName,
    file_name: String,
    file: File,
}

impl Stack {
    /// Opens the image that a stack has now.
    pub(crate) fn open(settings: &Settings, name: &StackName) -> Result<Self, Fault> {
        let dir = dir(settings)?;
        for _ in 0..TRIES {
            let Some(record) = read(dir, name)? else { return Err(missing(name)) };
            let file_name = image_name(name, &record.sha256);
            match open_trusted(&dir.join(&file_name)) {
                // It was made anew meanwhile.
                Err(e) if e.source.kind() == io::ErrorKind::NotFound => {}
                opened => return Ok(Self { name: name.clone(), file_name, file: opened? }),
            }
        }
        Err(Fault::refused(format!("the image of the stack `{name}` is not there"))
            .hint(format!("`ruko-container stack remove {name}` and make it again")))
    }

    /// One that is not published yet.
    pub(crate) fn unpublished(name: &StackName, path: &Path) -> Result<Self, Fault> {
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name: name.clone(), file_name, file: File::open(path).at("open", path)? })
    }

    /// Mounts it, its files belonging to these ids, or to whom they belong in it.
    pub(crate) fn mount(&self, point: &Path, ids: Option<IdRange>) -> Result<(), Fault> {
        image::mount(&self.file, &self.file_name, ids, point)
    }
}

/// There is no such stack.
pub(crate) fn missing(name: &StackName) -> Fault {
    Fault::refused(format!("there is no stack image `{name}` on this machine")).hint(format!(
        "`ruko-container stack build {name}` makes one, `ruko-container stack list` shows those that there are"
    ))
}

/// Makes the root file system of a container on a stack, which is mounted: what the template laid out on the container's
/// disk is its upper layer. Afterwards that is changed through it alone.
pub(crate) fn lay_over(work: &Work, laid_out: &Path, ids: IdRange) -> Result<(), Fault> {
    let disk = work.disk();
    let name = laid_out.strip_prefix(&disk).unwrap_or(laid_out);
    let passing = disk.join("rootfs.work");
    fs::create_dir(&passing).at("create", &passing)?;
    // On disk everything has the container's own ids, as with every other container.
    image::show_mapped(&disk, ids, &work.mapped())?;
    // `volatile`: nothing here outlives the container, so nothing is synced. `redirect_dir`: directories of the stack
    // can be renamed.
    let options = format!(
        "lowerdir={},upperdir={},workdir={},volatile,redirect_dir=on,index=off,metacopy=off",
        work.stack().display(),
        work.mapped().join(name).display(),
        work.mapped().join("rootfs.work").display(),
    );
    let options = std::ffi::CString::new(options).fault("the layers of a container cannot be named")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    mount("overlay", work.root(), "overlay", flags, options.as_c_str())
        .map_err(io::Error::from)
        .fault("cannot lay what a container writes over its stack")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_tells_whose_it_is_and_which() {
        let (name, sha256): (StackName, ImageName) =
            ("debian-13".parse().unwrap(), "ab".repeat(32).parse().unwrap());
        assert_eq!(owner_of(&image_name(&name, &sha256)), Some((name, sha256)));
        assert_eq!(owner_of("debian-13.squashfs"), None);
        assert_eq!(owner_of(".part-debian-13"), None);
    }
}
