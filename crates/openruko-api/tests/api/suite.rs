//! All tests, on the database that the module is named after.

mod admin;
mod developer;
mod durability;
mod leases;
mod platform;
pub(crate) mod program;
mod pushes;
mod rights;
pub(crate) mod world;
