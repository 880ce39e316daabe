//! The directory where servers and credentials are remembered.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use ruko_sys::file::{AtPath, replace};
use ruko_sys::lock::Lock;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ClientError;

/// `$XDG_CONFIG_HOME/openruko`, or `~/.config/openruko`: what one user's programs remember.
#[derive(Clone, Debug)]
pub struct Home {
    dir: PathBuf,
}

impl Home {
    /// Finds the directory; it need not be there yet.
    ///
    /// # Errors
    /// Neither `XDG_CONFIG_HOME` nor `HOME` is an absolute path.
    pub fn find(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, ClientError> {
        let absolute = |name| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
        config.map(|config| Self { dir: config.join("openruko") }).ok_or(ClientError::NoHome)
    }

    /// The path of a file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A file as it stands; the default where there is none.
    pub(crate) fn read<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, ClientError> {
        let path = self.path(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(T::default()),
            Err(error) => Err(error).at("read", &path)?,
        };
        toml::from_str(&text).map_err(|e| ClientError::BadFile { path, why: e.message().to_owned() })
    }

    /// Changes a file. No other program changes it meanwhile, and after a crash there is the old or the new.
    pub(crate) fn change<T: DeserializeOwned + Serialize + Default>(
        &self,
        name: &str,
        change: impl FnOnce(&mut T),
    ) -> Result<(), ClientError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).at("create", &self.dir)?;
        let _lock = Lock::take(&self.path(".lock"))?;
        let mut content: T = self.read(name)?;
        change(&mut content);
        let path = self.path(name);
        let text = toml::to_string(&content)
            .map_err(|e| ClientError::BadFile { path: path.clone(), why: e.to_string() })?;
        Ok(replace(&path, 0o600, text.as_bytes())?)
    }
}

/// Refuses a file with secrets that others than its owner can read or write.
pub(crate) fn only_owner_reads(path: &Path) -> Result<(), ClientError> {
    match fs::metadata(path) {
        Ok(meta) if meta.mode() & 0o077 != 0 => {
            Err(ClientError::Exposed { path: path.to_owned(), mode: meta.mode() & 0o7777 })
        }
        _ => Ok(()),
    }
}
