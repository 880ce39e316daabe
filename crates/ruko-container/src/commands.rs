//! One module per command.

pub(crate) mod destroy;
pub(crate) mod exec;
pub(crate) mod list;
pub(crate) mod reap;
pub(crate) mod run;
pub(crate) mod setup;
pub(crate) mod stack;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod teardown;
