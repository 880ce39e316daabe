//! All tests, on the database that the module is named after.

mod admin;
mod durability;
mod leases;
pub(crate) mod program;
mod pushes;
mod rights;
pub(crate) mod world;
