//! The real program between real sockets. The API is a stand-in that serves a table and keeps what it is told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod client;
mod dyno;
mod world;

mod bodies;
mod codes;
mod http2;
mod life;
mod limits;
mod routing;
mod sleep;
mod smuggling;
mod table;
mod tls;
mod websocket;
