//! The world that the system tests run in.
