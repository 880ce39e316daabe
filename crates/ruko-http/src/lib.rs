//! What the HTTP servers of openruko share: the accept loop with its bounds, TLS, the address of the
//! client, and the end.
//!
//! A server has one or more [`Listener`]s, each with a router of its own; [`serve`] answers on all of them.
//! Handlers find the client's address in the request's extensions, as [`ClientAddress`].
//!
//! Bounds are on connections, on the heads of requests, and on how long a client lets an answer wait. How long
//! one may take otherwise is for its handler to say: some are streams that last for hours.

mod address;
mod patient;
mod places;
mod process;
mod server;
mod silent;
mod tls;

pub use address::{ClientAddress, is_trusted, network};
pub use places::{Full, Place, Places};
pub use process::{log_to_stderr, told_to_stop, vital};
pub use server::{Bounds, Listen, Listener, serve};
pub use tls::Certificate;
