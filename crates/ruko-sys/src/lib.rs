//! The thin shell around the operating system: running a tool, opening what only root may write,
//! replacing a file, locks that die with their holder, room on a disk, a parent's death passed on to its children,
//! listening sockets that change hands.
//!
//! `unsafe` stands here or nowhere.

pub mod file;
pub mod idmap;
pub mod listeners;
pub mod lock;
pub mod loop_device;
pub mod process;
pub mod space;
pub mod throwaway;
pub mod tool;

pub use file::{AtPath, PathError, open_trusted, replace, replace_as};
pub use lock::Lock;
pub use loop_device::LoopDevice;
pub use space::Space;
pub use tool::{Tool, ToolError};
