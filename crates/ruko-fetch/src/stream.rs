//! Where bytes come from and go to: `-` or a file.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use ruko_core::Fault;
use ruko_storage::StorageUrl;
use ruko_sys::AtPath;

/// Whether a file argument means stdin or stdout.
pub(crate) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Opens what is to be read.
pub(crate) fn input(path: &Path) -> Result<Box<dyn Read>, Fault> {
    if is_standard(path) {
        Ok(Box::new(io::stdin().lock()))
    } else {
        Ok(Box::new(File::open(path).at("open", path)?))
    }
}

/// Stdout without a buffer: what is written comes in large pieces.
pub(crate) fn stdout() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// Prints a line on stdout.
///
/// # Errors
/// Nobody reads it any more, for example.
pub(crate) fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A copy that failed, by the side that failed.
pub(crate) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Copies to the end.
pub(crate) fn copy(from: &mut dyn Read, to: &mut dyn Write) -> Result<(), CopyError> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return to.flush().map_err(CopyError::Write),
            Ok(count) => to.write_all(&buffer[..count]).map_err(CopyError::Write)?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(CopyError::Read(e)),
        }
    }
}

/// Reads a URL argument. Its text is not repeated: it may hold a credential.
pub(crate) fn url(text: &str) -> Result<StorageUrl, Fault> {
    text.parse().map_err(|why| Fault::usage(format!("the URL cannot be used: {why}")))
}
