//! All tests, on the database that the module is named after.

mod admin;
mod developer;
mod durability;
mod leases;
mod platform;
mod platform_access;
mod platform_app_nouns;
mod platform_config_vars;
mod platform_formation;
mod platform_releases;
pub(crate) mod program;
mod pushes;
mod rights;
pub(crate) mod world;
