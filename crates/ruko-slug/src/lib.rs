//! Builds an app inside its container: what a push brought becomes a slug and a stored repository.
//!
//! `session` is what ssh starts in the container: it lays out the repository and becomes git. `build` is
//! git's pre-receive hook: it does every step of a build in turn. `build-source` does the same for a tarball. Each step is a command of its own too.

pub mod build;
pub mod buildpack;
pub mod cache;
pub mod checkout;
mod cli;
pub mod env;
pub mod git;
pub mod inspect;
pub mod launch;
pub mod layout;
pub mod leftovers;
pub mod lfs;
pub mod output;
pub mod pack;
pub mod procfile;
pub mod refs;
pub mod refusal;
pub mod session;
pub mod slugignore;
pub mod snapshot;
pub mod source;
pub mod stack;
mod submodules;
pub mod tree;
pub mod yaml;

pub use cli::{Cli, main};
