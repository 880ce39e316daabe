//! The API of openruko.
