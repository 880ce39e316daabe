//! What openruko needs of LXC and of the kernel beneath it: a configuration writer that nobody can
//! smuggle a line into, control groups of either version, id ranges, mounts, the packet filter of the
//! bridge, and the tools that are called.
//!
//! Everything that decides is a pure function over text; the few functions that touch the machine say so.

pub mod cgroup;
pub mod config;
pub mod idrange;
pub mod mount;
pub mod net;
pub mod netfilter;
pub mod tools;

pub use config::{BadValue, Config};
pub use idrange::IdRange;
pub use tools::{System, Tools};
