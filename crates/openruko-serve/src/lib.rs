//! The forced command that sshd runs for every login of the git user, and the command that tells sshd
//! whose a key is.
//!
//! A push goes through [`push`], a clone or fetch through [`fetch`]; both run one git service in a
//! container of their own through [`session`]. Builds of tarballs are taken up by [`builds`], a service, and
//! each goes through [`build`]. What the client need not wait for is left to
//! [`finish`], a process that outlives the connection.
//!
//! stdout carries git's protocol and nothing else; whatever people are to read goes to stderr.

mod authorized_keys;
mod build;
mod builds;
mod cli;
mod container;
mod context;
mod ending;
mod events;
mod fetch;
mod finish;
mod greeting;
mod host;
mod inner_ssh;
mod janitor;
mod keys;
mod lease;
mod push;
mod queue;
mod request;
mod runtime_dir;
mod session;
mod space;
mod steps;
mod storage;
mod terminal;
mod waiting;

pub use cli::main;
