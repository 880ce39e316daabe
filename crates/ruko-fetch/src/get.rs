//! `ruko-fetch get`.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ruko_core::{Exit, Fault, Hint};
use ruko_storage::StorageError;
use ruko_sys::AtPath;

use crate::GetArgs;
use crate::stream::{self, CopyError};

pub(crate) fn get(args: &GetArgs) -> Result<Exit, Fault> {
    let url = stream::url(&args.url)?;
    let Some(mut object) = ruko_storage::get(&url).map_err(explain)? else {
        let hint = "the address may be wrong, or nothing was stored there yet";
        return Err(Fault::refused(format!("there is no object at `{url}`")).hint(hint));
    };
    if stream::is_standard(&args.output) {
        to_stdout(&mut *object)
    } else {
        to_file(&mut *object, &args.output)
    }
}

/// A reader that has seen enough is no failure to speak of, but the object did not arrive whole.
fn to_stdout(object: &mut dyn Read) -> Result<Exit, Fault> {
    let mut out = stream::stdout().fault("cannot use stdout")?;
    match stream::copy(object, &mut out) {
        Ok(()) => Ok(Exit::Ok),
        Err(CopyError::Write(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(Exit::Refused),
        Err(CopyError::Write(e)) => Err(e).fault("cannot write to stdout"),
        Err(CopyError::Read(e)) => Err(e.into()),
    }
}

/// Written beside its place, synced, renamed: there is the whole object or what was there before.
fn to_file(object: &mut dyn Read, path: &Path) -> Result<Exit, Fault> {
    let path = &place(path)?;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    // Like any file that a command writes: readable as the umask allows.
    let permissions = Permissions::from_mode(0o666);
    let new = tempfile::Builder::new().prefix(".get-").permissions(permissions).tempfile_in(dir);
    let new = new.at("write", path)?;
    match stream::copy(object, &mut new.as_file()) {
        Ok(()) => {}
        Err(CopyError::Write(e)) => return Err(e).at("write", path).map_err(Fault::from),
        Err(CopyError::Read(e)) => return Err(e.into()),
    }
    new.as_file().sync_all().at("write", path)?;
    new.persist(path).map_err(|e| e.error).at("write", path)?;
    File::open(dir).and_then(|dir| dir.sync_all()).at("write", path)?;
    Ok(Exit::Ok)
}

/// Where the file is to be: where a link leads, and not in place of a device such as `/dev/stdout`.
fn place(path: &Path) -> Result<PathBuf, Fault> {
    match path.metadata() {
        Ok(meta) if meta.is_file() => Ok(path.canonicalize().at("find", path)?),
        Ok(_) => Err(Fault::refused(format!("`{}` is no file that could be replaced", path.display()))
            .hint("leave `--output` out, and let the shell redirect stdout there")),
        Err(_) => Ok(path.to_owned()),
    }
}

/// A failure of storage with what to do about it.
pub(crate) fn explain(error: StorageError) -> Fault {
    let hint = match &error {
        StorageError::Full { .. } => Some("free space there, or delete objects that are not needed"),
        StorageError::NoObject { .. } => Some("give the URL of a file"),
        _ => None,
    };
    let fault = Fault::from(error);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}
