//! Loop devices: a file as a block device (the kernel's include/uapi/linux/loop.h, `loop(4)`). Each is let go of by
//! the kernel when nothing uses it any more, whatever its users died of.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::{self, c_ulong};

const GET_STATUS: c_ulong = 0x4C05;
const CONFIGURE: c_ulong = 0x4C0A;
const GET_FREE: c_ulong = 0x4C82;

const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;

/// How often another process may take the free device that the kernel named before this is given up.
const TRIES: u32 = 1000;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

impl Info {
    const fn new(flags: u32) -> Self {
        Self {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}

/// A loop device that is there at least as long as this is.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    _open: File,
}

impl LoopDevice {
    /// A device of its own for a file that is open for writing.
    ///
    /// # Errors
    /// There is no free device, or this process is not root.
    pub fn attach(file: &File) -> io::Result<Self> {
        Self::new(file, AUTOCLEAR)
    }

    /// A read-only device of a file, the same one for everybody who asks while one of them still uses it: file
    /// systems on it are one file system then, with one page cache. Callers who ask at the same moment may get
    /// several.
    ///
    /// # Errors
    /// As [`LoopDevice::attach`].
    pub fn share(file: &File, name: &str) -> io::Result<Self> {
        match Self::attached(file, name)? {
            Some(device) => Ok(device),
            None => Self::new(file, AUTOCLEAR | READ_ONLY),
        }
    }

    /// Where the device is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn new(file: &File, flags: u32) -> io::Result<Self> {
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        let fd = u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?;
        for _ in 0..TRIES {
            // SAFETY: the descriptor is open, and this request has no argument.
            #[expect(unsafe_code, reason = "no safe wrapper of this ioctl exists")]
            let number = Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) })?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = File::options().read(true).write(flags & READ_ONLY == 0).open(&path)?;
            let config = Config { fd, block_size: 0, info: Info::new(flags), reserved: [0; 8] };
            // SAFETY: both descriptors are open for the whole call, and the kernel reads one `struct loop_config`,
            // which has the layout of `Config`, at the address.
            #[expect(unsafe_code, reason = "no safe wrapper of this ioctl exists")]
            let result = unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, &raw const config) };
            match Errno::result(result) {
                Ok(_) => return Ok(Self { path, _open: device }),
                // Somebody else was quicker.
                Err(Errno::EBUSY) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Errno::EBUSY.into())
    }

    /// The read-only device that shows this file already.
    fn attached(file: &File, name: &str) -> io::Result<Option<Self>> {
        for block in fs::read_dir("/sys/block")?.flatten() {
            let shown = fs::read_to_string(block.path().join("loop/backing_file")).unwrap_or_default();
            if Path::new(shown.trim_end()).file_name().is_none_or(|shown| shown != name) {
                continue;
            }
            let path = Path::new("/dev").join(block.file_name());
            // It may have gone meanwhile; once it is open it stays.
            if let Ok(device) = File::open(&path)
                && shows(&device, file)?
            {
                return Ok(Some(Self { path, _open: device }));
            }
        }
        Ok(None)
    }
}

fn shows(device: &File, file: &File) -> io::Result<bool> {
    let mut info = Info::new(0);
    // SAFETY: the descriptor is open for the whole call, and the kernel writes one `struct loop_info64`, which has
    // the layout of `Info`, to the address.
    #[expect(unsafe_code, reason = "no safe wrapper of this ioctl exists")]
    let result = unsafe { libc::ioctl(device.as_raw_fd(), GET_STATUS, &raw mut info) };
    if Errno::result(result).is_err() {
        return Ok(false);
    }
    let meta = file.metadata()?;
    let same_file = (info.device, info.inode) == (meta.dev(), meta.ino());
    let whole = (info.offset, info.size_limit) == (0, 0);
    let kind = info.flags & (READ_ONLY | AUTOCLEAR) == READ_ONLY | AUTOCLEAR;
    Ok(same_file && whole && kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_kernels_size() {
        assert_eq!((size_of::<Info>(), size_of::<Config>()), (232, 304));
    }
}
